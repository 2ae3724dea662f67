"""Answers on disk: found by address, the last one counts, and what a kill cut short costs itself alone."""

import io
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import answers
from pipeline.answers import Answer, Answers, read_body


def ok(key: int, body: bytes, **known: object) -> tuple[Answer, io.BytesIO]:
    return Answer(key, f"http://h/{key}", "ok", **known), io.BytesIO(body)  # type: ignore[arg-type]


def failed(key: int, reason: str, passing: bool) -> Answer:
    return Answer(key, f"http://h/{key}", reason, "why", passing)


def write(path: Path, *entries: tuple[Answer, io.BytesIO] | Answer) -> None:
    with Answers(path) as held:
        for entry in entries:
            held.add(*entry) if isinstance(entry, tuple) else held.add(entry)


def bodies(path: Path, *keys: int) -> list[bytes | str | None]:
    out: list[bytes | str | None] = []
    with Answers(path) as held:
        for key in keys:
            found = held.find(key)
            if found is None:
                out.append(None)
            else:
                answer, place, size = found
                assert answer.key == key
                out.append(read_body(path, place, size) if answer.reason == "ok" else answer.reason)
    return out


def test_what_was_added_is_found_in_any_order_with_its_body(tmp_path: Path) -> None:
    path = tmp_path / "a"
    draw = random.Random(1)
    keys = [draw.randrange(-(2**63), 2**63) for _ in range(500)]
    write(path, *(ok(key, b"\n" * (n % 7) + str(key).encode()) for n, key in enumerate(keys)))
    assert bodies(path, *keys, 5) == [*(b"\n" * (n % 7) + str(key).encode() for n, key in enumerate(keys)), None]


def test_an_answer_comes_back_as_it_was_written(tmp_path: Path) -> None:
    made = Answer(-3, "http://h/ü", "gone", "HTTP 404", False, "u", [["etag", '"é"']], [{"when": 1.5, "status": None}])
    write(tmp_path / "a", made)
    with Answers(tmp_path / "a") as held:
        found = held.find(-3)
        assert found is not None
        assert found[0] == made
        assert list(held.all()) == [made]


def test_the_last_answer_of_an_address_counts(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, failed(1, "timed_out", True), ok(2, b"two"), ok(1, b"one"))
    assert bodies(path, 1, 2) == [b"one", b"two"]


def test_what_a_kill_cut_short_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, ok(1, b"one" * 50), ok(2, b"two" * 50))
    whole = path.read_bytes()
    begins = whole.index(b"[150,", 10)
    for cut in range(begins, len(whole), 7):
        path.write_bytes(whole[:cut])
        assert bodies(path, 1, 2) == [b"one" * 50, None]
        write(path, ok(2, b"again"))
        assert bodies(path, 1, 2) == [b"one" * 50, b"again"]


def test_only_what_failed_for_a_passing_reason_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, ok(1, b"one"), failed(2, "gone", False), failed(3, "timed_out", True), failed(4, "server_error", True))
    write(path, ok(4, b"four"))
    with Answers(path) as held:
        assert held.forget_passing() == 1
    assert bodies(path, 1, 2, 3, 4) == [b"one", "gone", None, b"four"]
    with Answers(path) as held:
        assert held.forget_passing() == 0
    write(path, failed(3, "timed_out", True))
    assert bodies(path, 3) == ["timed_out"]
    with Answers(path) as held:
        assert [answer.key for answer in held.all()] == [1, 2, 3, 4, 4, 3]


def test_a_file_that_is_mostly_waste_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "WASTE", 1000)
    path = tmp_path / "a"
    write(path, *(ok(key, bytes([key]) * 1000) for key in range(10)), ok(3, b"new"))

    def some() -> Iterator[int]:
        yield from (3, 7)

    with Answers(path) as held:
        held.compact(lambda: iter(range(10)))
        assert path.stat().st_size > 10_000
        held.compact(some)
    assert path.stat().st_size < 2_000
    assert bodies(path, 3, 7, 1) == [b"new", bytes([7]) * 1000, None]
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
