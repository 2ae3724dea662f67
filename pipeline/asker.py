"""Addresses in, what came of each out as it ends: which source is asked next, whether again, when, and how many at once."""

import asyncio
import io
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.canonical import canonical_url, host_of
from pipeline.fetch import PASSING, Try
from pipeline.hosts import Hosts
from pipeline.work import key64

if TYPE_CHECKING:
    from pipeline.config import Asking, Downloader
    from pipeline.web import Web

LOOKAHEAD = 4096  # addresses in memory that wait for their host
JITTER = 0.5  # of a wait, at most, on top of it
BATCH = 10_000  # addresses that img2dataset is given at once


@dataclass(slots=True, eq=False)
class Wanted:
    """An address, the sources that are still to be asked for it, and what came of those that were."""

    key: int
    url: str
    sources: list[str]
    host: str = ""
    number: int = 0  # of tries at the first of `sources`
    tries: list[Try] = field(default_factory=list)


# With the reason, its detail and, if that is "ok", the body, which is closed afterwards.
Take = Callable[[Wanted, str, str, IO[bytes] | None], None]


def fetch(wanted: Iterable[Wanted], asking: "Asking", scratch: Path, take: Take) -> None:
    """Asks for each address until it is had or given up, as many at once as hosts allow; `take` gets each as it ends.

    What is in memory does not depend on how many there are: at most `LOOKAHEAD` wait, `in_flight` are asked for.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536) if hard > 0 else 65536, hard))
    asyncio.run(_fetch(iter(wanted), asking, scratch, take))


async def _fetch(stream: Iterator[Wanted], asking: "Asking", scratch: Path, take: Take) -> None:
    from pipeline.web import Web

    async with AsyncExitStack() as stack:
        webs: dict[str, Web] = {
            source: await stack.enter_async_context(Web(asking, scratch, asking.mirror if source == "mirror" else None))
            for source in asking.sources
        }
        asker = _Asker(asking, webs, take)
        running: set[asyncio.Task[None]] = set()
        stack.push_async_callback(_cancel, running)
        errors: list[BaseException] = []
        more = True
        moved = asyncio.Event()

        def ended(task: asyncio.Task[None]) -> None:
            running.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                errors.append(error)
            moved.set()

        while True:
            moved.clear()
            while more and asker.hosts.waiting < LOOKAHEAD:
                one = next(stream, None)
                more = one is not None
                if one is not None:
                    asker.add(one)
            while len(running) < asking.in_flight and (given := asker.hosts.next(time.monotonic())) is not None:
                one, left = given
                if left:
                    asker.give_up(one, left)
                else:
                    task = asyncio.create_task(asker.ask(one))
                    running.add(task)
                    task.add_done_callback(ended)
            if errors:
                raise errors[0]
            if not more and not running and not asker.hosts.waiting:
                return
            if asker.hosts.waiting < LOOKAHEAD and more:
                await asyncio.sleep(0)
                continue
            wake = asker.hosts.wake() if len(running) < asking.in_flight else None
            timer = None
            if wake is not None:
                timer = asyncio.get_running_loop().call_later(max(wake - time.monotonic(), 0), moved.set)
            await moved.wait()
            if timer is not None:
                timer.cancel()


async def _cancel(running: set[asyncio.Task[None]]) -> None:
    for task in list(running):
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)


class _Asker:
    """Which source is asked for an address next, whether again, and when."""

    def __init__(self, asking: "Asking", webs: dict[str, "Web"], take: Take) -> None:
        self.asking, self.webs, self.take = asking, webs, take
        self.hosts: Hosts[Wanted] = Hosts(asking.per_host, asking.rate, asking.host_failures)
        self._at_address: Counter[str] = Counter()
        self._freed = asyncio.Condition()

    def add(self, wanted: Wanted) -> None:
        """Queues the address with its next source, or gives it up where none can be asked."""
        web = self.webs[wanted.sources[0]]
        address = web.address(wanted.url)
        if address is None:
            self.take(wanted, "bad_address", "no http or https address", None)
            return
        one = web.mirror is not None and web.mirror.one_host
        # Mirror and web are different doors of one house: each has its own limits.
        wanted.host = f"{wanted.sources[0]} {'' if one else host_of(canonical_url(wanted.url))}"
        self.hosts.add(wanted.host, wanted, time.monotonic())

    async def ask(self, wanted: Wanted) -> None:
        web = self.webs[wanted.sources[0]]
        address = web.address(wanted.url)
        assert address is not None
        keep = web.mirror is not None or self.hosts.wants(wanted.host)
        async with self._place_at(web, address):
            made, body = await web.get(address, keep)
        wanted.tries.append(made)
        wanted.number += 1
        now = time.monotonic()
        passing = made.reason in PASSING
        again = passing and wanted.number <= self.asking.retries
        wait, pause, leave = 0.0, 0.0, False
        if passing:
            asked = made.retry_after
            wait = self.asking.back_off * 2.0 ** (wanted.number - 1) if asked is None else asked
            wait *= 1 + JITTER * (key64(wanted.url, str(wanted.number)) % 1024) / 1024
            leave = asked is not None and asked > self.asking.patience
            # Too many requests, or out of service: that concerns the whole host, not this address.
            pause = wait if made.status in (429, 503) and not leave else 0.0
        failed = f"{made.reason}: {made.detail}" if passing else ""
        if leave:
            failed = f"asks for {made.retry_after:.0f} s of patience, at most {self.asking.patience:g}"
        self.hosts.done(wanted.host, now, failed, pause, leave)
        if again and not leave:
            self.hosts.add(wanted.host, wanted, now, wait)
        else:
            self._settle(wanted, made.reason, made.detail, body)

    def give_up(self, wanted: Wanted, why: str) -> None:
        """The host is left alone: nothing is asked."""
        self._settle(wanted, "host_left_alone", why, None)

    def _settle(self, wanted: Wanted, reason: str, detail: str, body: IO[bytes] | None) -> None:
        """The next source, where there is one and this one has neither the image nor a refusal."""
        wanted.sources.pop(0)
        wanted.number = 0
        if reason not in ("ok", "opted_out") and wanted.sources:
            self.add(wanted)
            return
        try:
            self.take(wanted, reason, detail, body)
        finally:
            if body is not None:
                body.close()

    @asynccontextmanager
    async def _place_at(self, web: "Web", url: str) -> Any:
        """Waits until fewer than `per_address` requests are under way to the IP address of a URL."""
        most = self.asking.per_address
        at = (await web.addresses(url))[:1] if most and web.mirror is None else []
        if not at or not most:
            yield
            return
        async with self._freed:
            await self._freed.wait_for(lambda: self._at_address[at[0]] < most)
            self._at_address[at[0]] += 1
        try:
            yield
        finally:
            self._at_address[at[0]] -= 1
            if not self._at_address[at[0]]:
                del self._at_address[at[0]]
            async with self._freed:
                self._freed.notify_all()


def fetch_by_img2dataset(wanted: Iterable[Wanted], asking: "Asking", scratch: Path, take: Take) -> None:
    """The same by img2dataset, a batch at a time."""
    from pipeline.download import download

    stream = iter(wanted)
    while batch := list(islice(stream, BATCH)):
        by_url = {one.url: one for one in batch}
        for attempt in download(list(by_url), asking, scratch):
            one = by_url[attempt.url]
            one.tries = attempt.tries
            take(one, attempt.status, attempt.detail, None if attempt.data is None else io.BytesIO(attempt.data))


DOWNLOADERS: "dict[Downloader, Callable[[Iterable[Wanted], Asking, Path, Take], None]]" = {
    "aiohttp": fetch,
    "img2dataset": fetch_by_img2dataset,
}
