"""The folder of a run that another process is at in; its funnel, drawn again and again until the run has ended, out."""

import fcntl
import json
import os
import sys
import time
from collections import deque
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.funnel import Funnel, Summary, funnel_table, written
from pipeline.job import read_counters
from pipeline.lease import WATCHED
from pipeline.places import entries, on_store, read_each
from pipeline.progress import duration
from pipeline.work import COUNTERS

WINDOW = 30.0  # seconds over which a rate is taken


def watch(folder: Path, local: Path, seconds: float, console: Console) -> bool:
    """Redraws every `seconds` on a terminal; elsewhere a plain line goes to standard error when it has changed. True when
    the run has ended, False when whoever watches has had enough (Ctrl-C). `local`: where the run has what is under way, as
    `output.local_of` says.

    Raises:
        UserError: no run was ever begun there.
    """
    funnel, rate, under_way = Funnel(folder), _Rate(), UnderWay(folder)
    try:
        if not console.is_terminal or console.is_dumb_terminal:
            last = ""
            while under_way():
                if (line := at_hand(folder, local, funnel.read(), rate)) != last:
                    print(line, file=sys.stderr, flush=True)
                last = line
                time.sleep(seconds)
            return True
        with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
            try:
                while under_way():
                    summaries = funnel.read()
                    at = at_hand(folder, local, summaries, rate)
                    head = Text(at, no_wrap=True, overflow="ellipsis", style="bold")
                    live.update(Group(head, funnel_table(summaries)), refresh=True)
                    time.sleep(seconds)
            finally:
                live.update("")  # what is left is drawn whole, and of what is higher than the terminal some would stay
    except KeyboardInterrupt:
        return False
    return True


class UnderWay:
    """Whether a run, or a part of one, has the folder: on this machine by its lock, on a store by leases that move."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, tuple[bytes, float]] = {}

    def __call__(self) -> bool:
        return self._moves() if on_store(self.folder) else self._locked()

    def _locked(self) -> bool:
        try:
            lock = os.open(self.folder / ".lock", os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(lock)

    def _moves(self) -> bool:
        now = time.monotonic()
        leases = sorted(path for path in entries(self.folder) if path.name.startswith(".lease-"))
        alive = False
        for path, data in zip(leases, read_each(leases), strict=True):
            if data is None:
                continue
            before, since = self._seen.get(path.name, (b"", now))
            if data != before:
                self._seen[path.name], since = (data, now), now
            alive |= now - since <= WATCHED * json.loads(data)["beat"]
        return alive


class _Rate:
    """Documents a second in the stage at hand, over the last WINDOW seconds; none at the first look."""

    def __init__(self) -> None:
        self.stage = ""
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, stage: str, documents: int) -> float | None:
        now = time.monotonic()
        if stage != self.stage:
            self.stage, self._seen = stage, deque()
        self._seen.append((now, documents))
        while now - self._seen[0][0] > WINDOW and len(self._seen) > 2:
            self._seen.popleft()
        since, then = self._seen[0]
        passed = now - since
        return max(0, documents - then) / passed if passed > 0 else None


def at_hand(folder: Path, local: Path, summaries: list[Summary], rate: _Rate) -> str:
    """The stage at hand: shards of those to do, documents a second, time left, failures of the whole run. Of a run on
    another machine, whose counters are not here, what its receipts say."""
    if not summaries:
        return "nothing is begun"
    stage = summaries[-1]
    failed = sum(summary.failed for summary in summaries)
    failures = f", {failed} failed" if failed else ""
    if on_store(folder):
        a_second = rate.of(stage.stage, stage.rows_in) or 0.0
        return (
            f"{stage.stage}: {stage.shards} shards, {stage.rows_in:,} documents, {a_second:,.0f} documents/s{failures}"
        )
    begun = written(folder / "run.json")  # it was written when the stage began
    assert begun is not None
    receipts = [written(path) for path in (folder / "stages" / stage.stage).glob("*.json")]
    done = sum(when is not None and when >= begun for when in receipts)
    counters = local / ".counters"
    fresh = written(counters)
    if fresh is None or fresh < begun:
        return f"{stage.stage}: a query over all shards, or nothing to do{failures}"
    jobs = counters.stat().st_size // COUNTERS.size
    documents = sum(seen for _, seen, _ in read_counters(counters, range(jobs)))
    share = done / max(1, jobs)
    before = [summary for summary in summaries[:-1] if not summary.query]
    if before and not stage.query and stage.shards <= jobs and before[-1].rows_out:
        share = max(share, min(1.0, documents / before[-1].rows_out))  # all of the stage is to do
    passed = time.time() - begun / 10**9
    left = duration(passed * (1 - share) / share) if share > 0.01 and passed > 0 else "?"
    measured = rate.of(stage.stage, documents)
    a_second = documents / max(passed, 0.1) if measured is None else measured
    return f"{stage.stage}: {share:4.0%}  {done}/{jobs} shards, {a_second:,.0f} documents/s, {left} left{failures}"
