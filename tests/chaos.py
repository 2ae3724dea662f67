"""A run and a seed in; the run disturbed again and again, and started anew where it was ended, until it is done, out."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.clusters import STORE, start

KILLED = 8  # disturbances of a run, at most
BETWEEN = (0.2, 2.0)  # seconds from one to the next; on a cluster, which needs some to begin, twice that
STUCK = 240.0  # seconds after the last of them in which any run here ends


def descendants(root: int) -> list[int]:
    """The processes below one, which are all that a test may end."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = []
    for process in parents:
        above = process
        while above in parents and above != root:
            above = parents[above]
        if above == root and process != root:
            found.append(process)
    return found


def workers(root: int) -> list[int]:
    """Those below one that do shards: of a pool, of Ray, or a shard's own."""
    found = []
    for process in descendants(root):
        with suppress(OSError):
            line = Path(f"/proc/{process}/cmdline").read_bytes()
            if b"spawn_main" in line or line.startswith(b"ray::_on_worker"):
                found.append(process)
    return found


def disturb(
    seed: int, config: Path, output: Path, words: tuple[str, ...], cluster: Any = None, **environment: str
) -> Counter[str]:
    """Ends workers, nodes and the driver of a run, KILLED times in all; how often each was. A run that gives a shard up is
    started again, too, as its last line says."""
    draw, done = random.Random(seed), Counter[str]()
    environment["PYTHONFAULTHANDLER"] = "1"  # stacks at SIGABRT
    process = start(config, output, *words, **environment)
    last = time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            status = process.wait(draw.uniform(*BETWEEN) * (2 if cluster else 1))
            if status == 0:
                return done
            assert status in (1, -signal.SIGKILL), output.with_suffix(".log").read_text(encoding="utf-8")[-3000:]
            done["started again"] += 1
            assert done["started again"] <= KILLED + 3
            process = start(config, output, *words, **environment)
            continue
        if time.monotonic() - last > STUCK:
            stuck = [process.pid, *workers(os.getpid())]
            for each in stuck:
                os.kill(each, signal.SIGABRT)
            process.wait()
            time.sleep(2)
            raise AssertionError(f"stuck: {stuck}\n" + output.with_suffix(".log").read_text(encoding="utf-8")[-20000:])
        if sum(done.values()) >= KILLED:
            continue
        what = draw.choices(("worker", "driver", "node"), (6, 2, 2 if cluster else 0))[0]
        if what == "driver":
            process.kill()
        elif what == "node":
            away = draw.choice([node for node in cluster.list_all_nodes() if not node.is_head()])
            cluster.remove_node(away, allow_graceful=False)
            cluster.add_node(wait=False, num_cpus=1, object_store_memory=STORE)
        elif there := sorted(workers(os.getpid())):
            with suppress(ProcessLookupError):
                os.kill(draw.choice(there), signal.SIGKILL)
        else:
            continue
        last = time.monotonic()
        done[what] += 1


def settled(output: Path, seconds: float = 20) -> None:
    """Until nothing that a killed process left behind is still at work: its workers need a moment to see it gone."""
    ends = time.monotonic() + seconds
    while list(output.rglob(".*.tmp")) and time.monotonic() < ends:
        time.sleep(0.2)
