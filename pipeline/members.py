"""A file of compressed members (gzip, zstd, lz4), perhaps damaged, in; their bytes, and where the next begins, out."""

import io
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO, Protocol

import lz4.frame
from isal import igzip_lib

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP = b"\x1f\x8b\x08"  # RFC 1952: magic number, then deflate, the one method there is
ZSTD = b"\x28\xb5\x2f\xfd"  # RFC 8878
LZ4 = b"\x04\x22\x4d\x18"
DICTIONARY = b"\x5d\x2a\x4d\x18"  # the skippable frame that holds it: IIPC, "Zstandard Compression for WARC Files" 1.0
MAX_DICTIONARY = 8 << 20  # bytes
WINDOW = 27  # log2 of the bytes that a zstd frame may ask for; as the command zstd has it
CHUNK = 1 << 16  # bytes
# Bytes of gzip'd data that are decompressed in one go, to 1032 times as many: two bits stand for 258 bytes.
BURST = 1 << 17
HELD = 16 << 20  # bytes of a member that are held in memory; of a larger one CHUNK after CHUNK
STORED = 65_535  # bytes of a stored block of deflate at most (RFC 1951, 3.2.4)
ENOUGH = 1 << 20  # compressed bytes


class Damaged(Exception):
    """This member cannot be read further; the message says why."""


class Decompressor(Protocol):
    """As `bz2.BZ2Decompressor`."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes | None: ...
    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


@dataclass(frozen=True)
class Codec:
    """`burst`: bytes that one step gives at most; -1 where the format itself bounds them."""

    name: str
    magic: bytes
    new: Callable[[], Decompressor]
    burst: int
    errors: tuple[type[Exception], ...]


def _gzip() -> Decompressor:
    return igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)


def codec_of(file: BinaryIO) -> Codec | None:
    """How the file is compressed by its first bytes; none where it is not, or where they are damaged."""
    file.seek(0)
    start = file.read(8)
    if start[:2] == GZIP[:2]:
        return GZIPPED
    if start[:4] == LZ4:
        return Codec("lz4 frame", LZ4, lz4.frame.LZ4FrameDecompressor, HELD, (RuntimeError, EOFError))
    if start[:4] not in (ZSTD, DICTIONARY):
        return None
    dictionary = None
    if start[:4] == DICTIONARY:
        content = file.read(min(int.from_bytes(start[4:8], "little"), MAX_DICTIONARY))
        try:
            content = zstd.decompress(content) if content[:4] == ZSTD and _small(content) else content
            dictionary = zstd.ZstdDict(content)
        except (zstd.ZstdError, ValueError):
            dictionary = None  # each frame that needs it is then damage
    return zstd_codec(dictionary)


def zstd_codec(dictionary: "zstd.ZstdDict | None" = None) -> Codec:
    options = {int(zstd.DecompressionParameter.window_log_max): WINDOW}

    def new() -> Decompressor:
        return zstd.ZstdDecompressor(zstd_dict=dictionary, options=options)

    return Codec("zstd frame", ZSTD, new, HELD, (zstd.ZstdError, EOFError))


def _small(frame: bytes) -> bool:
    return (zstd.get_frame_info(frame).decompressed_size or 0) <= MAX_DICTIONARY


GZIPPED = Codec("gzip member", GZIP, _gzip, -1, (igzip_lib.IsalError, EOFError))  # type: ignore[arg-type]  # the stub has an instance


class Held(io.BytesIO):
    """Bytes as a stream that hands on parts of them without a copy."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data

    def view(self, size: int) -> memoryview:
        """Reads up to `size` bytes."""
        at = self.tell()
        part = memoryview(self.data)[at : at + size]
        self.seek(at + len(part))
        return part


class Member(io.RawIOBase):
    """The decompressed bytes of the member at `start` and, by `continues`, of those that follow: bgzip and others cut members
    where they like. `end` is known when all were read; `opened` is the reader's, who saw a record header. `ahead` is what
    was read from `start` on before, `after` the same of what follows. Reading raises Damaged where a member, which begins
    at `block`, is damaged or cut off."""

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        codec: Codec,
        continues: Callable[[int], bool] | None = None,
        ahead: bytes = b"",
    ) -> None:
        self.file, self.codec, self.continues, self.ahead = file, codec, continues, ahead
        self.after = b""
        self.start = self.block = self.position = start
        self.end = -1
        self.opened = False
        self._engine = codec.new()
        self._input = b""

    def readable(self) -> bool:
        return True

    def open(self) -> BinaryIO:
        """All of its bytes where they are few, so that the checksum was verified before the first is seen; otherwise,
        or where they are damaged, a stream of them."""
        if self.continues is None and (data := self._whole()) is not None:
            return Held(data)
        return io.BufferedReader(self, CHUNK)

    def _whole(self) -> bytes | None:
        engine, part, position, parts, size = self.codec.new(), self.ahead, self.start + len(self.ahead), [], 0
        self.file.seek(position)
        try:
            while not engine.eof:
                if not part:
                    part = self.file.read(BURST)
                    position += len(part)
                parts.append(engine.decompress(part, self.codec.burst))
                size += len(parts[-1])
                if size >= HELD or not (part or parts[-1]):
                    return None
                part = b""
        except self.codec.errors:
            return None
        self.after = engine.unused_data or b""
        self.end = position - len(self.after)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            while not self._engine.eof:
                if data := self._next(len(buffer)):
                    buffer[: len(data)] = data
                    return len(data)
            self.end = self.position - len(self._engine.unused_data or b"")
            if self.continues is None or not self.continues(self.end):
                return 0
            self.block = self.position = self.end
            self._engine = self.codec.new()

    def _next(self, size: int) -> bytes:
        part = b""
        try:
            # What an engine still holds comes before more is read.
            if not self._engine.needs_input and ((data := self._engine.decompress(b"", size)) or self._engine.eof):
                return data
            self.file.seek(self.position)
            part = self.file.read(CHUNK)
            self.position += len(part)
            data = self._engine.decompress(part, size)
        except self.codec.errors as error:
            raise Damaged(f"damaged {self.codec.name}: {' '.join(str(error).split())}") from error
        if not (part or data or self._engine.eof):
            raise Damaged(f"the file ends inside a {self.codec.name}")
        return data


def past_skippable(file: BinaryIO, position: int, codec: Codec) -> int:
    """Where the frames end that only carry something along (RFC 8878, 3.1.2), a dictionary for one."""
    while codec is not GZIPPED:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8 or head[1:4] != DICTIONARY[1:] or head[0] & 0xF0 != 0x50:
            break
        position += 8 + int.from_bytes(head[4:], "little")
    return position


def opening(file: BinaryIO, position: int, codec: Codec) -> bytes:
    """The first bytes of the member at `position`; b"" where none begins there."""
    file.seek(position)
    data = file.read(4096)
    if not data.startswith(codec.magic):
        return b""
    try:
        return codec.new().decompress(data, 4096)
    except codec.errors:
        return b""


def next_member(
    file: BinaryIO, position: int, codec: Codec, plausible: Callable[[bytes], bool], before: int | None = None
) -> int | None:
    """Where the next member begins, from `position` on and not long after `before`, whose first bytes are `plausible`: the
    magic number alone occurs by chance, too, once in 16 MiB of gzip'd data."""
    while before is None or position < before:
        file.seek(position)
        data = file.read(CHUNK)
        at = data.find(codec.magic)
        while at >= 0:
            if plausible(opening(file, position + at, codec)):
                return position + at
            at = data.find(codec.magic, at + 1)
        if len(data) < CHUNK:
            return None
        position += len(data) - len(codec.magic) + 1
    return None


def border(
    file: BinaryIO, position: int, codec: Codec, plausible: Callable[[bytes], bool], before: int | None = None
) -> int | None:
    """The first member from `position` on that is no part of another: where the file may be cut.

    A WARC file that was itself captured can stand in a member as it is, in stored blocks of deflate. Between two of these
    stand five bytes that belong to neither, so members that follow each other for longer than a block is are the file's own.
    """
    size = file.seek(0, io.SEEK_END)
    at = next_member(file, position, codec, plausible, before)
    while at is not None:
        end = at
        while at + STORED >= end != size:
            following = _end(file, end, codec)
            if following is None:
                break
            end = following
        else:
            return at
        at = next_member(file, max(end, at + 1), codec, plausible, before)
    return None


def _end(file: BinaryIO, start: int, codec: Codec) -> int | None:
    """Where the member at `start` ends, or for a large one how far it was found whole; none where it is damaged."""
    member = Member(file, start, codec)
    part = bytearray(CHUNK)
    try:
        while member.readinto(memoryview(part)):
            if member.position - start > ENOUGH:
                return member.position
    except Damaged:
        return None
    return member.end
