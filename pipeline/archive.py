"""The path of a WARC file, or of one inside a WACZ (`crawl.wacz#archive/data.warc.gz`), in; an open file out."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from pipeline.errors import UserError
from pipeline.remote import about, is_remote, open_remote

WARC_SUFFIXES = tuple(kind + coding for kind in (".warc", ".arc") for coding in ("", ".gz", ".zst", ".lz4"))
WACZ_SUFFIX = ".wacz"
_INSIDE = f"{WACZ_SUFFIX}#"
BUFFER = 1 << 17  # bytes
_LOCAL_HEADER = 30  # bytes before the name in it (APPNOTE.TXT, 4.3.7)


def warcs_inside(path: str) -> list[str]:
    """The WARC files of a WACZ (WACZ 1.1.1, 5.2.1), as paths that `open_warc` takes.

    Raises:
        UserError: the file is no ZIP, or holds none.
    """
    with _zip(path) as archive:
        names = sorted({info.filename for info in archive.infolist() if _is_warc(info.filename)})
    if not names:
        raise UserError(f"{path}: is no WACZ: it holds no WARC file under archive/")
    return [f"{path}#{name}" for name in names]


def base_name(path: str) -> str:
    """What documents call their file: the base name, and of one inside a WACZ its place there, too."""
    outer, inner = _parts(path)
    return f"{Path(outer).name}#{inner}" if inner else Path(path).name


def open_warc(path: str, wanted: tuple[int, int | None] = (0, 0)) -> BinaryIO:
    """The file, which can be sought in; one that a WACZ holds uncompressed is read in its place. `wanted`: where it will be
    read, so that few requests bring that of a remote file.

    Raises:
        UserError: it cannot be opened.
    """
    outer, inner = _parts(path)
    if not inner:
        return _open(path, wanted)
    with _zip(outer) as archive:
        try:
            info = archive.getinfo(inner)
        except KeyError:
            raise UserError(f"{path}: {outer} holds no {inner}") from None
    if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError(f"{path}: cannot be read: encrypted, or packed by ZIP's method {info.compress_type}")
    file = _open(outer)
    file.seek(info.header_offset)
    head = file.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
    part: io.RawIOBase = _Part(file, start, info.compress_size)
    if info.compress_type == zipfile.ZIP_DEFLATED:
        part = Inflated(part, info.file_size)
    return io.BufferedReader(part, BUFFER)


def size_of(path: str) -> int:
    """Bytes of the file. Raises UserError where it cannot be opened."""
    if is_remote(path) and not _parts(path)[1]:
        return about(path).size
    if not _parts(path)[1]:
        try:
            return Path(path).stat().st_size
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    with open_warc(path) as file:
        return file.seek(0, os.SEEK_END)


def _is_warc(name: str) -> bool:
    return name.startswith("archive/") and name.lower().endswith(WARC_SUFFIXES)


def _parts(path: str) -> tuple[str, str]:
    outer, mark, inner = path.partition(_INSIDE)
    return (outer + WACZ_SUFFIX, inner) if mark and not Path(path).exists() else (path, "")


def _open(path: str, wanted: tuple[int, int | None] = (0, 0)) -> BinaryIO:
    if is_remote(path):
        return open_remote(path, wanted)  # type: ignore[return-value]
    try:
        return Path(path).open("rb", buffering=BUFFER)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


@contextmanager
def _zip(path: str) -> Iterator[zipfile.ZipFile]:
    try:
        with _open(path) as file, zipfile.ZipFile(file) as archive:
            yield archive
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise UserError(f"{path}: is no WACZ: {error}") from None


class _Placed(io.RawIOBase):
    """A file of `size` bytes that can be sought in."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self.position, os.SEEK_END: self.size}[whence]
        self.position = max(0, base + offset)
        return self.position

    def tell(self) -> int:
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._at(self.position, max(0, min(len(buffer), self.size - self.position)))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def _at(self, position: int, size: int) -> bytes:
        raise NotImplementedError


class _Part(_Placed):
    """`size` bytes of a file from `start` on."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__(max(0, min(size, file.seek(0, os.SEEK_END) - start)))
        self.file, self.start = file, start

    def _at(self, position: int, size: int) -> bytes:
        self.file.seek(self.start + position)
        return self.file.read(size)

    def close(self) -> None:
        self.file.close()
        super().close()


class Inflated(_Placed):
    """What deflated bytes unpack to; seeking back begins anew. zipfile's own checks a sum over all of it, and would give
    nothing of what is damaged in one place."""

    def __init__(self, packed: io.RawIOBase, size: int) -> None:
        super().__init__(size)
        self.packed = packed
        self._begin()

    def _begin(self) -> None:
        self.packed.seek(0)
        self._engine, self._reached, self._left = zlib.decompressobj(wbits=-15), 0, b""

    def _at(self, position: int, size: int) -> bytes:
        if position < self._reached:
            self._begin()
        while size:
            self._left = self._left or self.packed.read(1 << 16) or b""
            try:
                data = self._engine.decompress(self._left, min(position - self._reached, 1 << 20) or size)
            except zlib.error as error:
                raise OSError(f"damaged ZIP: {error}") from error
            if not data and not self._left:
                break
            self._left = self._engine.unconsumed_tail
            self._reached += len(data)
            if self._reached > position:
                return data
        return b""

    def close(self) -> None:
        self.packed.close()
        super().close()
