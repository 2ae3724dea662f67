"""One stage on one shard, inside a worker: documents in, documents out, a ledger of every drop, and a receipt."""

import hashlib
import json
import os
import shutil
import struct
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from filters.page import text_and_image
from filters.verdict import Verdict
from pipeline import asking
from pipeline.document import SCHEMA, Document, from_row, to_row
from pipeline.errors import StorageFull
from pipeline.storage import TableWriter, aside, read_rows, sha256_of, write_json

QUARANTINED = "quarantined"  # what the ledger calls the drop of a document on which a rule failed
WORKER_DIED = "worker_died"  # and of one whose worker died on it, twice
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
    """A shard of a stage. `inputs`: for each name WARC paths, prefixes of a stage's tables or a query's folder."""

    stage: str
    shard: int
    prefix: Path  # of everything that this job writes
    fingerprint: str
    task: Callable[["Work", Any], None]
    settings: Any
    inputs: dict[str, tuple[str, ...]]
    counters: Path  # file of COUNTERS a slot
    slot: int
    deadly: dict[int, str] = field(
        default_factory=dict
    )  # documents on which the worker died, and how: they are left out
    asking: tuple[Any, ...] | None = None  # what `asking.use` takes


@dataclass
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


def read_receipt(prefix: Path) -> Receipt | None:
    """The receipt of a shard, or none where there is no whole one."""
    try:
        return Receipt(**json.loads(prefix.with_suffix(".json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_receipt(prefix: Path, receipt: Receipt) -> None:
    write_json(prefix.with_suffix(".json"), asdict(receipt))


class Work:
    """What a task sees of its shard: its inputs by name, and `keep`, `drop` and `table` for what comes out."""

    def __init__(self, job: Job, stack: ExitStack) -> None:
        self.shard, self.inputs = job.shard, job.inputs
        self.rows_in = self.rows_out = self.units = 0
        self.drops: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: dict[str, Counter[str]] = {}
        self.tables: dict[str, TableWriter] = {}
        self.notes: dict[str, Any] = {}
        self._job, self._stack = job, stack
        self._counted = time.monotonic()
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
        if how := self._job.deadly.get(number):
            self.drop(document, "document", WORKER_DIED, Verdict(False, how, "a worker that lives"))
            return False
        self._at_hand(number + 1)
        return True

    def end(self) -> None:
        """The document at hand is done."""
        self._at_hand(0)

    def _at_hand(self, number: int) -> None:
        os.pwrite(self._counters, struct.pack("q", number), COUNTERS.size * self._job.slot + 16)

    def rows(self, name: str, table: str) -> Iterator[dict[str, Any]]:
        """The rows of a table of the stage that is called `name` here, in their order."""
        for prefix in self.inputs[name]:
            path = Path(f"{prefix}.{table}.parquet")
            if path.exists():  # a shard that kept nothing has none; a lost one was seen when its receipt was checked
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
        return [
            file
            for folder in self.inputs.get(name, ())
            for file in sorted(Path(folder).glob(f"shard={self.shard}/*.parquet"))
        ]

    @property
    def prefix(self) -> Path:
        """Of all that this job writes. A file that is no table of the job outlives it."""
        return self._job.prefix

    @property
    def scratch(self) -> Path:
        """A folder of this job's own for what need not last; removed when the job ends."""
        folder = self._job.prefix.with_name(f".{self._job.prefix.name}.scratch.tmp")
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self._stack.callback(shutil.rmtree, folder, ignore_errors=True)
        return folder

    def table(self, name: str, schema: pa.Schema, row_group_size: int = 64 * 10**6) -> TableWriter:
        """The output table `name` of this shard, made at the first call."""
        if name not in self.tables:
            path = self._stack.enter_context(aside(Path(f"{self._job.prefix}.{name}.parquet")))
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
        self.drops[level][rule] += 1
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


def perform(job: Job) -> None:
    """Runs a job; its tables appear all together at the end, then its receipt. What the task raises becomes the
    receipt's error.

    Raises:
        StorageFull: nothing can be written any more, which is no fault of this shard.
    """
    started, worked = time.perf_counter(), time.process_time()
    receipt = Receipt(job.stage, job.shard, job.fingerprint)
    # A receipt of other inputs or settings must not stand beside tables that are being replaced.
    job.prefix.with_suffix(".json").unlink(missing_ok=True)
    # Nor must such tables: a shard that keeps nothing this time writes none, and the old ones would be read for it.
    for stale in job.prefix.parent.glob(f"{job.prefix.name}.*.parquet"):
        stale.unlink()
    if job.asking:
        asking.use(*job.asking)
    try:
        with ExitStack() as stack:
            work = Work(job, stack)
            job.task(work, job.settings)
            work.count(force=True)
        for name in list(work.tables):
            path = Path(f"{job.prefix}.{name}.parquet")
            receipt.tables[name] = {
                "rows": work.tables[name].rows, "bytes": path.stat().st_size, "sha256": sha256_of(path)
            }  # fmt: skip
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


def key64(*parts: str) -> int:
    """A 64-bit key of text, as a signed integer (what SQL calls BIGINT); equal on every machine."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
