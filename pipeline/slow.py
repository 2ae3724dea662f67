"""Documents and their seconds of a processor in; the slowest of them and of their hosts out, of a shard and of a run."""

import heapq
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from pipeline.work import Receipt

KEPT = 10  # pages, and hosts, that a receipt names
HOSTS = 100_000  # of which a run is added up at once
ADDRESS = 1_000  # characters of an address that are kept


class Slowest:
    """Of one shard. A document is begun and ended; what it took is its own and that of no other, in all threads. The first
    that a process meets in a stage is not told of: models and word lists are loaded on it."""

    _warm: ClassVar[set[str]] = set()  # stages of which this process has met a document

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._pages: list[tuple[float, str]] = []  # a heap, the fastest first
        self._hosts: dict[str, tuple[float, int]] = {}
        self._url = ""
        self._began = 0.0

    def begin(self, url: str) -> None:
        self._url, self._began = url, time.process_time()

    def end(self) -> None:
        spent = time.process_time() - self._began
        if self._stage not in self._warm:
            self._warm.add(self._stage)
            return
        host = _host_of(self._url)
        seconds, pages = self._hosts.get(host, (0.0, 0))
        self._hosts[host] = seconds + spent, pages + 1
        if len(self._pages) < KEPT:
            heapq.heappush(self._pages, (spent, self._url))
        elif spent > self._pages[0][0]:
            heapq.heapreplace(self._pages, (spent, self._url))

    def told(self) -> dict[str, list[list[str | float]]]:
        """For a receipt, the slowest first: of pages seconds and address, of hosts seconds, pages and name."""
        if not self._pages:
            return {}
        pages: list[list[str | float]] = [
            [round(seconds, 6), url[:ADDRESS]] for seconds, url in sorted(self._pages, reverse=True)
        ]
        slowest = heapq.nlargest(KEPT, ((seconds, pages, host) for host, (seconds, pages) in self._hosts.items()))
        return {"pages": pages, "hosts": [[round(s, 6), count, host] for s, count, host in slowest]}


def _host_of(url: str) -> str:
    """As it is written, of any address; to add up by, not to ask."""
    return url.partition("://")[2].partition("/")[0][:255].lower()


@dataclass(frozen=True)
class SlowPage:
    """`seconds` of a processor in one stage."""

    seconds: float
    stage: str
    url: str


@dataclass(frozen=True)
class SlowHost:
    """Over all stages, as far as the receipts name the host: at least so much. `pages` are counted once a stage."""

    seconds: float
    pages: int
    host: str


def slowest(receipts: "Iterable[Receipt]", count: int) -> tuple[list[SlowPage], list[SlowHost]]:
    """The `count` slowest pages and hosts of a run."""
    pages: list[tuple[float, str, str]] = []
    hosts: dict[str, tuple[float, int]] = {}
    for receipt in receipts:
        named = [(seconds, receipt.stage, url) for seconds, url in receipt.slow.get("pages", [])]
        pages = heapq.nlargest(count, [*pages, *named])
        for seconds, seen, host in receipt.slow.get("hosts", []):
            before = hosts.get(host, (0.0, 0))
            hosts[host] = before[0] + seconds, before[1] + seen
        if len(hosts) > HOSTS:
            hosts = dict(heapq.nlargest(HOSTS // 2, hosts.items(), key=lambda item: item[1]))
    largest = heapq.nlargest(count, ((seconds, seen, host) for host, (seconds, seen) in hosts.items()))
    return [SlowPage(*page) for page in pages], [SlowHost(*host) for host in largest]


def slow_lines(receipts: "Iterable[Receipt]", count: int = 20) -> Iterator[str]:
    """The same for reading."""
    pages, hosts = slowest(receipts, count)
    if not pages:
        yield "No page is named: a run names those that it works on, and what is done already it does not do again."
        return
    width = max(len("stage"), *(len(page.stage) for page in pages))
    yield f"{'seconds':>9}  {'stage':<{width}}  slowest pages, in seconds of a processor"
    yield from (f"{page.seconds:9.3f}  {page.stage:<{width}}  {page.url}" for page in pages)
    yield ""
    yield f"{'seconds':>9}  {'pages':>7}  slowest hosts, over all stages; at least"
    yield from (f"{host.seconds:9.3f}  {host.pages:7,}  {host.host}" for host in hosts)
