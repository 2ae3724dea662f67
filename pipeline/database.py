"""Parquet files by address, on this machine or on stores, in; a DuckDB connection that reads them out.

It downloads no extension: stores are read through fsspec, by ranges that are asked for again where that failed.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from pipeline.errors import UserError
from pipeline.places import patiently, place, store_of

T = TypeVar("T")
BLOCK = 1 << 20  # bytes that are asked for at once, at least


@contextmanager
def connect(files: Iterable[str] = ()) -> Iterator[Any]:
    """A connection that can read these files by name.

    Raises:
        UserError: a store did not give them.
    """
    import duckdb

    stores = [_Store(scheme) for scheme in sorted({file.partition("://")[0] for file in files if "://" in file})]
    connection = duckdb.connect()
    try:
        connection.sql("SET autoinstall_known_extensions = false")
        connection.sql("SET autoload_known_extensions = false")
        for store in stores:
            connection.register_filesystem(store)
        yield connection
    except duckdb.Error:  # which tells of other errors by their text alone
        for failed in (store.failed for store in stores if store.failed):
            raise failed from None
        raise
    finally:
        connection.close()


def quoted(value: object) -> str:
    """A value as a string of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def read_parquet(files: Iterable[object]) -> str:
    """The tables of these files as SQL names them."""
    return f"read_parquet([{', '.join(map(quoted, files))}], hive_partitioning = false)"


class _Store(AbstractFileSystem):  # type: ignore[misc]
    """The files of a store that are named by their whole addresses; each is what its own name says, and no pattern."""

    cachable = False

    def __init__(self, scheme: str) -> None:
        super().__init__()
        self.protocol = scheme
        self.failed: UserError | None = None
        self._sizes: dict[str, int] = {}

    def told(self, path: str, ask: Callable[[], T]) -> T:
        try:
            return patiently(path, ask)
        except UserError as error:
            self.failed = error
            raise
        except FileNotFoundError:
            self.failed = UserError(f"{path}: no such file, though a receipt tells of it; run again")
            raise

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        store, name = store_of(place(path))
        if path not in self._sizes:
            self._sizes[path] = int(self.told(path, lambda: store.info(name))["size"])
        return {"name": path, "size": self._sizes[path], "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime(2000, 1, 1)

    def glob(self, path: str, **options: Any) -> list[str]:
        return [path]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> "StoredFile":
        return StoredFile(self, path, "rb", BLOCK)


class StoredFile(AbstractBufferedFile):  # type: ignore[misc]
    """A file of a store that is read by ranges."""

    @classmethod
    def at(cls, path: Path) -> Self:
        return cls(_Store(""), str(path), "rb", BLOCK)

    def _fetch_range(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        if start >= end:
            return b""
        store, name = store_of(place(self.path))
        found: bytes = self.fs.told(self.path, lambda: store.cat_file(name, start=start, end=end))
        return found
