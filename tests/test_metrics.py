"""What Prometheus reads on the port of a run is what its receipts add up to."""

import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline import config
from pipeline.cli import main
from pipeline.config import RuleSet
from pipeline.documents import read_documents
from pipeline.funnel import funnel
from pipeline.judge import judge
from pipeline.run import Run
from pipeline.work import Work
from tests.crawls import crawl
from tests.test_bad_input import refused
from tests.test_run import end_itself, write_configuration

Samples = dict[tuple[str, tuple[str, ...]], float]


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    crawl(tmp_path / "crawl")
    return write_configuration(tmp_path)


def scraped(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        text = response.read().decode()
    families = list(text_string_to_metric_families(text))
    assert all(family.documentation for family in families if family.name.startswith("carnac_"))
    return {
        (s.name, tuple(value for _, value in sorted(s.labels.items()))): s.value
        for family in families
        for s in family.samples
    }


def fail_one(work: Work, settings: RuleSet) -> None:
    if work.shard == 1:
        raise ValueError("no")
    judge(work, settings)


def test_a_scrape_during_a_run_tells_what_the_receipts_say(configuration: Path, port: int) -> None:
    rules = RuleSet.model_validate({"document": {"number_of_words": {"min": 500, "max": 2000}}})
    seen: list[Samples] = []

    def stages(run: Run) -> Iterator[Samples]:
        pages = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
        yield scraped(port)
        run.each("text", fail_one, rules, documents=pages)
        yield scraped(port)
        run.each("ending", end_itself, run.config.extract, documents=pages)
        yield scraped(port)

    for again in (False, True):
        with Run(config.load(str(configuration), [f"metrics={{port: {port}}}"]), str(configuration)) as run:
            seen = list(stages(run))
            summaries = {summary.stage: summary for summary in funnel(run.folder)}
        first, second, third = seen
        assert first["carnac_run", ("test",)] == 1
        assert first["carnac_documents_out_total", ("documents",)] == 12  # done before or now
        assert ("carnac_documents_in_total", ("text",)) not in first
        assert first["carnac_queue", ()] == 0
        text = summaries["text"]
        assert second["carnac_documents_in_total", ("text",)] == text.rows_in == 8
        assert second["carnac_documents_out_total", ("text",)] == text.rows_out
        assert second["carnac_drops_total", ("document", "number_of_words", "text")] == 8 - text.rows_out > 0
        assert second["carnac_bytes_total", ("text",)] == text.bytes
        assert second["carnac_seconds_total", ("text",)] == pytest.approx(text.seconds)
        assert second["carnac_processor_seconds_total", ("text",)] == pytest.approx(text.processor)
        states = {state: second["carnac_shards", ("text", state)] for state in ("done", "failed", "running", "waiting")}
        assert states == {"done": 2, "failed": 1, "running": 0, "waiting": 0}
        assert second["carnac_worker_deaths_total", ()] == 0
        assert third["carnac_shards", ("ending", "failed")] == 1
        assert third["carnac_worker_deaths_total", ()] == 2
        assert third["carnac_retries_total", ()] >= 1
        assert again or first["carnac_seconds_total", ("documents",)] > 0
    with pytest.raises(OSError, match="refused"):
        scraped(port)


def test_shards_that_wait_are_counted_while_a_stage_goes_on(configuration: Path, port: int) -> None:
    with Run(config.load(str(configuration), [f"metrics={{port: {port}}}"]), str(configuration)) as run:
        run.sight.begin("text", 5)
        assert run.engine.workers >= 1  # type: ignore[attr-defined]
        run.engine.workers = 2  # type: ignore[attr-defined]
        found = scraped(port)
        assert (found["carnac_shards", ("text", "running")], found["carnac_shards", ("text", "waiting")]) == (2, 3)
        assert found["carnac_queue", ()] == 3


def test_a_port_that_is_taken_is_a_mistake_in_one_line_and_the_folder_is_free_again(
    configuration: Path, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", port)):
        said = refused(capfd, "run", str(configuration), "--set", f"metrics.port={port}")
    expected = (
        f"metrics: 127.0.0.1:{port} cannot be had: Address already in use; choose another metrics.port or address"
    )
    assert said == f"{configuration}: {expected}"
    assert not (configuration.parent / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("metrics={port: 0}", "metrics.port: "),
        ("metrics={port: 9100, adress: x}", "metrics.adress: unknown key, did you mean address?"),
        ("metrics={address: 192.0.2.1}", "metrics: 192.0.2.1:9100 cannot be had: "),
        ("metrics={address: nowhere.invalid}", "metrics: nowhere.invalid:9100 cannot be had: "),
    ],
)
def test_a_wrong_address_is_told(
    change: str, said: str, configuration: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert said in refused(capfd, "run", str(configuration), "--set", change)


def test_without_metrics_nothing_listens_and_nothing_is_loaded(configuration: Path) -> None:
    script = "import sys; import pipeline.run, pipeline.cli; sys.exit('prometheus_client' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert config.load(str(configuration)).metrics is None
    assert main(["status", str(configuration)]) == 2
