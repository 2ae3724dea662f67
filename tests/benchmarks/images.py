"""Fetching images from a web that misbehaves, beside img2dataset: what arrives, how fast, and within which bounds.

`tools/origin.py` beside the folder of real pages serves on loopback: real images, and the faults of the web. img2dataset reads
an endless body without end and may not come back, so it is killed after BOUND seconds, or at MOST_MEMORY.
"""

import hashlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import IO, Any

import pyarrow.parquet as pq

from pipeline.asker import Wanted, fetch
from pipeline.config import Asking, Mirror
from pipeline.memory import peak
from pipeline.pixels import sniff
from pipeline.work import key64
from tests.benchmarks.figure import Figure, Given

HOSTS = 300
PASSES = 2  # over the healthy addresses, the best of which counts
BOUND = 600  # seconds
PER_HOST = 4
TIMEOUT = 5  # seconds of a try
CAP = 20 * 10**6  # bytes of an image
BUFFER = 2**18  # bytes that a socket's reader may be ahead
SHARD = 1000  # addresses of a shard of img2dataset
MOST_MEMORY = 6000  # MB that a process of img2dataset may have
GRACE = 30  # seconds in which it may end once all shards are written
FAIR = {"ok", "429-then-ok", "503-then-ok", "redirect", "wrong-type"}  # behaviours behind which there is an image


def load_origin(material: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("origin", material.parent / "tools" / "origin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextmanager
def serving(material: Path) -> Iterator[int]:
    """The port of a fresh origin server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    command = [sys.executable, str(material.parent / "tools" / "origin.py"), "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def expected(origin: ModuleType, server: Any, url: str) -> str | None:
    """The digest of the image that can be had for an address; None if there is none, or one of a format not ours."""
    kind = origin.behaviour(url)
    if kind not in FAIR:
        return None
    if kind == "redirect":
        url += ("&" if "?" in url else "?") + f"ok={server.healthy(url)}"
    body, _ = server.image(url, server.good)
    return hashlib.sha256(body).hexdigest() if sniff(body) is not None else None


def ours(port: int, urls: list[str]) -> dict[str, Any]:
    """Fetches in two processes, each its own hosts, as a run with `processes: 2` does; what came, what was tried and what
    it took: the sums, or of seconds and memory the largest."""
    parts: list[list[str]] = [[], []]
    for url in urls:
        parts[key64(url.split("/")[2]) % 2].append(url)
    with ProcessPoolExecutor(len(parts), mp_context=get_context("spawn")) as pool:
        answers = list(pool.map(fetched, [port] * len(parts), parts))
    largest = {name: max(a[name] for a in answers) for name in ("memory", "longest", "largest")}
    return largest | {
        "seconds": max(a["ended"] for a in answers) - min(a["started"] for a in answers),
        "processor": sum(a["processor"] for a in answers),
        "tries": sum(a["tries"] for a in answers),
        "came": answers[0]["came"] | answers[1]["came"],
        "reasons": answers[0]["reasons"] + answers[1]["reasons"],
        "connected": sorted({address for a in answers for address in a["connected"]}),
    }


def fetched(port: int, urls: list[str]) -> dict[str, Any]:
    """One of these processes."""
    import pipeline.web  # noqa: F401  # loading does not count, as it does not for img2dataset

    connected: set[str] = set()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
            connected.add("{}:{}".format(*arguments[1][:2]))

    sys.addaudithook(audit)
    mirror = Mirror(address=f"http://127.0.0.1:{port}/{{url}}")
    asking = Asking(sources=["mirror"], mirror=mirror, timeout=TIMEOUT, per_host=PER_HOST, max_bytes=CAP)
    came: dict[str, str] = {}
    reasons: Counter[str] = Counter()
    tries, longest, largest = 0, 0.0, 0

    def take(wanted: Wanted, reason: str, detail: str, body: IO[bytes] | None) -> None:
        nonlocal tries, longest, largest
        reasons[reason] += 1
        tries += len(wanted.tries)
        longest = max([longest, *(one.seconds for one in wanted.tries)])
        largest = max([largest, *(one.size for one in wanted.tries)])
        if body is not None:
            body.seek(0)
            came[wanted.url] = hashlib.file_digest(body, "sha256").hexdigest()  # type: ignore[arg-type]

    started, processor = time.monotonic(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        fetch((Wanted(key64(url), url, ["mirror"]) for url in urls), asking, Path(folder), take)
    return {
        "started": started,
        "ended": time.monotonic(),
        "processor": time.process_time() - processor,
        "memory": peak(),
        "came": came,
        "reasons": reasons,
        "tries": tries,
        "longest": longest,
        "largest": largest,
        "connected": connected,
    }


def img2dataset(port: int, urls: list[str]) -> dict[str, Any]:
    """img2dataset on the same addresses, killed after BOUND seconds. Its speed is that of its shards, from the start of
    the first to the end of the last; starting and ending do not count."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "urls.txt").write_text("".join(f"http://127.0.0.1:{port}/{url}\n" for url in urls))
        command = [
            *(sys.executable, "-c", "from img2dataset import main; main()", "--url_list", str(folder / "urls.txt")),
            *("--output_folder", str(folder / "out"), "--output_format", "webdataset", "--resize_mode", "no"),
            *("--disable_all_reencoding", "True", "--processes_count", "2", "--thread_count", "32"),
            *("--timeout", "10", "--retries", "1", "--number_sample_per_shard", str(SHARD), "--enable_wandb", "False"),
        ]
        environment = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1"}
        started = time.monotonic()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, start_new_session=True,
        )  # fmt: skip
        memory, ended, shards = 0.0, False, -(-len(urls) // SHARD)
        written: float | None = None  # when the last shard was
        while time.monotonic() - started < BOUND and not ended:
            time.sleep(1)
            ended = process.poll() is not None
            if written is None and len(list((folder / "out").glob("*_stats.json"))) == shards:
                written = time.monotonic()
            if written is not None and time.monotonic() - written > GRACE:
                break
            memory = max(memory, _group_memory(process.pid))
            if memory > MOST_MEMORY:
                break
        if not ended:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        finished = sorted((folder / "out").glob("*_stats.json"))
        stats = [json.loads(file.read_text()) for file in finished]
        came = {
            row["url"].split("/", 3)[3]: row["sha256"]
            for file in finished
            for row in pq.read_table(str(file).replace("_stats.json", ".parquet")).to_pylist()
            if row["status"] == "success"
        }
        span = max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats) if stats else float("inf")
        return {
            "seconds": time.monotonic() - started, "span": span, "ended": ended, "came": came, "memory": memory,
            "shards": len(stats),
        }  # fmt: skip


def _group_memory(group: int) -> float:
    """MB of the largest process of a group."""
    largest = 0.0
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == group:
                fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
                largest = max(largest, float(fields.get("VmRSS", "0 kB").split()[0]) / 1000)
        except (OSError, ValueError):
            continue
    return largest


def share_of(came: dict[str, str], had: dict[str, str]) -> float:
    """Per cent of what can be had that came, byte for byte."""
    return 100 * sum(came.get(url) == digest for url, digest in had.items()) / len(had)


def figures(given: Given) -> Iterator[Figure]:
    material, share = given.material, 20 if given.quick else 1
    origin = load_origin(material)
    server = origin.Origin()
    urls = [f"http://h{n % HOSTS}.example/{n}.jpg" for n in range(20_000 // share)]
    had = {url: digest for url in urls if (digest := expected(origin, server, url))}
    good = (f"http://h{n % HOSTS}.example/good/{n}.jpg" for n in count())
    able = (url for url in good if origin.behaviour(url) == "ok" and expected(origin, server, url))
    healthy = list(islice(able, 5_000 // share))
    peer = bool(importlib.util.find_spec("img2dataset"))

    speeds, theirs_speeds, processor = [], [], 0.0
    for _ in range(PASSES):
        with serving(material) as port:
            run = ours(port, healthy)
            assert len(run["came"]) == len(healthy), run["reasons"]
            speeds.append(len(healthy) / run["seconds"])
            processor = 1000 * run["processor"] / len(healthy)
        if peer:
            with serving(material) as port:
                theirs = img2dataset(port, healthy)
                theirs_speeds.append(len(theirs["came"]) / theirs["span"])
    what = f"{len(healthy):,} healthy addresses, two processes"
    best = max(theirs_speeds, default=None)
    yield Figure(what, max(speeds), "images/s", peer="img2dataset", theirs=best, beside=0.9)
    yield Figure(f"{what}: time of a processor", processor, "ms an image")

    with serving(material) as port:
        run = ours(port, urls)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stats") as stats:
            most = json.load(stats)["peak_per_host"][0][1]
        elsewhere = [address for address in run["connected"] if address != f"127.0.0.1:{port}"]
    print(
        f"  ours ended by itself after {run['seconds']:.0f} s; {run['tries']:,} requests; {dict(run['reasons'])}; {elsewhere}"
    )
    theirs_share = theirs_memory = None
    if peer:
        with serving(material) as port:
            theirs = img2dataset(port, urls)
        theirs_share, theirs_memory = share_of(theirs["came"], had), theirs["memory"]
        said = "ended by itself" if theirs["ended"] else "was killed"
        print(
            f"  img2dataset {said} after {theirs['seconds']:.0f} s; {theirs['shards']} of {-(-len(urls) // SHARD)} shards written"
        )
    what = f"{len(urls):,} addresses of {HOSTS} hosts"
    came = share_of(run["came"], had)
    yield Figure(
        f"{what}: came, of {len(had):,} that can be had", came, "%", least=99.9, peer="img2dataset", theirs=theirs_share
    )
    yield Figure(f"{what}: peak memory", run["memory"] / 1e6, "MB", most=600, peer="img2dataset", theirs=theirs_memory)
    yield Figure(f"{what}: connections to any other", len(elsewhere), most=0)
    yield Figure(f"{what}: largest body read", run["largest"] / 1e6, "MB", most=(CAP + BUFFER) / 1e6)
    yield Figure(f"{what}: longest try", run["longest"], "s", most=TIMEOUT + 1)
    yield Figure(f"{what}: most requests at once to a host", most, most=PER_HOST)
