"""The address of a file on a host or a store, and a stretch of it, in; its bytes out, asked for again where that failed.

Web addresses and S3 (whose addresses botocore signs, or not) are asked over HTTP by byte ranges; any other store by fsspec.
All workers of a run share the limit of requests to a host, and the time until which a host wants to be left alone.
"""

import fcntl
import hashlib
import io
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, urlsplit

import urllib3

from pipeline.errors import UserError
from pipeline.signals import wait_asked

if TYPE_CHECKING:
    from pipeline.config import Fetch

HEAD = 1024  # bytes that are had with the size of a file
FEW = (
    1 << 16
)  # bytes that are asked for where it is not known how many are wanted; doubled while they follow each other
BLOCK = 16 << 20  # bytes of a request at most, which are held in memory
PASSING = {403, 408, 429, 500, 502, 503, 504}  # Common Crawl answers 403, too, to those who hurry
PART = 1 << 16  # bytes that are taken from a connection at once
POLL = 0.02  # seconds between two looks for a free place


class Unreachable(UserError):
    """It did not come, however often it was asked for."""

    status = 1


class NotThere(UserError):
    """There is no such file."""


class Denied(UserError):
    """It is there for others."""


class _Failure(Exception):
    """What may come right when it is asked for again; with the seconds that the host wants to be left alone."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class About(NamedTuple):
    size: int
    etag: str
    head: bytes  # the first HEAD bytes

    @property
    def mark(self) -> str:
        return f"{self.size} {self.etag}"


class _Asking:
    """How this process asks: set once by `use`. Without it, as configured by default, each process for itself."""

    def __init__(self) -> None:
        self.settings: Fetch | None = None
        self.cache: str | None = None
        self.hosts: Path | None = None
        self.pool = urllib3.PoolManager(num_pools=64, maxsize=16)


_asking = _Asking()


def use(settings: "Fetch", cache: str | None, hosts: Path) -> None:
    """From now on this process asks by these settings; `hosts` is the folder by which processes share their limits."""
    _asking.settings, _asking.cache, _asking.hosts = settings, cache, hosts
    about.cache_clear()


def settings() -> "Fetch":
    if _asking.settings is None:
        from pipeline.config import Fetch

        _asking.settings = Fetch()
    return _asking.settings


def is_remote(path: str) -> bool:
    return "://" in path


@lru_cache(maxsize=1024)
def about(address: str) -> About:
    """Size, etag and beginning of a file, by one request. Raises as `fetch`."""
    got = bytearray()
    size, etag = fetch(address, 0, HEAD, got)
    return About(size, etag, bytes(got))


def content(address: str) -> bytes:
    """All of a small file."""
    got = bytearray()
    fetch(address, 0, None, got)
    return bytes(got)


def fetch(address: str, start: int, end: int | None, got: bytearray) -> tuple[int, str]:
    """Adds the bytes from `start` to `end` to `got`, fewer where the file ends before; its size and etag.

    What breaks off goes on at the byte. Raises:
        NotThere, Denied: it will not come.
        Unreachable: it did not, in `retries` tries without a byte or in `deadline` seconds.
    """
    how = settings()
    ask, spent, tries = (_ask_http if _scheme(address) in ("http", "https", "s3") else _ask_store), 0.0, 0
    host = _host(address)
    while True:
        held = len(got)
        with _place(host):
            began = time.monotonic()
            try:
                return ask(address, start, end, got, began + how.deadline - spent)
            except _Failure as failure:
                reason, wait = str(failure), failure.wait
            finally:
                spent += time.monotonic() - began
            if wait is not None and wait <= how.patience:
                _leave_alone(host, wait)
        tries = 1 if len(got) > held else tries + 1
        if wait is not None and wait > how.patience:
            raise Unreachable(f"{address}: {reason}: the host wants to be left alone for {wait:.0f} s")
        pause = how.back_off * 2 ** (tries - 1) * random.uniform(0.5, 1) if wait is None else wait
        spent += pause
        if tries > how.retries or spent > how.deadline:
            raise Unreachable(f"{address}: cannot be had: {reason} (asked {tries} times in a row)")
        if wait is None:  # otherwise no place is to be had until then
            time.sleep(pause)


def _ask_http(address: str, start: int, end: int | None, got: bytearray, until: float) -> tuple[int, str]:
    how = settings()
    begin = start + len(got)
    asked = f"bytes={begin}-{'' if end is None else end - 1}"
    headers = {"Range": asked, "User-Agent": how.agent, "Accept-Encoding": "identity"}
    try:
        response = _asking.pool.request(
            "GET", _signed(address) if _scheme(address) == "s3" else address, headers=headers, preload_content=False,
            timeout=urllib3.Timeout(connect=how.connect, read=how.silence),
            retries=urllib3.Retry(0, redirect=5, status=0, raise_on_status=False, respect_retry_after_header=False),
        )  # fmt: skip
    except urllib3.exceptions.LocationParseError:
        raise NotThere(f"{address}: is no address") from None
    except urllib3.exceptions.HTTPError as error:
        raise _Failure(_said(getattr(error, "reason", None) or error)) from None
    whole = False
    try:
        size, length = _answered(address, response, begin, end)
        left = length
        # Bytes are taken as they come, so that a host which drips them does not outlast the deadline.
        while left and (part := response.read1(min(PART, left))):
            got += part
            left -= len(part)
            if time.monotonic() > until:
                raise _Failure("it did not come in time")
        if left:
            raise _Failure(f"broken off after {length - left} of {length} bytes")
        whole = True
        return size, response.headers.get("ETag", "")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _Failure(_said(error)) from None
    finally:
        if whole:
            response.release_conn()
        else:
            response.close()


def _answered(address: str, response: Any, begin: int, end: int | None) -> tuple[int, int]:
    """The size of the file and how many bytes follow."""
    status, said = response.status, response.headers
    if status == 206:
        try:
            places, _, size = said["Content-Range"].removeprefix("bytes ").partition("/")
            first, _, last = places.partition("-")
            if int(first) == begin and (end is None or int(last) < end):
                return int(size), int(last) + 1 - begin
        except (KeyError, ValueError):
            pass
        raise _Failure(f"asked from byte {begin} on, it answered {said.get('Content-Range')!r}")
    if status == 416:
        size = said.get("Content-Range", "").rpartition("/")[2]
        return (int(size) if size.isdigit() else begin), 0
    if status == 200 and begin == 0 and said.get("Content-Length", "").isdigit():
        size = int(said["Content-Length"])
        if end is None or size <= end:
            return size, size
    if status == 200:
        raise Denied(f"{address}: the host answers no byte ranges; copy the file, or choose another host")
    if status in (404, 410):
        raise NotThere(f"{address}: no such file (HTTP {status})")
    if status == 401 or (status == 403 and _scheme(address) == "s3"):
        raise Denied(
            f"{address}: no permission (HTTP {status}); its credentials are AWS's usual ones, or none with "
            "input.fetch.anonymous: true"
        )
    if status == 301 and "x-amz-bucket-region" in said:
        raise Denied(f"{address}: lies in {said['x-amz-bucket-region']}: set input.fetch.region")
    if status in PASSING or status >= 500:
        raise _Failure(f"HTTP {status}", wait_asked(said.get("Retry-After")))
    raise Unreachable(f"{address}: HTTP {status}")


def _ask_store(address: str, start: int, end: int | None, got: bytearray, until: float) -> tuple[int, str]:
    try:
        store, path = store_of(address)
        info = store.info(path)
        size = int(info["size"])
        begin, end = start + len(got), size if end is None else min(end, size)
        got += store.cat_file(path, begin, end) if begin < end else b""
    except FileNotFoundError:
        raise NotThere(f"{address}: no such file") from None
    except PermissionError as error:
        raise Denied(f"{address}: no permission: {_said(error)}") from None
    except OSError as error:
        raise _Failure(_said(error)) from None
    return size, str(info.get("ETag") or info.get("etag") or store.ukey(path))


def store_of(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address and the path in it."""
    import fsspec

    try:
        found: tuple[Any, str] = fsspec.core.url_to_fs(address)
    except (ValueError, ImportError) as error:
        raise UserError(f"{address}: cannot be read: {_said(error)}") from None
    return found


def listed(address: str) -> list[str]:
    """The files on S3 or an fsspec store below a folder or by a glob; an address of one file alone is not listed."""
    import fnmatch

    if _scheme(address) != "s3":
        store, path = store_of(address)
        found = store.glob(path) if "*" in path else store.find(path)
        return [store.unstrip_protocol(file) for file in found]
    bucket, key = _bucket(address)
    prefix = key[: key.index("*")] if "*" in key else key.rstrip("/") + "/" if key else ""
    import botocore.exceptions

    try:
        pages = _s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
        raise Denied(f"{address}: cannot be listed: {_said(error)}") from None
    return [f"s3://{bucket}/{found}" for found in keys if "*" not in key or fnmatch.fnmatchcase(found, key)]


def _signed(address: str) -> str:
    import botocore.exceptions

    bucket, key = _bucket(address)
    try:
        url: str = _s3().generate_presigned_url("get_object", {"Bucket": bucket, "Key": key}, ExpiresIn=3600)
    except botocore.exceptions.BotoCoreError as error:
        said = _said(error)
        raise Denied(f"{address}: {said}; set AWS's usual variables, or input.fetch.anonymous: true") from None
    return url


def _s3() -> Any:
    how = settings()
    return _client(how.endpoint, how.region, how.anonymous)


@lru_cache(maxsize=4)
def _client(endpoint: str | None, region: str, anonymous: bool) -> Any:
    try:
        import botocore
        import botocore.session
        from botocore.config import Config
    except ImportError:
        raise UserError("s3:// needs botocore: pip install 'carnac[s3]'") from None
    signature = botocore.UNSIGNED if anonymous else "s3v4"
    config = Config(signature_version=signature, retries={"total_max_attempts": 4}, s3={"addressing_style": "auto"})
    return botocore.session.get_session().create_client("s3", region, endpoint_url=endpoint, config=config)


def _bucket(address: str) -> tuple[str, str]:
    bucket, _, key = address.partition("://")[2].partition("/")
    return bucket, key


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower()


def _host(address: str) -> str:
    """Whom a request burdens."""
    how = settings()
    if _scheme(address) == "s3":
        return urlsplit(how.endpoint).netloc if how.endpoint else "s3"
    return urlsplit(address).netloc.rpartition("@")[2].lower() or _scheme(address)


def _said(error: object) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _folder(host: str) -> Path:
    if _asking.hosts is None:
        _asking.hosts = Path(tempfile.mkdtemp(prefix="carnac-hosts-"))
    folder = _asking.hosts / quote(host, safe="")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _place(host: str) -> Iterator[None]:
    """One of the host's places, of all processes; a process that dies gives its own back. While the host wants to be
    left alone nobody gets one."""
    folder, count = _folder(host), settings().at_once
    while True:
        for number in random.sample(range(count), count):
            place = os.open(folder / str(number), os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _left_alone(folder) <= 0:
                    yield
                    return
            except BlockingIOError:
                continue
            finally:
                os.close(place)
            break
        time.sleep(max(_left_alone(folder), 0) + random.uniform(0.5, 1) * POLL)


def _leave_alone(host: str, seconds: float) -> None:
    mark = _folder(host) / "until"
    mark.touch()
    until = time.time() + seconds
    if until > mark.stat().st_mtime:
        os.utime(mark, (until, until))


def _left_alone(folder: Path) -> float:
    try:
        return (folder / "until").stat().st_mtime - time.time()
    except FileNotFoundError:
        return 0


class RemoteFile(io.RawIOBase):
    """A remote file that can be sought in. Of `wanted`, a stretch of it, as much is asked for at once as may be held;
    elsewhere few bytes, and more while they follow each other. The last two blocks are held."""

    def __init__(self, address: str, wanted: tuple[int, int | None] = (0, 0)) -> None:
        self.address, self.wanted = address, wanted
        self.position = 0
        self._blocks: list[tuple[int, bytes]] = []
        self._window = FEW
        self._mark: str | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = 0 if whence == os.SEEK_SET else self.position if whence == os.SEEK_CUR else about(self.address).size
        self.position = max(0, base + offset)
        return self.position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._at(self.position, len(buffer))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)

    def _at(self, position: int, size: int) -> bytes:
        for start, block in self._blocks:
            if start <= position < start + len(block):
                return block[position - start : position - start + size]
        first, last = self.wanted
        if first <= position and (last is None or position < last):
            end = position + BLOCK if last is None else min(last, position + BLOCK)
        else:
            known = about(self.address)
            if position >= known.size:
                return b""
            if position < len(known.head):
                return known.head[position : position + size]
            follows = any(position == start + len(block) for start, block in self._blocks[-1:])
            self._window = min(2 * self._window, BLOCK) if follows else FEW
            end = min(position + max(size, self._window), known.size)
        got = bytearray()
        length, etag = fetch(self.address, position, end, got)
        mark = f"{length} {etag}"
        if got and self._mark not in (None, mark):
            raise Unreachable(f"{self.address}: changed while it was read")
        self._mark = mark if got else self._mark
        self._blocks = [*self._blocks[-1:], (position, bytes(got))]
        return self._blocks[-1][1][:size]


def open_remote(address: str, wanted: tuple[int, int | None]) -> io.BufferedIOBase:
    """The file, read by ranges; or, where there is a folder for copies, its copy there, which is made first."""
    if _asking.cache is None:
        return io.BufferedReader(RemoteFile(address, wanted), FEW)
    return copy_of(address, Path(_asking.cache)).open("rb")


def copy_of(address: str, folder: Path) -> Path:
    """The file in `folder`; of all who want it at once one copies it. What the host has changed is copied anew."""
    known = about(address)
    key = hashlib.sha256(f"{address} {known.mark}".encode()).hexdigest()[:16]
    path = folder / f"{key}-{address.rpartition('/')[2][-100:]}"
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{key}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            from pipeline.storage import aside

            with aside(path) as temporary, temporary.open("wb") as out:
                file = RemoteFile(address, (0, known.size))
                while part := file.read(FEW):
                    out.write(part)
    return path
