"""A store is used as a folder is: written whole, asked again where it failed, listed only to be cleaned."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline import places
from pipeline.asking import Denied, Unreachable
from pipeline.config import Config, Extract, Store
from pipeline.copies import kept_at
from pipeline.database import connect, read_parquet
from pipeline.errors import StorageFull, UserError
from pipeline.places import at_once, entries, place, read_bytes, read_each, remove, size_of, sizes
from pipeline.run import Run
from pipeline.stages import numbered
from pipeline.storage import TableWriter, aside, open_table, read_rows, write_json
from pipeline.work import Work

NUMBER = pa.schema([("number", pa.int64())])
CALLS = (
    "cat_file",
    "put_file",
    "pipe_file",
    "get_file",
    "info",
    "find",
    "ls",
    "rm_file",
    "cp_file",
    "makedirs",
    "exists",
    "isdir",
)


@pytest.fixture(autouse=True)
def memory(tmp_path: Path) -> Iterator[Path]:
    """An empty memory:// and a scratch folder of this test's own."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    before = places._here.settings, places._here.folder
    places.use(Store(back_off=0.01), tmp_path / "scratch")
    yield place("memory://x/run")
    places._here.settings, places._here.folder = before


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What is asked of memory://, by name; calls that it makes of itself do not count."""
    counted: Counter[str] = Counter()
    within: list[str] = []

    def counting(name: str, call: Any) -> Any:
        def counted_call(*arguments: Any, **named: Any) -> Any:
            counted.update([] if within else [name])
            within.append(name)
            try:
                return call(*arguments, **named)
            finally:
                within.pop()

        return counted_call

    for name in CALLS:
        monkeypatch.setattr(MemoryFileSystem, name, counting(name, getattr(MemoryFileSystem, name)))
    return counted


def write_numbers(path: Path, count: int) -> None:
    with aside(path) as temporary:
        writer = TableWriter(temporary, NUMBER, 1000)
        for number in range(count):
            writer.write({"number": number})
        writer.close()


def test_a_place_is_a_path_where_it_is_on_this_machine() -> None:
    assert place("runs/a") == place("file://runs/a") == Path("runs/a")
    assert isinstance(place("runs/a"), Path)
    assert str(place("memory://x/run") / "stages" / "00001.json") == "memory://x/run/stages/00001.json"
    with pytest.raises(UserError, match=r"nothing://x: no such place"):
        place("nothing://x")


def test_what_is_written_on_a_store_is_there_whole_or_not_at_all(memory: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), aside(memory / "a.json") as temporary:
        temporary.rename(temporary.with_name("nowhere") / "a")
    assert entries(memory) == []
    write_json(memory / "a.json", {"b": 1})
    assert json.loads(read_bytes(memory / "a.json")) == {"b": 1}
    assert read_bytes(memory / "a.json", 1, 3) == b"\n "
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_table_on_a_store_is_read_whole_in_part_and_by_sql(memory: Path) -> None:
    for name in ("one", "it's two"):
        write_numbers(memory / f"{name}.parquet", 5000)
    assert [row["number"] for row in read_rows(memory / "one.parquet")] == list(range(5000))
    with open_table(memory / "one.parquet") as table:
        assert table.read_row_group(1)["number"][0].as_py() > 0
    files = [str(memory / "one.parquet"), str(memory / "it's two.parquet")]
    with connect(files) as connection:
        assert connection.sql(f"SELECT sum(number), count(*) FROM {read_parquet(files)}").fetchall() == [
            (4999 * 5000, 10000)
        ]


def test_a_table_that_a_store_does_not_give_is_told_in_one_line(memory: Path) -> None:
    files = [str(memory / "nowhere.parquet")]
    with pytest.raises(UserError, match=r"memory://x/run/nowhere.parquet: no such file"), connect(files) as connection:
        connection.sql(f"SELECT * FROM {read_parquet(files)}").fetchall()


def test_a_database_fetches_no_extension() -> None:
    import duckdb

    with connect() as connection:
        for setting in ("autoinstall_known_extensions", "autoload_known_extensions"):
            assert connection.sql(f"SELECT current_setting('{setting}')").fetchall() == [(False,)]
        with pytest.raises(duckdb.Error, match="httpfs"):
            connection.sql("SELECT * FROM read_parquet('s3://bucket/a.parquet')")


def test_a_call_that_fails_is_made_again_and_not_for_ever(memory: Path) -> None:
    tried = []

    def fails(times: int) -> int:
        tried.append(1)
        if len(tried) <= times:
            raise ConnectionResetError("by peer")
        return len(tried)

    assert places.patiently("a", lambda: fails(6)) == 7
    tried.clear()
    with pytest.raises(Unreachable, match=r"^a: the store does not do it: .*by peer \(asked 7 times\)$"):
        places.patiently("a", lambda: fails(99))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (PermissionError("Access Denied"), Denied, "no permission"),
        (OSError(28, "No space left on device"), StorageFull, "make room, run again"),
        (OSError("An error occurred (InsufficientStorage)"), StorageFull, "make room, run again"),
        (FileNotFoundError("a"), FileNotFoundError, "a"),
    ],
)
def test_what_does_not_come_right_is_told_at_once(error: Exception, kind: type[Exception], said: str) -> None:
    tried = []

    def ask() -> None:
        tried.append(1)
        raise error

    with pytest.raises(kind, match=said):
        places.patiently("a", ask)
    assert len(tried) == 1


def test_files_that_are_not_there_are_none(memory: Path) -> None:
    write_json(memory / "1", 1)
    assert read_each(memory / str(number) for number in range(3)) == [None, b"1\n", None]
    assert [size_of(memory / str(number)) for number in range(3)] == [None, 2, None]
    assert sizes(memory) == {"1": 2}
    assert sizes(memory / "nowhere") == {}
    remove(memory / str(number) for number in range(3))
    assert sizes(memory) == {}
    assert at_once(str, range(40)) == list(map(str, range(40)))


def test_a_file_that_grows_goes_on_where_a_killed_process_left_it(memory: Path) -> None:
    path = memory / "stages" / "fetched" / "00000.answers"
    with kept_at(path) as file:
        file.write_bytes(b"one ")
    assert read_bytes(path) == b"one "
    assert not file.exists()
    file.write_bytes(b"one two ")  # and killed
    with kept_at(path) as again, again.open("ab") as more:
        more.write(b"three")
    assert read_bytes(path) == b"one two three"


def configuration(**changes: Any) -> Config:
    store = {"beat": 0.02, "back_off": 0.01}
    told = {
        "name": "a",
        "output": "memory://x/run",
        "input": {"paths": ["."]},
        "engine": {"workers": 0, "store": store},
    }
    return Config.model_validate(told | changes)


def count_up(work: Work, settings: Any) -> None:
    table = work.table("numbers", NUMBER)
    table.write({"number": work.shard})
    work.rows_out += 1


def gone(work: Work, settings: Any) -> None:
    raise AssertionError("it was done before")


def test_a_thousand_shards_ask_a_store_about_once_each_and_later_a_few_times_in_all(
    calls: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told = configuration(engine={"workers": 0, "store": {"beat": 2}})
    with Run(told, "a.yaml") as run:
        calls.clear()
        stage = run.each("numbers", count_up, Extract(), n=numbered("n", 1000))
    assert len(stage.prefixes) == 1000
    # A table and a receipt are put by the worker, and the receipt is read by the driver; nothing else is asked.
    for call in ("put_file", "pipe_file", "cat_file"):
        assert calls[call] == pytest.approx(1000, abs=60)
    assert calls.total() < 3000 + 120
    for listed in (True, False):
        if not listed:  # a listing that has nothing costs a call a table, and no work
            monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})
        with Run(told, "a.yaml") as run:
            calls.clear()
            again = run.each("numbers", count_up, Extract(), n=numbered("n", 1000))
            assert calls.total() < (16 if listed else 1016)
            assert run.done == 0
        assert again == stage


def test_of_a_stage_that_was_broken_off_what_has_a_receipt_is_not_done_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(configuration(), "a.yaml") as run:
        run.each("numbers", count_up, Extract(), n=numbered("n", 20))
        folder = run.folder / "stages" / "numbers"
    remove([folder / "receipts.jsonl", folder / "00003.json", folder / "00004.numbers.parquet"])
    monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})  # and nothing of it is listed
    with Run(configuration(), "a.yaml") as run:
        stage = run.each("numbers", count_up, Extract(), n=numbered("n", 20))
        assert run.done == 2
    assert [next(read_rows(file))["number"] for file in stage.table("numbers").files] == list(range(20))


def test_what_shards_left_that_are_no_longer_in_the_input_is_removed() -> None:
    for count in (5, 3):
        with Run(configuration(), "a.yaml") as run:
            run.each("numbers", count_up, Extract(), n=numbered("n", count))
            assert run.done == (5 if count == 5 else 0)
        left = {name.split(".")[0] for name in sizes(run.folder / "stages" / "numbers")}
        assert left == {"receipts", *(f"{number:05d}" for number in range(count))}


def test_an_answer_is_read_by_its_receipt_and_by_nothing_that_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Run(configuration(), "a.yaml") as run:
        numbers = run.each("numbers", count_up, Extract(), n=numbered("n", 3))

        def write(folder: Path) -> None:
            run.engine.sql(
                "SELECT number AS shard, number FROM n WHERE number < 2", folder, n=numbers.table("numbers").files
            )

        made = run.once("asked", "a", write)
        monkeypatch.setattr(MemoryFileSystem, "find", lambda *_, **__: {})
        assert [len(made.of(shard)) for shard in range(3)] == [1, 1, 0]
        write_json(made.folder / "shard=2" / "stale.parquet", 1)
        assert run.once("asked", "a", gone) == made  # type: ignore[arg-type]
        assert sorted(row["number"] for file in made.table().files for row in read_rows(file)) == [0, 1]


def test_memory_is_seen_by_one_process_only() -> None:
    with pytest.raises(UserError, match=r"no other process sees memory://; set engine.workers: 0"):
        Run(configuration(engine={"workers": 1}), "a.yaml").__enter__()


def test_a_store_with_other_files_in_it_is_no_output(memory: Path) -> None:
    write_json(memory / "thesis.txt", 1)
    with pytest.raises(UserError, match="holds other files and no run"):
        Run(configuration(), "a.yaml").__enter__()
    assert sizes(memory) == {"thesis.txt": 2}
