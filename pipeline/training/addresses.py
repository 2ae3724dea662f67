"""Addresses of images in; their bytes out, from a folder of files or from Parquet."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.training.config import Data, Source
from pipeline.training.data import RowGroup, read, row_groups, schema_of
from pipeline.training.rows import Resolve
from pipeline.work import key64

# What tables of images call the two: the image stage's pixels (`path`, `bytes`), img2dataset (`url`, `jpg`), others.
ADDRESSES, BYTES = ("path", "url", "src", "address"), ("bytes", "jpg", "image")


class Addressed(Protocol):
    """Where the bytes of images are that documents name by address; false where nothing is to be had."""

    def __bool__(self) -> bool: ...

    def of(self, addresses: Iterable[str]) -> Resolve:
        """Looks up the addresses of a unit; what is returned knows these alone."""


@dataclass(frozen=True, slots=True)
class Nowhere:
    def __bool__(self) -> bool:
        return False

    def of(self, addresses: Iterable[str]) -> Resolve:
        return lambda address: None


@dataclass(frozen=True, slots=True)
class Files:
    """Files in a folder: by their path in it, or by the SHA-256 of the address in hexadecimal."""

    folder: Path
    max_bytes: int

    def __bool__(self) -> bool:
        return True

    def of(self, addresses: Iterable[str]) -> Resolve:
        return self._read

    def _read(self, address: str) -> bytes | None:
        for name in (address, hashlib.sha256(address.encode("utf-8", "replace")).hexdigest()):
            try:
                path = (self.folder / PurePosixPath(name)).resolve()
                if path.is_relative_to(self.folder) and path.is_file() and path.stat().st_size <= self.max_bytes:
                    return path.read_bytes()
            except (OSError, ValueError):  # a name that no file can have
                continue
        return None


@dataclass(frozen=True, slots=True)
class Table:
    """Parquet with a column of addresses and one of bytes, or shards of ours with both in `images`.

    In memory are 64-bit hashes of all addresses and where each stands: 16 bytes an image. The row groups that a unit's
    images lie in are read once a unit, so it is well if both come in the same order.
    """

    groups: list[RowGroup]
    hashes: NDArray[np.int64]  # sorted
    places: NDArray[np.int32]  # [images, 2]: row group, row in it (of nested shards the image in it)
    nested: bool

    def __bool__(self) -> bool:
        return True

    def of(self, addresses: Iterable[str]) -> Resolve:
        wanted = {key64("image", address): address for address in addresses}
        keys = np.fromiter(wanted, np.int64, len(wanted))
        at = np.searchsorted(self.hashes, keys)
        by_group: dict[int, list[tuple[int, str]]] = {}
        for key, place in zip(keys, at, strict=True):
            if place < len(self.hashes) and self.hashes[place] == key:
                group, row = map(int, self.places[place])
                by_group.setdefault(group, []).append((row, wanted[int(key)]))
        found: dict[str, bytes] = {}
        for group, rows in sorted(by_group.items()):
            known, bodies = _columns(self.groups[group], self.nested)
            for row, address in rows:
                # A hash can be shared: the address itself decides.
                if known[row].as_py() == address and (body := bodies[row].as_py()):
                    found[address] = body
        return found.get


def addressed(source: Source, settings: Data) -> Addressed:
    """What a source's `images` names.

    Raises:
        UserError: it is not there, or its Parquet has no columns for address and bytes.
    """
    if source.images is None:
        return Nowhere()
    path = Path(source.images)
    if not path.exists():
        raise UserError(f"{path}: no such folder or file, which the source {source.name} names under images")
    paths = [path] if path.is_file() else sorted(path.glob("*.parquet"))
    # The image stage keeps its pixels beside other tables.
    paths = [p for p in paths if p.name.endswith(".pixels.parquet")] or paths
    if not paths:
        return Files(path.resolve(), settings.max_bytes)
    groups = row_groups(paths, settings.max_row_group)
    if not groups:
        raise UserError(f"{path}: its tables hold no images")
    schema = schema_of(groups[0].path)
    nested = "images" in schema.names
    if not nested and (not _named(schema.names, ADDRESSES) or not _named(schema.names, BYTES)):
        raise UserError(
            f"{groups[0].path}: no column of addresses ({', '.join(ADDRESSES)}) or of bytes ({', '.join(BYTES)}); "
            f"columns: {', '.join(schema.names)}"
        )
    keys, places = list[int](), list[tuple[int, int]]()
    for number, group in enumerate(groups):
        for row, address in enumerate(_addresses(group, nested)):
            if address is not None:
                keys.append(key64("image", address))
                places.append((number, row))
    order = np.argsort(np.array(keys, np.int64), kind="stable")  # of two copies the first is found
    return Table(groups, np.array(keys, np.int64)[order], np.array(places, np.int32).reshape(-1, 2)[order], nested)


def _addresses(group: RowGroup, nested: bool) -> Iterator[str | None]:
    if nested:
        yield from _flat(read(group, ["images.list.element.path"]), "path").to_pylist()
    else:
        yield from read(group, [_named(schema_of(group.path).names, ADDRESSES)]).column(0).to_pylist()


def _columns(group: RowGroup, nested: bool) -> tuple[Any, Any]:
    if nested:
        table = read(group, ["images"])
        return _flat(table, "path"), _flat(table, "bytes")
    with pq.ParquetFile(group.path) as file:
        names = file.schema_arrow.names
    table = read(group, [_named(names, ADDRESSES), _named(names, BYTES)])
    return table.column(_named(names, ADDRESSES)), table.column(_named(names, BYTES))


def _flat(table: Any, name: str) -> Any:
    """A field of all images of a row group's documents, one after the other."""
    return table.column("images").combine_chunks().flatten().field(name)


def _named(present: list[str], known: tuple[str, ...]) -> str:
    return next((name for name in known if name in present), "")
