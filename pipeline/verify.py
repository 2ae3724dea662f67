"""The folder of a finished run, or a corpus alone, in; what is wrong with it out, a line each: file, row group, what."""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.chain import EXPORT, Chain
from pipeline.errors import UserError
from pipeline.export import SPLITS, SUMS, checksums, file_name
from pipeline.output import read_run
from pipeline.pieces import Piece, check_each
from pipeline.places import on_store, size_of, sizes
from pipeline.readback import FORMS, Found
from pipeline.receipts import stage_receipts
from pipeline.work import Receipt

if TYPE_CHECKING:
    from pipeline.config import Images

_PUBLISHED = re.compile(r"([a-z]+)-(\d{5})-of-(\d{5})\.parquet")


@dataclass
class Verified:
    """All that was read back. `problems` counts the lines that were told."""

    found: Found = field(default_factory=Found)
    receipts: int = 0
    problems: int = 0


def verify(
    folder: Path,
    images: "Images",
    workers: int,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None] = lambda done, all: None,
) -> Verified:
    """Checks a folder; each problem goes to `tell` as it is found, in the same order whatever the `workers` (none: in this
    process). `images`: bounds for decoding.

    Raises:
        UserError: the folder holds neither a run nor a corpus.
    """
    verified = Verified()

    def told(line: str) -> None:
        verified.problems += 1
        tell(line)

    if read_run(folder) is not None:
        _verify_run(folder, images, workers, verified, told, shown)
    elif _published_there(folder) or size_of(folder / SUMS) is not None:
        _verify_corpus(folder, images, workers, verified, told, shown)
    else:
        raise UserError(f"{folder}: holds neither a run nor a corpus: no run.json, no folder of Parquet files")
    return verified


def _verify_run(
    folder: Path,
    images: "Images",
    workers: int,
    verified: Verified,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None],
) -> None:
    about = read_run(folder)
    assert about is not None
    _tell_leftovers(folder, tell)
    stages = about.get("stages", [])
    if EXPORT not in stages:
        tell("run.json: the run has not come to its end: no stage export; run it again")
    for stage in stages:
        if not on_store(folder) and not (folder / "stages" / stage).is_dir():
            tell(f"stages/{stage}: is missing; run.json names it")
    chain = Chain(bool(about.get("input", {}).get("against")))
    first = range(*about.get("shards", (0, 0)))
    corpus: dict[int, Receipt] = {}
    for stage in stages:
        numbers = set()
        for receipt in stage_receipts(folder / "stages" / stage):
            verified.receipts += 1
            chain.add(receipt)
            numbers.add(receipt.shard)
            if stage == EXPORT and not receipt.error:
                corpus[receipt.shard] = receipt
        chain.close()
        if stage == "documents":
            for shard in sorted(set(first) - numbers):
                tell(f"stages/documents/{shard:05d}.json: is missing; run.json counts {len(first)} shards")
    pieces = itertools.chain(_pieces(folder, stages), _published(folder, corpus, tell))
    schemas: dict[tuple[str, str], tuple[str, str]] = {}
    for done, (piece, found) in enumerate(check_each(pieces, workers, chain.known(), images), 1):
        shown(done, verified.receipts)
        for problem in found.problems:
            tell(problem)
        for table, columns in found.schemas.items() if piece.said is None and not piece.name.endswith("query") else ():
            place = piece.name.rpartition("/")[0], table
            name, expected = schemas.setdefault(place, (piece.name, columns))
            if columns != expected:
                tell(f"{piece.name}.{table}.parquet: its columns are not those of {name}.{table}.parquet")
        verified.found.add(Found(files=found.files, rows=found.rows, bytes=found.bytes, images=found.images))


def _pieces(folder: Path, stages: Iterable[str]) -> Iterator[Piece]:
    """Every receipt with the tables beside it; tables without a receipt by the name that it would have."""
    for stage in stages:
        place = folder / "stages" / stage
        files = sorted(_names(place))
        for name, group in itertools.groupby(
            (file for file in files if file.endswith((".json", ".parquet"))), lambda file: file.partition(".")[0]
        ):
            tables = [f"stages/{stage}/{file}" for file in group if file.endswith(".parquet")]
            if name == "query":
                tables += [f"stages/{stage}/answer/{file}" for file in sorted(_names(place / "answer", below=True))]
            yield Piece(folder, f"stages/{stage}/{name}", tuple(tables))


def _published(folder: Path, corpus: dict[int, Receipt], tell: Callable[[str], None]) -> Iterator[Piece]:
    """The files of the corpus that are not second names of tables that are checked anyway."""
    wanted: dict[str, dict[str, Any]] = {}
    for table in (f"{form}-{split}" for form in FORMS for split in SPLITS):
        shards = [shard for shard, receipt in sorted(corpus.items()) if table in receipt.tables]
        for number, shard in enumerate(shards):
            name = f"corpus/{file_name(table, number, len(shards))}"
            wanted[name] = corpus[shard].tables[table]
            source, target = folder / "stages" / EXPORT / f"{shard:05d}.{table}.parquet", folder / name
            if on_store(folder) or not (target.exists() and source.exists() and target.samefile(source)):
                yield Piece(folder, name, said=wanted[name])
    for file in _published_there(folder / "corpus"):
        if (name := f"corpus/{file}") not in wanted:
            tell(f"{name}: no receipt tells of it")
    if not wanted:
        return
    if size_of(folder / "corpus" / "README.md") is None:
        tell("corpus/README.md: is missing")
    said = {name.removeprefix("corpus/"): table["sha256"] for name, table in wanted.items()}
    if _sums(folder / "corpus", lambda line: tell(f"corpus/{line}")) != said:
        tell(f"corpus/{SUMS}: does not say what the receipts say")


def _names(folder: Path, below: bool = False) -> list[str]:
    """The files in a folder, or those `below` it, too, by name in it."""
    if on_store(folder):
        return [name for name in sizes(folder) if below or "/" not in name]
    if not below:
        return [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _published_there(corpus: Path) -> list[str]:
    """The Parquet files in the folders of a corpus."""
    if on_store(corpus):
        return sorted(name for name in sizes(corpus) if name.count("/") == 1 and name.endswith(".parquet"))
    return sorted(path.relative_to(corpus).as_posix() for path in corpus.glob("*/*.parquet"))


def _tell_leftovers(folder: Path, tell: Callable[[str], None]) -> None:
    """On a store nothing is half written."""
    for path in sorted(folder.rglob(".*.tmp")) if not on_store(folder) else ():
        tell(f"{path.relative_to(folder)}: was left by a process that ended while it wrote")


def _sums(corpus: Path, tell: Callable[[str], None]) -> dict[str, str] | None:
    """What SHA256SUMS says, by name; none where there is none."""
    try:
        return checksums(corpus)
    except FileNotFoundError:
        return None
    except ValueError:
        tell(f"{SUMS}: is damaged")
        return None


def _verify_corpus(
    folder: Path,
    images: "Images",
    workers: int,
    verified: Verified,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None],
) -> None:
    _tell_leftovers(folder, tell)
    sums = _sums(folder, tell)
    if sums is None:
        tell(f"{SUMS}: is missing: whether the files are those that were written is not known")
    names = sorted({*_published_there(folder), *(sums or {})})
    for name in names:
        if sums is not None and name not in sums:
            tell(f"{name}: {SUMS} does not name it")
    series: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for name in names:
        if parts := _PUBLISHED.fullmatch(name.partition("/")[2]):
            series.setdefault((name.partition("/")[0], parts[1]), set()).add((int(parts[2]), int(parts[3])))
    for (form, split), numbers in sorted(series.items()):
        count = max(of for _, of in numbers)
        for number in sorted(set(range(count)) - {number for number, of in numbers if of == count}):
            tell(f"{form}/{split}-{number:05d}-of-{count:05d}.parquet: is missing")
    pieces = [Piece(folder, name, said={"sha256": sums[name]} if sums and name in sums else {}) for name in names]
    rows: dict[str, dict[str, int]] = {}
    for done, (piece, read) in enumerate(check_each(pieces, workers, None, images), 1):
        shown(done, len(pieces))
        for problem in read.problems:
            tell(problem)
        form, _, file = piece.name.partition("/")
        if parts := _PUBLISHED.fullmatch(file):
            by_form = rows.setdefault(parts[1], {})
            by_form[form] = by_form.get(form, 0) + read.rows
        verified.found.add(Found(files=read.files, rows=read.rows, bytes=read.bytes, images=read.images))
    for split, by_form in sorted(rows.items()):
        if len(set(by_form.values())) > 1:
            counts = ", ".join(f"{form} {count:,}" for form, count in sorted(by_form.items()))
            tell(f"{split}: not as many rows in each form: {counts}")


def as_line(verified: Verified) -> str:
    """What was done, in one line."""
    from pipeline.funnel import size

    found = verified.found
    read = f"{found.files:,} files, {found.rows:,} rows, {found.images:,} images, {size(found.bytes)} read back"
    return f"{read}: " + (f"{verified.problems:,} problems" if verified.problems else "all as it was written")
