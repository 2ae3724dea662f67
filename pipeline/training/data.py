"""Rows of text and image bytes in; documents of text and pictures out, and Parquet shards as row groups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.pixels import Broken, Reader, look
from pipeline.training.config import Data
from pipeline.training.image_forms import ImageForm, Pictures


@dataclass(frozen=True, slots=True)
class Said:
    """Text of a dialogue, kept to the letter; `token`: it is the name of a special token and becomes that."""

    text: str
    learned: bool = False
    token: bool = False


@dataclass(slots=True)
class Raw:
    """A row as it was read. `key` is its file's name and its number there; bytes are an image, not yet decoded."""

    key: str
    pieces: list[str | Said | bytes]
    missing_images: int = 0  # of which there are no bytes


@dataclass(slots=True)
class Document:
    """A row as the model sees it."""

    key: str
    pieces: list[str | Said | Pictures]
    broken_images: int = 0  # that could not be decoded, or were too many
    missing_images: int = 0

    @property
    def images(self) -> int:
        return sum(isinstance(piece, Pictures) for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class RowGroup:
    path: Path
    index: int  # in its file
    rows: int
    first: int  # row, in the file


@dataclass(slots=True, weakref_slot=True)
class Unit:
    """What is read at once: rows by number. `notes` are lines for the user; `lost` counts what could not be read."""

    rows: int
    read: Callable[[int], Raw]
    notes: list[str] = field(default_factory=list)
    lost: int = 0


def document(raw: Raw, form: ImageForm, settings: Data) -> Document:
    """Decodes the images of a row; one that cannot be decoded is left out of its document and counted there."""
    made = Document(raw.key, [], missing_images=raw.missing_images)
    if not any(text.strip() for text in raw.pieces if isinstance(text, str)) and not any(
        isinstance(piece, Said) for piece in raw.pieces
    ):
        return made  # nothing would be learned from it: its images are not worth a look
    images = 0
    for piece in raw.pieces:
        if not isinstance(piece, bytes):
            made.pieces.append(piece)
            continue
        images += 1
        shown = decode(piece, form, settings) if images <= settings.max_images else None
        if shown is None:
            made.broken_images += 1
        else:
            made.pieces.append(shown)
    return made


def decode(data: bytes, form: ImageForm, settings: Data) -> Pictures | None:
    """An image as the form shows it: its first frame, upright, on white where it is transparent.

    None where the bytes are no image, are damaged, or are beyond the limits on bytes, pixels and seconds.
    """
    reader = Reader("pictures", form.enough, form.pictures)
    seen = look(
        data,
        max_bytes=settings.max_bytes,
        max_pixels=settings.max_pixels,
        seconds=settings.seconds,
        readers=[reader],
    )
    return None if isinstance(seen, Broken) else seen.read["pictures"]


def row_groups(paths: Sequence[Path], max_bytes: int) -> list[RowGroup]:
    """The row groups of Parquet files, in order; only footers are read.

    Raises:
        UserError: a file that is no Parquet, or a row group of more than `max_bytes`.
    """
    groups = []
    for path in paths:
        try:
            with pq.ParquetFile(path) as file:
                metadata = file.metadata
        except (pa.ArrowException, OSError) as error:
            raise UserError(f"{path}: no readable Parquet file: {first_line(error)}") from None
        first = 0
        for index in range(metadata.num_row_groups):
            group = metadata.row_group(index)
            if group.total_byte_size > max_bytes:
                raise UserError(
                    f"{path}: row group {index} holds {group.total_byte_size} bytes, over data.max_row_group "
                    f"{max_bytes}; write the shards with smaller row groups"
                )
            if group.num_rows:
                groups.append(RowGroup(path, index, group.num_rows, first))
            first += group.num_rows
    return groups


def read(group: RowGroup, columns: list[str]) -> Any:
    """Columns of a row group as an Arrow table.

    Raises:
        UserError: the file is gone or its pages are damaged.
    """
    try:
        with pq.ParquetFile(group.path) as file:
            return file.read_row_group(group.index, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{group.path}: row group {group.index} cannot be read: {first_line(error)}") from None


def schema_of(path: Path) -> Any:
    """The Arrow schema of a Parquet file whose footer is readable."""
    with pq.ParquetFile(path) as file:
        return file.schema_arrow


def shards(folder: Path, split: str) -> list[Path]:
    """`SPLIT-*.parquet` in a folder, as the pipeline writes them, by name.

    Raises:
        UserError: no such folder, or no shard of that split.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; it should hold the shards with image bytes that carnac run writes")
    paths = sorted(folder.glob(f"{split}-*.parquet"))
    if not paths:
        splits = sorted({path.name.rpartition("-")[0].split("-")[0] for path in folder.glob("*-*.parquet")})
        raise UserError(f"{folder}: no {split}-*.parquet in it (splits found: {', '.join(splits) or 'none'})")
    return paths


def check_schema(path: Path, schema: Any, *, bytes_needed: bool = True) -> None:
    """Refuses what is no shard of ours, nor of OBELICS's form.

    Raises:
        UserError: a column is missing or of another type, or images are addresses where bytes are needed.
    """
    for name, expected in (("texts", "list<string>"), ("images", "list<struct<bytes, path>>")):
        if name not in schema.names:
            raise UserError(f"{path}: no column {name!r}; expected {expected} (columns: {', '.join(schema.names)})")
        found = schema.field(name).type
        listed = pa.types.is_list(found) or pa.types.is_large_list(found)
        text = listed and is_text(found.value_type)
        if name == "images" and listed and (is_image(found.value_type) or (text and not bytes_needed)):
            continue
        if name != "texts" or not text:
            said = "these shards hold addresses alone, training needs those with bytes; " if text else ""
            raise UserError(f"{path}: column {name!r}: {said}expected {expected}, found {found}")


def is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_image(kind: Any) -> bool:
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    data = kind.field("bytes").type
    return bool(pa.types.is_binary(data) or pa.types.is_large_binary(data))


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
