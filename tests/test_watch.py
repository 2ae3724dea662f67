"""What is seen of a run while it goes on and afterwards: its funnel, its tasks, its slowest pages and hosts."""

import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import config
from pipeline.cli import main
from pipeline.config import Extract
from pipeline.documents import read_documents
from pipeline.funnel import Funnel, funnel
from pipeline.memory import peak
from pipeline.run import Run
from pipeline.slow import HOSTS, KEPT, Slowest, slowest
from pipeline.watch import UnderWay
from pipeline.work import Receipt, Work, read_receipt, write_receipt
from tests.conftest import ROOT
from tests.crawls import crawl
from tests.test_bad_input import refused
from tests.test_run import corpus_of, stage_tables, write_configuration


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    crawl(tmp_path / "crawl")
    return write_configuration(tmp_path)


def linger(work: Work, settings: Extract) -> None:
    """Keeps each document after a while, until the shard is told to go on."""
    go = work.stages.parent / "go"
    for document in work.documents():
        work.keep(document)
        if work.shard == 2:
            while not go.exists():
                work.count(force=True)
                time.sleep(0.02)


@pytest.fixture
def lingering(configuration: Path) -> Iterator[Path]:
    """The configuration of a run whose second stage stands at its last shard until `go` is there."""
    out = configuration.parent / "out"

    def run() -> None:
        with Run(config.load(str(configuration), ["engine.workers=1"]), str(configuration)) as run:
            pages = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
            run.each("linger", linger, run.config.extract, documents=pages)

    thread = threading.Thread(target=run)
    thread.start()
    until = time.monotonic() + 200
    while not (out / "stages" / "linger" / "00001.json").exists():
        assert time.monotonic() < until
        time.sleep(0.05)
    yield configuration
    (out / "go").touch()
    thread.join()


def watching(configuration: Path, **streams: Any) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "status", str(configuration), "--watch", "0.1"]
    return subprocess.Popen(command, cwd=ROOT, text=True, **streams)


def test_a_watcher_tells_where_another_process_is_and_ends_with_the_run(lingering: Path) -> None:
    assert UnderWay(lingering.parent / "out")()
    with watching(lingering, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert line.startswith("linger:  ")
        assert "  2/3 shards, " in line
        assert " documents/s, " in line
        assert line.rstrip().endswith(" left")
        (lingering.parent / "out" / "go").touch()
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    stages = [line.split()[:3] for line in said.splitlines()]
    assert ["documents", "12", "12"] in stages
    assert ["linger", "12", "12"] in stages
    assert not UnderWay(lingering.parent / "out")()


def test_ctrl_c_ends_a_watcher_on_a_terminal_and_leaves_the_terminal_and_the_run_alone(lingering: Path) -> None:
    ours, theirs = pty.openpty()
    with watching(
        lingering,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "100", "LINES": "3"},
    ) as process:
        os.close(theirs)
        drawn = b""
        while drawn.count(b"2/3 shards") < 2:  # redrawn
            drawn += os.read(ours, 4096)
        process.send_signal(signal.SIGINT)
        try:
            while more := os.read(ours, 4096):
                drawn += more
        except OSError:  # the other end is closed
            pass
        assert process.stderr is not None
        assert process.stderr.read() == ""
    os.close(ours)
    assert process.returncode == 0
    assert (
        b"queries" not in drawn
    )  # a funnel higher than the terminal is cut at its end, too, so that it can be removed
    assert drawn.count(b"\x1b[?25l") == drawn.count(b"\x1b[?25h") == 1  # the cursor is shown again
    assert UnderWay(lingering.parent / "out")()


def test_where_no_run_goes_on_the_funnel_is_shown_once(configuration: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "no run here yet" in refused(capfd, "status", str(configuration), "--watch")
    with Run(config.load(str(configuration)), str(configuration)) as run:
        run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    capfd.readouterr()
    assert main(["status", str(configuration), "--watch"]) == 0
    once = capfd.readouterr().out
    assert main(["status", str(configuration)]) == 0
    assert capfd.readouterr().out == once
    assert "takes seconds" in refused(capfd, "status", str(configuration), "--watch", "0")


def test_a_funnel_that_is_looked_at_again_is_that_of_the_receipts_that_stand_there(tmp_path: Path) -> None:
    (tmp_path / "stages" / "text").mkdir(parents=True)
    (tmp_path / "run.json").write_text('{"stages": ["text"]}')
    watched = Funnel(tmp_path)
    prefix = tmp_path / "stages" / "text" / "00000"
    for shard, rows in ((0, 5), (1, 7), (0, 3)):  # the last takes the place of the first
        write_receipt(prefix.with_name(f"{shard:05d}"), Receipt("text", shard, "f", rows_in=rows))
        assert [vars(s) for s in watched.read()] == [vars(s) for s in funnel(tmp_path)]
    assert watched.read()[0].rows_in == 10
    prefix.with_suffix(".json").unlink()
    assert watched.read()[0].rows_in == 7


LINE = {
    "time",
    "run",
    "stage",
    "shard",
    "rows_in",
    "rows_out",
    "bytes",
    "seconds",
    "processor",
    "memory",
    "host",
    "pid",
    "error",
}


def test_each_finished_task_is_a_line_of_json_and_the_corpus_does_not_know(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(configuration)]) == 0
    plain = corpus_of(tmp_path / "out"), stage_tables(tmp_path / "out")
    assert "documents: 3 shards, 12 documents in " in capfd.readouterr().err
    other = ["--set", f"output={tmp_path / 'other'}", "--set", f"logs={{folder: {tmp_path / 'logs'}}}"]
    assert main(["run", str(configuration), *other]) == 0
    assert "documents: 3 shards, 12 documents in " in capfd.readouterr().err
    assert (corpus_of(tmp_path / "other"), stage_tables(tmp_path / "other")) == plain
    lines = [json.loads(line) for line in (tmp_path / "logs" / "tasks.jsonl").read_text().splitlines()]
    receipts = list((tmp_path / "other" / "stages").rglob("*.json"))
    assert len(lines) == len(receipts)
    for line in lines:
        assert set(line) == LINE
        place = tmp_path / "other" / "stages" / line["stage"]
        receipt = read_receipt(place / ("query" if line["shard"] is None else f"{line['shard']:05d}"))
        assert receipt is not None
        assert (line["rows_in"], line["bytes"], line["seconds"]) == (receipt.rows_in, receipt.bytes, receipt.seconds)
    tasks = [line for line in lines if line["shard"] is not None]
    assert all(line["pid"] not in (None, os.getpid()) and line["memory"] > 10**7 for line in tasks)
    assert max(line["memory"] for line in tasks) < 100 * peak()


def test_in_place_of_plain_lines_json_goes_to_standard_error(
    configuration: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for table in ("first", "second"):
        settings = config.load(str(configuration), ["logs=json"])
        with Run(settings, str(configuration)) as run:
            run.each("documents", read_documents, run.config.extract, warc=run.warcs())
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        shards = [(line["stage"], line["shard"]) for line in lines]
        assert sorted(shards) == ([("documents", shard) for shard in range(3)] if table == "first" else [])


def fail(work: Work, settings: Extract) -> None:
    if work.shard == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    raise ValueError("no")


def test_what_failed_and_whose_worker_died_is_logged_too(
    configuration: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Run(config.load(str(configuration), ["logs=json"]), str(configuration)) as run:
        warcs = run.warcs()
        with pytest.raises(Exception, match="every shard failed"):
            run.each("fail", fail, run.config.extract, warc=warcs)
    lines = {line["shard"]: line for line in map(json.loads, capfd.readouterr().err.splitlines())}
    assert lines[1]["error"] == "ValueError: no"
    assert lines[1]["pid"]
    assert "SIGKILL" in lines[0]["error"]
    assert (lines[0]["host"], lines[0]["pid"]) == (None, None)


def test_a_folder_for_logs_that_cannot_be_written_is_a_mistake(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    said = refused(capfd, "run", str(configuration), "--set", f"logs={{folder: {tmp_path / 'file'}}}")
    assert said == f"{configuration}: logs.folder: {tmp_path / 'file'} cannot be written: File exists"
    assert "logs" in refused(capfd, "run", str(configuration), "--set", "logs=xml")


def spend(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_the_slowest_of_a_shard_are_few_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Slowest, "_warm", {"stage"})
    shard = Slowest("stage")
    for number in range(3 * KEPT):
        shard.begin(f"http://host{number % 15}.example/{number}")
        spend(0.02 if number in (4, 19) else 0.01 if number == 7 else 0)
        shard.end()
    told = shard.told()
    assert [url for _, url in told["pages"]][2] == "http://host7.example/7"
    assert {url for _, url in told["pages"][:2]} == {"http://host4.example/4", "http://host4.example/19"}
    assert told["hosts"][0][1:] == [2, "host4.example"]
    both = sum(float(seconds) for seconds, _ in told["pages"][:2])
    assert told["hosts"][0][0] == pytest.approx(both, abs=1e-5)
    assert len(told["pages"]) == len(told["hosts"]) == KEPT


def test_the_first_document_of_a_process_pays_for_what_is_loaded_and_is_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Slowest, "_warm", set())
    for pages in (0, 1):
        shard = Slowest("stage")
        shard.begin("http://a.example/")
        shard.end()
        assert len(shard.told().get("pages", [])) == pages


def test_the_slowest_of_a_run_are_added_up_over_its_receipts_within_bounds() -> None:
    def receipts() -> Iterator[Receipt]:
        for shard in range(30):
            hosts = [[1.0, 2, "often.example"], [1.5, 1, f"host{shard}.example"]]
            yield Receipt("text", shard, "f", slow={"pages": [[shard / 10, f"http://x/{shard}"]], "hosts": hosts})
        for shard in range(HOSTS // 9):
            yield Receipt(
                "keys", shard, "f", slow={"pages": [], "hosts": [[0.1, 1, f"{shard}.{n}"] for n in range(10)]}
            )

    pages, hosts = slowest(receipts(), 3)
    assert [(page.seconds, page.stage, page.url) for page in pages] == [
        (2.9, "text", "http://x/29"), (2.8, "text", "http://x/28"), (2.7, "text", "http://x/27")
    ]  # fmt: skip
    assert (hosts[0].seconds, hosts[0].pages, hosts[0].host) == (30.0, 60, "often.example")
    assert len(hosts) == 3


def test_the_slowest_pages_and_hosts_of_a_run_are_shown(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Run(config.load(str(configuration), ["engine.workers=1"]), str(configuration)) as run:
        run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    capfd.readouterr()
    assert main(["status", str(configuration), "--slow"]) == 0
    pages, hosts = capfd.readouterr().out.split("\n\n")
    urls = [line.split()[2] for line in pages.splitlines()[1:]]
    assert len(urls) == len(set(urls)) == 11  # of twelve, the first of which the one worker loaded its network on
    assert {line.split()[2] for line in hosts.splitlines()[1:]} == {url.split("/")[2] for url in urls}
    seconds = [float(line.split()[0]) for line in pages.splitlines()[1:]]
    assert seconds == sorted(seconds, reverse=True)
