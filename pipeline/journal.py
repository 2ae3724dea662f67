"""What was answered in, each a line of JSON and the body behind it; what was written whole out, also after a kill in the middle.

A file only grows: `append` writes an entry at once, and who opens it again cuts it off behind the last of `entries`.
"""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

_CHUNK = 2**20


class Entry(NamedTuple):
    """Where its line begins, where its body does, the body's bytes, and the line's JSON."""

    place: int
    body: int
    size: int
    head: Any

    @property
    def end(self) -> int:
        return self.body + self.size


def append(file: IO[bytes], head: Any, body: IO[bytes] | None = None) -> int:
    """Writes an entry behind the others, so that a kill loses none before it; its place."""
    place = file.seek(0, os.SEEK_END)
    size = 0 if body is None else body.seek(0, os.SEEK_END)
    file.write(json.dumps([size, head], separators=(",", ":")).encode() + b"\n")
    if body is not None:
        body.seek(0)
        shutil.copyfileobj(body, file, _CHUNK)
    file.flush()
    return place


def entry_at(file: IO[bytes], place: int) -> Entry | None:
    """The entry at a place; none where its line does not end."""
    file.seek(place)
    line = file.readline()
    if not line.endswith(b"\n"):
        return None
    size, head = json.loads(line)
    return Entry(place, place + len(line), max(size, 0), head)


def entries(path: Path) -> Iterator[Entry]:
    """The whole entries of a file, in their order; none of a file that is not there."""
    if not path.exists():
        return
    total = path.stat().st_size
    with path.open("rb") as file:
        place = 0
        while (entry := entry_at(file, place)) and entry.end <= total:
            yield entry
            place = entry.end
