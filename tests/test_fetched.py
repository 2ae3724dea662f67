"""Many addresses at once: limits of hosts, retries, sources, what is kept on disk, and memory that does not grow."""

import asyncio
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from pipeline.asker import Wanted, fetch
from pipeline.config import Asking
from pipeline.fetch import Try
from pipeline.fetched import fetch_images, retry
from pipeline.job import Job, perform
from pipeline.work import Receipt, key64, read_receipt
from tests.conftest import ROOT
from tests.documents import Outcome, write_verdicts
from tests.image_host import EXPECTED, JPEG, LOOPBACK, PNG, Origin


class Host:
    """A server of one event loop that answers everything with `answer` after a moment; knows how many it has at once."""

    def __init__(self, answer: bytes, pause: float = 0.0, address: str = "127.0.0.1") -> None:
        self.answer, self.pause, self.address = answer, pause, address
        self.at_once = self.peak = self.asked = 0
        self.when: list[float] = []

    def __enter__(self) -> "Host":
        self.loop = asyncio.new_event_loop()
        ready = threading.Event()

        async def start() -> None:
            self.server = await asyncio.start_server(self._serve, self.address, 0)
            self.port = self.server.sockets[0].getsockname()[1]
            ready.set()

        def run() -> None:
            self.loop.run_until_complete(start())
            self.loop.run_forever()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        ready.wait()
        return self

    def __exit__(self, *unused: object) -> None:
        async def stop() -> None:
            self.server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(stop(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                self.at_once += 1
                self.peak = max(self.peak, self.at_once)
                self.when.append(time.monotonic())
                if self.pause:
                    await asyncio.sleep(self.pause)
                self.at_once -= 1
                writer.write(self.answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def url(self, path: object, host: str | None = None) -> str:
        return f"http://{host or self.address}:{self.port}/{path}"


def answer(body: bytes = JPEG, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@dataclass
class Came:
    reason: str
    detail: str
    body: bytes | None
    tries: list[Try] = field(default_factory=list)


def ask(urls: Sequence[str], tmp_path: Path, **settings: object) -> dict[str, Came]:
    """What came of each address; every one ends exactly once."""
    asking = Asking.model_validate({"allowed_networks": LOOPBACK, "timeout": 3, "back_off": 0.1} | settings)
    came: dict[str, Came] = {}

    def take(wanted: Wanted, reason: str, detail: str, body: IO[bytes] | None) -> None:
        assert wanted.url not in came
        data = None
        if body is not None:
            body.seek(0)
            data = body.read()
        came[wanted.url] = Came(reason, detail, data, wanted.tries)

    fetch((Wanted(key64(url), url, list(asking.sources)) for url in urls), asking, tmp_path, take)
    assert set(came) == set(urls)
    assert list(tmp_path.iterdir()) == []
    return came


def test_every_fault_ends_with_its_reason_and_all_that_can_be_had_comes(origin: Origin, tmp_path: Path) -> None:
    # One of them asks for an hour of patience, and its host is left alone: it goes by another name.
    paths = {path: reason for path, reason in EXPECTED.items() if path != "/429-for-an-hour"}
    urls = {origin.url(path): reason for path, reason in paths.items()}
    hour = origin.url("/429-for-an-hour").replace("127.0.0.1", "localhost")
    started = time.monotonic()
    came = ask([*urls, hour, "data:image/png;base64,AA"], tmp_path, retries=1, max_bytes=10**6)
    assert time.monotonic() - started < 30
    assert {url: came[url].reason for url in urls} == urls
    assert came[hour].reason == "too_many_requests"
    assert came["data:image/png;base64,AA"].reason == "bad_address"
    assert came[origin.url("/png-called-text")].body == PNG
    asked = {
        path: origin.asked[path] for path in ("/404", "/html", "/noai", "/endless", "/500", "/cut", "/503-then-ok")
    }
    assert asked == {"/404": 1, "/html": 1, "/noai": 1, "/endless": 1, "/500": 2, "/cut": 2, "/503-then-ok": 2}
    assert [one.reason for one in came[origin.url("/429-then-ok")].tries] == ["too_many_requests", "ok"]


def test_a_host_is_asked_so_many_at_once_and_all_of_them_so_many(tmp_path: Path) -> None:
    with Host(answer(), 0.05) as one, Host(answer(), 0.05) as other:
        urls = [host.url(number) for number in range(30) for host in (one, other)]
        came = ask(urls, tmp_path, per_host=3, in_flight=5)
        assert {result.reason for result in came.values()} == {"ok"}
        assert (max(one.peak, other.peak), one.peak + other.peak <= 6) == (3, True)
        assert (one.asked, other.asked) == (30, 30)


def test_a_host_is_one_however_its_name_is_written(tmp_path: Path) -> None:
    with Host(answer(), 0.05) as host:
        names = ("localhost", "LOCALHOST", "me@localhost", "you:secret@localhost", "localhost.")
        ask([host.url(number, name) for number in range(4) for name in names], tmp_path, per_host=2)
        assert host.peak == 2


def test_many_names_of_one_address_can_share_a_limit(tmp_path: Path) -> None:
    with Host(answer(), 0.05) as host:
        urls = [host.url(number, name) for number in range(12) for name in ("127.0.0.1", "localhost")]
        ask(urls, tmp_path, per_host=4, allowed_networks=["127.0.0.1/32", "::1/128"])
        assert host.peak > 4
        host.peak = 0
        ask(urls, tmp_path, per_host=4, per_address=2, allowed_networks=["127.0.0.1/32"])
        assert host.peak == 2


def test_a_rate_is_kept(tmp_path: Path) -> None:
    with Host(answer()) as host:
        ask([host.url(number) for number in range(8)], tmp_path, rate=20)
        gaps = [later - sooner for sooner, later in zip(host.when, host.when[1:], strict=False)]
        assert min(gaps) > 0.02
        assert host.when[-1] - host.when[0] > 0.3


PEACE = [("429 Slow", ["Retry-After: 1"]), ("503 Busy", ["Retry-After: 1"]), ("503 Busy", [])]


@pytest.mark.parametrize(("status", "headers"), PEACE)
def test_a_host_that_wants_peace_gets_it_for_all_its_addresses(status: str, headers: list[str], tmp_path: Path) -> None:
    with Host(answer(b"", status, *headers)) as host:
        ask([host.url(number) for number in range(2)], tmp_path, per_host=1, retries=1, back_off=1)
        gaps = [later - sooner for sooner, later in zip(host.when, host.when[1:], strict=False)]
        assert min(gaps) >= 0.99


def test_more_patience_than_we_have_leaves_the_host_alone(tmp_path: Path) -> None:
    with Host(answer(b"", "429 Slow", "Retry-After: 999")) as host:
        came = ask([host.url(number) for number in range(50)], tmp_path, per_host=1, patience=5)
        assert host.asked == 1
        assert Counter(one.reason for one in came.values()) == {"too_many_requests": 1, "host_left_alone": 49}
        assert came[host.url(49)].detail == "asks for 999 s of patience, at most 5"


def test_a_host_that_is_down_is_left_alone_and_no_other(tmp_path: Path) -> None:
    with Host(answer()) as well:
        down = [f"http://127.0.0.1:9/{number}" for number in range(200)]
        good = [well.url(number) for number in range(50)]
        came = ask([*down, *good], tmp_path, host_failures=6, retries=0)
        assert {came[url].reason for url in good} == {"ok"}
        reasons = Counter(came[url].reason for url in down)
        assert reasons["network_error"] < 12
        assert reasons["host_left_alone"] > 188
        assert sum(len(came[url].tries) for url in down) == reasons["network_error"]


def test_the_mirror_is_asked_first_and_the_web_for_what_it_has_not(origin: Origin, tmp_path: Path) -> None:
    with Host(answer(b"", "404 None")) as empty:
        mirror = {"address": empty.url("{url}")}
        came = ask([origin.url("/jpeg")], tmp_path, sources=["mirror", "web"], mirror=mirror)
        [result] = came.values()
        assert [(one.source, one.reason) for one in result.tries] == [("mirror", "gone"), ("web", "ok")]
        assert result.body == JPEG
    with Host(answer(PNG)) as full:
        mirror = {"address": full.url("{url}")}
        came = ask([origin.url("/404")], tmp_path, sources=["mirror", "web"], mirror=mirror)
        assert [result.body for result in came.values()] == [PNG]
    with Host(answer(PNG, "200 OK", "X-Robots-Tag: noai")) as refusing:
        mirror = {"address": refusing.url("{url}")}
        before = origin.asked["/jpeg"]
        came = ask([origin.url("/jpeg")], tmp_path, sources=["mirror", "web"], mirror=mirror)
        assert [result.reason for result in came.values()] == ["opted_out"]
        assert origin.asked["/jpeg"] == before


def test_limits_count_for_the_mirrored_hosts_or_for_the_mirror_as_one(tmp_path: Path) -> None:
    urls = [f"http://h{number % 4}.example/{number}" for number in range(40)]
    for one_host, peaks in ((False, range(3, 9)), (True, range(2, 3))):
        with Host(answer(), 0.03) as mirror:
            settings = {"address": mirror.url("{url}"), "one_host": one_host}
            ask(urls, tmp_path, sources=["mirror"], mirror=settings, per_host=2)
            assert mirror.peak in peaks


def test_an_error_of_the_disk_ends_the_run_and_is_told(tmp_path: Path) -> None:
    def full(*unused: object) -> None:
        raise OSError(28, "No space left on device")

    with Host(answer()) as host:
        wanted = (Wanted(number, host.url(number), ["web"]) for number in range(1000))
        with pytest.raises(OSError, match="No space left"):
            fetch(wanted, Asking(allowed_networks=LOOPBACK), tmp_path, full)


# The stage: what it leaves, and what a second run of it asks for.


def stage(tmp_path: Path, urls: Sequence[str], held: Sequence[str] = (), **settings: object) -> Outcome:
    rows = [{"url_key": key64(url), "url": url, "held": int(url in held)} for url in urls]
    asking = Asking.model_validate({"allowed_networks": LOOPBACK, "timeout": 2, "back_off": 0.05} | settings)
    prefix = tmp_path / "stages" / "fetched" / "00000"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    inputs = {"addresses": write_verdicts(tmp_path / "addresses", 0, rows)}
    perform(Job("fetched", 0, prefix, "f", fetch_images, asking, inputs, tmp_path / ".counters", 0))
    receipt = read_receipt(prefix)
    assert isinstance(receipt, Receipt)
    assert receipt.error is None, receipt.trace
    return Outcome(prefix, receipt)


def test_each_attempt_is_a_row_and_each_address_an_answer(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(path) for path in ("/jpeg", "/404", "/503-then-ok", "/500", "/noai", "/html", "/moved")]
    done = stage(tmp_path, urls, retries=1)
    answers = {row["url"]: row for row in done.rows("answers")}
    assert {url.rpartition("/")[2]: answers[url]["reason"] for url in urls} == {
        "jpeg": "ok", "404": "gone", "503-then-ok": "ok", "500": "server_error", "noai": "opted_out",
        "html": "not_an_image", "moved": "ok",
    }  # fmt: skip
    assert (done.receipt.rows_in, done.receipt.rows_out) == (7, 3)
    assert done.receipt.notes["answers"]["ok"] == 3
    attempts = done.rows("attempts")
    assert Counter(row["url"] for row in attempts) == dict.fromkeys(urls, 1) | {urls[2]: 2, urls[3]: 2}
    for row in attempts:
        assert row["source"] == "web"
        assert 0 <= row["seconds"] < 2
        assert abs(row["when"].timestamp() - time.time()) < 60
    by_url = {row["url"]: row for row in attempts}
    assert (by_url[urls[6]]["final_url"], by_url[urls[6]]["bytes"]) == (origin.url("/jpeg"), len(JPEG))
    assert by_url[urls[0]]["content_type"] == "image/jpeg"
    assert by_url[urls[4]]["x_robots_tag"] == "noai, noimageai"
    assert [(row["number"], row["status"]) for row in attempts if row["url"] == urls[2]] == [(1, 503), (2, 200)]
    assert not list(tmp_path.rglob("*.tmp"))


def test_what_has_an_answer_is_not_asked_for_again(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(path) for path in ("/jpeg", "/404", "/500", "/reset", "/html")]
    first = stage(tmp_path, urls, retries=0)
    before = first.rows("answers")
    asked = origin.asked.copy()
    second = stage(tmp_path, [*urls, origin.url("/png-called-text")], retries=0)
    assert origin.asked - asked == {"/png-called-text": 1}
    assert second.rows("answers")[: len(urls)] == before


def test_a_retry_asks_for_what_failed_for_a_passing_reason_and_nothing_else(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(path) for path in ("/jpeg", "/404", "/500", "/slow", "/html", "/429-then-ok", "/cut", "/hang")]
    first = stage(tmp_path, urls, retries=0)
    asked = origin.asked.copy()
    assert retry(tmp_path) == 5
    assert not first.prefix.with_suffix(".json").exists()
    second = stage(tmp_path, urls, retries=0)
    assert origin.asked - asked == dict.fromkeys(("/500", "/slow", "/429-then-ok", "/cut", "/hang"), 1)
    reasons = {row["url"]: row["reason"] for row in second.rows("answers")}
    assert reasons[origin.url("/429-then-ok")] == "ok"
    assert len(second.rows("attempts")) == len(urls) + 5
    answers = second.receipt.tables["answers"]
    assert retry(tmp_path) == 4
    assert stage(tmp_path, urls, retries=0).receipt.tables["answers"] == answers  # nothing new, nothing to redo


def test_nothing_to_retry_leaves_everything_as_it_is(origin: Origin, tmp_path: Path) -> None:
    done = stage(tmp_path, [origin.url("/jpeg"), origin.url("/404")])
    assert retry(tmp_path) == 0
    assert done.prefix.with_suffix(".json").exists()
    assert retry(tmp_path / "nowhere") == 0


def test_other_settings_ask_again_what_failed_by_them(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(path) for path in ("/large", "/404", "/jpeg", "/noai")]
    first = {row["url"]: row["reason"] for row in stage(tmp_path, urls, max_bytes=10**4).rows("answers")}
    assert list(first.values()) == ["too_big", "gone", "ok", "opted_out"]
    asked = origin.asked.copy()
    second = {row["url"]: row["reason"] for row in stage(tmp_path, urls, signals=[]).rows("answers")}
    assert list(second.values()) == ["ok", "gone", "ok", "ok"]
    assert origin.asked - asked == {"/large": 1, "/noai": 1}


def test_what_the_crawl_has_is_asked_only_of_sources_that_come_before_it(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url("/jpeg"), origin.url("/png-called-text")]
    done = stage(tmp_path / "a", urls, held=urls[:1], first=0)
    assert [row["url"] for row in done.rows("answers")] == urls[1:]
    done = stage(tmp_path / "b", urls, held=urls[:1], first=1)
    assert [row["url"] for row in done.rows("answers")] == urls


@pytest.mark.skipif(importlib.util.find_spec("img2dataset") is None, reason="needs carnac[download]")
def test_img2dataset_leaves_the_same_columns(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(path) for path in ("/jpeg", "/404", "/503-then-ok", "/noai", "/moved")]
    done = stage(tmp_path, urls, downloader="img2dataset", retries=1)
    assert [row["reason"] for row in done.rows("answers")] == ["ok", "gone", "ok", "opted_out", "ok"]
    attempts = {(row["url"], row["number"]): row for row in done.rows("attempts")}
    assert attempts[urls[2], 1]["status"] == 503
    assert attempts[urls[2], 2]["status"] == 200
    assert attempts[urls[0], 1]["content_type"] == "image/jpeg"
    assert attempts[urls[4], 1]["final_url"] == origin.url("/jpeg")
    asked = origin.asked.copy()
    stage(tmp_path, urls, downloader="img2dataset", retries=1)
    assert origin.asked == asked


KILLED = """
import sys
from pathlib import Path
from tests.test_fetched import stage
stage(Path(sys.argv[1]), sys.argv[2:], per_host=2)
"""


def test_a_kill_costs_no_more_than_what_was_in_flight(tmp_path: Path) -> None:
    with Host(answer(PNG), 0.02) as host:
        urls = [host.url(number) for number in range(200)]
        command = [sys.executable, "-c", KILLED, str(tmp_path), *urls]
        for share in (0.3, 0.7):
            process = subprocess.Popen(command, cwd=ROOT)
            while host.asked < share * len(urls):
                time.sleep(0.005)
            process.kill()
            process.wait()
        done = stage(tmp_path, urls, per_host=2)
        assert {row["reason"] for row in done.rows("answers")} == {"ok"}
        assert len(done.rows("answers")) == len(urls)
        assert host.asked <= len(urls) + 2 * 2


MANY = """
import json, sys, tempfile
from pathlib import Path
from pipeline.config import Asking
from pipeline.asker import Wanted, fetch
from pipeline.memory import peak
port, count = map(int, sys.argv[1:])
wanted = (Wanted(number, f"http://h{number % 5000}.example/{number}.jpg", ["mirror"]) for number in range(count))
asking = Asking(sources=["mirror"], mirror={"address": f"http://127.0.0.1:{port}/{{url}}"}, in_flight=256)
came = [0]
def take(wanted, reason, detail, body):
    came[0] += reason == "gone"
with tempfile.TemporaryDirectory() as folder:
    fetch(wanted, asking, Path(folder), take)
print(json.dumps([came[0], peak() / 10**6]))
"""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [5_000, pytest.param(200_000, marks=pytest.mark.slow)])
def test_memory_does_not_grow_with_the_number_of_addresses(count: int) -> None:
    with Host(answer(b"", "404 None")) as null:
        command = [sys.executable, "-c", MANY, str(null.port), str(count)]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    came, megabytes = json.loads(done.stdout)
    assert came == count
    assert megabytes < 250
