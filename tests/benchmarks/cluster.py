"""Engines: what a shard of ten seconds costs beside a bare loop, what one costs the driver, and memory by their number.

A shard touches nothing else than a processor. Costs are processor time of all processes of an engine over that of the same
shards in a bare loop, so that a busy machine changes little; those of starting up are told apart.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, suppress
from functools import partial
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from pipeline.config import Config, EngineSettings, Extract
from pipeline.engine import LocalEngine, Spare
from pipeline.memory import peak
from pipeline.run import Run
from pipeline.stages import numbered
from pipeline.work import Work
from pipeline.worker import Death, Shard
from tests.benchmarks.figure import Figure, Given, alone
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
    list(each(partial(work, LEAST // 8), range(2 * WORKERS)))
    began, wall = processor(os.getpid()), time.perf_counter()
    list(each(partial(work, steps), range(SHARDS)))
    return processor(os.getpid()) - began, time.perf_counter() - wall


def bare(task: Callable[[int], None], shards: Sequence[int]) -> Iterator[int]:
    for shard in shards:
        task(shard)
        yield shard


def cost(seconds: float) -> Iterator[Figure]:
    """Shards of so many seconds by either engine."""
    from pipeline.cluster import RayEngine

    began = time.process_time()
    work(LEAST, 0)
    steps = int(LEAST * seconds / (time.process_time() - began))
    loop, _ = measured(bare, steps)
    settings = EngineSettings(workers=WORKERS)
    walls = {}
    for name in ("local", "ray"):
        began = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            engine = LocalEngine(settings, Path(folder)) if name == "local" else RayEngine(settings, [])
            with engine as opened:
                ready = time.perf_counter() - began
                spent, walls[name] = measured(opened.each, steps)
        what = f"{SHARDS} shards of {loop / SHARDS:.1f} s, {name} engine"
        yield Figure(
            f"{what}: processor time beyond a bare loop's",
            100 * (spent / loop - 1),
            "%",
            most=5 if name == "local" else None,
        )
        yield Figure(f"{what}: ready after", ready, "s")
    yield Figure("ray's wall clock beyond the local engine's", 100 * (walls["ray"] / walls["local"] - 1), "%", most=25)


def driver(count: int, simulated: bool) -> list[Figure]:
    """One stage of so many empty shards, and again when all is done; in a process of its own, for its peak memory."""
    found = []
    what = f"{count:,} empty shards{' and no workers' if simulated else ''}"
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
        told = {"name": "b", "output": f"{folder}/run", "input": {"paths": ["x"]}, "engine": {"workers": WORKERS}}
        config = Config.model_validate(told)
        for again in ("", ", again"):
            with Run(config, "b.yaml") as run:
                if simulated:
                    run.engine = Simulated(config.engine, Path(folder) / "spill")
                began = time.process_time()
                stage = run.each("text", empty, Extract(), parts=numbered("parts", count))
                spent = time.process_time() - began - getattr(run.engine, "within", 0.0)
            assert len(stage.prefixes) == count
            found.append(Figure(f"{what}{again}: of the driver, a shard", 1e6 * spent / count, "µs"))
    found.append(Figure(f"{what}: peak memory of the driver", peak() / 1e6, "MB"))
    if not simulated:
        found.append(Figure(f"{what}: peak memory of a worker", getrusage(RUSAGE_CHILDREN).ru_maxrss / 1e3, "MB"))
    return found


def nothing(shard: int) -> None:
    """What Ray's own part of a shard is measured with."""


def rate(count: int = 3000) -> Iterator[Figure]:
    """How many shards a driver can hand out in a second, with as many in flight as a cluster of 1,000 cores has."""
    from pipeline.cluster import AHEAD, RayEngine

    with RayEngine(EngineSettings(workers=WORKERS), []) as engine:
        list(engine.each(nothing, range(50)))
        engine._room = lambda stage, need: 1000 * AHEAD  # type: ignore[method-assign]
        began, wall = time.process_time(), time.perf_counter()
        assert sum(1 for _ in engine.each(nothing, range(count))) == count
        spent, wall = time.process_time() - began, time.perf_counter() - wall
    yield Figure("empty shards that ray hands out", count / wall, "shards/s")
    yield Figure("empty shards that ray hands out: of the driver, a shard", 1e6 * spent / count, "µs")
    large(spent / count)


# A crawl of 90,000 files of about 1 GB on 1,000 cores. Of a shard of 200 MB: seconds of a core in documents, text and
# images together with the light stages, as `carnac plan` prints core-hours for the machine at hand; see the README.
FILES, SIZE, CORES, STAGES, SECONDS = 90_000, 1.0, 1_000, 13, 90.0


def large(driver: float) -> None:
    """Prints the count for a large crawl that configs/cluster/README.md holds, from what a shard costs the driver."""
    for split in (0.2, 1.0):
        shards = FILES * SIZE / split
        hours = shards * SECONDS * split / 0.2 / CORES / 3600
        handed = shards * STAGES / (hours * 3600)
        print(
            f"  input.split {split:g} GB: {shards:,.0f} shards, {shards * STAGES / 1e6:.1f} million tasks in {hours:.1f} hours: "
            f"{handed:.0f} a second, {handed * driver:.0%} of a core for the driver; {handed * 5:.0f} calls of the store a "
            f"second; {shards * 2.2e-6:.1f} GB in the driver for the shards of a stage"
        )


def figures(given: Given) -> Iterator[Figure]:
    yield from cost(1.0 if given.quick else 10.0)
    yield from rate()
    for count, simulated in ((10, False), (1_000, False), (1_000, True), (100_000, True)):
        if not given.quick or count <= 1_000:
            yield from alone(driver, count, simulated)
