"""The whole flow with its output on a store: the same bytes as in a folder, also from a store that fails and is slow."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline import config
from pipeline.cli import main
from pipeline.output import local_of
from pipeline.places import place, read_bytes, sizes, store_of
from tests.conftest import ROOT
from tests.crawls import crawl
from tests.s3 import serving_s3
from tests.test_run import corpus_of, write_configuration

QUICK = ["--set", "engine.store.beat=0.2", "--set", "engine.store.back_off=0.05"]
AT = {
    "memory": ["--set", "output=memory://x/run", "--set", "engine.workers=0", *QUICK],
    "s3": ["--set", "output=s3://corpora/a/run", *QUICK],
}


def corpus_at(address: str) -> dict[str, str]:
    names = [name for name in sizes(place(address)) if name.startswith("corpus/")]
    return {name: hashlib.sha256(read_bytes(place(address) / name)).hexdigest() for name in names}


def dates(address: str) -> dict[str, object]:
    """When each shard of the corpus was put there."""
    store, name = store_of(place(address) / "corpus")
    found = store.find(name, detail=True)
    return {n: about.get("LastModified", about.get("created")) for n, about in found.items() if n.endswith(".parquet")}


def left_over(address: str) -> list[str]:
    return [name for name in sizes(place(address)) if any(part.startswith(".") for part in name.split("/"))]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is under way lies apart from that of a test beside this one, whose output has the same address elsewhere."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))


def test_a_folder_memory_and_s3_end_with_the_same_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    MemoryFileSystem.store.clear()
    crawl(tmp_path / "crawl")
    path = str(write_configuration(tmp_path))
    assert main(["run", path]) == 0
    wanted = corpus_of(tmp_path / "out")
    with serving_s3("corpora"):
        for changes in AT.values():
            address = changes[1].removeprefix("output=")
            assert main(["run", path, *changes]) == 0
            assert corpus_at(address) == wanted
            assert left_over(address) == []
            made = dates(address)
            capfd.readouterr()
            assert main(["run", path, *changes]) == 0
            assert "Nothing to do: every shard" in capfd.readouterr().out
            assert dates(address) == made
            assert main(["status", path, *changes]) == 0
            assert "Images asked for" in capfd.readouterr().out
    assert list((tmp_path / "tmp").glob("carnac-*")) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_an_s3_that_fails_a_twentieth_of_its_calls_and_delays_as_many_costs_no_byte(tmp_path: Path) -> None:
    crawl(tmp_path / "crawl")
    path = str(write_configuration(tmp_path))
    assert main(["run", path]) == 0
    with serving_s3("corpora", faults=0.05, delay=2, seed=3) as store:
        assert store is not None
        assert main(["run", path, *AT["s3"]]) == 0
        assert store.failed > 10
        assert store.late > 10
        assert corpus_at("s3://corpora/a/run") == corpus_of(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_sample_crawl_comes_to_its_ends_on_s3_and_a_killed_run_goes_on(tmp_path: Path) -> None:
    assert main(["sample", str(tmp_path / "sample")]) == 0
    quickstart = str(ROOT / "configs" / "quickstart.yaml")
    sample = {"input.paths": "2026-03 2026-09", "consent.lists": "opt-out.txt", "consent.robots.captures": "robotstxt"}
    changes = []
    for key, names in sample.items():
        changes += ["--set", f"{key}=[{', '.join(str(tmp_path / 'sample' / name) for name in names.split())}]"]
    assert main(["run", quickstart, *changes, "--set", f"output={tmp_path / 'out'}"]) == 0
    with serving_s3("corpora"):
        command = ["run", quickstart, *changes, *AT["s3"]]
        first = subprocess.Popen(
            [sys.executable, "-m", "pipeline", *command], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
        )
        until = time.monotonic() + 300
        while not any("/unique/" in name for name in sizes(place("s3://corpora/a/run"))):
            assert time.monotonic() < until
            assert first.poll() is None
            time.sleep(0.2)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        assert main(command) == 0
        assert corpus_at("s3://corpora/a/run") == corpus_of(tmp_path / "out")
        assert left_over("s3://corpora/a/run") == []
        settings = config.load(quickstart, [value for value in [*changes, *AT["s3"]] if value != "--set"])
        assert not local_of(settings, "run").exists()
