"""Image addresses in, one attempt each out: the bytes as the web serves them, or a typed reason why there are none.

img2dataset downloads, in a process of its own with many threads. By itself it reads without bound, follows redirects
into private networks and may hang at its end, so that process fetches through `pipeline.fetch` alone, writes each
attempt down as it ends, and is killed with its group at the deadline; what was written by then is kept.
"""

import importlib.util
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import urllib.response
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from email.message import Message
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import pyarrow as pa

from pipeline.config import Asking
from pipeline.consent.headers import refusal
from pipeline.errors import UserError
from pipeline.fetch import PASSING, Failure, Fetcher, Reason, Try, check_image, kept_headers, requestable
from pipeline.journal import append, entries
from pipeline.places import read_bytes
from pipeline.signals import header_signals

LOG = "attempts"  # the journal of the download process: url, status, detail and tries of each, then the bytes
_DISK_FULL = os.EX_IOERR


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of one address; `detail` is for a reader ("HTTP 404"), `status` for counting."""

    url: str
    status: Literal["ok"] | Reason
    data: bytes | None = None
    detail: str = ""
    tries: list[Try] = field(default_factory=list)


def ready() -> None:
    """Raises UserError where img2dataset is not installed."""
    if importlib.util.find_spec("img2dataset") is None:
        raise UserError(
            'images.downloader: img2dataset is not installed: pip install "carnac[download]", or leave downloader out'
        )


def download(urls: Sequence[str], settings: Asking, scratch: Path) -> Iterator[Attempt]:
    """One attempt for each distinct address, in the order of `urls`, after at most `settings.deadline` seconds.

    Bytes are as served, never resized or encoded again; that they begin like an image was checked, that they decode was
    not. `scratch` is a folder that holds the batch (at most `max_bytes` an address) until the iterator is finished.
    Raises `OSError` where `scratch` cannot take the images, and
    `RuntimeError` where the download process failed before its first attempt; later, what it left is "crashed".
    """
    urls = list(dict.fromkeys(urls))
    asked = {url: requestable(url) for url in urls}
    sent = list(dict.fromkeys(address for address in asked.values() if address is not None))
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="download-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        log = folder / LOG
        missing: tuple[Reason, str] = ("timed_out", f"not reached in the {settings.deadline:g} s of the batch")
        if sent:
            _write_request(folder, sent, settings)
            status = _run(folder, settings.deadline)
            if status not in (0, None):
                last = ((folder / "stderr").read_text(errors="replace").strip().splitlines() or [""])[-1][:200]
                if status == _DISK_FULL:
                    raise OSError(f"the images do not fit into {scratch}: {last}")
                if not log.exists():
                    raise RuntimeError(f"the download process ended with status {status}: {last}")
                missing = ("crashed", f"the download process ended with status {status}: {last}")
        ended = {entry.head["url"]: entry for entry in entries(log)}
        for url in urls:
            address = asked[url]
            if address is None:
                yield Attempt(url, "bad_address", None, "no http or https address")
            elif address not in ended:
                yield Attempt(url, missing[0], None, missing[1])
            else:
                entry = ended[address]
                data = None
                if entry.head["status"] == "ok":
                    data = read_bytes(log, entry.body, entry.end)
                tries = [Try(**one) for one in entry.head["tries"]]
                yield Attempt(url, entry.head["status"], data, entry.head["detail"], tries)


def _write_request(folder: Path, addresses: list[str], settings: Asking) -> None:
    (folder / "settings.json").write_text(settings.model_dump_json())
    table = pa.table({"url": addresses})
    with pa.OSFile(str(folder / "urls.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def _run(folder: Path, deadline: float) -> int | None:
    """The exit status of the download process, or None where the deadline ended it; nothing of it is left behind."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    # Importing img2dataset imports albumentations, which would ask the network for a newer version of itself.
    environment = os.environ | {"PYTHONPATH": path, "NO_ALBUMENTATIONS_UPDATE": "1"}
    with (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "pipeline.download", str(folder)],
            stdin=subprocess.PIPE,
            stdout=stderr,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )
    try:
        return process.wait(deadline)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        assert process.stdin is not None
        process.stdin.close()


class _Log:
    """What img2dataset calls a sample writer; it appends each attempt at once, so that a kill loses none before it."""

    def __init__(self, shard: int, folder: str, *unused: Any) -> None:
        self.file = (Path(folder) / LOG).open("wb")

    def write(self, data: bytes | None, key: str, caption: str | None, meta: dict[str, Any]) -> None:
        status, _, detail = ("ok", "", "") if data is not None else str(meta["error_message"]).partition(": ")
        if status != "ok" and status not in get_args(Reason):
            status, detail = "network_error", str(meta["error_message"])[:200]
        head = {"url": meta["url"], "status": status, "detail": detail, "tries": []}
        if _opener is not None:
            head["tries"] = [asdict(one) for one in _opener.tries.pop(meta["url"], [])]
        try:
            append(self.file, head, None if data is None else io.BytesIO(data))
        except OSError as error:  # img2dataset would print it and go on
            print(error, file=sys.stderr, flush=True)
            os._exit(_DISK_FULL)

    def close(self) -> None:
        # All attempts are written. img2dataset would only end its threads now, where it has been seen to hang.
        os._exit(0)


# From here on: what runs in the download process.


class _Opener:
    """What urllib.request.urlopen calls in the download process, so that img2dataset has no other way out."""

    def __init__(self, settings: Asking) -> None:
        self.settings = settings
        self.fetcher = Fetcher(
            user_agent=settings.agent,
            max_bytes=settings.max_bytes,
            allowed_networks=settings.allowed_networks,
        )
        self.inspect = partial(_inspect, heeded=settings.signals, strict=settings.strict)
        self.settled: dict[str, Failure] = {}
        self.tries: dict[str, list[Try]] = {}

    def open(
        self, request: urllib.request.Request, data: None = None, timeout: float = 0
    ) -> urllib.response.addinfourl:
        """img2dataset calls again after any failure, at once: a settled one is repeated to it, another one waits."""
        url = request.full_url
        if url in self.settled:
            raise self.settled[url]
        made = Try("web", url, time.time())
        self.tries.setdefault(url, []).append(made)
        started = time.monotonic()
        try:
            answer = self.fetcher.get(url, seconds=self.settings.timeout, inspect=self.inspect)
        except Failure as failure:
            made.seconds = round(time.monotonic() - started, 3)
            made.reason, made.detail, made.status = failure.reason, failure.detail, failure.status
            wait = self.settings.back_off if failure.retry_after is None else failure.retry_after
            # Who asks for more patience than one try may take is not asked again.
            if failure.reason not in PASSING or wait > self.settings.timeout:
                self.settled[url] = failure
            elif len(self.tries[url]) <= self.settings.retries:
                time.sleep(wait)
            raise
        made.seconds = round(time.monotonic() - started, 3)
        made.status, made.url, made.size = answer.status, answer.url, len(answer.data)
        made.headers = kept_headers(answer.headers.items())
        return urllib.response.addinfourl(io.BytesIO(answer.data), answer.headers, answer.url, answer.status)


_opener: _Opener | None = None  # of the download process


def _inspect(headers: Message, start: bytes, heeded: Sequence[str], strict: bool) -> None:
    """Stops at an answer that may not be used, or is no image, whatever its Content-Type says."""
    if no := refusal(header_signals((name, str(value)) for name, value in headers.items()), heeded, strict):
        raise Failure("opted_out", f"{no[0]}: {no[1].value}")
    check_image(start)


def _child(folder: Path) -> int:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    settings = Asking.model_validate_json((folder / "settings.json").read_text())
    global _opener  # noqa: PLW0603
    _opener = _Opener(settings)
    urllib.request.install_opener(_opener)  # type: ignore[arg-type]  # before img2dataset is there to fetch
    from img2dataset.downloader import Downloader
    from img2dataset.resizer import Resizer

    with pa.OSFile(str(folder / "urls.arrow")) as source:
        count = pa.ipc.open_file(source).read_all().num_rows
    downloader = Downloader(
        sample_writer_class=_Log,
        resizer=Resizer(0, "no", False, disable_all_reencoding=True),  # the bytes as they came
        thread_count=settings.in_flight,
        save_caption=False,
        extract_exif=False,
        output_folder=str(folder),
        column_list=["url"],
        timeout=settings.timeout,
        number_sample_per_shard=count,
        oom_shard_count=1,
        compute_hash=None,
        verify_hash_type=None,
        encode_format="jpg",
        retries=settings.retries,
        user_agent_token=None,
        disallowed_header_directives=None,
    )
    downloader.download_shard((0, str(folder / "urls.arrow")))  # ends in `_Log.close`
    return 1


def _end_with_parent() -> None:
    """A parent that was killed cannot end its child; its end of the pipe closes all the same."""
    sys.stdin.buffer.read()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(_child(Path(sys.argv[1])))
