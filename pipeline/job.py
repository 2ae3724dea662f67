"""A job, a stage on one shard, in; what came of it out: its tables, all together at the end, then its receipt."""

import os
import shutil
import socket
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline import asking, places
from pipeline.errors import StorageFull
from pipeline.memory import peak
from pipeline.places import on_store, scratch
from pipeline.storage import TableWriter, sha256_of
from pipeline.work import COUNTERS, Receipt, Work, write_receipt
from pipeline.worker import Death, on_second_try, watched

MAX_DEADLY = 20  # documents of a shard that may kill their worker before it is the shard that is taken to fail


@dataclass(frozen=True)
class Job:
    """A shard of a stage. `inputs`: for each name WARC paths, prefixes of a stage's tables or the files of a query."""

    stage: str
    shard: int
    prefix: Path  # of everything that this job writes
    fingerprint: str
    task: Callable[[Work, Any], None]
    settings: Any
    inputs: dict[str, tuple[str, ...]]
    counters: Path  # file of COUNTERS a slot
    slot: int
    deadly: dict[int, Death] = field(
        default_factory=dict
    )  # documents on which the worker died, and how: they are left out
    asking: tuple[Any, ...] | None = None  # what `asking.use` takes
    storing: tuple[Any, ...] | None = None  # what `places.use` takes
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by prefix the tables that its receipt tells of
    of: str = ""  # for the receipt, as `read`
    read: dict[str, str] = field(default_factory=dict)
    by: str = ""  # the process that has it done, where several share a run
    stale: tuple[str, ...] | None = None  # names of what lay there of this shard when the run came to it, if known


def read_counters(path: Path, slots: Sequence[int]) -> list[tuple[int, int, int]]:
    """The COUNTERS of those slots that were written."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    size = COUNTERS.size
    data += bytes(-len(data) % size)  # a slot ends with the document at hand, which not every task writes
    return [COUNTERS.unpack_from(data, size * slot) for slot in slots if size * (slot + 1) <= len(data)]


def without_the_deadly(job: Job, death: Death) -> Job | None:
    """The job without the document of which its worker died; none where that is not known, or too many were."""
    for _, _, at_hand in read_counters(job.counters, [job.slot]):
        if at_hand and at_hand - 1 not in job.deadly and len(job.deadly) < MAX_DEADLY:
            return replace(job, deadly=job.deadly | {at_hand - 1: death})
    return None


def left_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """The names of all files in the folder of a stage, by the shard that left them: one look for all jobs, each of which
    would have to go through the files of all others."""
    found: dict[str, list[str]] = {}
    for name in sorted(os.listdir(folder)):  # noqa: PTH208  # there may be hundreds of thousands
        found.setdefault(name.lstrip(".").partition(".")[0], []).append(name)
    return {shard: tuple(names) for shard, names in found.items()}


def clear(prefix: Path, names: Sequence[str] | None = None) -> None:
    """Removes what earlier tries at a shard left: files of these names, or if none are told whatever there is now."""
    # A receipt of other inputs or settings must not stand beside tables that are being replaced.
    prefix.with_suffix(".json").unlink(missing_ok=True)
    # Nor must such tables: a shard that keeps nothing this time writes none, and the old ones would be read for it. And
    # a worker that died was writing some.
    for name in left_in(prefix.parent).get(prefix.name, ()) if names is None else names:
        stale = prefix.with_name(name)
        if name.startswith(".") and stale.is_dir():
            shutil.rmtree(stale, ignore_errors=True)
        elif name.startswith(".") or name.endswith(".parquet"):
            stale.unlink(missing_ok=True)


def perform(job: Job) -> None:
    """Runs a job; its tables appear all together at the end, then its receipt. What the task raises becomes the
    receipt's error.

    Raises:
        StorageFull: nothing can be written any more, which is no fault of this shard.
    """
    started, worked = time.perf_counter(), time.process_time()
    receipt = Receipt(job.stage, job.shard, job.fingerprint, of=job.of, read=job.read, by=job.by)
    receipt.worker = f"{socket.gethostname()} {os.getpid()}"
    receipt.trace = [line for death in job.deadly.values() for line in (death.how, *death.trace)]
    if job.storing:
        places.use(*job.storing)
    if on_store(job.prefix):
        scratch()  # which a machine that works for others does not have yet
    else:  # there it was removed before the first job of the stage began, with one call for many
        clear(job.prefix, None if on_second_try() else job.stale)
    if job.asking:
        asking.use(*job.asking)
    try:
        with watched(), ExitStack() as stack:
            work = Work(job, stack)
            job.task(work, job.settings)
            work.count(force=True)
            tables = {name: _closed(table) for name, table in work.tables.items()}
        receipt.tables = tables
        receipt.rows_in, receipt.rows_out, receipt.notes = work.rows_in, work.rows_out, work.notes
        receipt.slow = work.slowest.told()
        receipt.drops = {level: dict(sorted(rules.items())) for level, rules in sorted(work.drops.items())}
        receipt.reasons = {rule: dict(sorted(found.items())) for rule, found in sorted(work.reasons.items())}
        receipt.bytes = sum(table["bytes"] for table in receipt.tables.values())
    except StorageFull:
        raise
    except Exception as error:  # one shard's failure is written down and the run goes on
        receipt.error = f"{type(error).__name__}: {error}"[:500]
        receipt.trace = traceback.format_exc().splitlines()[-20:]
    receipt.seconds = round(time.perf_counter() - started, 3)
    receipt.processor = round(time.process_time() - worked, 3)
    receipt.memory = peak()
    write_receipt(job.prefix, receipt)


def _closed(table: TableWriter) -> dict[str, Any]:
    """What a receipt says of a table; it is measured before it goes to its place, which may be far."""
    table.close()
    return {"rows": table.rows, "bytes": table.path.stat().st_size, "sha256": sha256_of(table.path)}
