"""How this process asks hosts and stores for the crawl's files: settings in; places at a host, shared by all workers, out."""

import fcntl
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import urllib3

from pipeline.errors import UserError
from pipeline.worker import alive

if TYPE_CHECKING:
    from pipeline.config import Fetch

POLL = 0.02  # seconds between two looks for a free place


class Unreachable(UserError):
    """It did not come, however often it was asked for."""

    status = 1


class NotThere(UserError):
    """There is no such file."""


class Denied(UserError):
    """It is there for others."""


class _Asking:
    """How this process asks: set once by `use`. Without it, as configured by default, each process for itself."""

    def __init__(self) -> None:
        self.settings: Fetch | None = None
        self.cache: str | None = None
        self.hosts: Path | None = None
        self.pool = urllib3.PoolManager(num_pools=64, maxsize=16)


asking = _Asking()


def use(settings: "Fetch", cache: str | None, hosts: Path) -> None:
    """From now on this process asks by these settings; `hosts` is the folder by which processes share their limits."""
    asking.settings, asking.cache, asking.hosts = settings, cache, hosts


def settings() -> "Fetch":
    if asking.settings is None:
        from pipeline.config import Fetch

        asking.settings = Fetch()
    return asking.settings


def scheme(address: str) -> str:
    return address.partition("://")[0].lower()


def host_asked(address: str) -> str:
    """Whom a request burdens."""
    how = settings()
    if scheme(address) == "s3":
        return urlsplit(how.endpoint).netloc if how.endpoint else "s3"
    return urlsplit(address).netloc.rpartition("@")[2].lower() or scheme(address)


def said_of(error: object) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _folder(host: str) -> Path:
    if asking.hosts is None:
        asking.hosts = Path(tempfile.mkdtemp(prefix="carnac-hosts-"))
    folder = asking.hosts / quote(host, safe="")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def place_at(host: str) -> Iterator[None]:
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
        alive()  # a host that wants to be left alone holds nobody's patience against the page
        time.sleep(max(_left_alone(folder), 0) + random.uniform(0.5, 1) * POLL)


def leave_alone(host: str, seconds: float) -> None:
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
