"""Input files in; the shards of work, each a part of a file from one byte to another, or records by place, out."""

import io
import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

from pipeline.archive import Inflated, open_warc, size_of
from pipeline.asking import Unreachable, settings
from pipeline.errors import UserError
from pipeline.header import opens_record, search
from pipeline.members import CHUNK, GZIPPED, Damaged, Member, border, codec_of, next_member, past_skippable
from pipeline.storage import identity, open_table
from pipeline.warc import Damage, Record, no_warc, read, read_places

FIRST = 64 << 20  # bytes in which a file that can be cut shows a second member
UNKNOWN = -1
THREADS = 10  # files that are looked at side by side: remote ones take their time


class Part(NamedTuple):
    """What `warc.read` takes: a file and where a part of it begins and ends, UNKNOWN where its size could not be had. A
    shard's inputs hold it as strings; a path alone is all of the file. `mark` tells it from other files, if that is known."""

    path: str
    start: int
    end: int
    mark: str = ""

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
        mark = self.mark or (self.path if self.end == UNKNOWN else identity(self.path))
        return f"{mark} {self.start} {self.end}"

    @property
    def weight(self) -> int:
        return 1 if self.end == UNKNOWN else self.end - self.start

    @property
    def files(self) -> dict[str, list[int]]:
        """Whose records these are, and where they begin; no places are all."""
        return {self.path: []}

    def items(self) -> Iterator[tuple[str, Record | Damage]]:
        for item in read(self.path, start=self.start, end=None if self.end == UNKNOWN else self.end):
            yield self.path, item

    def done(self, position: int, records: int) -> int:
        """Of `weight`, once so many records up to there were read."""
        return max(0, position - self.start)


class Picked(NamedTuple):
    """Records by place: the rows from `first` to `last` of a table with the columns file, offset and length, in the order of
    these; `bytes` of them together."""

    table: str
    first: int
    last: int
    bytes: int
    fingerprint: str

    @property
    def inputs(self) -> tuple[str, ...]:
        return tuple(map(str, self))

    @property
    def weight(self) -> int:
        return self.last - self.first

    @property
    def files(self) -> dict[str, list[int]]:
        return {file: [offset for offset, _ in places] for file, places in self._places()}

    def items(self) -> Iterator[tuple[str, Record | Damage]]:
        for file, places in self._places():
            for item in read_places(file, places, settings().gap):
                yield file, item

    def _places(self) -> Iterator[tuple[str, list[tuple[int, int]]]]:
        with open_table(self.table) as table:
            at, rows = 0, []
            for number in range(table.num_row_groups):
                size = table.metadata.row_group(number).num_rows
                if at < self.last and at + size > self.first:
                    found = table.read_row_group(number).slice(max(0, self.first - at), self.last - max(at, self.first))
                    rows += found.to_pylist()
                at += size
        for file, places in itertools.groupby(rows, key=lambda row: str(row["file"])):
            yield file, [(row["offset"], row["length"]) for row in places]

    def done(self, position: int, records: int) -> int:
        return records


def shard_of(inputs: Sequence[str]) -> Part | Picked:
    """What a shard's inputs say."""
    if len(inputs) == len(Picked._fields):
        table, first, last, size, fingerprint = inputs
        return Picked(table, int(first), int(last), int(size), fingerprint)
    return Part.of(inputs)


def parts_of(paths: Sequence[str], split: int) -> list[Part]:
    """The files in their order, each cut into parts of about `split` bytes, as even as can be.

    Only a file of gzip members, one a record, can be cut. Any other is one part: zstd and lz4 frames carry no checksum
    that must be there, and what looks like a record header in an uncompressed file may be a page's own text. A remote file
    that does not answer is one part of unknown size, which may do so when its turn comes.

    Raises:
        UserError: a file that cannot be opened, or whose beginning shows that it is no WARC or ARC file.
    """
    with ThreadPoolExecutor(THREADS) as pool:
        return [part for parts in pool.map(lambda path: _parts(path, split), paths) for part in parts]


def _parts(path: str, split: int) -> list[Part]:
    try:
        check(path)
        size = size_of(path)
        even = cut(path, size, split)
        return even if len(even) == 1 or can_be_cut(path) else [Part(path, 0, size)]
    except Unreachable:
        return [Part(path, 0, UNKNOWN)]


def cut(path: str, size: int, split: int, mark: str = "") -> list[Part]:
    """A file in parts of about `split` bytes, as even as can be."""
    count = max(1, round(size / split))
    return [Part(path, size * number // count, size * (number + 1) // count, mark) for number in range(count)]


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
