"""Where things lie: inputs named by the user are listed, outputs are written aside and get their names when whole."""

import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.archive import WACZ_SUFFIX, WARC_SUFFIXES, base_name, open_warc, warcs_inside
from pipeline.copies import going_to, here
from pipeline.errors import UserError
from pipeline.places import FULL, full, on_store, place, write_bytes
from pipeline.remote import about, is_remote
from pipeline.stores import listed

_BATCH = 512  # rows that wait before they are written


def list_warcs(paths: Sequence[str], key: str = "input.paths") -> list[str]:
    """The WARC files that paths, folders and globs under `key` of the configuration name, sorted, each once; those
    inside a WACZ by their place there.

    Raises:
        UserError: a path that does not exist, a folder, glob or WACZ without a WARC file.
    """
    suffixes = (*WARC_SUFFIXES, WACZ_SUFFIX)
    found: set[str] = set()
    for path in paths:
        if is_remote(path):
            files = _remote_files(path, key, suffixes)
        elif Path(path).is_dir():
            files = [str(file) for file in Path(path).rglob("*") if file.name.endswith(suffixes)]
        elif glob.has_magic(path):
            files = [file for file in glob.glob(path, recursive=True) if Path(file).is_file()]
        elif Path(path).is_file():
            files = [path]
        else:
            raise UserError(f"{key}: {path}: no such file or folder")
        if not files:
            raise UserError(f"{key}: {path}: holds no file named {', '.join('*' + s for s in suffixes)}")
        for file in files:
            found.update(warcs_inside(file) if file.endswith(WACZ_SUFFIX) else [file])
    return sorted(found)


def _remote_files(address: str, key: str, suffixes: tuple[str, ...]) -> list[str]:
    """A file by its name; of a folder or glob, those that the store lists, which hosts do not."""
    folder = "*" not in address and not address.lower().endswith(suffixes)
    if address.startswith(("http://", "https://")):
        if "*" in address:
            raise UserError(f"{key}: {address}: a host lists no files; name each, or a crawl (input.crawl)")
        return [address]
    if not folder and "*" not in address:
        return [address]
    return [file for file in listed(address) if file.lower().endswith(suffixes)]


def identity(path: str) -> str:
    """What tells one input file from another without reading it all: name, size, hash of both ends; of a remote file its
    address, size and etag."""
    if is_remote(path):
        return f"{path} {about(path.partition('#')[0]).mark}"
    with open_warc(path) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        digest = hashlib.sha256(file.read(65536))
        file.seek(max(0, size - 65536))
        digest.update(file.read(65536))
    return f"{base_name(path)} {size} {digest.hexdigest()[:16]}"


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A name to write to beside `path`; renamed to `path` at the end, removed if writing fails. Of a path on a store it is
    one of this machine, and what was written goes there whole at the end.

    Raises:
        StorageFull: the disk, a quota or a limit on file sizes stopped the writing.
    """
    if on_store(path):
        with _or_full(path), going_to(path) as temporary:
            yield temporary
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _or_full(path):
            yield temporary
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def _or_full(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise full(path, os.strerror(error.errno)) from None
        raise


def remove_leftovers(folder: Path) -> None:
    """Removes what a killed process was writing on this machine; on a store nothing is half written."""
    for path in list(folder.rglob(".*.tmp")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if on_store(path):
        write_bytes(path, text.encode())
        return
    with aside(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


class TableWriter:
    """Rows in, one Parquet file out, in row groups of about `row_group_size` bytes (as held in memory): at most half as
    many again where the sizes of large rows are told, but for a single row that is larger itself."""

    def __init__(self, path: Path, schema: pa.Schema, row_group_size: int = 64 * 10**6) -> None:
        self.path, self.schema, self.row_group_size = path, schema, row_group_size
        self.rows = 0
        self._waiting: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []
        self._size = 0  # bytes of the waiting rows, as far as they were told
        self._held = 0  # bytes of the batches
        # With a checksum a page, so that damage is found where it is by whoever asks for it when reading.
        self._file = pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True)

    def write(self, row: dict[str, Any], size: int = 0) -> None:
        """`size`: bytes of the row where it is large, so that few large rows do not wait for many."""
        if self._held + self._size + size > self.row_group_size:
            self._flush()
            self._write_group()
        self._waiting.append(row)
        self._size += size
        self.rows += 1
        if len(self._waiting) >= _BATCH:
            self._flush()

    def write_columns(self, columns: dict[str, Any]) -> None:
        """Many rows at once: arrays by the name of their column."""
        self._flush()
        self._hold(pa.RecordBatch.from_pydict(columns, schema=self.schema))
        self.rows += self._batches[-1].num_rows
        self._flush()

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)
        self._held += batch.nbytes

    def _flush(self) -> None:
        if self._waiting:
            batch = pa.RecordBatch.from_pylist(self._waiting, schema=self.schema)
            self._waiting, self._size = [], 0
            self._hold(batch)
        if self._held >= self.row_group_size:
            self._write_group()

    def _write_group(self) -> None:
        if not self._batches:
            return
        table = pa.Table.from_batches(self._batches, schema=self.schema)
        pieces = max(1, round(self._held / self.row_group_size))  # more than one where sizes were not told
        self._batches, self._held = [], 0
        self._file.write_table(table, row_group_size=-(-table.num_rows // pieces))

    def close(self) -> None:
        try:
            self._flush()
            self._write_group()
        finally:
            self._file.close()


def read_rows(path: str | Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a Parquet file, a few at a time in memory."""
    with here(place(path)) as found, pq.ParquetFile(found) as file:
        for batch in file.iter_batches(batch_size=256, columns=columns):
            yield from batch.to_pylist()


def read_table(path: str | Path) -> pa.Table:
    """A Parquet file, all of it in memory. Raises FileNotFoundError."""
    with here(place(path)) as found, pq.ParquetFile(found) as file:
        return file.read()


@contextmanager
def open_table(path: str | Path) -> Iterator[pq.ParquetFile]:
    """A Parquet file of which little is read: of one on a store only what is asked for comes here."""
    source: Any = place(path)
    if on_store(source):
        from pipeline.database import StoredFile

        source = StoredFile.at(source)
    with pq.ParquetFile(source) as file:
        yield file


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
