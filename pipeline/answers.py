"""Answers of the web in, one after another as they come; the same by address out, also after a kill in the middle.

Each process has a journal of its own. In memory an address costs sixteen bytes.
"""

from array import array
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

from pipeline.journal import Entry, append, entries, entry_at
from pipeline.places import read_bytes
from pipeline.storage import aside

# A file in which more than this is not wanted any more, and more than half of it, is written anew.
WASTE = 64 * 10**6
_FORGET: dict[str, Any] = {}  # an entry that has what failed before it for a passing reason asked anew


@dataclass(slots=True)
class Answer:
    """What came of an address in the end. `tries`: each request, as rows of the table of attempts."""

    key: int  # of the canonical address
    url: str
    reason: str  # "ok", or why there is no image
    detail: str = ""
    passing: bool = False  # whether it may come right when it is asked again
    under: str = ""  # a digest of the settings under which it was asked
    headers: list[list[str]] = field(default_factory=list)  # name and value
    tries: list[dict[str, Any]] = field(default_factory=list)


class Answers:
    """A file of answers, open for more."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._file.close()
        self._reader.close()

    def _open(self) -> None:
        held, at = array("q"), array("q")
        forgotten = 0  # entries before this one that failed for a passing reason do not count
        passing = array("b")
        end = 0
        for entry in entries(self.path):
            end = entry.end
            if entry.head == _FORGET:
                forgotten = len(held)
            else:
                held.append(entry.head["key"])
                at.append(entry.place)
                passing.append(entry.head["passing"])
        self._file = self.path.open("ab")
        self._file.truncate(end)
        self._reader = self.path.open("rb")
        # The last word on each address counts. Sorted by key and, within one, by place.
        keys, places = np.frombuffer(held, np.int64), np.frombuffer(at, np.int64)
        asked_anew = np.frombuffer(passing, np.int8).astype(bool) & (np.arange(len(keys)) < forgotten)
        keys, places = keys[~asked_anew], places[~asked_anew]
        order = np.argsort(keys, kind="stable")
        self._known, self._at = keys[order], places[order]

    def add(self, answer: Answer, body: IO[bytes] | None = None) -> None:
        """Appends an answer at once; it is found once the file was opened again."""
        append(self._file, asdict(answer), body)

    def find(self, key: int) -> tuple[Answer, int, int] | None:
        """The answer that was there when the file was opened, the place of its body and its size."""
        place = self._place(key)
        if place is None:
            return None
        entry = self._read(place)
        return Answer(**entry.head), entry.body, entry.size

    def _place(self, key: int) -> int | None:
        index = int(np.searchsorted(self._known, key, side="right")) - 1
        return int(self._at[index]) if index >= 0 and self._known[index] == key else None

    def _read(self, place: int) -> Entry:
        entry = entry_at(self._reader, place)
        assert entry is not None  # it was whole when the file was opened
        return entry

    def reopen(self) -> None:
        """From here on what was added can be found, too."""
        self.close()
        self._open()

    def forget_passing(self) -> int:
        """Has what failed for a passing reason asked anew; how many addresses these are."""
        last = np.flatnonzero(np.append(self._known[1:] != self._known[:-1], len(self._known) > 0))
        count: int = sum(self._read(int(self._at[index])).head["passing"] for index in last)
        if count:
            append(self._file, _FORGET)
            self.reopen()
        return count

    def all(self) -> Iterator[Answer]:
        """Every answer that was ever written down, in their order."""
        for entry in entries(self.path):
            if entry.head != _FORGET:
                yield Answer(**entry.head)

    def compact(self, wanted: Callable[[], Iterator[int]]) -> None:
        """Leaves only the answers of these keys, where most of the file is others."""
        used = sum(size for _, _, size in filter(None, map(self.find, wanted())))
        total = self.path.stat().st_size
        if total - used <= max(WASTE, total // 2):
            return
        with aside(self.path) as temporary, temporary.open("wb") as file, self.path.open("rb") as old:
            places = (self._place(key) for key in wanted())
            for entry in (self._read(place) for place in places if place is not None):
                old.seek(entry.place)
                file.write(old.read(entry.end - entry.place))
        self.reopen()


def read_body(path: Path, place: int, size: int) -> bytes:
    """The body of an answer, by its place in the file."""
    return read_bytes(path, place, place + size)
