"""The tables of `carnac train --score-documents` in; documents with their loss as a score out, joined by WARC record."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.lookup import Sorted
from pipeline.storage import identity
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import TrainingLoss
    from pipeline.run import Run
    from pipeline.stages import Answer

# By these a document is known in another run: its page's address, and the record that it was read from. A page that was
# captured anew is another text.
RECORD = {"url": pa.string(), "warc_filename": pa.string(), "warc_record_offset": pa.int64()}
NAME = "training_loss"


def tables(path: str) -> list[Path]:
    """The Parquet files that a path names, a file or a folder.

    Raises:
        ValueError: there is none, or one lacks a column.
    """
    found = sorted(Path(path).glob("*.parquet")) if Path(path).is_dir() else [Path(path)]
    if not found:
        raise ValueError(f"{path}: no Parquet file in it; `carnac train CONFIG --score-documents {path}` writes some")
    for file in found:
        try:
            schema = pq.read_schema(file)
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"{file}: no readable Parquet file: {' '.join(str(error).split())[:100]}") from None
        for name, kind in {**RECORD, "loss": pa.float32()}.items():
            if name not in schema.names:
                raise ValueError(f"{file}: no column {name} (its columns: {', '.join(schema.names)})")
            if schema.field(name).type != kind:
                raise ValueError(f"{file}: column {name}: expected {kind}, found {schema.field(name).type}")
    return found


def read_losses(run: "Run", settings: "TrainingLoss") -> "Answer":
    """The index of all tables, read once a run, and again when they have changed."""
    files = tables(settings.path)
    about = [NAME, [identity(str(file)) for file in files]]
    return run.once(f"{NAME}/index", about, lambda folder: write_index(files, folder))


def write_index(files: list[Path], folder: Path) -> None:
    """Sorted keys of records with their losses; of a record that stands there twice the first."""
    folder.mkdir()
    keys: list[Any] = [np.zeros(0, np.int64)]
    losses: list[Any] = [np.zeros(0, np.float32)]
    for file in files:
        with pq.ParquetFile(file) as table:
            for batch in table.iter_batches(columns=[*RECORD, "loss"]):
                known = batch.filter(batch["loss"].is_valid())  # of a document without any text there is none
                rows = zip(*(known[name].to_pylist() for name in RECORD), strict=True)
                keys.append(np.array([_key(*row) for row in rows], np.int64))
                losses.append(known["loss"].to_numpy())
    Sorted.of(np.concatenate(keys).view(np.uint64), np.concatenate(losses).view(np.uint32)).save(folder, NAME)


def add_losses(work: Work, settings: "TrainingLoss") -> None:
    """Writes down each document's loss, where one is known."""
    known = Sorted.open(work.folder("losses"), NAME)
    found = 0
    for document in work.documents():
        value = _loss(known, _key(document.url, document.warc_filename, document.warc_record_offset))
        if value is not None:
            document.scores[NAME] = value
            found += 1
        work.keep(document)
    work.notes = {"scored": found}


def _loss(known: Sorted, key: int) -> float | None:
    _, bits = known.find(np.array([key], np.int64).view(np.uint64))
    return float(np.array(bits, np.uint32).view(np.float32)[0]) if bits else None


def _key(url: str | None, file: str | None, offset: int | None) -> int:
    return key64(NAME, url or "", file or "", "" if offset is None else str(offset))
