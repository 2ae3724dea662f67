"""What stages and queries have left: prefixes, files and fingerprints by shard, which the next ones read."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.places import place
from pipeline.storage import identity
from pipeline.versions import digest
from pipeline.work import Receipt, read_receipt


@dataclass(frozen=True)
class Table:
    """Parquet files and one fingerprint for all of them."""

    files: list[str]
    fingerprint: str


@dataclass(frozen=True)
class Stage:
    """What a stage left: prefixes and a fingerprint for each shard that did not fail, and the receipts."""

    name: str
    prefixes: dict[int, tuple[str, ...]]
    fingerprints: dict[int, str]
    receipts: dict[int, Receipt] = field(default_factory=dict)  # slim
    held: dict[str, tuple[str, ...]] = field(default_factory=dict)  # by prefix the tables there, where that is known

    def by_content(self, table: str) -> "Stage":
        """The same, known by what this table holds: of what servers answer, which no setting determines."""
        told = {shard: read_receipt(place(prefixes[0])) for shard, prefixes in self.prefixes.items()}
        digests = {shard: digest(receipt.tables.get(table)) for shard, receipt in told.items() if receipt}
        return Stage(self.name, self.prefixes, digests, self.receipts, self.held)

    def table(self, name: str) -> Table:
        files = [
            f"{prefix}.{name}.parquet"
            for prefixes in self.prefixes.values()
            for prefix in prefixes
            if name in self.held.get(prefix, (name,))
        ]
        return Table(files, f"{name} {digest(sorted(self.fingerprints.items()))}")

    def beside(self, other: "Stage") -> "Stage":
        """The shards of both; of one that both have, what both left."""
        shards = sorted({*self.prefixes, *other.prefixes})
        prefixes = {shard: self.prefixes.get(shard, ()) + other.prefixes.get(shard, ()) for shard in shards}
        marks = {shard: [s.fingerprints[shard] for s in (self, other) if shard in s.fingerprints] for shard in shards}
        fingerprints = {shard: " ".join(found) for shard, found in marks.items()}
        return Stage(self.name, prefixes, fingerprints, self.receipts | other.receipts, self.held | other.held)

    def grouped(self, groups: Sequence[Sequence[int]]) -> "Stage":
        """The same shards, several taken for one."""
        prefixes = {i: tuple(p for shard in group for p in self.prefixes[shard]) for i, group in enumerate(groups)}
        fingerprints = {i: " ".join(self.fingerprints[shard] for shard in group) for i, group in enumerate(groups)}
        return Stage(self.name, prefixes, fingerprints, held=self.held)


def stage_of(name: str, folder: Path, receipts: dict[int, Receipt]) -> Stage:
    """The stage whose shards have left these receipts in a folder."""
    prefixes: dict[int, tuple[str, ...]] = {shard: (str(folder / f"{shard:05d}"),) for shard in receipts}
    fingerprints = {shard: receipt.fingerprint for shard, receipt in receipts.items()}
    held = {prefixes[shard][0]: tuple(map(sys.intern, receipt.tables)) for shard, receipt in receipts.items()}
    return Stage(name, prefixes, fingerprints, receipts, held)


def files(name: str, paths: Sequence[str]) -> Stage:
    """Files of the user as a stage whose shards they are."""
    shards: dict[int, tuple[str, ...]] = {shard: (path,) for shard, path in enumerate(paths)}
    return Stage(name, shards, {shard: identity(path) for shard, path in enumerate(paths)})


def numbered(name: str, count: int) -> Stage:
    """Shards that are nothing but numbers, for work that is cut otherwise than by file."""
    return Stage(name, dict.fromkeys(range(count), ()), dict.fromkeys(range(count), ""))


@dataclass(frozen=True)
class Answer:
    """What a query left: a folder with one partition a shard. `names`: of the files in it, as its receipt tells them."""

    folder: Path
    fingerprint: str
    names: dict[int | None, tuple[str, ...]]

    def table(self) -> Table:
        return Table(sorted(file for shard in self.names for file in self.of(shard)), self.fingerprint)

    def parts(self, count: int) -> Stage:
        """Its partitions as a stage whose shards they are, where these are not those of the input."""
        files = {part: self.of(part) for part in range(count)}
        receipt = read_receipt(self.folder.parent / "query")
        assert receipt is not None
        rows = {part: sum(receipt.tables[name]["rows"] for name in self.names.get(part, ())) for part in files}
        receipts = {part: Receipt("parts", part, self.fingerprint, rows_out=rows[part]) for part in files}
        return Stage("parts", files, dict.fromkeys(files, self.fingerprint), receipts)

    def of(self, shard: int | None) -> tuple[str, ...]:
        """The files for a shard; by None those that are for all of them."""
        return tuple(str(self.folder / name) for name in self.names.get(shard, ()))
