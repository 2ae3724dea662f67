"""What a run shows while it works: a bar a stage on a terminal, plain lines in a log."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.job import Job, read_counters
from pipeline.terminal import counted
from pipeline.work import Receipt

PLAIN_EVERY = 30.0  # seconds between lines of a stage in a log
BAR = 24  # columns, where the terminal has them


class Progress:
    """Documents a second, time left and failures of the stage at hand; read from the counters that workers write."""

    def __init__(self, quiet: bool = False) -> None:
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb" and not quiet
        self.quiet = quiet

    @contextmanager
    def stage(self, name: str, jobs: Sequence[Job], weights: dict[int, int]) -> Iterator[Callable[[Receipt], None]]:
        if not jobs:
            if weights:
                self._line(f"{name}: {counted(len(weights), 'shard')}, nothing to do")
            yield lambda receipt: None
            return
        state = _State(name, jobs, weights)
        ticker = threading.Thread(target=self._tick, args=(state,), daemon=True)
        ticker.start()
        try:
            yield state.finish
        finally:
            state.ended.set()
            ticker.join()
            self._clear()
            self._line(state.summary())

    @contextmanager
    def query(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        self._draw(f"{name}: asking the keys of all shards")
        yield
        self._clear()
        self._line(f"{name}: answered in {time.monotonic() - started:.1f} s")

    @contextmanager
    def counted(self, name: str, what: str) -> Iterator[Callable[[int, int], None]]:
        """Shows how many of all are done, as it is told."""
        shown = started = time.monotonic()

        def show(done: int, all: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if now - shown < (0.25 if self.terminal else PLAIN_EVERY):
                return
            shown = now
            left = duration((now - started) * max(0, all - done) / done)
            line = f"{name}: {done:,} of {all:,} {what}, {left} left"
            if self.terminal:
                self._draw(line)
            else:
                self._line(line)

        yield show
        self._clear()

    def _tick(self, state: "_State") -> None:
        shown = time.monotonic()
        while not state.ended.wait(0.25):
            if self.terminal:
                self._draw(state.bar(_columns()))
            elif time.monotonic() - shown >= PLAIN_EVERY:
                shown = time.monotonic()
                self._line(state.line())

    def _draw(self, text: str) -> None:
        """In place of what was drawn before, which a line that wraps would leave behind."""
        if self.terminal:
            print(f"\r\033[2K{text[: _columns()]}", end="", file=sys.stderr, flush=True)

    def _clear(self) -> None:
        if self.terminal:
            print("\r\033[2K", end="", file=sys.stderr, flush=True)

    def _line(self, text: str) -> None:
        if not self.quiet:
            print(text, file=sys.stderr, flush=True)


class _State:
    def __init__(self, name: str, jobs: Sequence[Job], weights: dict[int, int]) -> None:
        self.name, self.shards = name, len(jobs)
        self.counters = jobs[0].counters
        self.weight = {job.shard: max(1, weights[job.shard]) for job in jobs}
        self.slot = {job.shard: job.slot for job in jobs}
        self.running = set(self.weight)
        self.started = time.monotonic()
        self.ended = threading.Event()
        self.finished_weight = self.documents = self.failed = 0

    def finish(self, receipt: Receipt) -> None:
        self.running.discard(receipt.shard)
        self.finished_weight += self.weight[receipt.shard]
        self.documents += receipt.rows_in
        self.failed += receipt.error is not None

    def bar(self, columns: int) -> str:
        """The name, a bar as wide as there is room for, and how it stands."""
        share, told = self._now()
        width = max(0, min(BAR, columns - 16 - 2 - len(told)))
        return f"{self.name:<16} {'━' * round(width * share):<{width}} {told}"

    def line(self) -> str:
        return f"{self.name}: {self._now()[1]}"

    def _now(self) -> tuple[float, str]:
        """The share that is done, and all of it in words."""
        under_way = read_counters(self.counters, [self.slot[shard] for shard in sorted(self.running)])
        done = self.finished_weight + sum(units for units, _, _ in under_way)
        documents = self.documents + sum(seen for _, seen, _ in under_way)
        share = min(1.0, done / sum(self.weight.values()))
        seconds = time.monotonic() - self.started
        left = duration(seconds * (1 - share) / share) if share > 0.01 else "?"
        failures = f", {self.failed} failed" if self.failed else ""
        shards = f"{self.shards - len(self.running)}/{self.shards} shards"
        return share, f"{share:4.0%}  {shards}, {documents / seconds:,.0f} documents/s, {left} left{failures}"

    def summary(self) -> str:
        seconds = time.monotonic() - self.started
        done = self.shards - len(self.running)
        failures = f", {self.failed} FAILED" if self.failed else ""
        return (
            f"{self.name}: {counted(done, 'shard')}, {counted(self.documents, 'document')} in {seconds:.1f} s "
            f"({self.documents / seconds:,.0f}/s){failures}"
        )


def _columns() -> int:
    """Of the terminal behind standard error, but for the last, beyond which some wrap."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 0
    return (columns or 80) - 1  # a terminal that has no size says 0


def duration(seconds: float) -> str:
    """3725 → 1:02:05"""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
