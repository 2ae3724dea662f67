"""Images from a web that misbehaves, on loopback: typed reasons, bytes as served, and every batch ends in time."""

import hashlib
import importlib.util
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from pipeline.config import Asking, Images
from pipeline.download import Attempt, download
from pipeline.errors import UserError
from tests.image_host import EXPECTED, JPEG, LARGE, LOOPBACK, PNG, Origin

pytestmark = pytest.mark.skipif(importlib.util.find_spec("img2dataset") is None, reason="needs carnac[download]")


@dataclass
class Batch:
    attempts: list[Attempt]
    seconds: float
    asked: Counter[str]
    agents: set[str]
    left: list[Path]

    def of(self, path: str) -> Attempt:
        return next(attempt for attempt in self.attempts if attempt.url.endswith(path))


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    """All of `EXPECTED` at once, an address inside, one that is none, and one that stands there twice."""
    scratch = tmp_path_factory.mktemp("scratch")
    settings = Asking(
        allowed_networks=LOOPBACK, timeout=3, retries=1, max_bytes=10**6, deadline=90, user_agent="carnac-test/1"
    )
    with Origin() as origin, Origin("127.0.0.2") as inside:
        urls = [origin.url(path) for path in EXPECTED]
        urls += [origin.url("/to?" + inside.url("/jpeg")), "data:image/gif;base64,R0lGOD", urls[0]]
        started = time.monotonic()
        attempts = list(download(urls, settings, scratch))
        return Batch(attempts, time.monotonic() - started, origin.asked, origin.agents, list(scratch.iterdir()))


@pytest.mark.parametrize(("path", "status"), EXPECTED.items())
def test_each_fault_has_its_reason(batch: Batch, path: str, status: str) -> None:
    attempt = batch.of(path)
    assert attempt.status == status, attempt
    assert (attempt.data is None) == (status != "ok")
    assert (attempt.detail == "") == (status == "ok")


def test_bytes_are_as_served(batch: Batch) -> None:
    assert batch.of("/jpeg").data == JPEG
    assert batch.of("/moved").data == JPEG
    assert batch.of("/png-called-text").data == PNG


def test_there_is_one_attempt_an_address_in_the_order_asked_for(batch: Batch) -> None:
    paths = [attempt.url.partition("/to?")[2] or "/" + attempt.url.split("/", 3)[-1] for attempt in batch.attempts]
    assert len(set(paths)) == len(paths) == len(EXPECTED) + 2
    assert paths[: len(EXPECTED) - 2] == list(EXPECTED)[:-2]
    assert batch.attempts[-1] == Attempt(
        "data:image/gif;base64,R0lGOD", "bad_address", None, "no http or https address"
    )


def test_a_redirect_inside_is_refused_and_the_server_there_sees_no_request(batch: Batch, inside: Origin) -> None:
    assert batch.attempts[-2].status == "refused_address"
    assert inside.asked == {}


def test_a_settled_answer_is_not_asked_for_again_and_another_one_is_once(batch: Batch) -> None:
    settled = ["/404", "/403", "/html", "/noai", "/endless", "/declared-200-mb", "/429-for-an-hour"]
    assert {path: batch.asked[path] for path in settled} == dict.fromkeys(settled, 1)
    retried = ["/500", "/reset", "/cut", "/hang", "/slow", "/503-then-ok"]
    assert {path: batch.asked[path] for path in retried} == dict.fromkeys(retried, 2)


def test_a_batch_of_faults_ends_in_the_time_its_tries_take_and_leaves_nothing_behind(batch: Batch) -> None:
    assert batch.seconds < 60
    assert batch.left == []
    assert batch.agents == {"carnac-test/1"}


def test_without_an_allowed_network_a_private_address_is_refused_and_never_asked(tmp_path: Path) -> None:
    with Origin() as origin:
        port = origin.server_address[1]
        urls = [f"http://{host}:{port}/jpeg" for host in ("127.0.0.1", "localhost", "2130706433", "[::1]", "0")]
        attempts = list(download(urls, Asking(deadline=60), tmp_path))
        assert {attempt.status for attempt in attempts} == {"refused_address"}
        assert origin.asked == {}


def test_at_the_deadline_what_came_is_kept_and_the_rest_timed_out(origin: Origin, tmp_path: Path) -> None:
    urls = [origin.url(f"/jpeg?{n}") for n in range(20)] + [origin.url(f"/hang?{n}") for n in range(20)]
    settings = Asking(allowed_networks=LOOPBACK, timeout=100, deadline=12, in_flight=8)
    started = time.monotonic()
    attempts = list(download(urls, settings, tmp_path))
    assert time.monotonic() - started < 17
    assert [attempt.status for attempt in attempts] == ["ok"] * 20 + ["timed_out"] * 20
    assert {attempt.data for attempt in attempts[:20]} == {JPEG}
    assert list(tmp_path.iterdir()) == []


def downloader(scratch: Path, seconds: float = 30) -> int:
    """The id of the process that downloads into `scratch`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:  # it ended meanwhile
                continue
            if b"pipeline.download" in command and any(part.startswith(os.fsencode(scratch)) for part in command):
                return int(folder.name)
        time.sleep(0.02)
    raise AssertionError("no download process")


def wait_until(condition: object, seconds: float = 30) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_download_process_that_dies_costs_what_it_had_not_written(tmp_path: Path) -> None:
    with Origin() as origin:
        urls = [origin.url("/jpeg"), origin.url("/hang"), origin.url("/png-called-text")]

        def kill(origin: Origin = origin) -> None:
            wait_until(lambda: origin.asked["/hang"])
            os.kill(downloader(tmp_path), signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        settings = Asking(allowed_networks=LOOPBACK, in_flight=1, timeout=60, deadline=60)
        attempts = list(download(urls, settings, tmp_path))
        killer.join()
        assert [attempt.status for attempt in attempts] == ["ok", "crashed", "crashed"]


@pytest.mark.skipif(sys.platform != "linux", reason="finds the process in /proc")
def test_a_parent_that_is_killed_takes_its_download_process_along(origin: Origin, tmp_path: Path) -> None:
    program = f"""
        from pathlib import Path
        from pipeline.download import Asking, download
        settings = Asking(allowed_networks={LOOPBACK}, timeout=100, deadline=100)
        list(download([{origin.url("/hang?orphan")!r}], settings, Path({str(tmp_path)!r})))
    """
    root = Path(__file__).resolve().parent.parent
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], cwd=root)
    child = downloader(tmp_path)
    wait_until(lambda: origin.asked["/hang?orphan"])
    parent.kill()
    parent.wait()
    wait_until(
        lambda: not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes(), 10
    )


def test_a_full_disk_is_an_error_not_a_missing_image(origin: Origin, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(LARGE) // 2, hard))  # the download process inherits it
    try:
        with pytest.raises(OSError, match="do not fit into"):
            list(download([origin.url("/large")], Asking(allowed_networks=LOOPBACK, deadline=60), tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_refusals_in_headers_are_heeded_as_configured(origin: Origin, tmp_path: Path) -> None:
    settings = Asking(allowed_networks=LOOPBACK, deadline=60, signals=["x_robots_tag"])
    attempts = list(download([origin.url("/noai?1"), origin.url("/tdm?1")], settings, tmp_path))
    assert [attempt.status for attempt in attempts] == ["opted_out", "ok"]


def test_nothing_asked_for_starts_nothing(tmp_path: Path) -> None:
    assert list(download([], Asking(), tmp_path)) == []


def test_a_missing_package_is_named_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "img2dataset", None)
    with pytest.raises(UserError, match=r"carnac\[download\]"):
        Images.model_validate({"sources": ["web"], "downloader": "img2dataset"})


@pytest.mark.parametrize(
    "settings",
    [
        {"inflight": 1},
        {"in_flight": 0},
        {"deadline": 0},
        {"allowed_networks": ["10.0.0.0/99"]},
        {"allowed_networks": ["localhost"]},
        {"user_agent": "a\r\nHost: inner"},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Asking.model_validate(settings)


@pytest.fixture(scope="module")
def web(material: Path) -> Iterator[tuple[ModuleType, int]]:
    """The origin server that stands beside the material, and its port."""
    tool = material.parent / "tools" / "origin.py"
    spec = importlib.util.spec_from_file_location("origin", tool)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(tool), "--port", str(port)], stdout=subprocess.DEVNULL)

    def answers() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers)
        yield module, port
    finally:
        process.kill()
        process.wait()


@pytest.mark.material
def test_an_origin_with_all_faults_of_the_web_gives_each_its_reason(
    web: tuple[ModuleType, int], material: Path, tmp_path: Path
) -> None:
    module, port = web
    originals = [f"http://h{n % 60}.example/{n}.jpg" for n in range(500)]
    prefix = f"http://127.0.0.1:{port}/"
    settings = Asking(allowed_networks=LOOPBACK, timeout=4, deadline=120)
    started = time.monotonic()
    attempts = list(download([prefix + url for url in originals], settings, tmp_path))
    assert time.monotonic() - started < 100
    reasons = {
        "404": {"gone"}, "410": {"gone"}, "403": {"forbidden"}, "500": {"server_error"},
        "html-not-image": {"not_an_image"}, "truncated": {"network_error"}, "slow": {"timed_out"},
        "hang": {"timed_out"}, "reset": {"network_error"}, "endless": {"not_an_image"}, "gone-big": {"too_big"},
        "redirect-loop": {"bad_redirect"}, "redirect-private": {"refused_address", "network_error"},
        "noai": {"opted_out"}, "tdm-reserved": {"opted_out"},
    }  # fmt: skip
    healthy = {hashlib.sha256(path.read_bytes()).digest() for path in (material / "images").glob("good-*")}
    served = 0
    for original, attempt in zip(originals, attempts, strict=True):
        kind = module.behaviour(original)
        allowed = reasons.get(kind, {"ok", "not_an_image"})  # the good images hold icons and JPEG 2000
        assert attempt.status in allowed, (kind, attempt.status, attempt.detail)
        if attempt.data is not None and kind != "broken-image":
            assert hashlib.sha256(attempt.data).digest() in healthy
            served += 1
    assert served > 200
