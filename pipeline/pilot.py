"""A configuration in; what a seeded sample of its input took, stage by stage and piece by piece, out."""

import random
import tempfile
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.archive import base_name, open_warc, size_of
from pipeline.config import Config, Live
from pipeline.engine import LocalEngine
from pipeline.errors import UserError
from pipeline.flow import flow
from pipeline.receipts import stage_receipts
from pipeline.run import Run
from pipeline.shards import Part, Picked, can_be_cut, shard_of
from pipeline.stages import Stage
from pipeline.storage import list_warcs
from pipeline.work import Receipt

RATE = 2 * 10**6  # compressed bytes of WARC files that a core takes through the stages in a second, about
PIECES = 32  # that a sample has, unless they become too large or too small
LARGEST = 4 * 10**6  # bytes of a piece: some hundred pages of Common Crawl
LEAST = 64 * 10**3  # below which a shard's own cost outweighs its pages'
TIMED = 4  # pieces a worker, of which the first loads its models and is not timed

Numbers = NDArray[np.float64]


@dataclass
class Measured:
    """What the pieces took; arrays have a number a piece. What a shard costs by itself, whatever is in it, is taken off."""

    whole: int  # bytes of the input
    shards: int  # of the run to come
    remote: bool  # the input is read over the network
    workers: int  # of the pilot
    bytes: Numbers  # of the input, that a piece stands for
    timed: NDArray[np.bool_]
    rows_in: dict[str, Numbers] = field(default_factory=dict)
    rows_out: dict[str, Numbers] = field(default_factory=dict)
    seconds: dict[str, Numbers] = field(default_factory=dict)  # of a processor
    stored: dict[str, Numbers] = field(default_factory=dict)  # bytes of tables
    idle: dict[str, float] = field(default_factory=dict)  # seconds of a shard by itself
    start: dict[str, float] = field(default_factory=dict)  # seconds in which a worker loads what a stage needs
    once: float = 0.0  # seconds of what is not done piece by piece: queries, lists
    tables: dict[str, Numbers] = field(default_factory=dict)  # rows of records, wanted and pixels
    pixels: Numbers = field(default_factory=lambda: np.zeros(0))  # bytes
    export: Receipt = field(default_factory=lambda: Receipt("export", 0, ""))  # all of its shards, added up
    unknown: list[str] = field(default_factory=list)  # what was left out

    @property
    def share(self) -> float:
        """Of the input, that was drawn."""
        return float(self.bytes.sum()) / self.whole


def measure(config: Config, path: str) -> Measured:
    """Runs the flow over a sample in a folder that is removed; nobody is asked anything.

    Raises:
        UserError: there is no input, or nothing of it can be worked on.
    """
    with tempfile.TemporaryDirectory(prefix="carnac-plan-") as scratch:
        settings, unknown = _asking_nobody(config, scratch)
        with _Pilot(settings, path) as run:
            flow(run)
        measured = run.measured
        measured.unknown = unknown + measured.unknown
        pieces = len(measured.bytes)
        failed = {receipt.shard for receipt in run.failures}  # later stages have nothing of these
        for name in run.output.stages:
            found = list(stage_receipts(run.folder / "stages" / name))
            if name == "export":
                for receipt in found:
                    measured.export.rows_out += receipt.rows_out
                    measured.export.bytes += receipt.bytes
                    measured.export.seconds += receipt.processor
            elif (by_shard := {receipt.shard: receipt for receipt in found}).keys() | failed == set(range(pieces)):
                add(measured, name, [by_shard.get(shard, Receipt(name, shard, "")) for shard in range(pieces)])
            else:
                measured.once += sum(receipt.processor for receipt in found)
        if failed:
            measured.unknown.append(
                f"{len(failed)} of {pieces} pieces failed, the first in {run.failures[0].stage}: {run.failures[0].error}"
            )
        return measured


class _Pilot(Run):
    """A run whose input is a sample of the input."""

    measured: Measured

    def warcs(self) -> Stage:
        found = [shard_of(inputs) for inputs in super().warcs().prefixes.values()]
        parts = [part for part in found if _length(part) > 0]
        whole = sum(map(_length, parts))
        if not whole:
            raise UserError(f"{self.path}: input: {len(found)} files without a byte; there is nothing to plan")
        asked = self.config.plan
        pieces, heads = draw(parts, int(asked.seconds * RATE), asked.seed, self.folder)
        assert isinstance(self.engine, LocalEngine)
        self.engine.workers = min(self.engine.workers, max(1, len(pieces) // TIMED))
        timed = np.arange(len(pieces)) >= min(self.engine.workers, len(pieces) - 1)
        stands_for = np.array([float(_length(part)) for part in pieces])
        remote = any("://" in file for part in parts for file in part.files)
        self.measured = Measured(whole, len(parts), remote, self.engine.workers, stands_for, timed)
        if unreached := len(found) - len(parts):
            self.measured.unknown.append(f"{unreached} files that are empty, or could not be reached")
        if heads:
            self.measured.unknown.append(f"{heads} files that cannot be cut are judged by their beginnings")
        inputs = [part.inputs for part in pieces]
        return Stage("warc", dict(enumerate(inputs)), {shard: " ".join(said) for shard, said in enumerate(inputs)})


def _length(part: Part | Picked) -> int:
    """Bytes, where these are known."""
    return part.bytes if isinstance(part, Picked) else part.end - part.start


def _piece(part: Part | Picked, number: int, count: int) -> Part | Picked:
    """One of so many pieces of a part."""
    low, high = (part.first, part.last) if isinstance(part, Picked) else (part.start, part.end)
    start, end = (low + (high - low) * n // count for n in (number, number + 1))
    if isinstance(part, Picked):
        return part._replace(first=start, last=end, bytes=part.bytes * (end - start) // (high - low))
    return part._replace(start=start, end=end)


def draw(parts: Sequence[Part | Picked], budget: int, seed: int, scratch: Path) -> tuple[list[Part | Picked], int]:
    """Pieces of about equal size, drawn without replacement from all of the parts, of `budget` bytes together; of a file
    that cannot be cut its beginning, copied to `scratch`, stands for those drawn of it. And how many such files."""
    size = min(LARGEST, max(LEAST, budget // PIECES))
    counts = [max(1, round(_length(part) / size)) for part in parts]
    ends = list(accumulate(counts))
    drawn: dict[int, list[int]] = {}
    for number in sorted(random.Random(seed).sample(range(ends[-1]), min(ends[-1], max(2, budget // size)))):
        at = bisect(ends, number)
        drawn.setdefault(at, []).append(number - (ends[at] - counts[at]))
    pieces: list[Part | Picked] = []
    heads = 0
    for at, numbers in drawn.items():
        part, count = parts[at], counts[at]
        if isinstance(part, Part) and count > 1 and not can_be_cut(part.path):
            if len(numbers) < count:
                length = _length(part) * len(numbers) // count
                part = _head(part.path, length, scratch / f"{at:05d}-{base_name(part.path)}")
                heads += 1
            pieces.append(part)
            continue
        pieces += [_piece(part, number, count) for number in numbers]
    return [piece for piece in pieces if _length(piece) > 0], heads


def _head(path: str, length: int, copy: Path) -> Part:
    with open_warc(path) as file:
        copy.write_bytes(file.read(length))
    return Part(str(copy), 0, length)


def _asking_nobody(config: Config, scratch: str) -> tuple[Config, list[str]]:
    """The configuration of the pilot, and what of the real one it leaves out."""
    unknown = []
    consent, images = config.consent, config.images
    if consent.asks_hosts or consent.spawning:
        unknown.append("no host and no registry was asked for consent: what they refuse, and the time they take")
    captures = consent.robots.captures
    budget = config.plan.seconds * RATE
    if captures and sum(map(size_of, list_warcs(captures, "consent.robots.captures"))) > budget:
        captures = []
        unknown.append("consent.robots.captures is more than the pilot reads: what it refuses, and the time it takes")
    asked = [source for source in images.sources if source != "crawl"]
    if asked:
        low, high = config.plan.answered
        unknown.append(
            f"images of {' and '.join(asked)} were not tried: {low:.0%} to {high:.0%} of the addresses are taken to answer "
            "(plan.answered), and waiting for them is not counted"
        )
    if config.input.against:
        unknown.append("nothing was compared with the runs of input.against")
    said = {"robots": consent.robots.model_copy(update={"live": False, "captures": captures}), "spawning": None}
    nobody = consent.model_copy(update=said | dict.fromkeys(("tdmrep", "ai_txt", "rsl"), Live()))
    changed = {
        "output": scratch + "/run",
        "metrics": None,
        "logs": "plain",
        "input": config.input.model_copy(update={"against": []}),
        "consent": nobody,
        "images": images.model_copy(update={"sources": [name for name in images.sources if name == "crawl"]}),
        "max_quarantined": 1.0,  # a share says little of few pages
    }
    return config.model_copy(update=changed), unknown


def add(measured: Measured, name: str, receipts: list[Receipt]) -> None:
    """The receipts of all pieces, in their order."""
    rows: Numbers = np.array([float(receipt.rows_in) for receipt in receipts])
    seconds: Numbers = np.array([receipt.processor for receipt in receipts])
    stored: Numbers = np.array([float(receipt.bytes) for receipt in receipts])
    some: NDArray[np.bool_] = rows > 0 if rows.any() else np.ones(len(rows), bool)
    timed = some & measured.timed
    measured.rows_in[name] = rows
    measured.rows_out[name] = np.array([float(receipt.rows_out) for receipt in receipts])
    # Pieces have equal bytes, so reading takes as long for a few large pages as for many small ones.
    measured.idle[name] = _intercept(rows[timed], seconds[timed]) if name != "documents" else 0.0
    measured.seconds[name] = np.maximum(0, seconds - measured.idle[name]) * some
    measured.stored[name] = np.maximum(0, stored - _intercept(rows[some], stored[some])) * some
    # What a worker's first piece took, less what it would have taken as a later one.
    first, later = measured.seconds[name][~measured.timed], measured.seconds[name][measured.timed]
    measured.start[name] = max(0.0, float(first.mean() - later.mean())) if len(first) else 0.0
    for stage, table in (("documents", "records"), ("consent", "wanted"), ("images", "pixels")):
        if name == stage:
            found = [receipt.tables.get(table, {"rows": 0, "bytes": 0}) for receipt in receipts]
            measured.tables[table] = np.array([float(entry["rows"]) for entry in found])
            if table == "pixels":
                measured.pixels = np.array([float(entry["bytes"]) * (entry["rows"] > 0) for entry in found])


def _intercept(rows: Numbers, cost: Numbers) -> float:
    """What a shard with hardly a row would cost, by a straight line through the pieces; not more than the cheapest did."""
    if len(rows) < 3:
        return 0.0
    if not np.ptp(rows):
        return 0.0 if rows[0] else float(cost.min())
    return float(np.clip(np.polyfit(rows, cost, 1)[1], 0, cost.min()))
