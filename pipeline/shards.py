"""Input files in; the shards of work, each a part of a file from one byte to another, out."""

import io
from collections.abc import Sequence
from typing import BinaryIO, NamedTuple

from pipeline.archive import Inflated, open_warc, size_of
from pipeline.errors import UserError
from pipeline.header import opens_record, search
from pipeline.members import CHUNK, GZIPPED, Damaged, Member, border, codec_of, next_member, past_skippable
from pipeline.storage import identity
from pipeline.warc import no_warc

FIRST = 64 << 20  # bytes in which a file that can be cut shows a second member


class Part(NamedTuple):
    """What `warc.read` takes: a file and where a part of it begins and ends. A shard's inputs hold it as strings; a path
    alone is all of the file."""

    path: str
    start: int
    end: int

    @classmethod
    def of(cls, inputs: Sequence[str]) -> "Part":
        path, *ends = inputs
        start, end = map(int, ends) if ends else (0, size_of(path))
        return cls(path, start, end)

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.path, str(self.start), str(self.end)

    @property
    def fingerprint(self) -> str:
        return f"{identity(self.path)} {self.start} {self.end}"


def parts_of(paths: Sequence[str], split: int) -> list[Part]:
    """The files in their order, each cut into parts of about `split` bytes, as even as can be.

    Only a file of gzip members, one a record, can be cut. Any other is one part: zstd and lz4 frames carry no checksum
    that must be there, and what looks like a record header in an uncompressed file may be a page's own text.

    Raises:
        UserError: a file that cannot be opened, or whose beginning shows that it is no WARC or ARC file.
    """
    found = []
    for path in paths:
        check(path)
        size = size_of(path)
        count = max(1, round(size / split))
        if count > 1 and not can_be_cut(path):
            count = 1
        found += [Part(path, size * number // count, size * (number + 1) // count) for number in range(count)]
    return found


def check(path: str) -> None:
    """Raises UserError where the beginning of a file shows that it is no WARC or ARC file; damage passes."""
    with open_warc(path) as file:
        codec = codec_of(file)
        try:
            if codec:
                member = Member(file, past_skippable(file, 0, codec), codec)
                start = io.BufferedReader(member, CHUNK).read(CHUNK)
            else:
                file.seek(0)
                start = file.read(CHUNK)
        except Damaged:
            return
        if not search(io.BytesIO(start))[0] and next_member(file, 1, codec or GZIPPED, opens_record) is None:
            raise UserError(f"{path}: {no_warc(file)}")


def can_be_cut(path: str) -> bool:
    """Whether parts of the file can be read for themselves."""
    with open_warc(path) as file:
        if codec_of(file) is not GZIPPED or _unpacked(file):
            return False
        return border(file, 1, GZIPPED, opens_record, FIRST) is not None


def _unpacked(file: BinaryIO) -> bool:
    """Whether a WACZ holds the file compressed, so that each part would have to unpack all before it."""
    return isinstance(getattr(file, "raw", None), Inflated)
