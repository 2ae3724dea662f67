"""A file of gzip members, perhaps damaged, in; the bytes of one member, and where the next one begins, out."""

import io
import zlib
from collections.abc import Callable
from typing import BinaryIO

GZIP = b"\x1f\x8b\x08"  # RFC 1952: magic number, then deflate, the one method there is
CHUNK = 1 << 16  # bytes


class Damaged(Exception):
    """This gzip member cannot be read further; the message says why."""


class Member(io.RawIOBase):
    """The decompressed bytes of the gzip member at `start`; `end` is known when all were read, `opened` says whether
    a record header was seen. Reading raises Damaged where the member is damaged or cut off."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self.file = file
        self.start = self.position = start
        self.end = -1
        self.opened = False
        self._zlib = zlib.decompressobj(wbits=31)
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._zlib.eof:
            if not self._input:
                self.file.seek(self.position)
                self._input = self.file.read(CHUNK)
                self.position += len(self._input)
            cut = not self._input
            try:
                data = self._zlib.decompress(self._input, len(buffer))
            except zlib.error as error:
                raise Damaged(f"damaged gzip member: {error}") from error
            self._input = self._zlib.unconsumed_tail
            if self._zlib.eof:
                self.end = self.position - len(self._zlib.unused_data)
            if data:
                buffer[: len(data)] = data
                return len(data)
            if cut:
                raise Damaged("the file ends inside a gzip member")
        return 0


def next_member(file: BinaryIO, position: int, plausible: Callable[[bytes], bool]) -> int | None:
    """Where the next gzip member begins, from `position` on, whose first bytes are `plausible`: the magic number alone
    occurs by chance, too, once in 16 MiB of compressed data."""
    while True:
        file.seek(position)
        data = file.read(CHUNK)
        at = data.find(GZIP)
        while at >= 0:
            file.seek(position + at)
            try:
                opening = zlib.decompressobj(wbits=31).decompress(file.read(4096), 4096)
            except zlib.error:
                opening = b""
            if plausible(opening):
                return position + at
            at = data.find(GZIP, at + 1)
        if len(data) < CHUNK:
            return None
        position += len(data) - len(GZIP) + 1
