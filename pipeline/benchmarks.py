"""Evaluation sets in (Parquet or JSON lines); sorted n-grams and the hashes of their images out, as files of one folder."""

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.verdict import Verdict
from pipeline.document import Document, Image
from pipeline.errors import UserError
from pipeline.hamming import BITS, telling, words
from pipeline.header import UNKNOWN_DATE
from pipeline.lookup import Sorted
from pipeline.ngrams import ngram_keys, word_keys
from pipeline.ngrams import words as spelled
from pipeline.pixels import HASHES, Facts, look
from pipeline.storage import read_rows, read_table
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Benchmark

ITEMS = pa.schema([("item", pa.int64()), ("id", pa.string()), ("field", pa.string())])
GRAMS = pa.schema([("gram", pa.uint64()), ("item", pa.int64())])
PICTURES = pa.schema([("item", pa.int64()), ("kind", pa.string()), ("value", pa.string())])  # pdq, phash or sha256

_HASH = re.compile("[0-9a-f]{64}|[0-9a-f]{16}")  # PDQ, phash
_IMAGE = {"max_bytes": 200 * 10**6, "max_pixels": 200_000_000, "seconds": 60}


def columns(path: str) -> list[str]:
    """The columns of a set. Raises ValueError where it has no rows or is neither Parquet nor JSON lines."""
    if path.endswith(".parquet"):
        try:
            with pq.ParquetFile(path) as file:
                rows, names = file.metadata.num_rows, file.schema_arrow.names
        except pa.ArrowInvalid as error:
            raise ValueError(f"{path}: no Parquet: {' '.join(str(error).split())[:100]}") from None
        if not rows:
            raise ValueError(f"{path}: has no rows")
        return list(names)
    first = next(json_lines(path), None)
    if first is None:
        raise ValueError(f"{path}: has no rows")
    return list(first)


def json_lines(path: str) -> Iterator[dict[str, Any]]:
    """The objects of a file of JSON lines; raises ValueError at the first line that is none."""
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise ValueError(f"{path}: line {number} is no JSON object (a set is .parquet, or JSON lines)")
            yield row


def rows_of(benchmark: "Benchmark") -> Iterator[dict[str, Any]]:
    if benchmark.path.endswith(".parquet"):
        wanted = [*benchmark.text, *benchmark.image, *([benchmark.id] if benchmark.id else [])]
        return read_rows(benchmark.path, list(dict.fromkeys(wanted)))
    return json_lines(benchmark.path)


def files_beside(benchmark: "Benchmark") -> Iterator[Path]:
    """The image files that the set names, in its order."""
    if benchmark.image:
        for row in rows_of(benchmark):
            for name in benchmark.image:
                for value in _pictures(row.get(name)):
                    if isinstance(value, str) and not _HASH.fullmatch(value):
                        yield Path(benchmark.path).parent / value


def index_set(work: Work, settings: "tuple[Benchmark, ...]") -> None:
    """The set that this shard is. What cannot be compared is written to the ledger as the reason `too_short` or
    `image_broken`; a row without anything left does not come out."""
    benchmark = settings[work.shard]
    items = work.table("items", ITEMS)
    for number, row in enumerate(rows_of(benchmark)):
        work.rows_in += 1
        name = str(row.get(benchmark.id)) if benchmark.id else str(number)
        page = Document(work.shard, number, f"{benchmark.name}:{name}", "", 0, 0, UNKNOWN_DATE, [])
        told = 0
        for field in (*benchmark.text, *benchmark.image):
            index = _index_text if field in benchmark.text else _index_images
            if index(work, benchmark, page, row.get(field), items.rows):
                items.write({"item": items.rows, "id": name, "field": field})
                told += 1
        work.rows_out += told > 0
        work.count()
    if not work.rows_out:
        raise UserError(f"{benchmark.name}: {benchmark.path}: nothing in {work.rows_in} rows can be compared")


def _index_text(work: Work, benchmark: "Benchmark", page: Document, value: Any, item: int) -> bool:
    grams = work.table("grams", GRAMS)
    told = False
    for text in _texts(value):
        keys = ngram_keys(word_keys(spelled(text)), benchmark.n)
        if len(keys):
            grams.write_columns({"gram": keys, "item": np.full(len(keys), item)})
            told = True
        elif text.strip():
            verdict = Verdict(False, f"{len(spelled(text))} words", f"at least {benchmark.n}")
            work.drop(page, "paragraph", "too_short", verdict, text)
    return told


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, which may hold lists (of answers) and mappings."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _pictures(value: Any) -> Iterator[bytes | str]:
    """The images in a value: bytes, a path or a hash in hexadecimal; {bytes, path} as `datasets` writes it; lists."""
    if isinstance(value, dict):
        value = value.get("bytes") or value.get("path")
    if isinstance(value, list):
        for inner in value:
            yield from _pictures(inner)
    elif value:
        yield value


def _index_images(work: Work, benchmark: "Benchmark", page: Document, value: Any, item: int) -> bool:
    pictures = work.table("pictures", PICTURES)
    told = False
    for picture in _pictures(value):
        if isinstance(picture, str) and _HASH.fullmatch(picture):
            kind, found = ("pdq" if len(picture) == BITS["pdq"] // 4 else "phash"), picture
        else:
            seen = _look(picture, Path(benchmark.path).parent)
            if isinstance(seen, str):
                shown = picture if isinstance(picture, str) else ""
                work.drop(page, "image", "image_broken", Verdict(False, seen, "decodes"), shown)
                continue
            digits = telling(Image("", "", phash=seen.phash, pdq=seen.pdq), "pdq")
            kind, found = ("pdq", digits) if digits else ("sha256", seen.sha256)
        pictures.write({"item": item, "kind": kind, "value": found})
        told = True
    return told


def _look(picture: Any, folder: Path) -> Facts | str:
    """The facts of an image, or why it has none."""
    if isinstance(picture, str):
        try:
            picture = (folder / picture).read_bytes()
        except (OSError, ValueError) as error:
            return getattr(error, "strerror", None) or "no file name"
    if not isinstance(picture, bytes):
        return f"neither bytes nor a path: {type(picture).__name__}"
    seen = look(picture, **_IMAGE, readers=[HASHES])
    return seen if isinstance(seen, Facts) else seen.reason


def write_index(prefixes: list[str], settings: "tuple[Benchmark, ...]", folder: Path) -> None:
    """Puts the sets together: `items.parquet` (set, id, field, in the order of their numbers), the n-grams of each n, and
    hashes by kind. Of an n-gram that several items have, the first is named, one of a set that drops documents before others."""
    folder.mkdir()
    items: list[Any] = []
    grams: list[Any] = []
    pictures: list[Any] = []
    first = 0
    for prefix, benchmark in zip(prefixes, settings, strict=True):
        table = read_table(f"{prefix}.items.parquet")
        name = pa.array([benchmark.name] * len(table), pa.string())
        items.append(table.drop_columns("item").add_column(0, "set", name))
        for kept, kind in ((grams, "grams"), (pictures, "pictures")):
            with suppress(FileNotFoundError):  # a set of texts alone, or of images alone
                part = read_table(f"{prefix}.{kind}.parquet")
                kept.append((benchmark, part, part["item"].to_numpy() + first))
        first += len(table)
    pq.write_table(pa.concat_tables(items), folder / "items.parquet")
    grams.sort(key=lambda of_set: of_set[0].drop != "document")
    for n in sorted({benchmark.n for benchmark, _, _ in grams}):
        of_n = [(table["gram"].to_numpy(), numbers) for benchmark, table, numbers in grams if benchmark.n == n]
        keys, numbers = (np.concatenate(part) for part in zip(*of_n, strict=True))
        Sorted.of(keys, numbers.astype(np.uint32)).save(folder, f"grams-{n}")
    found: dict[str, list[tuple[str, int]]] = {"pdq": [], "phash": [], "sha256": []}
    for _, table, numbers in pictures:
        for kind, value, item in zip(
            table["kind"].to_pylist(), table["value"].to_pylist(), numbers.tolist(), strict=True
        ):
            found[kind].append((value, item))
    for kind in BITS:
        np.save(folder / f"{kind}.npy", words([value for value, _ in found[kind]]))
        np.save(folder / f"{kind}.items.npy", np.array([item for _, item in found[kind]], np.uint32))
    keys = np.array([key64(value) for value, _ in found["sha256"]], np.int64).view(np.uint64)
    Sorted.of(keys, np.array([item for _, item in found["sha256"]], np.uint32)).save(folder, "sha256")
