"""What the engines cost: `python -m tests.benchmarks.cluster` prints a table in about three minutes.

A shard is ten seconds of a processor and touches nothing else. Costs are processor time of all processes of an engine over
that of the same shards in a bare loop, so that a busy machine changes little; those of starting up are told apart.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from typing import Any

from pipeline.config import Config, EngineSettings, Extract
from pipeline.engine import LocalEngine, Spare
from pipeline.run import Run
from pipeline.stages import numbered
from pipeline.work import Work
from pipeline.worker import Death, Shard
from tests.chaos import descendants

SHARDS = 4
WORKERS = 2
TICK = os.sysconf("SC_CLK_TCK")
LEAST = 1 << 20  # steps; of how many a shard consists is measured


def work(steps: int, shard: int) -> None:
    state = shard
    for _ in range(steps):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF


def empty(task: Work, settings: Extract) -> None:
    """A shard in which there is nothing."""


class Simulated(LocalEngine):
    """The driver's side alone: shards are done here and now, and how long that took is known."""

    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], spare: Spare[Shard] | None = None, stage: str = ""
    ) -> Iterator[tuple[Shard, Death | None]]:
        self.within = 0.0
        for shard in shards:
            began = time.process_time()
            task(shard)
            self.within += time.process_time() - began
            yield shard, None


def processor(root: int) -> float:
    """Seconds of all processes below one, and of those below it that ended and were waited for."""
    ticks = 0
    for process in [root, *descendants(root)]:
        with suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
    return ticks / TICK


def measured(each: Callable[..., Iterator[Any]], steps: int) -> tuple[float, float]:
    """Processor and wall-clock seconds for SHARDS shards, once the workers have started."""
    from functools import partial

    list(each(partial(work, LEAST // 8), range(2 * WORKERS)))
    began, wall = processor(os.getpid()), time.perf_counter()
    list(each(partial(work, steps), range(SHARDS)))
    return processor(os.getpid()) - began, time.perf_counter() - wall


def bare(task: Callable[[int], None], shards: Sequence[int]) -> Iterator[int]:
    for shard in shards:
        task(shard)
        yield shard


def cost(seconds: float) -> None:
    from pipeline.cluster import RayEngine

    began = time.process_time()
    work(LEAST, 0)
    steps = int(LEAST * seconds / (time.process_time() - began))
    loop, _ = measured(bare, steps)
    print(f"{SHARDS} shards of {loop / SHARDS:.1f} s of a processor each, {WORKERS} workers")
    settings = EngineSettings(workers=WORKERS)
    walls = {}
    for name in ("local", "ray"):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            engine = LocalEngine(settings, Path(folder)) if name == "local" else RayEngine(settings, [])
            with engine as opened:
                ready = time.perf_counter() - began
                spent, walls[name] = measured(opened.each, steps)
        print(
            f"  {name:6} processor {spent:6.1f} s, {spent / loop - 1:+.1%} to the bare loop's; wall clock {walls[name]:.1f} s; "
            f"ready after {ready:.1f} s"
        )
    print(f"  ray to local: wall clock {walls['ray'] / walls['local'] - 1:+.1%}")


def driver(count: int, simulated: bool) -> None:
    """One stage of so many empty shards, and again when all is done; in a process of its own, for its peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        told = {"name": "b", "output": f"{folder}/run", "input": {"paths": ["x"]}, "engine": {"workers": WORKERS}}
        config = Config.model_validate(told)
        for what in ("first", "again"):
            with Run(config, "b.yaml") as run:
                if simulated:
                    run.engine = Simulated(config.engine, Path(folder) / "spill")
                start = peak()
                began = time.process_time()
                stage = run.each("text", empty, Extract(), parts=numbered("parts", count))
                spent = time.process_time() - began - getattr(run.engine, "within", 0.0)
                grown = peak() - start
            workers = "" if simulated else f", of a worker {getrusage(RUSAGE_CHILDREN).ru_maxrss / 1000:.0f} MB"
            print(
                f"  {what}: {count:7,} shards: driver {spent:7.2f} s, {1e6 * spent / count:6.0f} µs a shard; peak "
                f"{peak():.0f} MB, {1e3 * grown / count:.1f} kB more a shard{workers}"
            )
            assert len(stage.prefixes) == count


def nothing(shard: int) -> None:
    """What Ray's own part of a shard is measured with."""


def rate(count: int = 3000) -> None:
    """How many shards a driver can hand out in a second, with as many in flight as a cluster of 1,000 cores has."""
    from pipeline.cluster import AHEAD, RayEngine

    with RayEngine(EngineSettings(workers=WORKERS), []) as engine:
        list(engine.each(nothing, range(50)))
        engine._room = lambda stage, need: 1000 * AHEAD  # type: ignore[method-assign]
        began, wall = time.process_time(), time.perf_counter()
        assert sum(1 for _ in engine.each(nothing, range(count))) == count
        spent, wall = time.process_time() - began, time.perf_counter() - wall
    print(
        f"ray hands out {count / wall:,.0f} empty shards a second here; {1e6 * spent / count:.0f} µs of the driver each"
    )
    large(spent / count)


# A crawl of 90,000 files of about 1 GB on 1,000 cores. Of a shard of 200 MB: seconds of a core in documents, text and
# images together with the light stages, as `carnac plan` prints core-hours for the machine at hand; see the README.
FILES, SIZE, CORES, STAGES, SECONDS = 90_000, 1.0, 1_000, 13, 90.0


def large(driver: float) -> None:
    """The count for a large crawl that configs/cluster/README.md holds, from what a shard costs the driver."""
    for split in (0.2, 1.0):
        shards = FILES * SIZE / split
        hours = shards * SECONDS * split / 0.2 / CORES / 3600
        handed = shards * STAGES / (hours * 3600)
        print(
            f"  input.split {split:g} GB: {shards:,.0f} shards, {shards * STAGES / 1e6:.1f} million tasks in {hours:.1f} hours: "
            f"{handed:.0f} a second, {handed * driver:.0%} of a core for the driver; {handed * 5:.0f} calls of the store a "
            f"second; {shards * 2.2e-6:.1f} GB in the driver for the shards of a stage"
        )


def peak() -> float:
    """MB that this process ever held."""
    return getrusage(RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    cost(float(sys.argv[1]) if len(sys.argv) == 2 else 10.0)
    rate()
    print("one stage of empty shards, first and when all is done", flush=True)
    for count, simulated in ((10, False), (1_000, False), (1_000, True), (100_000, True)):
        print(" simulated" if simulated else " real", flush=True)
        script = f"from tests.benchmarks.cluster import driver; driver({count}, {simulated})"
        subprocess.run([sys.executable, "-c", script], check=True, stderr=subprocess.DEVNULL)
