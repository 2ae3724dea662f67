"""One stage on one shard, inside a worker: documents in, documents out, a ledger of every drop, and a receipt."""

import hashlib
import json
import os
import shutil
import struct
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.page import text_and_image
from filters.verdict import Verdict
from pipeline import asking, places
from pipeline.document import SCHEMA, Document, from_row, to_row
from pipeline.errors import StorageFull
from pipeline.places import folder_here, kept_at, on_store, place, read_bytes, scratch
from pipeline.storage import TableWriter, aside, read_rows, sha256_of, write_json
from pipeline.worker import Death, alive, on_second_try, watched

QUARANTINED = "quarantined"  # what the ledger calls the drop of a document on which a rule failed
WORKER_DIED = "worker_died"  # and of one whose worker died on it, twice
MAX_DEADLY = 20  # documents of a shard that may kill their worker before it is the shard that is taken to fail
COUNTERS = struct.Struct("qqq")  # of a job under way: units of work done, documents seen, the document at hand and 1
EXCERPT = 160  # characters of what was dropped that the ledger keeps

LEDGER = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("url", pa.string()),
        ("crawl_date", pa.timestamp("s", tz="UTC")),
        ("warc_record_offset", pa.int64()),
        ("level", pa.string()),  # record, document, paragraph or image
        ("position", pa.int32()),  # of the node
        ("paragraph", pa.int32()),  # of the text node
        ("rule", pa.string()),
        ("value", pa.string()),
        ("bound", pa.string()),
        ("excerpt", pa.string()),  # the beginning of the text, or the image's address
    ]
)


@dataclass(frozen=True)
class Job:
    """A shard of a stage. `inputs`: for each name WARC paths, prefixes of a stage's tables or the files of a query."""

    stage: str
    shard: int
    prefix: Path  # of everything that this job writes
    fingerprint: str
    task: Callable[["Work", Any], None]
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
    by: str = ""  # the process that has it done, where several share a run
    stale: tuple[str, ...] | None = None  # names of what lay there of this shard when the run came to it, if known


@dataclass(slots=True)
class Receipt:
    """What a finished shard leaves beside its tables; one with an error is a shard that failed."""

    stage: str
    shard: int
    fingerprint: str
    rows_in: int = 0
    rows_out: int = 0
    drops: dict[str, dict[str, int]] = field(default_factory=dict)  # level → rule → how many
    seconds: float = 0.0
    bytes: int = 0
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)  # table → rows, bytes, sha256
    notes: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    trace: list[str] = field(default_factory=list)
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)  # rule → reason → how many, where it has several
    processor: float = 0.0  # seconds, of all threads; the rest was waiting
    by: str = ""  # as its job says


def read_receipt(prefix: Path) -> Receipt | None:
    """The receipt of a shard, or none where there is no whole one."""
    try:
        return receipt_of(read_bytes(prefix.with_suffix(".json")))
    except OSError:
        return None


def receipt_of(data: bytes | None) -> Receipt | None:
    """What a file holds, if that is a whole receipt."""
    try:
        return Receipt(**json.loads(data or b""))
    except (ValueError, TypeError):
        return None


def write_receipt(prefix: Path, receipt: Receipt) -> None:
    write_json(prefix.with_suffix(".json"), asdict(receipt))


class Work:
    """What a task sees of its shard: its inputs by name, and `keep`, `drop` and `table` for what comes out."""

    def __init__(self, job: Job, stack: ExitStack) -> None:
        self.shard, self.inputs = job.shard, job.inputs
        self.rows_in = self.rows_out = self.units = 0
        self.drops: dict[str, Counter[str]] = {}
        self.reasons: dict[str, Counter[str]] = {}
        self.tables: dict[str, TableWriter] = {}
        self.notes: dict[str, Any] = {}
        self._job, self._stack = job, stack
        self._counted = time.monotonic()
        job.counters.parent.mkdir(parents=True, exist_ok=True)  # of a machine on which nothing of the run was done yet
        self._counters = os.open(job.counters, os.O_WRONLY | os.O_CREAT)
        stack.callback(os.close, self._counters)

    def documents(self, name: str = "documents") -> Iterator[Document]:
        for number, row in enumerate(self.rows(name, "documents")):
            self.rows_in += 1
            self.units = self.rows_in
            document = from_row(row)
            if self.begin(number, document):
                yield document
                self.end()
            self.count()

    def begin(self, number: int, document: Document) -> bool:
        """Writes down which document of the shard is at hand, so that it is known if the worker dies of it; False for one
        of which it did: it is dropped."""
        if death := self._job.deadly.get(number):
            self.drop(document, "document", WORKER_DIED, Verdict(False, death.how, "a worker that lives"))
            return False
        self._at_hand(number + 1)
        return True

    def end(self) -> None:
        """The document at hand is done."""
        self._at_hand(0)

    def _at_hand(self, number: int) -> None:
        alive()
        os.pwrite(self._counters, struct.pack("q", number), COUNTERS.size * self._job.slot + 16)

    def rows(self, name: str, table: str) -> Iterator[dict[str, Any]]:
        """The rows of a table of the stage that is called `name` here, in their order."""
        for prefix in self.inputs[name]:
            path = place(f"{prefix}.{table}.parquet")
            # A shard that kept nothing has no table; a lost one was seen when its receipt was checked.
            held = self._job.held.get(prefix)
            if path.exists() if held is None else table in held:
                yield from read_rows(path)

    def verdicts(self, name: str) -> list[dict[str, Any]]:
        """What a query said of this shard; nothing if it was not asked."""
        return list(self.rows_of(name))

    def rows_of(self, name: str) -> Iterator[dict[str, Any]]:
        """The same, a few rows at a time in memory."""
        for file in self.partition(name):
            yield from read_rows(file)

    def partition(self, name: str) -> list[Path]:
        """The files that a query wrote for this shard; none if it was not asked."""
        return [place(file) for file in self.inputs.get(name, ())]

    def folder(self, name: str) -> Path:
        """Where the files lie that a query wrote for all shards; on this machine, for they are opened by memory map."""
        return folder_here([place(file) for file in self.inputs[name]])

    def kept(self, suffix: str) -> Path:
        """A file of this shard that is no table and outlives the job, to be gone on with by the next."""
        return self._stack.enter_context(kept_at(self._job.prefix.with_suffix(suffix)))

    @property
    def scratch(self) -> Path:
        """A folder of this job's own for what need not last; removed when the job ends."""
        prefix = self._job.prefix
        folder = (scratch() if on_store(prefix) else prefix.parent) / f".{prefix.name}.{os.getpid()}.scratch.tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    @property
    def stages(self) -> Path:
        """The folder of all stages of this run."""
        return self._job.prefix.parents[1 + self._job.stage.count("/")]

    def table(self, name: str, schema: pa.Schema, row_group_size: int = 64 * 10**6) -> TableWriter:
        """The output table `name` of this shard, made at the first call."""
        if name not in self.tables:
            path = self._stack.enter_context(aside(place(f"{self._job.prefix}.{name}.parquet")))
            self.tables[name] = TableWriter(path, schema, row_group_size)
            self._stack.callback(self.tables[name].close)
        return self.tables[name]

    def keep(self, document: Document) -> None:
        self.rows_out += 1
        self.table("documents", SCHEMA).write(to_row(document))

    def keep_whole(self, document: Document) -> bool:
        """Keeps a document that still has both text and an image, and drops one that has not; whether it was kept."""
        verdict = text_and_image(document)
        if verdict.keep:
            self.keep(document)
        else:
            self.drop(document, "document", "text_and_image", verdict)
        return verdict.keep

    def drop(
        self,
        document: Document,
        level: str,
        rule: str,
        verdict: Verdict,
        excerpt: str = "",
        position: int | None = None,
        paragraph: int | None = None,
        reason: str = "",
    ) -> None:
        """Writes a line of the ledger: what was dropped, which rule, the value found and the bound it broke. `reason`: of
        a rule that drops for more than one, counted beneath it."""
        self.drops.setdefault(level, Counter())[rule] += 1
        if reason:
            self.reasons.setdefault(rule, Counter())[reason] += 1
        self.table("ledger", LEDGER).write(
            {
                "shard": document.shard,
                "row": document.row,
                "url": document.url,
                "crawl_date": document.crawl_date,
                "warc_record_offset": document.warc_record_offset,
                "level": level,
                "position": position,
                "paragraph": paragraph,
                "rule": rule,
                "value": f"{verdict.value:.6g}" if isinstance(verdict.value, float) else str(verdict.value),
                "bound": verdict.bound,
                "excerpt": " ".join(excerpt[: 2 * EXCERPT].split())[:EXCERPT],
            }
        )

    def count(self, force: bool = False) -> None:
        """Tells the progress display how far this shard is, a few times a second."""
        alive()
        now = time.monotonic()
        if force or now - self._counted > 0.3:
            self._counted = now
            os.pwrite(self._counters, struct.pack("qq", self.units, self.rows_in), COUNTERS.size * self._job.slot)


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
    receipt = Receipt(job.stage, job.shard, job.fingerprint, by=job.by)
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
    write_receipt(job.prefix, receipt)


def _closed(table: TableWriter) -> dict[str, Any]:
    """What a receipt says of a table; it is measured before it goes to its place, which may be far."""
    table.close()
    return {"rows": table.rows, "bytes": table.path.stat().st_size, "sha256": sha256_of(table.path)}


def key64(*parts: str) -> int:
    """A 64-bit key of text, as a signed integer (what SQL calls BIGINT); equal on every machine."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
