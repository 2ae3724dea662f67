"""The address of a file on a host or a store, and a stretch of it, in; its bytes out, asked for again where that failed.

Web addresses and S3 (whose addresses botocore signs, or not) are asked over HTTP by byte ranges; any other store by fsspec.
All workers of a run share the limit of requests to a host, and the time until which a host wants to be left alone. The
user named these hosts: what the web names is asked by `fetch` and `web`, which go to public addresses only.
"""

import fcntl
import hashlib
import io
import os
import random
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import urllib3

from pipeline.asking import (
    Denied,
    NotThere,
    Unreachable,
    asking,
    host_asked,
    leave_alone,
    place_at,
    said_of,
    scheme,
    settings,
)
from pipeline.header import wait_asked
from pipeline.stores import signed, store_of

HEAD = 1024  # bytes that are had with the size of a file
FEW = (
    1 << 16
)  # bytes that are asked for where it is not known how many are wanted; doubled while they follow each other
BLOCK = 16 << 20  # bytes of a request at most, which are held in memory
PASSING = {403, 408, 429, 500, 502, 503, 504}  # Common Crawl answers 403, too, to those who hurry
PART = 1 << 16  # bytes that are taken from a connection at once


class Failed(Exception):
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
    ask, spent, tries = (_ask_http if scheme(address) in ("http", "https", "s3") else _ask_store), 0.0, 0
    host = host_asked(address)
    while True:
        held = len(got)
        with place_at(host):
            began = time.monotonic()
            try:
                return ask(address, start, end, got, began + how.deadline - spent)
            except Failed as failure:
                reason, wait = str(failure), failure.wait
            finally:
                spent += time.monotonic() - began
            if wait is not None and wait <= how.patience:
                leave_alone(host, wait)
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
        response = asking.pool.request(
            "GET", signed(address) if scheme(address) == "s3" else address, headers=headers, preload_content=False,
            timeout=urllib3.Timeout(connect=how.connect, read=how.silence),
            retries=urllib3.Retry(0, redirect=5, status=0, raise_on_status=False, respect_retry_after_header=False),
        )  # fmt: skip
    except urllib3.exceptions.LocationParseError:
        raise NotThere(f"{address}: is no address") from None
    except urllib3.exceptions.HTTPError as error:
        raise Failed(said_of(getattr(error, "reason", None) or error)) from None
    whole = False
    try:
        size, length = _answered(address, response, begin, end)
        left = length
        # Bytes are taken as they come, so that a host which drips them does not outlast the deadline.
        while left and (part := response.read1(min(PART, left))):
            got += part
            left -= len(part)
            if time.monotonic() > until:
                raise Failed("it did not come in time")
        if left:
            raise Failed(f"broken off after {length - left} of {length} bytes")
        whole = True
        return size, response.headers.get("ETag", "")
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Failed(said_of(error)) from None
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
        raise Failed(f"asked from byte {begin} on, it answered {said.get('Content-Range')!r}")
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
    if status == 401 or (status == 403 and scheme(address) == "s3"):
        raise Denied(
            f"{address}: no permission (HTTP {status}); its credentials are AWS's usual ones, or none with "
            "input.fetch.anonymous: true"
        )
    if status == 301 and "x-amz-bucket-region" in said:
        raise Denied(f"{address}: lies in {said['x-amz-bucket-region']}: set input.fetch.region")
    if status in PASSING or status >= 500:
        raise Failed(f"HTTP {status}", wait_asked(said.get("Retry-After")))
    raise Unreachable(f"{address}: HTTP {status}")


def _ask_store(address: str, start: int, end: int | None, got: bytearray, until: float) -> tuple[int, str]:
    try:
        store, path = store_of(address)
        info = store.info(path)
        size = int(info["size"])
        begin, end = start + len(got), size if end is None else min(end, size)
        got += store.cat_file(path, start=begin, end=end) if begin < end else b""
    except FileNotFoundError:
        raise NotThere(f"{address}: no such file") from None
    except PermissionError as error:
        raise Denied(f"{address}: no permission: {said_of(error)}") from None
    except OSError as error:
        raise Failed(said_of(error)) from None
    return size, str(info.get("ETag") or info.get("etag") or store.ukey(path))


class RemoteFile(io.RawIOBase):
    """A remote file that can be sought in. Of `wanted`, a stretch of it, as much is asked for at once as may be held;
    elsewhere few bytes, and more while they follow each other. The last two blocks are held."""

    def __init__(self, address: str, wanted: tuple[int, int | None] = (0, 0)) -> None:
        self.address, self.wanted = address, wanted
        self.position = 0
        self._blocks: list[tuple[int, bytes]] = []
        self._window = FEW
        self._known: tuple[int, str] | None = None  # size and etag, once bytes were had

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            offset += self._known[0] if self._known else about(self.address).size
        self.position = max(0, offset + (self.position if whence == os.SEEK_CUR else 0))
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
            file = about(self.address)
            if position >= file.size:
                return b""
            if position < len(file.head):
                return file.head[position : position + size]
            follows = any(position == start + len(block) for start, block in self._blocks[-1:])
            self._window = min(2 * self._window, BLOCK) if follows else FEW
            end = min(position + max(size, self._window), file.size)
        got = bytearray()
        known = fetch(self.address, position, end, got)
        if got and self._known not in (None, known):
            raise Unreachable(f"{self.address}: changed while it was read")
        self._known = known if got else self._known
        self._blocks = [*self._blocks[-1:], (position, bytes(got))]
        return self._blocks[-1][1][:size]


def open_remote(address: str, wanted: tuple[int, int | None]) -> io.BufferedIOBase:
    """The file, read by ranges; or, where there is a folder for copies, its copy there, which is made first."""
    if asking.cache is None:
        return io.BufferedReader(RemoteFile(address, wanted), FEW)
    return _copy_of(address, Path(asking.cache)).open("rb")


def _copy_of(address: str, folder: Path) -> Path:
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
