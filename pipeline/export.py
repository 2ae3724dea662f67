"""Finished documents and their pixels in; Parquet shards in OBELICS's columns and a dataset card out."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.image import rendered_pixels
from pipeline.document import Document, Hole, Image
from pipeline.places import at_once, copy, on_store, place, read_bytes, remove, sizes
from pipeline.storage import aside
from pipeline.work import Work, key64, read_receipt

if TYPE_CHECKING:
    from pipeline.config import Export
    from pipeline.stages import Stage

SPLITS = ("train", "validation")
SUMS = "SHA256SUMS"  # of the files of a corpus, as `sha256sum -c` reads them
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def groups(documents: "Stage", pixels: "Stage", size: int) -> list[list[int]]:
    """Neighbouring shards that together make a file of at least `size` bytes; those without a document are passed over."""
    made: list[list[int]] = [[]]
    filled = 0
    for shard, receipt in documents.receipts.items():
        if not receipt.rows_out:
            continue
        if filled >= size:
            made.append([])
            filled = 0
        made[-1].append(shard)
        filled += receipt.bytes + pixels.receipts[shard].tables["pixels"]["bytes"]
    return [group for group in made if group]


def write_shards(work: Work, settings: "Export") -> None:
    """Writes a table `<form>-<split>` for each form and split that has a document."""
    counts: dict[str, Counter[str]] = {}
    distinct: set[str] = set()
    pixels = _by_document(work.rows("pixels", "pixels"))
    nearest: tuple[tuple[int, int], dict[int, bytes]] | None = next(pixels, None)
    for document in work.documents():
        # Both run in the order of the crawl; pixels of documents that have gone since are passed over.
        while nearest is not None and nearest[0] < (document.shard, document.row):
            nearest = next(pixels, None)
        assert nearest is not None
        assert nearest[0] == (document.shard, document.row)
        split = split_of(document.url, settings.validation)
        for form in settings.forms:
            row = to_published(document, nearest[1] if form == "images" else None)
            size = sum(image.size or 0 for image in document.images) if form == "images" else 0
            work.table(f"{form}-{split}", schema(form), settings.row_group_size).write(row, size)
        work.rows_out += 1
        count = counts.setdefault(split, Counter())
        count.update(documents=1, images=len(document.images), words=sum(len(text.split()) for text in document.texts))
        distinct |= {image.sha256 or image.url for image in document.images}
    work.notes = {"splits": {split: dict(counts[split]) for split in SPLITS if split in counts}}


def split_of(url: str, validation: float) -> str:
    """The split of a document, by a hash of its address, so that it is the same in every run."""
    return "validation" if key64("split", url) % 10**6 < validation * 10**6 else "train"


def _by_document(rows: Iterator[dict[str, Any]]) -> Iterator[tuple[tuple[int, int], dict[int, bytes]]]:
    current: tuple[int, int] | None = None
    held: dict[int, bytes] = {}
    for row in rows:
        if current != (row["shard"], row["row"]):
            if current is not None:
                yield current, held
            current, held = (row["shard"], row["row"]), {}
        held[row["position"]] = row["bytes"]
    if current is not None:
        yield current, held


@cache
def schema(form: str) -> pa.Schema:
    """OBELICS's four columns and ours after them, with the metadata by which `datasets` knows an image: what its `Features`
    write, without the second that it takes to import them."""
    image = _IMAGE if form == "images" else pa.string()
    columns = pa.schema(
        [
            ("images", pa.list_(image)),
            ("texts", pa.list_(pa.string())),
            ("metadata", pa.string()),
            ("general_metadata", pa.string()),
            ("crawl_date", pa.timestamp("s", tz="UTC")),
            ("language", pa.string()),
            ("language_score", pa.float32()),
            ("perplexity", pa.float32()),
            ("image_scores", pa.string()),
            ("missing_images", pa.string()),
        ]
    )
    features = {column.name: _feature(column.type) for column in columns}
    return columns.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _feature(kind: pa.DataType) -> dict[str, Any]:
    """What `datasets` calls a column of this type."""
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if kind == _IMAGE:
        return {"_type": "Image"}
    return {"dtype": "float32" if kind == pa.float32() else str(kind), "_type": "Value"}


def to_published(document: Document, pixels: dict[int, bytes] | None) -> dict[str, Any]:
    """One row: `images` and `texts` are parallel, exactly one of both stands at each place. With `pixels` (by position)
    an image is its bytes and address, without its address alone."""
    images: list[Any] = []
    for node in document.nodes:
        if node.image is None:
            images.append(None)
        else:
            image = node.image.url
            images.append(image if pixels is None else {"bytes": pixels[node.position], "path": image})
    metadata = [node.image and _image_metadata(document.url, node.image) for node in document.nodes]
    general = {
        "url": document.url,
        "warc_filename": document.warc_filename,
        "warc_record_offset": document.warc_record_offset,
        "warc_record_length": document.warc_record_length,
    }
    return {
        "images": images,
        "texts": [node.text for node in document.nodes],
        "metadata": json.dumps(metadata, ensure_ascii=False),
        "general_metadata": json.dumps(general, ensure_ascii=False),
        "crawl_date": document.crawl_date,
        "language": document.language,
        "language_score": document.language_score,
        "perplexity": document.scores.get("perplexity"),
        "image_scores": json.dumps([node.image and _image_scores(node.image) for node in document.nodes]),
        "missing_images": json.dumps([_missing(document, hole) for hole in document.holes], ensure_ascii=False),
    }


def _image_metadata(document_url: str, image: Image) -> dict[str, Any]:
    return {
        "document_url": document_url,
        "unformatted_src": image.src,
        "src": image.url,
        "formatted_filename": image.filename,
        "alt_text": image.alt,
        "rendered_width": _rounded(rendered_pixels(image.rendered_width, image.width)),
        "rendered_height": _rounded(rendered_pixels(image.rendered_height, image.height)),
        "original_width": image.width,
        "original_height": image.height,
        "format": image.format,
    }


def _missing(document: Document, hole: Hole) -> dict[str, Any]:
    """`after`: index of the last entry of `texts` and `images` that begins before the image stood; -1 for none."""
    after = sum(node.position < hole.position for node in document.nodes) - 1
    return {"after": after, "reason": hole.reason, "src": hole.url}


def _image_scores(image: Image) -> dict[str, Any]:
    return {"sha256": image.sha256, "phash": image.phash, "pdq": image.pdq, **image.scores}


def _rounded(pixels: float | None) -> int | None:
    return None if pixels is None else round(pixels)


def publish(stage: "Stage", corpus: Path, forms: list[str]) -> dict[str, dict[str, list[Path]]]:
    """Gives the finished files their names in `corpus`: form/split-00000-of-00003.parquet, and writes their checksums down.
    Files of an earlier state go.

    Returns form → split → files. A file is a second name of the stage's own where the file system allows it; on a store it
    is a copy that the store makes.
    """
    published: dict[str, dict[str, list[Path]]] = {}
    sources: dict[Path, tuple[Path, str]] = {}  # by target the prefix and the name of its table
    for form in forms:
        for split in SPLITS:
            table = f"{form}-{split}"
            shards = [shard for shard in stage.prefixes if table in stage.receipts[shard].tables]
            for number, shard in enumerate(shards):
                target = corpus / file_name(table, number, len(shards))
                sources[target] = place(stage.prefixes[shard][0]), table
                published.setdefault(form, {}).setdefault(split, []).append(target)
    prefixes = list(dict.fromkeys(prefix for prefix, _ in sources.values()))
    told = dict(zip(prefixes, at_once(read_receipt, prefixes), strict=True))
    now = {
        target.relative_to(corpus).as_posix(): told[prefix].tables[table]["sha256"]
        for target, (prefix, table) in sources.items()
    }
    try:
        before = checksums(corpus)
    except (FileNotFoundError, ValueError):
        before = {}
    if before != now:
        remove([corpus / SUMS])
    if on_store(corpus):
        _copy(sources, corpus, before, now)
    else:
        for target, source in sources.items():
            _second_name(_file(*source), target)
        remove(set(corpus.glob("*/*.parquet")) - set(sources))
    if now and before != now:
        with aside(corpus / SUMS) as temporary:
            lines = (f"{digest}  {name}\n" for name, digest in sorted(now.items()))
            temporary.write_text("".join(lines), encoding="utf-8")
    return published


def file_name(table: str, number: int, count: int) -> str:
    """Of a published file in the corpus: "images-train", 0, 3 → images/train-00000-of-00003.parquet"""
    form, _, split = table.partition("-")
    return f"{form}/{split}-{number:05d}-of-{count:05d}.parquet"


def checksums(corpus: Path) -> dict[str, str]:
    """What SHA256SUMS says, by name in the corpus. Raises FileNotFoundError, or ValueError where it is damaged."""
    lines = read_bytes(corpus / SUMS).decode("utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def _copy(sources: dict[Path, tuple[Path, str]], corpus: Path, before: dict[str, str], now: dict[str, str]) -> None:
    """What was copied before is known by its digest."""
    names = {target: target.relative_to(corpus).as_posix() for target in sources}
    there = {name for name in sizes(corpus) if name.endswith(".parquet") and "/" in name}
    at_once(
        lambda target: copy(_file(*sources[target]), target),
        [t for t, name in names.items() if before.get(name) != now[name] or name not in there],
    )
    remove(corpus / name for name in sorted(there - now.keys()))


def _file(prefix: Path, table: str) -> Path:
    return prefix.with_name(f"{prefix.name}.{table}.parquet")


def _second_name(source: Path, target: Path) -> None:
    if target.exists() and target.samefile(source):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        os.link(source, temporary)
    except OSError:
        shutil.copyfile(source, temporary)
    temporary.replace(target)
