"""Addresses in, each with its host; the one to ask next out, within the limits of its host.

A host may have so many requests in flight, so many a second, and is paused when it says so. One that fails again and
again without any answer between is left alone: what is still wanted of it is handed out with the reason.
"""

import heapq
import itertools
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Item = TypeVar("Item")

REMEMBERED = 100_000  # hosts without anything to do that are kept in mind: those that failed or are paused


@dataclass(slots=True, eq=False)
class _Host(Generic[Item]):
    waiting: deque[Item] = field(default_factory=deque)
    active: int = 0
    ready_at: float = 0.0  # seconds by the caller's clock
    failures: int = 0  # one after the other
    left: str = ""  # why it is left alone
    queued: bool = False  # stands in `_ready` or `_timers`


class Hosts(Generic[Item]):
    """Knows no clock and asks nothing: the caller says what time it is, in seconds, and what came of a request."""

    def __init__(self, per_host: int, rate: float | None, host_failures: int) -> None:
        self.per_host, self.gap, self.host_failures = per_host, 1 / rate if rate else 0.0, host_failures
        self.waiting = 0  # items that are not handed out
        self._hosts: dict[str, _Host[Item]] = {}
        self._idle: OrderedDict[str, None] = OrderedDict()
        self._ready: deque[str] = deque()
        self._timers: list[tuple[float, int, str, Item | None]] = []
        self._number = itertools.count()

    def add(self, name: str, item: Item, now: float, delay: float = 0.0) -> None:
        """Queues `item`, not to be handed out before `delay` seconds."""
        self.waiting += 1
        host = self._hosts.setdefault(name, _Host())
        self._idle.pop(name, None)
        if delay > 0 and not host.left:
            heapq.heappush(self._timers, (now + delay, next(self._number), name, item))
            return
        host.waiting.append(item)
        self._queue(name, host, now)

    def next(self, now: float) -> tuple[Item, str] | None:
        """An item that may be asked for now and an empty text, or one of a host that is left alone and why."""
        while self._timers and self._timers[0][0] <= now:
            _, _, name, item = heapq.heappop(self._timers)
            host = self._hosts.setdefault(name, _Host())
            self._idle.pop(name, None)
            if item is None:
                host.queued = False
            else:
                host.waiting.appendleft(item)
            self._queue(name, host, now)
        while self._ready:
            name = self._ready.popleft()
            host = self._hosts[name]
            host.queued = False
            if not host.waiting or (not host.left and (host.active >= self.per_host or host.ready_at > now)):
                self._queue(name, host, now)
                continue
            item = host.waiting.popleft()
            self.waiting -= 1
            if not host.left:
                host.active += 1
                if self.gap:
                    host.ready_at = now + self.gap
            self._queue(name, host, now)
            self._forget(name, host, now)
            return item, host.left
        return None

    def wake(self) -> float | None:
        """When a host that is paused, or an item that is put off, comes to its turn."""
        return self._timers[0][0] if self._timers else None

    def wants(self, name: str) -> bool:
        """Whether anything of this host is waiting, so that a connection is worth keeping."""
        return name in self._hosts and bool(self._hosts[name].waiting)

    def done(self, name: str, now: float, failed: str = "", pause: float = 0.0, leave: bool = False) -> None:
        """A request has ended. `failed`: how, if the host itself failed; `pause`: seconds in which it wants peace;
        `leave`: it wants more than we are willing to wait."""
        host = self._hosts[name]
        host.active -= 1
        host.failures = host.failures + 1 if failed else 0
        if pause:
            host.ready_at = max(host.ready_at, now + pause)
        if leave or host.failures >= self.host_failures:
            times = f"{host.failures} failures one after the other, the last: " if not leave else ""
            host.left = host.left or times + failed
        self._queue(name, host, now)
        self._forget(name, host, now)

    def _queue(self, name: str, host: _Host[Item], now: float) -> None:
        if host.queued or not host.waiting or (host.active >= self.per_host and not host.left):
            return
        host.queued = True
        if host.ready_at <= now or host.left:
            self._ready.append(name)
        else:
            heapq.heappush(self._timers, (host.ready_at, next(self._number), name, None))

    def _forget(self, name: str, host: _Host[Item], now: float) -> None:
        if host.waiting or host.active or host.queued:
            return
        if host.failures or host.left or host.ready_at > now:
            self._idle[name] = None
            self._idle.move_to_end(name)
            if len(self._idle) > REMEMBERED:
                name, _ = self._idle.popitem(last=False)
                del self._hosts[name]
        else:
            del self._hosts[name]
