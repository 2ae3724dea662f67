"""What a stage sees of a shard, inside a worker: documents in, documents out, a ledger of every drop, and a receipt."""

import hashlib
import json
import os
import shutil
import struct
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.page import text_and_image
from filters.verdict import Verdict
from pipeline.copies import folder_here, kept_at
from pipeline.document import SCHEMA, Document, from_row, to_row
from pipeline.places import on_store, place, read_bytes, scratch
from pipeline.slow import Slowest
from pipeline.storage import TableWriter, aside, read_rows, write_json
from pipeline.worker import alive

if TYPE_CHECKING:
    from pipeline.job import Job

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
    of: str = ""  # digest of the code and the settings: with `read` what the fingerprint is made of
    read: dict[str, str] = field(default_factory=dict)  # input → the fingerprints of what it was then
    memory: int = 0  # bytes that the worker has held at most, since it began
    worker: str = ""  # its host and process
    slow: dict[str, list[list[Any]]] = field(default_factory=dict)  # what `Slowest` tells
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

    def __init__(self, job: "Job", stack: ExitStack) -> None:
        self.shard, self.inputs = job.shard, job.inputs
        self.rows_in = self.rows_out = self.units = 0
        self.drops: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.reasons: dict[str, Counter[str]] = {}
        self.tables: dict[str, TableWriter] = {}
        self.notes: dict[str, Any] = {}
        self.slowest = Slowest(job.stage)
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
        self.slowest.begin(document.url)
        return True

    def end(self) -> None:
        """The document at hand is done."""
        self.slowest.end()
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
        alive()
        now = time.monotonic()
        if force or now - self._counted > 0.3:
            self._counted = now
            os.pwrite(self._counters, struct.pack("qq", self.units, self.rows_in), COUNTERS.size * self._job.slot)


def key64(*parts: str) -> int:
    """A 64-bit key of text, as a signed integer (what SQL calls BIGINT); equal on every machine."""
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)
