"""Parquet tables of pointers, or an index and a condition over its columns, in; one table of places, cut into shards, out."""

import glob
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from pipeline.database import connect, quoted
from pipeline.errors import UserError
from pipeline.places import read_bytes
from pipeline.remote import RemoteFile, about, is_remote
from pipeline.shards import THREADS, Picked
from pipeline.stores import listed

if TYPE_CHECKING:
    from pipeline.config import Input

POINTER = ("warc_filename", "warc_record_offset", "warc_record_length")
RECORDS = 1000  # of a shard at most: each may be a request of its own


def tables_of(paths: Sequence[str], key: str) -> list[str]:
    found: list[str] = []
    for path in paths:
        some = [path]
        if not is_remote(path):
            named = glob.glob(path, recursive=True) if glob.has_magic(path) else [path]
            some = [file for file in named if Path(file).is_file()]
        elif "*" in path and not path.startswith(("http://", "https://")):
            some = listed(path)
        if not some:
            raise UserError(f"{key}: {path}: no such file")
        found += sorted(some)
    return found


def stamp(path: str) -> list[Any]:
    stat = Path(path).stat()
    return [path, stat.st_size, stat.st_mtime_ns]


def write_places(folder: Path, names: Sequence[str], asked: "Input") -> None:
    """Puts the pointers that are wanted into one table, sorted, and beside it where shards begin and end."""
    index = asked.index
    where, limit, seed = (index.where, index.limit, index.seed) if index else ("true", None, 0)
    folder.mkdir(parents=True)

    def ask(numbered: tuple[int, str]) -> None:
        number, path = numbered
        _ask(path, where, folder / f"part-{number:05d}.parquet", "input.index" if index else "input.pointers")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, enumerate(names)))
    parts = sorted(folder.glob("part-*.parquet"))
    drawn = f"ORDER BY md5('{seed} ' || file || ' ' || \"offset\"), file, \"offset\" LIMIT {limit}" if limit else ""
    rows = f'SELECT DISTINCT file, "offset", length FROM read_parquet([{", ".join(map(quoted, parts))}]) {drawn}'
    query = (
        f'SELECT {quoted(asked.base)} || file AS file, "offset", length FROM ({rows}) ORDER BY file, "offset", length'
    )
    target = quoted(folder / "places.parquet")
    with _one_thread() as connection:
        connection.sql(f"COPY ({query}) TO {target} (FORMAT parquet, ROW_GROUP_SIZE 100000)")
    for part in parts:
        part.unlink()
    cuts = list(_cuts(folder / "places.parquet", asked.split))
    if not cuts:
        raise UserError(
            f"input: no record is chosen: {'input.index.where holds for none' if index else 'the table is empty'}"
        )
    (folder / "cuts.json").write_text(json.dumps(cuts), encoding="utf-8")


def _cuts(table: Path, split: int) -> Iterator[tuple[int, int, int, str]]:
    """First and last row of each shard, its bytes, and what tells it from another."""
    row = first = size = 0
    digest = hashlib.sha256()
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches():
            for path, offset, length in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if row > first and (size + length > split or row - first >= RECORDS):
                    yield first, row, size, digest.hexdigest()[:24]
                    first, size, digest = row, 0, hashlib.sha256()
                digest.update(f"{path} {offset} {length}\n".encode())
                size += length
                row += 1
    if row > first:
        yield first, row, size, digest.hexdigest()[:24]


def picked(folder: Path) -> list[Picked]:
    table = str(folder / "places.parquet")
    cuts = json.loads(read_bytes(folder / "cuts.json"))
    return [Picked(table, *values) for values in cuts]


def _ask(path: str, where: str, out: Path, key: str) -> None:
    """The pointers of one Parquet file for which the condition holds."""
    import duckdb

    with _one_thread() as connection:
        store = _Store()
        if is_remote(path):
            connection.register_filesystem(store)
        address = f"{store.protocol}://{path}" if is_remote(path) else path
        source = f"read_parquet([{quoted(address)}], hive_partitioning = true)"
        try:
            columns = [row[0] for row in connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            if missing := [name for name in POINTER if name not in columns]:
                raise UserError(f"{key}: {path}: has no column {', '.join(missing)}; it has {', '.join(columns)}")
            file, offset, length = POINTER
            query = (
                f'SELECT {file}::VARCHAR AS file, {offset}::BIGINT AS "offset", {length}::BIGINT AS length '
                f"FROM {source} WHERE ({where}\n)"
            )
            connection.sql(f"COPY ({query}) TO {quoted(out)} (FORMAT parquet)")
        except duckdb.Error as error:
            if store.failed is not None:
                raise store.failed from None
            raise UserError(f"{key}: {path}: {' '.join(str(error).split())[:300]}") from None


@contextmanager
def _one_thread() -> Iterator[Any]:
    """Files are asked side by side already."""
    with connect() as connection:
        connection.sql("SET threads = 1")
        yield connection


class _Store(AbstractFileSystem):  # type: ignore[misc]
    """Remote files as DuckDB reads them: under our limits and retries. DuckDB tells an error by its text alone, so what
    failed is kept."""

    protocol = "carnac"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.failed: UserError | None = None

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except UserError as error:
            self.failed = error
            raise OSError(str(error)) from None

    def _open(self, path: str, mode: str = "rb", **options: Any) -> RemoteFile:
        file: RemoteFile = self._told(lambda: _Told(path, self._told))
        return file

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        size = self._told(lambda: about(self._strip_protocol(path)).size)
        return {"name": path, "size": size, "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime(2000, 1, 1)

    def glob(self, path: str, **options: Any) -> list[str]:
        return [path]


class _Told(RemoteFile):
    """A read gives all that was asked for, as DuckDB expects."""

    def __init__(self, address: str, told: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(address)
        self._told = told

    def _at(self, position: int, size: int) -> bytes:
        data: bytes = self._told(lambda: super(_Told, self)._at(position, size))
        return data

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while len(found) < size and (part := super().read(size - len(found))):
            found += part
        return bytes(found)
