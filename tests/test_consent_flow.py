"""Consent in the whole flow, with hosts and a registry on loopback: who is asked, how often, and what is told of it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import main
from pipeline.explain import explain
from pipeline.funnel import funnel
from tests.conftest import ROOT
from tests.crawls import Response, page, picture, prose, write_warc
from tests.sites import LOOPBACK, Says, Sites

HOSTS = range(2, 14)
FILES = ("robots.txt", "ai.txt", ".well-known/tdmrep.json")
NO = "User-agent: GPTBot\nDisallow: /page"


@pytest.fixture(scope="module", autouse=True)
def key() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPAWNING_OPTS_KEY", "key")
        yield


@pytest.fixture
def sites() -> Iterator[Sites]:
    with hosts() as server:
        yield server


@dataclass
class Finished:
    """A run that asked everybody, and how often each was asked."""

    sites: Sites
    config: str
    folder: Path
    asked: Counter[str]
    addresses: int


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("consent")
    with hosts() as sites:
        config = configured(sites, folder)
        assert main(["run", config, "--set", "engine.workers=2"]) == 0
        addresses = sum(len(body.split(b"\n")) for _, body in sites.posts)
        yield Finished(sites, config, folder / "out", Counter(sites.asked), addresses)


@contextmanager
def hosts() -> Iterator[Sites]:
    """Most hosts have a robots.txt that allows; the last octet of the others says what they answer."""
    with Sites() as server:
        for number in HOSTS:
            server.pages[f"127.0.0.{number}/robots.txt"] = Says("User-agent: *\nAllow: /")
        server.pages["127.0.0.3/robots.txt"] = Says(NO)
        server.pages["127.0.0.4/robots.txt"] = Says(status=503)
        server.pages["127.0.0.5/ai.txt"] = Says("User-Agent: *\nDisallow: *.png")
        server.pages["127.0.0.6/.well-known/tdmrep.json"] = Says('[{"location": "/", "tdm-reservation": 1}]')
        server.pages["127.0.0.7/ai.txt"] = Says(status=500)
        server.pages["127.0.0.8/robots.txt"] = Says(f"License: {server.origin(8)}/rsl.xml")
        terms = '<rsl><content url="/"><license><prohibits type="usage">ai-train</prohibits></license></content></rsl>'
        server.pages["127.0.0.8/rsl.xml"] = Says(terms)
        server.post = registry
        yield server


def registry(body: bytes) -> Says:
    return Says(
        json.dumps({"urls": [{"url": url, "optOut": "127.0.0.9:" in url} for url in body.decode().split("\n")]})
    )


def configured(sites: Sites, folder: Path, **changes: Any) -> str:
    """A crawl of two pages and two pictures a host, in three files, and a configuration that asks everybody."""
    urls: list[list[Response]] = [[], [], []]
    for number in HOSTS:
        for index in range(2):
            seed = 10 * number + index
            origin, responses = sites.origin(number), urls[(number + index) % 3]
            responses.append((f"{origin}/page{index}", "text/html", page(prose(seed), [f"/{index}.png"])))
            responses.append((f"{origin}/{index}.png", "image/png", picture(seed)))
    for number, responses in enumerate(urls):
        write_warc(folder / "crawl" / f"{number}.warc.gz", responses)
    (folder / "list.txt").write_text("127.0.0.10\n")
    raw: dict[str, Any] = {"name": "test", "output": str(folder / "out"), "input": {"paths": [str(folder / "crawl")]}}
    raw["extract"] = {"method": "obelics"}
    raw["consent"] = {
        "signals": ["x_robots_tag", "tdm_reservation", "robots_txt", "content_signal", "ai_txt", "rsl", "c2pa", "iptc"],
        **{name: {"live": True} for name in ("robots", "tdmrep", "ai_txt", "rsl")},
        "lists": [str(folder / "list.txt")],
        "spawning": {"url": f"{sites.origin(1)}/query", "pause": 0},
        "requests": {"allowed_networks": LOOPBACK, "seconds": 3},
        **changes,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return str(folder / "config.yaml")


def corpus_of(folder: Path) -> dict[str, str]:
    files = sorted(path for path in (folder / "corpus").rglob("*.parquet"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def drops_of(folder: Path, stage: str) -> dict[str, dict[str, int]]:
    [summary] = [summary for summary in funnel(folder) if summary.stage == stage]
    return {level: dict(counter) for level, counter in summary.drops.items()}


WANTED = {f"127.0.0.{number}/{file}": 1 for number in HOSTS for file in FILES} | {"127.0.0.8/rsl.xml": 1}


def test_each_host_is_asked_once_and_what_it_says_is_heeded(finished: Finished) -> None:
    assert finished.asked == WANTED
    assert finished.addresses == 4 * len(HOSTS)
    assert drops_of(finished.folder, "consent")["document"] == {
        "robots_txt": 4,  # two pages each that say no and that cannot be asked
        "tdm_reservation": 2,
        "rsl": 2,
        "spawning": 2,
        "opt_out_list": 2,
        "text_and_image": 2,  # whose pictures the ai.txt keeps
    }
    assert drops_of(finished.folder, "consent")["image"] == {"ai_txt": 2}
    card = (finished.folder / "corpus" / "README.md").read_text()
    for row in ("robots_txt | 4 | 0 | 0", "ai_txt | 0 | 2 | 4", "spawning | 2 | 0 | 0", "opt_out_list | 2 | 0 | 0"):
        assert f"| {row} |" in card
    assert "could not be checked was not taken for a refusal" in " ".join(card.split())


def test_explain_names_the_signal_the_evidence_and_what_could_not_be_checked(finished: Finished) -> None:
    origin = finished.sites.origin

    def told(number: int) -> str:
        return "\n".join(explain(finished.folder, f"{origin(number)}/page0"))

    assert f"document dropped by robots_txt: {origin(3)}/robots.txt: disallows GPTBot" in told(3)
    assert f"document dropped by robots_txt: {origin(4)}/robots.txt: server_error, HTTP 503" in told(4)
    assert f"dropped by ai_txt: {origin(5)}/ai.txt: disallows *" in told(5)
    assert f"document dropped by tdm_reservation: {origin(6)}/.well-known/tdmrep.json: /: tdm-reservation 1" in told(6)
    assert f"not checked by ai_txt: {origin(7)}/ai.txt: server_error, HTTP 500 (2 addresses)" in told(7)
    assert "kept: " in told(7)
    assert f"document dropped by rsl: {origin(8)}/rsl.xml: / prohibits ai-train" in told(8)
    assert f"document dropped by spawning: {origin(1)}/query: optOut: true" in told(9)
    assert "document dropped by opt_out_list: 127.0.0.10 (expected not listed)" in told(10)
    assert "not checked" not in told(11)


def test_another_number_of_workers_asks_as_often_and_leaves_the_same_corpus(finished: Finished, tmp_path: Path) -> None:
    finished.sites.asked.clear()
    other = ["--set", f"output={tmp_path}", "--set", "engine.workers=1"]
    assert main(["run", finished.config, *other]) == 0
    assert finished.sites.asked == WANTED
    assert corpus_of(tmp_path) == corpus_of(finished.folder)


def test_a_second_run_asks_nobody(finished: Finished, capsys: pytest.CaptureFixture[str]) -> None:
    finished.sites.asked.clear()
    finished.sites.posts.clear()
    assert main(["run", finished.config]) == 0
    assert "Nothing to do" in capsys.readouterr().out
    assert not finished.sites.asked
    assert not finished.sites.posts


def test_a_changed_agent_asks_only_those_again_that_had_failed(finished: Finished) -> None:
    finished.sites.pages["127.0.0.4/robots.txt"] = Says("User-agent: *\nAllow: /")
    finished.sites.asked.clear()
    finished.sites.posts.clear()
    assert main(["run", finished.config, "--set", "consent.agents=[CCBot]"]) == 0
    assert finished.sites.asked == {"127.0.0.4/robots.txt": 1, "127.0.0.7/ai.txt": 1}
    assert finished.sites.posts == []
    assert "robots_txt" not in drops_of(finished.folder, "consent")["document"]


def test_a_kill_in_the_middle_costs_the_hosts_no_second_request(sites: Sites, tmp_path: Path) -> None:
    config = configured(sites, tmp_path)
    for number in HOSTS:
        sites.pages[f"127.0.0.{number}/ai.txt"] = Says(status=404, wait=0.3)
    sites.pages["127.0.0.4/robots.txt"] = Says(status=404)
    command = [sys.executable, "-m", "pipeline", "run", config, "--set", "engine.workers=1"]
    command += ["--set", "consent.requests.threads=1"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while sum(sites.asked.values()) < 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1)  # the worker follows its parent
    assert 12 <= sum(sites.asked.values()) < len(HOSTS) * len(FILES)
    assert main(["run", config]) == 0
    asked = {address for number in HOSTS for address in (f"127.0.0.{number}/{file}" for file in FILES)}
    assert set(sites.asked) - {"127.0.0.8/rsl.xml"} == asked
    assert sum(sites.asked[address] - 1 for address in asked) <= 1  # the one in flight


def test_without_a_source_on_the_network_nobody_is_asked(sites: Sites, tmp_path: Path) -> None:
    config = configured(sites, tmp_path)
    raw = yaml.safe_load(Path(config).read_text())
    raw["consent"] = {
        "signals": ["x_robots_tag", "meta_robots", "tdm_reservation", "content_usage", "rsl", "c2pa", "iptc"]
    }
    Path(config).write_text(yaml.safe_dump(raw))
    assert main(["run", config]) == 0
    assert not sites.asked
    assert not sites.posts
    assert "consent/asked" not in [summary.stage for summary in funnel(tmp_path / "out")]


def test_captures_that_are_not_there_are_a_mistake_of_the_configuration(
    sites: Sites, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(sites, tmp_path)
    assert main(["run", config, "--set", "consent.robots.captures=[nowhere/*.warc.gz]"]) == 2
    assert "consent.robots.captures: nowhere/*.warc.gz: holds no file named" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*.parquet"))


def test_a_list_that_breaks_while_it_is_read_stops_the_run(sites: Sites, tmp_path: Path) -> None:
    config = configured(sites, tmp_path)
    (tmp_path / "list.txt").write_bytes(b"127.0.0.10\n\xff\xfe")
    assert main(["run", config]) == 1
    assert not sites.asked
