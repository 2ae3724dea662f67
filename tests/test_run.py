"""Runs of the whole flow: the same bytes whatever the workers, resume, what a change redoes, what a failure costs."""

import hashlib
import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline import config
from pipeline.cli import main
from pipeline.config import Extract
from pipeline.deadline import deadline
from pipeline.documents import RECORDS, read_documents
from pipeline.run import Run
from pipeline.storage import read_rows
from pipeline.versions import DATA, _sources
from pipeline.work import WORKER_DIED, Work
from tests.conftest import ROOT
from tests.crawls import crawl, page, picture, prose, write_warc


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """The quickstart's decisions over a small crawl; its output lies in tmp_path/out."""
    crawl(tmp_path / "crawl")
    return write_configuration(tmp_path)


def write_configuration(folder: Path, **changes: object) -> Path:
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    raw |= {"name": "test", "output": str(folder / "out"), "input": {"paths": [str(folder / "crawl")]}, **changes}
    raw["consent"] = {"signals": ["x_robots_tag", "meta_robots", "tdm_reservation"]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def corpus_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "corpus").rglob("*"))
        if path.is_file()
    }


def stage_tables(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "stages").rglob("*.parquet"))
    }


def receipts(folder: Path, stage: str) -> dict[int, dict[str, object]]:
    read = [json.loads(path.read_text()) for path in (folder / "stages" / stage).glob("*.json")]
    return {receipt["shard"]: receipt for receipt in read}


def test_one_worker_and_two_leave_the_same_bytes(configuration: Path, tmp_path: Path) -> None:
    assert main(["run", str(configuration), "--set", "engine.workers=1"]) == 0
    one = corpus_of(tmp_path / "out"), stage_tables(tmp_path / "out")
    other = ["--set", f"output={tmp_path / 'other'}", "--set", "engine.workers=2"]
    assert main(["run", str(configuration), *other]) == 0
    assert (corpus_of(tmp_path / "other"), stage_tables(tmp_path / "other")) == one
    assert {Path(name).parent.name for name in one[0]} == {"corpus", "images", "urls"}


def test_a_second_run_does_nothing_and_says_so(configuration: Path, tmp_path: Path) -> None:
    """That it takes under three seconds is measured by the benchmark; here, that nothing heavy is even loaded."""
    script = (
        "import sys; from pipeline.cli import main; status = main(sys.argv[1:]);"
        "heavy = {'duckdb', 'datasets', 'datasketch', 'wordfreq', 'torch', 'pandas'} & set(sys.modules);"
        "sys.exit(f'loaded {heavy}' if heavy else status)"
    )
    command = [sys.executable, "-c", script, "run", str(configuration)]
    assert main(command[3:]) == 0

    def touched() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "stages").rglob("*") if path.is_file()}

    before = touched()
    second = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert "Nothing to do: every shard of every stage is done as configured." in second.stdout
    assert touched() == before


def test_a_changed_threshold_redoes_its_stage_and_later_ones_only(configuration: Path, tmp_path: Path) -> None:
    stages = "documents text scores score_rules keys unique consent images image_rules final export".split()

    def fingerprints() -> dict[str, object]:
        return {stage: {s: r["fingerprint"] for s, r in receipts(tmp_path / "out", stage).items()} for stage in stages}

    assert main(["run", str(configuration)]) == 0
    first = fingerprints()
    assert main(["run", str(configuration), "--set", "text.document.stop_words.min=0.36"]) == 0
    second = fingerprints()
    assert [stage for stage in stages if second[stage] != first[stage]] == stages[1:]
    assert main(["run", str(configuration), "--set", "text.document.stop_words.min=0.36",
                 "--set", "final.paragraph.web_chrome_words.max=0.2"]) == 0  # fmt: skip
    third = fingerprints()
    assert [stage for stage in stages if third[stage] != second[stage]] == ["final", "export"]


@pytest.mark.parametrize(
    ("module", "read"),
    [
        ("pipeline.documents", {"main.npz"}),
        ("pipeline.judge", {"stop_words.en.txt", "flagged_words.en.txt", "web_chrome_words.en.txt", "lid.176.ftz"}),
        ("pipeline.images", {"nsfw_mobilenet_v2.onnx"}),
        ("pipeline.keys", set()),
    ],
)
def test_a_stage_depends_on_the_shipped_data_that_its_code_reads_and_no_other(module: str, read: set[str]) -> None:
    shipped = {path.name for folder in DATA for path in folder.iterdir() if path.suffix != ".md"}
    assert set(_sources(module)) & shipped == read


def test_a_stage_does_not_depend_on_the_code_that_checks_settings_which_count_by_value() -> None:
    for module in ("pipeline.config.duplicates", "pipeline.verdicts", "pipeline.fetched", "pipeline.image_duplicates"):
        assert [name for name in _sources(module) if name.startswith("pipeline.config")] == []


def test_a_new_file_at_the_end_of_the_input_redoes_no_other_file(configuration: Path, tmp_path: Path) -> None:
    assert main(["run", str(configuration)]) == 0
    before = receipts(tmp_path / "out", "documents")
    write_warc(
        tmp_path / "crawl" / "9.warc.gz",
        [
            ("http://new.example/", "text/html", page(prose(77), ["/p.png"])),
            ("http://new.example/p.png", "image/png", picture(77)),
        ],
    )
    assert main(["run", str(configuration)]) == 0
    after = receipts(tmp_path / "out", "documents")
    assert {shard: after[shard] for shard in before} == before
    assert after[3]["rows_out"] == 1


def test_a_file_that_is_gone_leaves_nothing_behind(configuration: Path, tmp_path: Path) -> None:
    assert main(["run", str(configuration)]) == 0
    (tmp_path / "crawl" / "2.warc.gz").unlink()
    assert main(["run", str(configuration)]) == 0
    assert not list((tmp_path / "out" / "stages").glob("*/00002.*"))
    fresh = ["--set", f"output={tmp_path / 'fresh'}"]
    assert main(["run", str(configuration), *fresh]) == 0
    assert corpus_of(tmp_path / "out") == corpus_of(tmp_path / "fresh")


@pytest.mark.parametrize("damage", ["cut", "removed"])
def test_a_table_that_is_not_whole_is_made_again(damage: str, configuration: Path, tmp_path: Path) -> None:
    assert main(["run", str(configuration)]) == 0
    before = corpus_of(tmp_path / "out")
    table = tmp_path / "out" / "stages" / "text" / "00001.documents.parquet"
    if damage == "cut":
        os.truncate(table, 100)
    else:
        table.unlink()
    assert main(["run", str(configuration)]) == 0
    assert corpus_of(tmp_path / "out") == before


def kill_at(seconds: float, command: list[str]) -> bool:
    """Starts the command, kills it with its workers' parent gone after some time; whether it was still running."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    return False


@pytest.mark.timeout(600)
@pytest.mark.parametrize("moments", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_run_again_leaves_the_same_bytes(
    moments: int, configuration: Path, tmp_path: Path
) -> None:
    def command(output: str) -> list[str]:
        return [sys.executable, "-m", "pipeline", "run", str(configuration), "--set", f"output={tmp_path / output}"]

    started = time.perf_counter()
    subprocess.run(command("undisturbed"), check=True, capture_output=True, cwd=ROOT)
    whole = time.perf_counter() - started
    draw = random.Random(8)
    killed = 0
    for moment in range(moments):
        output = f"killed{moment}"
        killed += kill_at(draw.uniform(0.1, 0.9) * whole, command(output))
        killed += kill_at(draw.uniform(0.1, 0.5) * whole, command(output))
        subprocess.run(command(output), check=True, capture_output=True, cwd=ROOT)
        assert corpus_of(tmp_path / output) == corpus_of(tmp_path / "undisturbed")
        assert stage_tables(tmp_path / output) == stage_tables(tmp_path / "undisturbed")
        assert not list((tmp_path / output).rglob(".*.tmp"))
    assert killed >= moments


def test_a_damaged_record_costs_itself_and_is_counted(configuration: Path, tmp_path: Path) -> None:
    file = tmp_path / "crawl" / "1.warc.gz"
    data = bytearray(file.read_bytes())
    at = data.index(b"\x1f\x8b\x08", 100) + 60  # inside the second record, a picture
    data[at : at + 12] = bytes(255 - byte for byte in data[at : at + 12])
    file.write_bytes(data)
    assert main(["run", str(configuration)]) == 0
    receipt = receipts(tmp_path / "out", "documents")[1]
    assert receipt["drops"] == {"record": {"damage": 1}}
    assert receipt["rows_out"] == 4
    assert receipts(tmp_path / "out", "images")[1]["drops"] == {"image": {"image_missing": 1}}
    assert receipts(tmp_path / "out", "image_rules")[1]["drops"] == {"document": {"text_and_image": 1}}


def test_a_failed_shard_is_a_receipt_and_the_rest_goes_on(
    configuration: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", str(configuration)]) == 0
    for table in (tmp_path / "out" / "stages" / "documents").glob("00001.documents.parquet"):
        table.write_bytes(b"X" * table.stat().st_size)  # of the right size, so that only reading it finds out
    assert main(["run", str(configuration), "--set", "text.document.stop_words.min=0.36"]) == 1
    assert "failed: text, shard 1:" in capfd.readouterr().err
    assert receipts(tmp_path / "out", "text")[1]["error"]
    assert set(receipts(tmp_path / "out", "final")) == {0, 2}
    (tmp_path / "out" / "stages" / "documents" / "00001.json").unlink()
    assert main(["run", str(configuration), "--set", "text.document.stop_words.min=0.36"]) == 0
    assert set(receipts(tmp_path / "out", "final")) == {0, 1, 2}


def stumble(work: Work, settings: Extract) -> None:
    """Dies of one document, and of another hangs inside of C, where no Python handler is called."""
    for document in work.documents():
        if document.row == 0 and document.shard == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        if document.row == 2 and document.shard == 1:
            with deadline(0.1, hard=0.3):
                sum(range(10**12))
        work.keep(document)


def test_documents_that_kill_or_hold_their_worker_cost_themselves(configuration: Path) -> None:
    with Run(config.load(str(configuration)), str(configuration)) as run:
        pages = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
        kept = run.each("stumble", stumble, run.config.extract, documents=pages)
        assert not run.failures
    assert receipts(run.folder, "stumble")[1]["drops"] == {"document": {WORKER_DIED: 2}}
    assert kept.receipts[1].rows_out == pages.receipts[1].rows_out - 2
    assert kept.receipts[0].rows_out == pages.receipts[0].rows_out
    told = [row["value"] for row in read_rows(Path(f"{kept.prefixes[1][0]}.ledger.parquet"))]
    assert told == ["the worker died twice (SIGSEGV)", "the worker died twice (SIGPROF)"]


def end_itself(work: Work, settings: Extract) -> None:
    if work.shard == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    work.table("records", RECORDS)


def test_a_shard_that_kills_its_worker_is_a_failed_receipt_that_the_next_run_tries_again(configuration: Path) -> None:
    for _ in range(2):
        with Run(config.load(str(configuration)), str(configuration)) as run:
            stage = run.each("deadly", end_itself, run.config.extract, warc=run.warcs())
            assert set(stage.prefixes) == {0, 2}
            assert [failed.error for failed in run.failures] == ["the worker died twice (SIGSEGV)"]
        assert receipts(run.folder, "deadly")[1]["error"] == "the worker died twice (SIGSEGV)"


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A mirror that holds the pictures of `pages_without_pictures`, but for some."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        with self.server.lock:  # type: ignore[attr-defined]
            self.server.asked[self.path] += 1  # type: ignore[attr-defined]
        seed = int(self.path.rpartition("/")[2].removesuffix(".png"))
        status = {3: 404, 5: self.server.status}.get(seed, 200)  # type: ignore[attr-defined]
        body = picture(seed) if status == 200 else b""
        time.sleep(0.02)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the test says what was asked."""


class Patient(http.server.ThreadingHTTPServer):
    """Refuses no connection because many come at once."""

    request_queue_size = 256


@pytest.fixture
def mirror() -> Iterator[http.server.ThreadingHTTPServer]:
    with Patient(("127.0.0.1", 0), Elsewhere) as server:
        server.asked, server.status, server.lock = Counter(), 500, threading.Lock()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def pages_without_pictures(folder: Path, server: http.server.ThreadingHTTPServer, count: int = 60) -> Path:
    """A configuration over pages of many hosts whose pictures only the mirror has; two of a page, the second everyone's."""
    for number in range(3):
        pages = [
            (f"http://host{seed}.example/page", "text/html; charset=utf-8",
             page(prose(seed), [f"/{seed}.png", f"http://shared{seed // 5}.example/{1000 + seed // 5}.png"]))
            for seed in range(number * count // 3, (number + 1) * count // 3)
        ]  # fmt: skip
        write_warc(folder / "crawl" / f"{number}.warc.gz", pages)
    address = f"http://127.0.0.1:{server.server_port}/{{url}}"
    download = {"retries": 0, "processes": 2, "back_off": 0.01}
    images = {"sources": ["crawl", "mirror"], "mirror": {"address": address}, "download": download}
    return write_configuration(folder, images=images, image_rules={"document": {"text_and_image": {}}})


def test_images_of_a_mirror_are_asked_for_once_in_a_run_and_holes_are_told(
    mirror: http.server.ThreadingHTTPServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    configuration = str(pages_without_pictures(tmp_path, mirror))
    assert main(["run", configuration]) == 0
    asked = mirror.asked.copy()  # type: ignore[attr-defined]
    assert set(asked.values()) == {1}
    assert len(asked) == 60 + 12
    said = capfd.readouterr().out
    assert "image_missing 2 (gone 1, server_error 1)" in " ".join(said.split())
    assert "Images asked for: 72 of the 72 that all pages name" in said
    corpus = corpus_of(tmp_path / "out")

    assert main(["run", configuration]) == 0
    assert "Nothing to do" in capfd.readouterr().out
    assert mirror.asked == asked  # type: ignore[attr-defined]

    # What failed for a passing reason is asked for again when that is wanted, and only that; what is new is redone.
    assert main(["run", configuration, "--retry-images"]) == 0
    assert "1 image addresses failed for a passing reason" in capfd.readouterr().out
    assert mirror.asked - asked == {"/http://host5.example/5.png": 1}  # type: ignore[attr-defined]
    assert corpus_of(tmp_path / "out") == corpus
    mirror.status = 200  # type: ignore[attr-defined]
    assert main(["run", configuration, "--retry-images"]) == 0
    assert corpus_of(tmp_path / "out") != corpus
    fresh = ["--set", f"output={tmp_path / 'fresh'}"]
    assert main(["run", configuration, *fresh]) == 0
    assert corpus_of(tmp_path / "out") == corpus_of(tmp_path / "fresh")


@pytest.mark.timeout(600)
def test_killed_while_images_are_fetched_a_rerun_asks_for_the_rest_alone(
    mirror: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    configuration = str(pages_without_pictures(tmp_path, mirror))
    assert main(["run", configuration, "--set", f"output={tmp_path / 'undisturbed'}"]) == 0
    mirror.asked.clear()  # type: ignore[attr-defined]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "run", configuration, "--set", "images.download.in_flight=3"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT,
    )  # fmt: skip
    while mirror.asked.total() < 30:  # type: ignore[attr-defined]
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not list((tmp_path / "out" / "stages" / "fetched").glob("*.json"))
    assert main(["run", configuration, "--set", "images.download.in_flight=3"]) == 0
    asked = mirror.asked.total()  # type: ignore[attr-defined]
    assert 72 <= asked <= 72 + 2 * 3
    assert not list((tmp_path / "out").rglob(".*.tmp"))
    one, other = corpus_of(tmp_path / "out"), corpus_of(tmp_path / "undisturbed")
    assert {name: one[name] for name in one if name.endswith(".parquet")} == {
        name: other[name] for name in other if name.endswith(".parquet")
    }
