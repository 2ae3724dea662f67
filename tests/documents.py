"""Documents for tests, and a stage run over them for real: tables written, `perform` called, tables read back."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.document import SCHEMA, Document, Image, Node, Signal, from_row, to_row
from pipeline.job import Job, perform
from pipeline.storage import TableWriter, read_rows
from pipeline.work import Receipt, Work, read_receipt

DATE = datetime(2026, 3, 10, 12, tzinfo=UTC)
IMAGE = Image("http://host.example/a.png", "/a.png")

Task = Callable[[Work, Any], None]


def image(url: str = IMAGE.url, **known: Any) -> Image:
    return Image(url, url, **known)


def document(
    *pieces: str | Image,
    url: str = "http://host.example/page",
    shard: int = 0,
    row: int = 0,
    date: datetime = DATE,
    signals: Sequence[Signal] = (),
) -> Document:
    """A document of texts and images in their order, each at its index."""
    nodes = [Node(i, text=p) if isinstance(p, str) else Node(i, image=p) for i, p in enumerate(pieces)]
    return Document(shard, row, url, "0.warc.gz", 100 * row, 100, date, nodes, list(signals))


def pieces(document: Document) -> list[str | None]:
    """The texts and, for images, their addresses."""
    return [node.text if node.image is None else node.image.url for node in document.nodes]


def write_rows(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = TableWriter(path, schema)
    for row in rows:
        writer.write(row)
    writer.close()


def write_documents(prefix: Path, documents: Iterable[Document]) -> tuple[str, ...]:
    """The table that a stage would have left at `prefix`, as the input of a job."""
    write_rows(Path(f"{prefix}.documents.parquet"), SCHEMA, map(to_row, documents))
    return (str(prefix),)


def write_verdicts(folder: Path, shard: int, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """What a query would have left in `folder` for a shard, as the input of a job."""
    path = folder / f"shard={shard}" / "data_0.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return (str(path),)


def job(task: Task, settings: Any, folder: Path, shard: int = 0, **inputs: tuple[str, ...]) -> Job:
    """A job that leaves its tables in `folder`/stages/<name of the task>."""
    prefix = folder / "stages" / task.__name__ / f"{shard:05d}"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    return Job(task.__name__, shard, prefix, "fingerprint", task, settings, inputs, folder / ".counters", 0)


@dataclass
class Outcome:
    """What a stage left: the documents it kept, the ledger of what it dropped, its receipt, and the rest by name."""

    prefix: Path
    receipt: Receipt

    def rows(self, table: str) -> list[dict[str, Any]]:
        path = Path(f"{self.prefix}.{table}.parquet")
        return list(read_rows(path)) if path.exists() else []

    @property
    def kept(self) -> list[Document]:
        return [from_row(row) for row in self.rows("documents")]

    @property
    def ledger(self) -> list[dict[str, Any]]:
        return self.rows("ledger")

    @property
    def dropped(self) -> list[tuple[str, str]]:
        """Level and rule of each drop, in their order."""
        return [(row["level"], row["rule"]) for row in self.ledger]


def run_stage(
    task: Task, settings: Any, documents: Sequence[Document], tmp_path: Path, **inputs: tuple[str, ...]
) -> Outcome:
    """Runs a task on shard 0 through `perform`; fails where the task does."""
    read = {"documents": write_documents(tmp_path / "input" / "00000", documents), **inputs}
    wanted = job(task, settings, tmp_path, 0, **read)
    perform(wanted)
    receipt = read_receipt(wanted.prefix)
    assert receipt is not None
    assert receipt.error is None, "\n".join(receipt.trace)
    json.dumps(receipt.notes)
    return Outcome(wanted.prefix, receipt)
