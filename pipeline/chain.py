"""Receipts of a run in; whether each agrees with itself and with what else stands in the folder out, a line each."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.readback import FORMS
from pipeline.versions import digest
from pipeline.work import Receipt

EXPORT = "export"  # the stage whose tables are the corpus
Marks = np.ndarray[Any, np.dtype[np.uint64]]
_FINGERPRINT = re.compile(r"[0-9a-f]{24}")


class Chain:
    """The fingerprints that stand in a folder, eight bytes each: of receipts, and of tables of stages with all their
    shards."""

    def __init__(self, open: bool) -> None:
        """`open`: what is read may stand elsewhere, too: in the runs that this one was made against."""
        self._open = open
        self._known: list[Marks] = []
        self._stage: list[tuple[int, str]] = []
        self._tables: dict[str, dict[int, str]] = {}

    def add(self, receipt: Receipt) -> None:
        if receipt.error:
            return
        self._stage.append((receipt.shard, receipt.fingerprint))
        for name, table in receipt.tables.items() if receipt.shard >= 0 else ():
            self._tables.setdefault(name, {})[receipt.shard] = digest(table)

    def close(self) -> None:
        """The stage is whole."""
        found = [fingerprint for _, fingerprint in self._stage] + [digest(sorted(self._stage))]
        for contents in self._tables.values():  # `Stage.by_content`
            found.append(digest(sorted((shard, contents.get(shard, digest(None))) for shard, _ in self._stage)))
        self._known.append(np.array([_short(mark) for mark in found if _FINGERPRINT.fullmatch(mark)], np.uint64))
        self._stage, self._tables = [], {}

    def known(self) -> Marks | None:
        return None if self._open else np.unique(np.concatenate(self._known or [np.zeros(0, np.uint64)]))


def _short(fingerprint: str) -> int:
    return int(fingerprint[:16], 16)


def _stands(value: str, known: Marks) -> bool:
    """Whether all fingerprints in what was read are known; names and other marks, of files, are passed over."""
    marks = np.array([_short(mark) for mark in value.split() if _FINGERPRINT.fullmatch(mark)], np.uint64)
    at = np.searchsorted(known, marks)
    return bool(len(known) or not len(marks)) and bool((known[np.minimum(at, len(known) - 1)] == marks).all())


def check_receipt(receipt: Receipt, stage: str, shard: str, known: Marks | None) -> Iterator[str]:
    """Whether a receipt agrees with itself, with its place and with what else stands in the folder. `known`: as
    `Chain.known` gives it; `shard`: the name of its file."""
    name = "query" if receipt.shard < 0 else f"{receipt.shard:05d}"
    if (receipt.stage, name) != (stage, shard):
        yield f"is the receipt of {receipt.stage}, {name}"
    if receipt.error:
        yield f"the shard failed: {receipt.error}"
        return
    if receipt.fingerprint != digest([receipt.of, receipt.read]):
        yield "its fingerprint is not that of what it was made of"
    for read, value in receipt.read.items():
        if known is not None and not _stands(value, known):
            yield f"what it read as {read} stands nowhere in this folder: it is missing, or was made anew since"
    if receipt.bytes != (size := sum(table["bytes"] for table in receipt.tables.values())):
        yield f"says {receipt.bytes:,} bytes, and {size:,} of its tables"
    if receipt.shard < 0:
        return
    rows = {table: about["rows"] for table, about in receipt.tables.items()}
    dropped = {level: sum(rules.values()) for level, rules in receipt.drops.items()}
    if rows.get("ledger", 0) != sum(dropped.values()):
        yield f"counts {sum(dropped.values()):,} drops, its ledger has {rows.get('ledger', 0):,} rows"
    if "documents" in rows and rows["documents"] != receipt.rows_out:
        yield f"counts {receipt.rows_out:,} documents that were kept, its table has {rows['documents']:,} rows"
    if ("documents" in rows or dropped.get("document")) and receipt.rows_in != receipt.rows_out + dropped.get(
        "document", 0
    ):
        yield f"counts {receipt.rows_in:,} documents in, {receipt.rows_out:,} out, {dropped.get('document', 0):,} dropped"
    if stage == EXPORT:
        for form in FORMS:
            counts = {table: count for table, count in rows.items() if table.startswith(form)}
            if counts and sum(counts.values()) != receipt.rows_out:
                yield f"counts {receipt.rows_out:,} documents, its tables of {form} have {sum(counts.values()):,} rows"
