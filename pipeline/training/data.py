"""Shards with image bytes in; documents as text and decoded images out, in an order of seed and epoch alone."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import UserError

Pixels = NDArray[np.uint8]  # height, width, RGB

# What the pipeline lets into shards; PIL's other decoders are never reached (one of them starts Ghostscript).
FORMATS = ("JPEG", "PNG", "WEBP")


@dataclass(frozen=True, slots=True)
class RowGroup:
    path: Path
    index: int  # in its file
    rows: int


@dataclass(slots=True)
class Document:
    """A row as the model sees it. `key` is the shard's file name and the row's number in the whole file's order."""

    key: str
    pieces: list[str | Pixels]
    broken_images: int = 0


def row_groups(folder: Path, split: str, max_bytes: int) -> list[RowGroup]:
    """The row groups of `SPLIT-*.parquet`, by file name and place; only footers are read.

    Raises:
        UserError: no such folder, no shard of that split, a file that is no Parquet, a schema without image bytes, a
            row group of more than `max_bytes`, or no rows at all.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold the shards with image bytes that carnac run writes")
    paths = sorted(folder.glob(f"{split}-*.parquet"))
    if not paths:
        splits = sorted({path.name.rpartition("-")[0].split("-")[0] for path in folder.glob("*-*.parquet")})
        raise UserError(f"{folder}: no {split}-*.parquet in it (splits found: {', '.join(splits) or 'none'})")
    groups = []
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                metadata, schema = file.metadata, file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: no readable Parquet file: {_first_line(error)}") from None
        _check_schema(path, schema)
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            if group.total_byte_size > max_bytes:
                raise UserError(
                    f"{path}: row group {index} holds {group.total_byte_size} bytes, over data.max_row_group "
                    f"{max_bytes}; write the shards with smaller row groups"
                )
            groups.append(RowGroup(path, index, group.num_rows))
    if not any(group.rows for group in groups):
        raise UserError(f"{folder}: its {split} shards hold no documents")
    return groups


def documents(
    groups: list[RowGroup], seed: int, epoch: int, *, image_size: int, max_pixels: int, start: int = 0
) -> Iterator[Document]:
    """One epoch's documents from the `start`-th on: row groups shuffled, and the rows within each.

    What lies before `start` is not read, unless it is in the same row group. An image that cannot be decoded is left
    out of its document and counted there.

    Raises:
        UserError: a row group that cannot be read.
    """
    for place in np.random.default_rng((seed, epoch)).permutation(len(groups)):
        group = groups[place]
        if start >= group.rows:
            start -= group.rows
            continue
        table = read(group, ["images", "texts"])
        first_row = sum(other.rows for other in groups if other.path == group.path and other.index < group.index)
        for row in np.random.default_rng((seed, epoch, int(place))).permutation(group.rows)[start:]:
            [values] = table.slice(row, 1).to_pylist()
            yield _document(f"{group.path.name}:{first_row + row}", values, image_size, max_pixels)
        start = 0


def texts(groups: list[RowGroup], limit: int) -> Iterator[str]:
    """The texts of the first `limit` documents, in the order of the shards; images are not read."""
    for group in groups:
        for row in read(group, ["texts"]).column("texts").to_pylist()[:limit]:
            yield from (text for text in row or () if text)
        limit -= min(limit, group.rows)
        if not limit:
            return


def read(group: RowGroup, columns: list[str]) -> Any:
    """Columns of a row group as an Arrow table.

    Raises:
        UserError: the file is gone or its pages are damaged.
    """
    try:
        with pq.ParquetFile(group.path) as file:
            return file.read_row_group(group.index, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{group.path}: row group {group.index} cannot be read: {_first_line(error)}") from None


def decode(data: bytes, size: int, max_pixels: int) -> Pixels | None:
    """An image as `size` × `size` RGB, as `IdeficsImageProcessor` makes it (bicubic, transparency on white).

    None where the bytes are no JPEG, PNG or WebP, are damaged, or hold more than `max_pixels`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # hostile files make PIL warn of many things; only a failure counts
            with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
                if image.width * image.height > max_pixels:
                    return None
                upright = PIL.ImageOps.exif_transpose(image)
                return np.array(_rgb(upright).resize((size, size), PIL.Image.Resampling.BICUBIC))
    except Exception:  # PIL's decoders raise nearly anything on damaged input: OSError, SyntaxError, struct.error …
        return None


def _rgb(image: PIL.Image.Image) -> PIL.Image.Image:
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    white = PIL.Image.new("RGBA", image.size, (255, 255, 255, 255))
    return PIL.Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")


def _document(key: str, row: dict[str, Any], image_size: int, max_pixels: int) -> Document:
    document = Document(key, [])
    for text, image in zip_longest(row["texts"] or (), row["images"] or ()):
        if text is not None:
            document.pieces.append(text)
        if image is not None:
            pixels = decode(image["bytes"] or b"", image_size, max_pixels)
            if pixels is None:
                document.broken_images += 1
            else:
                document.pieces.append(pixels)
    return document


def _check_schema(path: Path, schema: Any) -> None:
    for name, expected, matches in (
        ("texts", "list<string>", _is_text),
        ("images", "list<struct<bytes, path>>", _is_image),
    ):
        if name not in schema.names:
            raise UserError(f"{path}: no column {name!r}; expected {expected} (columns: {', '.join(schema.names)})")
        found = schema.field(name).type
        if not (pa.types.is_list(found) or pa.types.is_large_list(found)) or not matches(found.value_type):
            said = (
                "these shards hold addresses alone, training needs those with bytes; " if _is_text_list(found) else ""
            )
            raise UserError(f"{path}: column {name!r}: {said}expected {expected}, found {found}")


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_text_list(kind: Any) -> bool:
    return bool((pa.types.is_list(kind) or pa.types.is_large_list(kind)) and _is_text(kind.value_type))


def _is_image(kind: Any) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    data = kind.field("bytes").type
    return bool(pa.types.is_binary(data) or pa.types.is_large_binary(data))


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
