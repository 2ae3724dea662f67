"""The folder of a stage in; the receipts of its shards, and the files that its query wrote, out.

On a store one file more holds all receipts of a stage whose work is done, so that a run that goes on asks few times. It is
removed before anything of the stage is done anew; while it is not there each receipt is asked for.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pipeline.engine import EMPTY
from pipeline.places import on_store, read_bytes, read_each, remove, size_of, sizes, write_bytes
from pipeline.work import QUARANTINED, Receipt, read_receipt, receipt_of

ALL = "receipts.jsonl"


def stage_receipts(folder: Path) -> Iterator[Receipt]:
    """Every receipt in the folder of a stage. Of one that is under way on a store as many as the store lists: to be shown,
    not to be built upon."""
    if not on_store(folder):
        for path in sorted(folder.glob("*.json")):
            if receipt := read_receipt(path.with_suffix("")):
                yield receipt
        return
    if (whole := finished(folder)) is not None:
        yield from whole
        return
    names = sorted(name for name in sizes(folder) if name.endswith(".json") and "/" not in name)
    yield from filter(None, map(receipt_of, read_each(folder / name for name in names)))


def tables_of(folder: Path, name: str) -> list[str]:
    """The files of a table that the receipts in the folder of a stage tell of."""
    if on_store(folder):
        told = [receipt.shard for receipt in stage_receipts(folder) if name in receipt.tables and receipt.shard >= 0]
        return [str(folder / f"{shard:05d}.{name}.parquet") for shard in sorted(told)]
    files = sorted(folder.glob(f"*.{name}.parquet"))
    return [str(file) for file in files if file.with_name(file.name.split(".")[0] + ".json").exists()]


def finished(folder: Path) -> Iterator[Receipt] | None:
    """The receipts of a stage on a store whose work is done; none where it is not, or never was."""
    try:
        lines = read_bytes(folder / ALL).splitlines()
    except FileNotFoundError:
        return None
    return (receipt for line in lines if (receipt := receipt_of(line)))


def slim(receipt: Receipt) -> Receipt:
    """What a run keeps of a receipt in memory, where there may be one for each of very many shards."""
    tables = {
        sys.intern(name): {key: about[key] for key in ("rows", "bytes")} for name, about in receipt.tables.items()
    }
    quarantined = receipt.drops.get("document", {}).get(QUARANTINED)
    return replace(
        receipt,
        stage=sys.intern(receipt.stage),
        drops={"document": {QUARANTINED: quarantined}} if quarantined else _NOTHING,
        tables=tables,
        notes={"splits": receipt.notes["splits"]} if "splits" in receipt.notes else _NOTHING,
        reasons=_NOTHING,
        read=_NOTHING,
        slow=_NOTHING,
        trace=_NO_TRACE,
    )


_NOTHING: dict[str, Any] = {}  # one for all of them
_NO_TRACE: list[str] = []


def undo(prefix: Path) -> None:
    """Has a shard done again."""
    if on_store(prefix):
        remove([prefix.parent / ALL])
    remove([prefix.with_suffix(".json")])


class Known:
    """What earlier work on a stage left: receipts whose tables are there in their sizes, by shard."""

    def __init__(self, folder: Path, shards: Sequence[int], begun: bool) -> None:
        """`begun`: the stage was ever worked at; if not, a store is not asked."""
        self.folder = folder
        self.finished = False
        self._listed: dict[str, int] = {}
        self._found: dict[int, bytes] = {}  # as they are written
        if not on_store(folder) or not begun:
            return
        try:
            read: Sequence[bytes | None] = read_bytes(folder / ALL).splitlines()
            self.finished = True
        except FileNotFoundError:
            read = read_each(folder / f"{shard:05d}.json" for shard in shards)
        for data in read:
            if data and (receipt := receipt_of(data)):
                self._found[receipt.shard] = data
        self._listed = sizes(folder)

    def receipt(self, shard: int, fingerprint: str) -> Receipt | None:
        """The receipt of a shard that was done, as it is to be done now."""
        prefix = self.folder / f"{shard:05d}"
        receipt = receipt_of(self._found.get(shard)) if on_store(self.folder) else read_receipt(prefix)
        good = (
            receipt and receipt.fingerprint == fingerprint and not receipt.error and self._whole(prefix.name, receipt)
        )
        return receipt if good else None

    def done(self, receipt: Receipt) -> None:
        """Adds what was done now."""
        if on_store(self.folder):
            self._found[receipt.shard] = json.dumps(asdict(receipt)).encode()

    def finish(self, shards: Iterable[int]) -> None:
        """Puts the receipts of all shards into one file on a store."""
        if on_store(self.folder) and not self.finished:
            lines = [b" ".join(self._found[shard].splitlines()) for shard in shards if shard in self._found]
            write_bytes(self.folder / ALL, b"\n".join(lines) + b"\n")

    def _whole(self, name: str, receipt: Receipt) -> bool:
        """Whether the tables are there with the sizes that the receipt says. What a listing lacks is asked for."""
        for table, about in receipt.tables.items():
            file = f"{name}.{table}.parquet"
            if self._listed.get(file) != about["bytes"] and size_of(self.folder / file) != about["bytes"]:
                return False
        return True

    def clean(self, shards: Sequence[int], redone: Iterable[int], leads: bool = True) -> None:
        """Removes what shards left that are no longer in the input and, on a store, what those that are done anew left: a
        receipt of other inputs must not stand beside tables that are being replaced."""
        names = {f"{shard:05d}" for shard in shards}
        if not on_store(self.folder):
            if leads:  # hidden files are what others write just now
                there = (p for p in self.folder.iterdir() if not p.name.startswith("."))
                remove(p for p in there if p.is_file() and p.name.split(".")[0] not in names)
            return
        anew = {f"{shard:05d}" for shard in redone}
        stale = {f"{shard:05d}.json" for shard in self._found if f"{shard:05d}" in anew or f"{shard:05d}" not in names}
        for name in self._listed:
            shard, _, rest = name.partition(".")
            if "/" not in name and name != ALL and (shard not in names or (shard in anew and rest.endswith("parquet"))):
                stale.add(name)
        if self.finished and (anew or stale):
            remove([self.folder / ALL])
            self.finished = False
        receipts = {name for name in stale if name.endswith(".json")}
        remove(self.folder / name for name in sorted(receipts))
        remove(self.folder / name for name in sorted(stale - receipts))


def partitions(receipt: Receipt) -> dict[int | None, tuple[str, ...]]:
    """The files that a query wrote, by shard, as names in the folder of its answer; by None what is of no shard, by -1 what
    says only that there is no row."""
    found: dict[int | None, list[str]] = {}
    for name in sorted(receipt.tables):
        head, _, rest = name.partition("/")
        shard = int(head.removeprefix("shard=")) if rest and head.startswith("shard=") else None
        found.setdefault(-1 if name == EMPTY else shard, []).append(name)
    return {shard: tuple(names) for shard, names in found.items()}


@lru_cache(maxsize=64)
def answered(folder: Path) -> dict[int | None, tuple[str, ...]]:
    """`partitions` of a query of an earlier run, whose folder is that of the stage; none where it was not asked."""
    receipt = read_receipt(folder / "query")
    return partitions(receipt) if receipt else {}
