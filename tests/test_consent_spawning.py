"""The registry, by a server on loopback that speaks as Spawning's does: batches, keys, silence, faults, and resume."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Requests, Spawning
from pipeline.consent.spawning import ask_registry
from tests.documents import write_verdicts
from tests.sites import LOOPBACK, Says, Sites
from tests.test_consent_hosts import address, stage

KEY = "a-key-of-no-use"


@pytest.fixture(autouse=True)
def opted_out(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hosts speak as the registry does."""
    monkeypatch.setenv("SPAWNING_OPTS_KEY", KEY)
    sites.post = registry


def registry(body: bytes) -> Says:
    """Everything with "no" in it opted out, of "silent" nothing is known; fewer than two addresses are an error."""
    urls = body.decode().split("\n")
    if len(urls) < 2:
        return Says("at least two", status=400)
    entries = [{"url": url, "optOut": "no" in url} for url in urls if "silent" not in url]
    return Says(json.dumps({"urls": entries, "id": "1"}))


def ask(sites: Sites, folder: Path, *urls: str, seconds: float = 5, **changes: Any) -> list[dict[str, Any]]:
    settings = Spawning(url=f"{sites.origin(1)}/api/v2/query/urls", pause=0, **changes)
    rows = [address(url, row) for row, url in enumerate(urls)]
    addresses = write_verdicts(folder / "addresses", 0, rows)
    requests = Requests(allowed_networks=LOOPBACK, seconds=seconds)
    return stage(ask_registry, (settings, requests), folder, addresses=addresses)[1]


def said(rows: list[dict[str, Any]]) -> list[tuple[int, str]]:
    assert {row["signal"] for row in rows} <= {"spawning"}
    return [(row["row"], row["says"]) for row in rows]


def test_an_address_that_opted_out_is_refused_and_one_that_is_left_out_is_not_checked(
    sites: Sites, tmp_path: Path
) -> None:
    urls = [f"http://a.example/{name}.png" for name in ("yes", "no", "silent", "no")]
    rows = ask(sites, tmp_path, *urls)
    assert said(rows) == [(1, "refused"), (2, "not_checked"), (3, "refused")]
    assert [row["value"] for row in rows] == ["optOut: true", "left out of the answer", "optOut: true"]
    [(headers, body)] = sites.posts
    assert headers["Authorization"] == f"API {KEY}"
    assert headers["Content-Type"] == "text/plain"
    assert body.decode().split("\n") == sorted(set(urls))


def test_one_address_alone_is_asked_for_twice(sites: Sites, tmp_path: Path) -> None:
    assert said(ask(sites, tmp_path, "http://a.example/no.png")) == [(0, "refused")]
    assert sites.posts[0][1] == b"http://a.example/no.png\nhttp://a.example/no.png"


def test_addresses_go_in_batches_one_a_line_whatever_is_in_them(sites: Sites, tmp_path: Path) -> None:
    urls = [f"http://a.example/{number}/\n no ü.png" for number in range(25)]
    assert len(ask(sites, tmp_path, *urls, batch=10)) == 25
    sizes = [len(body.split(b"\n")) for _, body in sites.posts]
    assert sizes == [10, 10, 5]
    assert all(body.isascii() for _, body in sites.posts)


def test_what_is_no_web_address_is_not_sent_and_not_checked(sites: Sites, tmp_path: Path) -> None:
    assert said(ask(sites, tmp_path, "data:image/png;base64,AA", "http://[half/")) == [
        (0, "not_checked"),
        (1, "not_checked"),
    ]
    assert sites.posts == []


FAULTS: list[tuple[Says, str]] = [
    (Says("<html>We are under maintenance</html>"), "form"),
    (Says("{}"), "form"),
    (Says('{"urls": 5}'), "form"),
    (Says('{"urls": [{"url": "http://a.example/no.png"}]}'), "form"),
    (Says('{"urls": [{"url": "http://a.example/no.png", "optOut": "false"}]}'), "left out"),
    (Says('{"urls": []}'), "left out"),
    (Says("", status=200), "form"),
    (Says("unauthorized", status=401), "HTTP 401"),
    (Says("busy", status=429), "HTTP 429"),
    (Says("broken", status=500), "HTTP 500"),
    (Says("maintenance", status=503), "HTTP 503"),
    (Says("{}", wait=3), "timed_out"),
    (Says("[" * 10**5), "form"),
    (Says("x" * 5_000_000), "too_big"),
]


@pytest.mark.parametrize(("answer", "why"), FAULTS)
def test_a_registry_that_fails_says_nothing(answer: Says, why: str, sites: Sites, tmp_path: Path) -> None:
    sites.post = lambda _: answer
    [row] = ask(sites, tmp_path, "http://a.example/no.png", retries=0, seconds=1)
    assert (row["says"], row["signal"]) == ("not_checked", "spawning")
    assert why in row["value"]
    assert KEY not in str(row)


def test_without_a_key_nobody_is_asked_and_nothing_is_checked(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPAWNING_OPTS_KEY")
    [row] = ask(sites, tmp_path, "http://a.example/yes.png")
    assert (row["says"], row["value"]) == ("not_checked", "SPAWNING_OPTS_KEY is not set")
    assert sites.posts == []


def test_a_request_that_fails_is_tried_again_after_a_while(sites: Sites, tmp_path: Path) -> None:
    answers = [
        Says(status=503),
        Says(status=429),
        Says(json.dumps({"urls": [{"url": "http://a.example/", "optOut": True}]})),
    ]
    sites.post = lambda _: answers.pop(0)
    started = time.monotonic()
    assert said(ask(sites, tmp_path, "http://a.example/", retries=2)) == [(0, "refused")]
    assert time.monotonic() - started > 0.25
    assert len(sites.posts) == 3


def test_requests_keep_their_distance(sites: Sites, tmp_path: Path) -> None:
    settings = Spawning(url=f"{sites.origin(1)}/", pause=0.2, batch=2)
    rows = [address(f"http://a.example/{row}", row) for row in range(8)]
    addresses = write_verdicts(tmp_path / "addresses", 0, rows)
    started = time.monotonic()
    stage(ask_registry, (settings, Requests(allowed_networks=LOOPBACK)), tmp_path, addresses=addresses)
    assert len(sites.posts) == 4
    assert time.monotonic() - started > 0.6


def test_what_was_answered_is_not_asked_again_after_a_kill(sites: Sites, tmp_path: Path) -> None:
    urls = [f"http://a.example/no{number}.png" for number in range(6)]
    first = ask(sites, tmp_path, *urls, batch=2)
    assert len(sites.posts) == 3
    journal = next(tmp_path.rglob("*.replies"))
    journal.write_bytes(journal.read_bytes()[:-20])
    assert ask(sites, tmp_path, *urls, batch=2) == first
    assert len(sites.posts) == 4
    assert KEY.encode() not in journal.read_bytes()


@pytest.mark.parametrize("status", [302, 307])
def test_the_key_does_not_follow_a_redirect(status: int, sites: Sites, tmp_path: Path) -> None:
    sites.post = lambda _: Says(status=status, headers=[("Location", f"{sites.origin(2)}/elsewhere")])
    assert said(ask(sites, tmp_path, "http://a.example/no.png", retries=0)) == [(0, "not_checked")]
    assert sites.asked == ({"127.0.0.2/elsewhere": 1} if status == 302 else {})  # urllib makes a GET of it
    assert len(sites.posts) == 1
    assert sites.keys == []
