"""The local engine: every shard is run once, and a worker that dies costs its shard alone."""

import multiprocessing
import os
import signal
import time
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.config import EngineSettings
from pipeline.engine import LocalEngine
from pipeline.errors import StorageFull
from pipeline.worker import KILLS, Death, Worker, alive, watched


def note(folder: str, shard: int) -> None:
    with Path(folder, str(shard)).open("a") as file:
        file.write("x")


def die(folder: str, deadly: int, how: int, shard: int) -> None:
    note(folder, shard)
    if shard == deadly:
        os.kill(os.getpid(), how)


def die_once(folder: str, shard: int) -> None:
    again = Path(folder, str(shard)).exists()
    note(folder, shard)
    if shard == 3 and not again:
        os.kill(os.getpid(), signal.SIGSEGV)


def fail(shard: int) -> None:
    raise StorageFull("no room")


@pytest.mark.parametrize("workers", [1, 2])
def test_every_shard_is_run_once(workers: int, tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=workers), tmp_path / "spill") as engine:
        ended = dict(engine.each(partial(note, str(tmp_path)), range(7)))
    assert ended == dict.fromkeys(range(7))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


@pytest.mark.parametrize(
    ("how", "tries", "told"),
    [
        (signal.SIGSEGV, 2, "the worker died twice (SIGSEGV)"),
        (signal.SIGKILL, 1 + KILLS, "the worker died 4 times (SIGKILL: out of memory, or somebody's doing)"),
    ],
)
def test_a_worker_that_dies_costs_its_shard_a_second_try_and_nothing_else(
    how: signal.Signals, tries: int, told: str, tmp_path: Path
) -> None:
    with LocalEngine(EngineSettings(workers=2), tmp_path / "spill") as engine:
        ended = dict(engine.each(partial(die, str(tmp_path), 3, how), range(7)))
    assert {shard: death and death.how for shard, death in ended.items()} == dict.fromkeys(range(7)) | {3: told}
    assert (tmp_path / "3").read_text() == "x" * tries


def test_what_killed_its_worker_is_left_out_and_the_rest_of_the_shard_done(tmp_path: Path) -> None:
    told = []

    def spare(shard: int, death: Death) -> int | None:
        told.append((shard, death.how))
        return shard + 10 if shard < 20 else None

    with LocalEngine(EngineSettings(workers=2), tmp_path / "spill") as engine:
        ended = dict(engine.each(partial(die, str(tmp_path), 3, signal.SIGSEGV), range(7), spare))
    assert ended == dict.fromkeys(range(7))
    assert told == [(3, "the worker died twice (SIGSEGV)")]
    assert (tmp_path / "13").read_text() == "x"


def hang(shard: int) -> None:
    with watched():
        if shard == 1:
            sum(range(10**12))  # inside of C, the interpreter's lock held
        if shard == 2:
            for _ in range(6):
                time.sleep(0.2)
                alive()


def test_a_worker_that_gives_no_sign_of_life_is_ended_and_says_where_it_hung(tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=2, patience=0.6), tmp_path / "spill") as engine:
        ended = dict(engine.each(hang, range(4)))
    assert {shard: death and death.how for shard, death in ended.items()} == {
        0: None,
        1: "hung 0.6 s",
        2: None,
        3: None,
    }
    assert ended[1] is not None
    assert any(line.endswith("in hang") for line in ended[1].trace)


def test_a_crash_leaves_its_stack(tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=1), tmp_path / "spill") as engine:
        [(_, death)] = engine.each(partial(die, str(tmp_path), 3, signal.SIGSEGV), [3])
    assert death is not None
    assert any(line.endswith("in die") for line in death.trace)


def test_a_shard_whose_worker_died_by_accident_is_done_at_the_retry(tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=2), tmp_path / "spill") as engine:
        assert dict(engine.each(partial(die_once, str(tmp_path)), range(7))) == dict.fromkeys(range(7))


def test_workers_that_are_killed_while_they_have_nothing_to_do_hold_up_nobody(tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=2), tmp_path / "spill") as engine:
        assert dict(engine.each(partial(note, str(tmp_path)), range(4))) == dict.fromkeys(range(4))
        for process in multiprocessing.active_children():
            process.kill()
        assert dict(engine.each(partial(note, str(tmp_path)), range(4, 7))) == dict.fromkeys(range(4, 7))
    assert {path.read_text() for path in tmp_path.iterdir()} == {"x"}


def test_ctrl_c_is_not_heard_by_a_worker_that_still_loads_its_modules(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    worker = Worker(patience=0)
    process = worker.process.pid
    assert process
    for _ in range(30):
        os.kill(process, signal.SIGINT)
        time.sleep(0.02)
    worker.ask(partial(note, str(tmp_path), 0))
    assert worker.end() == (0, [])
    assert capfd.readouterr().err == ""


def test_what_a_task_raises_reaches_the_caller(tmp_path: Path) -> None:
    with (
        LocalEngine(EngineSettings(workers=2), tmp_path / "spill") as engine,
        pytest.raises(StorageFull, match="no room"),
    ):
        list(engine.each(fail, range(3)))


def test_a_query_spills_within_its_memory(tmp_path: Path) -> None:
    query = "SELECT 0 AS shard, range AS row FROM range(4000000) ORDER BY hash(range)"
    with LocalEngine(EngineSettings(workers=1, memory=60_000_000), tmp_path / "spill") as engine:
        engine.sql(query, tmp_path / "out")
    assert not (tmp_path / "spill").exists()
    files = (tmp_path / "out" / "shard=0").glob("*.parquet")
    assert sum(pq.ParquetFile(file).metadata.num_rows for file in files) == 4_000_000


def test_a_query_without_the_room_it_needs_says_which_setting_moves_it(tmp_path: Path) -> None:
    query = "SELECT 0 AS shard, list(range) AS row FROM range(40000000)"
    with (
        LocalEngine(EngineSettings(workers=1, memory=30_000_000), tmp_path / "spill") as engine,
        pytest.raises(StorageFull, match=r"with 0\.03 GB of memory \(engine\.memory\)"),
    ):
        engine.sql(query, tmp_path / "out")


def test_an_empty_answer_still_has_its_columns(tmp_path: Path) -> None:
    with LocalEngine(EngineSettings(workers=1), tmp_path / "spill") as engine:
        engine.sql("SELECT 0 AS shard, 1 AS row WHERE false", tmp_path / "out")
    [file] = tmp_path.glob("out/*.parquet")
    assert pq.ParquetFile(file).schema_arrow.names == ["shard", "row"]


def test_without_room_to_spill_one_line_says_how_much_was_needed_and_which_setting_moves_it(tmp_path: Path) -> None:
    settings = EngineSettings(workers=1, memory=60_000_000, max_spill=20_000_000)
    told = r"^a query over nothing found no room: with 0\.06 GB of memory \(engine\.memory\) it needed more than 0\.02 GB on disk"
    with LocalEngine(settings, tmp_path / "spill") as engine, pytest.raises(StorageFull, match=told):
        engine.sql("SELECT 0 AS shard, range AS row FROM range(9000000) ORDER BY hash(range)", tmp_path / "out")
    assert not (tmp_path / "spill").exists()
