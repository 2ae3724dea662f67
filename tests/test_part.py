"""Parts of a run: together they leave what one process leaves, wait for each other, and say for whom in vain."""

import signal
import time
from pathlib import Path

import pytest

from pipeline import config
from pipeline.errors import UserError
from pipeline.part import NeverCame, Part
from pipeline.run import Run, WorkFailed
from pipeline.work import Receipt, Work, write_receipt
from tests.clusters import left_by, run, start, write_configuration


@pytest.mark.parametrize("text", ["3/3", "-1/3", "1", "1/0", "a/b", "1/3/5", "٣/٤"])
def test_a_part_that_is_none_is_a_users_error(text: str) -> None:
    with pytest.raises(UserError, match="expected i/n, i from 0 to n - 1"):
        Part.of(text, 1)


def test_each_shard_is_of_one_part() -> None:
    parts = [Part.of(f"{number}/3", 1) for number in range(3)]
    assert [[part.number for part in parts if part.mine(shard)] for shard in range(7)] == [
        [0],
        [1],
        [2],
        [0],
        [1],
        [2],
        [0],
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_three_parts_leave_the_same_bytes_and_one_that_was_killed_is_started_again(tmp_path: Path) -> None:
    path = write_configuration(tmp_path, files=4, pages=2)
    run(path, tmp_path / "whole", "--set", "engine.workers=1")
    words = [("--part", f"{number}/3", "--set", "engine.workers=1") for number in range(3)]
    parts = [start(path, tmp_path / "parts", *of) for of in words[1:]]
    while not list((tmp_path / "parts").glob("stages/documents/00001.json")):
        time.sleep(0.05)
    parts[0].send_signal(signal.SIGKILL)
    parts[0].wait()
    parts += [start(path, tmp_path / "parts", *of) for of in words[:2]]
    assert [part.wait(200) for part in parts[1:]] == [0, 0, 0], (tmp_path / "parts.log").read_text()[-3000:]
    assert left_by(tmp_path / "parts") == left_by(tmp_path / "whole")


def opened(folder: Path, number: int = 0, count: int = 2, wait: float = 0.2) -> Run:
    path = str(write_configuration(folder, files=2, pages=1))
    return Run(config.load(path), path, part=Part(number, count, wait))


def test_the_same_part_is_not_done_twice_at_a_time_and_the_whole_not_beside_parts(tmp_path: Path) -> None:
    with opened(tmp_path, 1):
        with pytest.raises(UserError, match="is in use by another run"):
            opened(tmp_path, 1).__enter__()
        path = str(tmp_path / "config.yaml")
        with pytest.raises(UserError, match="is in use by another run"):
            Run(config.load(path), path).__enter__()
        with opened(tmp_path, 0):
            pass
    with opened(tmp_path, 1):
        pass


def stand(work: Work, settings: object) -> None:
    work.count()


def test_who_waits_in_vain_says_for_which_shards_of_which_part(tmp_path: Path) -> None:
    with opened(tmp_path, 0) as leads, pytest.raises(NeverCame) as told:
        leads.each("stand", stand, leads.config.extract, warc=leads.warcs())
    assert str(told.value) == (
        "stand: waited 0.2 s (--wait) in vain for the shards 1 of the parts 1/2; start those again with the same command"
    )
    with opened(tmp_path, 1) as follows:
        follows.warcs()
        with pytest.raises(NeverCame, match=r"nobody: part 0/2, which asks the queries, has not answered in 0\.2 s"):
            follows.sql("nobody", pages=follows.warcs().table("pages"))


def test_a_failure_counts_only_of_the_process_that_has_the_part_now(tmp_path: Path) -> None:
    mine, theirs, again = Part(0, 2, 0.1), Part(1, 2, 0.1), Part(1, 2, 0.1)
    prefix = tmp_path / "00001"
    wanted = {1: (prefix, "as asked")}
    theirs.announce(tmp_path)
    write_receipt(prefix, Receipt("s", 1, "as asked", error="broken", by=theirs.token))
    assert next(mine.receipts(tmp_path, "s", wanted)).error == "broken"
    again.announce(tmp_path)
    with pytest.raises(NeverCame):
        list(mine.receipts(tmp_path, "s", wanted))
    write_receipt(prefix, Receipt("s", 1, "as asked", by=again.token))
    assert next(mine.receipts(tmp_path, "s", wanted)).error is None
    write_receipt(prefix, Receipt("s", 1, "as it was before", by=again.token))
    with pytest.raises(NeverCame):
        list(mine.receipts(tmp_path, "s", wanted))


def break_one(work: Work, settings: object) -> None:
    if work.shard == 1:
        raise RuntimeError("broken")


@pytest.mark.parametrize("most", [0, 1])
def test_no_query_is_asked_with_more_failed_shards_than_configured(most: int, tmp_path: Path) -> None:
    path = str(write_configuration(tmp_path, files=2, pages=1, max_failed_shards=most))
    with Run(config.load(path), path) as opened:
        opened.each("broken", break_one, opened.config.extract, warc=opened.warcs())
        if most:
            opened._check_failures("asked")
            return
        with pytest.raises(
            WorkFailed, match=r"asked: 1 shard failed and max_failed_shards is 0; the first is broken, shard 1: "
        ):
            opened.sql("asked", query="nobody")
