"""Sources as configured in; units of rows out: row groups, parts of JSONL files, blocks of datasets, tars."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import UserError
from pipeline.training import data, rows
from pipeline.training.addresses import Addressed, addressed
from pipeline.training.config import Data, Source
from pipeline.training.data import Raw, RowGroup, Unit
from pipeline.training.tars import Tars

PART = 8 << 20  # bytes of a JSONL file that are one unit
MAX_LINE = 64 << 20  # bytes of a row of JSONL, images by path not counted
BLOCK = 500  # rows of a dataset that are one unit


class Opened(Protocol):
    """A source that was found as configured."""

    @property
    def units(self) -> int: ...

    @property
    def rows(self) -> int | None:
        """None where only reading tells."""

    def open(self, unit: int) -> Unit: ...

    def texts(self, unit: int) -> Iterator[list[str]]:
        """The texts of a unit's rows, without reading images."""


@dataclass(frozen=True, slots=True)
class Parquet:
    source: Source
    settings: Data
    groups: list[RowGroup]
    images: Addressed
    prefix: str = ""

    @property
    def units(self) -> int:
        return len(self.groups)

    @property
    def rows(self) -> int:
        return sum(group.rows for group in self.groups)

    def open(self, unit: int) -> Unit:
        group = self.groups[unit]
        present = data.schema_of(group.path).names
        table = data.read(group, [name for name in _columns(self.source) if name in present])
        return _of_table(table, f"{self.prefix}{group.path.name}", group.first, self)

    def texts(self, unit: int) -> Iterator[list[str]]:
        group = self.groups[unit]
        present = data.schema_of(group.path).names
        wanted = [name for name in _columns(self.source, images=False) if name in present]
        for row in data.read(group, wanted).to_pylist():
            yield list(rows.plain_texts(row, self.source.columns))


@dataclass(frozen=True, slots=True)
class Lines:
    """JSONL, in parts: a line is of the part in which it begins."""

    source: Source
    settings: Data
    parts: list[tuple[Path, int, int]]
    images: Addressed
    prefix: str = ""
    rows: None = None

    @property
    def units(self) -> int:
        return len(self.parts)

    def open(self, unit: int) -> Unit:
        path, start, _ = self.parts[unit]
        found, lost = self._rows(unit)
        resolve = self.images.of(a for _, row in found for a in rows.addresses(row, self.source.columns))

        def read(row: int) -> Raw:
            begins, values = found[row]
            key = f"{self.prefix}{path.name}:{begins}"
            return rows.raw(key, values, self.source, self.settings.template, resolve)

        said = f"{path}: {lost} lines from byte {start} on are no JSON object, or too long, and were left out"
        return Unit(len(found), read, [said] if lost else [], lost)

    def texts(self, unit: int) -> Iterator[list[str]]:
        for _, row in self._rows(unit)[0]:
            yield list(rows.plain_texts(row, self.source.columns))

    def _rows(self, unit: int) -> tuple[list[tuple[int, dict[str, Any]]], int]:
        """Rows with the byte at which each begins, and how many lines are none."""
        path, start, end = self.parts[unit]
        found, lost = list[tuple[int, dict[str, Any]]](), 0
        try:
            with path.open("rb") as file:
                if start:
                    file.seek(start - 1)
                    while (rest := file.readline(MAX_LINE)) and not rest.endswith(b"\n"):
                        pass  # the line before, which is the part's before
                while (begins := file.tell()) < end and (line := file.readline(MAX_LINE)):
                    whole = line.endswith(b"\n") or len(line) < MAX_LINE
                    while len(line) == MAX_LINE and not line.endswith(b"\n"):
                        line = file.readline(MAX_LINE)
                    row = _json(line) if whole else None
                    if isinstance(row, dict):
                        found.append((begins, row))
                    else:
                        lost += not whole or bool(line.strip())
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None
        return found, lost


def _of_table(table: Any, name: str, first: int, of: "Parquet | Saved") -> Unit:
    """The rows of an Arrow table, the first of which is the `first` of all that is called `name`."""
    resolve = of.images.of(
        address
        for row in (table.to_pylist() if of.images else ())
        for address in rows.addresses(row, of.source.columns)
    )

    def read(row: int) -> Raw:
        [values] = table.slice(row, 1).to_pylist()
        return rows.raw(f"{name}:{first + row}", values, of.source, of.settings.template, resolve)

    return Unit(len(table), read)


@dataclass(slots=True)
class Saved:
    """What `datasets.save_to_disk` wrote, opened anew in each process."""

    source: Source
    settings: Data
    rows: int
    images: Addressed
    prefix: str = ""
    _dataset: Any = None

    @property
    def units(self) -> int:
        return -(-self.rows // BLOCK)

    def __getstate__(self) -> tuple[Any, ...]:
        return self.source, self.settings, self.rows, self.images, self.prefix

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.source, self.settings, self.rows, self.images, self.prefix = state
        self._dataset = None

    def open(self, unit: int) -> Unit:
        first = unit * BLOCK
        table = self._table(unit, _columns(self.source))
        return _of_table(table, f"{self.prefix}{Path(self.source.path).name}", first, self)

    def texts(self, unit: int) -> Iterator[list[str]]:
        for row in self._table(unit, _columns(self.source, images=False)).to_pylist():
            yield list(rows.plain_texts(row, self.source.columns))

    def _table(self, unit: int, wanted: list[str]) -> Any:
        if self._dataset is None:
            self._dataset = load_saved(self.source).with_format("arrow")
        first = unit * BLOCK
        names = [name for name in wanted if name in self._dataset.column_names]
        return self._dataset.select_columns(names)[first : min(first + BLOCK, self.rows)]


def open_sources(settings: Data) -> list[Opened]:
    """All sources, found and checked; only footers and names are read.

    Raises:
        UserError: a folder that is not there or holds nothing of its kind, or columns that are missing.
    """
    several = settings.path is None
    return [_open(source, settings, f"{source.name}/" if several else "") for source in settings.listed]


def _open(source: Source, settings: Data, prefix: str) -> Opened:
    path = Path(source.path)
    if source.kind == "pairs":
        return Tars.found(source, settings, prefix)
    images = addressed(source, settings)
    if source.kind in {"documents", "obelics"}:
        paths = data.shards(path, source.split)
    else:
        if not path.exists():
            raise UserError(f"{path}: no such folder or file, which the source {source.name} names")
        if (path / "dataset_info.json").is_file() or (path / "dataset_dict.json").is_file():
            saved = load_saved(source)
            _check_columns(path, source, saved.column_names)
            return _filled(Saved(source, settings, len(saved), images, prefix), path)
        paths = _files(path, source.split)
    if paths[0].suffix == ".jsonl":
        parts = [
            (p, at, min(at + PART, size)) for p in paths for size in [p.stat().st_size] for at in range(0, size, PART)
        ]
        return _filled(Lines(source, settings, parts, images, prefix), path)
    groups = data.row_groups(paths, settings.max_row_group)
    for each in paths:
        schema = data.schema_of(each)
        if source.kind in {"documents", "obelics"}:
            data.check_schema(each, schema, bytes_needed=source.kind == "documents" and not images)
        else:
            _check_columns(each, source, schema.names)
    if not groups:
        raise UserError(f"{path}: its {source.split} shards hold no documents")
    return Parquet(source, settings, groups, images, prefix)


def load_saved(source: Source) -> Any:
    """What `save_to_disk` wrote; of a dictionary of datasets the source's split.

    Raises:
        UserError: it cannot be read, or has no such split.
    """
    from datasets import DatasetDict, load_from_disk

    try:
        saved = load_from_disk(source.path)
    except Exception as error:  # datasets raises nearly anything on a folder that is damaged
        raise UserError(f"{source.path}: no readable dataset: {data.first_line(error)}") from None
    if isinstance(saved, DatasetDict):
        if source.split not in saved:
            raise UserError(f"{source.path}: no split {source.split!r} in it (splits: {', '.join(saved)})")
        return saved[source.split]
    return saved


def in_order(opened: Opened) -> Iterator[Raw]:
    """All rows as they stand."""
    for number in range(opened.units):
        unit = opened.open(number)
        yield from map(unit.read, range(unit.rows))


def texts(sources: list[Opened], limit: int) -> Iterator[str]:
    """The texts of the first `limit` documents, of each source in turn; images are not read."""
    streams = [_rows_of_texts(source) for source in sources]
    while streams and limit > 0:
        for stream in list(streams):
            row = next(stream, None)
            if row is None:
                streams.remove(stream)
            elif limit > 0:
                limit -= 1
                yield from row


def _rows_of_texts(opened: Opened) -> Iterator[list[str]]:
    for unit in range(opened.units):
        yield from opened.texts(unit)


def _files(path: Path, split: str) -> list[Path]:
    """Parquet or JSONL files: the path itself, those of the split by their names, else all in the folder."""
    if path.is_file():
        return [path]
    for ending in ("parquet", "jsonl"):
        if found := sorted(path.glob(f"{split}-*.{ending}")) or sorted(path.glob(f"*.{ending}")):
            return found
    raise UserError(f"{path}: no Parquet, no JSONL and no saved dataset in it")


def _columns(source: Source, *, images: bool = True) -> list[str]:
    if source.kind in {"documents", "obelics"}:
        return ["texts", "images"] if images else ["texts"]
    named = source.columns
    found = [named.messages if source.kind == "dialogues" else named.text, named.texts]
    return found if not images or source.kind == "text" else [*found, named.image, named.images]


def _check_columns(path: Path, source: Source, present: list[str]) -> None:
    texts = _columns(source, images=False)
    if not set(texts).intersection(present):
        raise UserError(
            f"{path}: no column {' or '.join(texts)} for the source {source.name} (columns: {', '.join(present)}); "
            "name them under columns"
        )


def _filled(opened: Opened, path: Path) -> Opened:
    if not opened.units:
        raise UserError(f"{path}: it holds no rows")
    return opened


def _json(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
