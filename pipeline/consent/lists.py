"""A file of addresses and hosts that said no in; a 64-bit key for each line out."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.canonical import canonical_url
from pipeline.errors import UserError
from pipeline.work import Work, key64

LISTED = pa.schema([("name_key", pa.int64())])
_PLAIN_HOST = re.compile(r"[a-z0-9-]++(?:\.[a-z0-9-]++)++")  # most lines; nothing about it is to be made canonical
# Of a table that may hold the names, first come first.
COLUMNS = ("url", "uri", "address", "host", "hostname", "domain")


def list_keys(work: Work, settings: tuple[()]) -> None:
    """A row of `listed` for each name; lines are read one by one, however many there are."""
    listed = work.table("listed", LISTED)
    [path] = work.inputs["list"]
    for line in lines_of(path):
        work.rows_in += 1
        for name in names_on(line):
            work.rows_out += 1
            listed.write({"name_key": key64(name)})
        work.units = work.rows_in
        work.count()


def names_on(line: str) -> list[str]:
    """What a line names: an address, one without scheme, or a host, which stands for the hosts below it, too."""
    line = line.strip()
    if _PLAIN_HOST.fullmatch(line):
        return [line]
    if not line or line.startswith("#"):
        return []
    if "//" in line:
        return [canonical_url(line)]
    if "/" in line:
        return [canonical_url(f"{scheme}://{line}") for scheme in ("http", "https")]
    try:
        host = urlsplit(canonical_url(f"http://{line.strip('.')}")).hostname
    except ValueError:
        return []
    return [host] if host else []


def lines_of(path: str) -> Iterator[str]:
    """The names of a Parquet file, a CSV file (both by the column's name; a CSV without one by its first column), or a text
    file, one a line. Raises UserError where the file cannot be read, or does not say which column holds them."""
    try:
        if path.lower().endswith(".parquet"):
            yield from _parquet(path)
            return
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            if path.lower().endswith((".csv", ".tsv")):
                yield from _csv(csv.reader(file, delimiter="\t" if path.lower().endswith(".tsv") else ","))
            else:
                yield from file
    except (OSError, pa.ArrowException, csv.Error) as error:
        raise UserError(f"consent.lists: {path}: {getattr(error, 'strerror', None) or error}") from None
    except UnicodeDecodeError:
        raise UserError(f"consent.lists: {path}: not UTF-8 text") from None


def _csv(rows: Iterator[list[str]]) -> Iterator[str]:
    head = next(rows, [])
    names = [name.strip().lower() for name in head]
    column = next((names.index(name) for name in COLUMNS if name in names), None)
    if column is None:
        column = 0
        yield from head[:1]
    for row in rows:
        if column < len(row):
            yield row[column]


def _parquet(path: str) -> Iterator[str]:
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        lower = [name.lower() for name in names]
        column = next((names[lower.index(name)] for name in COLUMNS if name in lower), None)
        if column is None and len(names) != 1:
            raise UserError(
                f"consent.lists: {path}: no column is named {', '.join(COLUMNS)} (columns: {', '.join(names)})"
            )
        for batch in file.iter_batches(batch_size=10_000, columns=[column or names[0]]):
            for value in batch.column(0).to_pylist():
                yield str(value or "")
