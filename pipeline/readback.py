"""A Parquet file of a run or a corpus in; what is wrong with it out, a line each with its row group."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.copies import here
from pipeline.document import SCHEMA
from pipeline.export import SPLITS, schema
from pipeline.pixels import Broken, look
from pipeline.places import size_of
from pipeline.storage import sha256_of
from pipeline.work import LEDGER

if TYPE_CHECKING:
    from pipeline.config import Images

ROWS = 64  # that are held in memory at once
TOLD = 20  # lines about one file
FORMS = ("images", "urls")
_SCHEMAS = {"documents": SCHEMA, "ledger": LEDGER}


@dataclass
class Found:
    """What was read back, and what is wrong with it."""

    problems: list[str] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    bytes: int = 0
    images: int = 0  # whose bytes were there to decode
    schemas: dict[str, str] = field(default_factory=dict)  # table → a digest of its columns and their types

    def add(self, other: "Found") -> None:
        self.problems += other.problems
        self.files += other.files
        self.rows += other.rows
        self.bytes += other.bytes
        self.images += other.images
        self.schemas |= other.schemas


def check_table(path: Path, table: str, said: dict[str, Any], images: "Images") -> Found:
    """Reads a file back, every row group of it, a few rows at a time in memory. Never raises for what the file holds.

    `said`: what is known of it, any of rows, bytes and sha256. `table`: its name in a stage; what is known of documents,
    ledgers and published shards is held against each row. `images`: the bounds in which images are decoded.
    """
    found = Found(files=1)
    size = size_of(path)
    if size is None:
        found.problems.append("is missing")
        return found
    found.bytes = size
    if found.bytes != said.get("bytes", found.bytes):
        found.problems.append(f"has {found.bytes:,} bytes; it was written with {said['bytes']:,}")
        return found  # nothing that is cut can be read
    with here(path) as near:
        if "sha256" in said and (digest := sha256_of(near)) != said["sha256"]:
            found.problems.append(f"its SHA-256 is {digest[:16]}…; it was written with {said['sha256'][:16]}…")
        try:
            with pq.ParquetFile(near, page_checksum_verification=True) as file:
                _check_groups(file, table, images, found)
        except (pa.ArrowException, OSError, ValueError) as error:
            found.problems.append(f"cannot be read: {_line(error)}")
            return found
    if found.rows != said.get("rows", found.rows):
        found.problems.append(f"holds {found.rows:,} rows; it was written with {said['rows']:,}")
    return found


def _check_groups(file: pq.ParquetFile, table: str, images: "Images", found: Found) -> None:
    is_schema = file.schema_arrow.remove_metadata()
    found.schemas[table] = hashlib.sha256(str(is_schema).encode()).hexdigest()
    form, _, split = table.partition("-")
    published = form in FORMS and split in SPLITS
    wanted = schema(form) if published else _SCHEMAS.get(table)
    wanted = wanted and _stored(wanted)
    if wanted is not None and not is_schema.equals(wanted):
        found.problems.append(f"its columns are not those of {table}: {_difference(is_schema, wanted)}")
        published, table = False, ""
    told = 0
    for group in range(file.num_row_groups):
        at = 0
        try:
            for batch in file.iter_batches(ROWS, row_groups=[group]):
                batch.validate(full=True)
                wrong = _published(batch, form, images, found) if published else _nodes(batch, table)
                for row, problem in wrong:
                    if told < TOLD:
                        found.problems.append(f"row group {group}, row {at + row}: {problem}")
                    told += 1
                at += batch.num_rows
        except (pa.ArrowException, OSError, ValueError) as error:
            found.problems.append(f"row group {group}: cannot be read: {_line(error)}")
        found.rows += file.metadata.row_group(group).num_rows
    if told > TOLD:
        found.problems.append(f"{told - TOLD:,} more problems of rows")


def _stored(wanted: pa.Schema) -> pa.Schema:
    """The same as Parquet gives it back, which counts no whole seconds."""
    second, milli = pa.timestamp("s", tz="UTC"), pa.timestamp("ms", tz="UTC")
    return pa.schema([field.with_type(milli) if field.type == second else field.remove_metadata() for field in wanted])


def _difference(found: pa.Schema, wanted: pa.Schema) -> str:
    """The first column that differs."""
    for name in dict.fromkeys([*wanted.names, *found.names]):
        one, other = (s.field(name).type if name in s.names else "none" for s in (found, wanted))
        if one != other:
            return f"{name} is {str(one)[:80]}, expected {str(other)[:80]}"
    return f"{', '.join(found.names)} in this order"


def _nodes(batch: pa.RecordBatch, table: str) -> Iterator[tuple[int, str]]:
    """A node of a document is a text or an image."""
    if table != "documents":
        return
    column = batch.column("nodes")
    nodes = column.flatten()
    both = pc.equal(pc.is_valid(pc.struct_field(nodes, "text")), pc.is_valid(pc.struct_field(nodes, "image")))
    for row in pc.unique(pc.list_parent_indices(column).filter(both)).to_pylist():
        yield row, "a node is neither a text nor an image, or both"


def _published(batch: pa.RecordBatch, form: str, images: "Images", found: Found) -> Iterator[tuple[int, str]]:
    for number, row in enumerate(batch.to_pylist()):
        if form == "images":
            found.images += sum(image is not None for image in row["images"] or ())
        for problem in _row(row, form, images):
            yield number, problem


def _row(row: dict[str, Any], form: str, images: "Images") -> Iterator[str]:
    """What is wrong with one row of a published shard."""
    read: dict[str, Any] = {}
    for name, kind in (
        ("metadata", list),
        ("image_scores", list),
        ("missing_images", list),
        ("general_metadata", dict),
    ):
        try:
            read[name] = json.loads(row[name])
        except (ValueError, TypeError, RecursionError) as error:
            yield f"{name} is no JSON: {_line(error)}"
            return
        if not isinstance(read[name], kind):
            yield f"{name} is no JSON {'list' if kind is list else 'object'}"
            return
    lists = {
        "texts": row["texts"],
        "images": row["images"],
        "metadata": read["metadata"],
        "image_scores": read["image_scores"],
    }
    lengths = {name: None if value is None else len(value) for name, value in lists.items()}
    if len(set(lengths.values())) > 1 or None in lengths.values():
        yield f"the lists are not parallel: {', '.join(f'{name} {length}' for name, length in lengths.items())}"
        return
    for place, (text, image, about, scores) in enumerate(zip(*lists.values(), strict=True)):
        if (text is None) == (image is None):
            yield f"place {place}: {'neither' if text is None else 'both'} text and image; expected one of them"
        elif image is None:
            if about is not None or scores is not None:
                yield f"place {place}: a text has an image's metadata"
        elif not isinstance(about, dict) or not isinstance(scores, dict):
            yield f"place {place}: an image has no metadata"
        elif form == "images":
            for problem in _image(image["bytes"], about, scores, images):
                yield f"place {place}: {problem}, {str(about.get('src'))[:200]}"
        elif not image:
            yield f"place {place}: an image has no address"


def _image(data: bytes | None, about: dict[str, Any], scores: dict[str, Any], images: "Images") -> Iterator[str]:
    """An image decodes, and is the one that its row tells of."""
    if not data:
        yield "an image has no bytes"
        return
    seen = look(data, max_bytes=images.max_bytes, max_pixels=images.max_pixels, seconds=images.seconds)
    if isinstance(seen, Broken):
        yield f"the image does not decode: {seen.reason} ({seen.detail})"
        return
    if seen.sha256 != scores.get("sha256"):
        yield f"another image: its SHA-256 is {seen.sha256[:16]}…, its row says {str(scores.get('sha256'))[:16]}…"
    expected = about.get("original_width"), about.get("original_height"), about.get("format")
    if (seen.width, seen.height, seen.format) != expected:
        yield "the image is {} x {} {}, its row says {} x {} {}".format(seen.width, seen.height, seen.format, *expected)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
