"""A journal gives back what was written whole, wherever a kill cut it off."""

import io
from pathlib import Path

from pipeline.journal import append, entries, entry_at

WRITTEN = [({"asked": "a\nb"}, b"one\ntwo"), ({"asked": "ü"}, None), ({}, b""), ({"asked": "last"}, b"[1,{}]\n")]


def test_a_cut_anywhere_costs_the_entry_that_it_touches_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    ends = []
    with path.open("ab") as file:
        for head, body in WRITTEN:
            append(file, head, None if body is None else io.BytesIO(body))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        found = list(entries(path))
        assert len(found) == sum(end <= cut for end in ends)
        for entry, (head, body) in zip(found, WRITTEN, strict=False):
            assert (entry.head, whole[entry.body : entry.end]) == (head, body or b"")
    with path.open("rb") as file:
        assert [entry_at(file, entry.place) for entry in entries(path)] == list(entries(path))


def test_a_journal_that_is_not_there_has_no_entries(tmp_path: Path) -> None:
    assert list(entries(tmp_path / "journal")) == []
