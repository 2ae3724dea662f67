"""Receipts in; the funnel, stage by stage what came in and out and what was dropped for which reason, out as text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.errors import UserError
from pipeline.output import read_run
from pipeline.places import on_store
from pipeline.receipts import stage_receipts
from pipeline.storage import read_rows
from pipeline.terminal import counted
from pipeline.work import Receipt, read_receipt

STAGE = len("unique_images")  # columns of a stage's name
LEVELS = ("record", "document", "paragraph", "image")
# The share of documents that OBELICS dropped by these decisions (arXiv 2306.16527).
PUBLISHED = {"latest_url": 0.321, "latest_image_set": 0.111}


@dataclass
class Summary:
    """The receipts of one stage, added up. `bytes` are those of its tables on disk, `seconds` those of all workers,
    `processor` the same without waiting."""

    stage: str
    shards: int = 0
    failed: int = 0
    rows_in: int = 0
    rows_out: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    bytes: int = 0
    drops: dict[str, Counter[str]] = field(default_factory=dict)
    not_checked: Counter[str] = field(default_factory=Counter)  # consent: by signal, what nobody could be asked about
    reasons: dict[str, Counter[str]] = field(default_factory=dict)  # beneath a rule that has several
    named: int | None = None  # image addresses on all pages,
    wanted: int | None = None  # and those that documents want in the end
    errors: list[str] = field(default_factory=list)
    lost: Counter[str] = field(
        default_factory=Counter
    )  # stretches of WARC files, their bytes, and about how many records
    wrong_digests: int = 0  # records
    query: bool = False  # or another question beside the road that documents take: of lists, of hosts

    def add(self, receipt: Receipt) -> None:
        self.shards += 1
        self.seconds += receipt.seconds
        self.processor += receipt.processor
        self.bytes += receipt.bytes
        self.query = receipt.shard < 0 or "/" in receipt.stage  # a decision, or a part of one
        if receipt.error:
            self.failed += 1
            self.errors.append(f"shard {receipt.shard}: {receipt.error}")
        self.lost.update(receipt.notes.get("lost", {}))
        self.wrong_digests += receipt.notes.get("wrong_digests", {}).get("records", 0)
        self.rows_in += receipt.rows_in
        self.rows_out += receipt.rows_out
        for level, rules in receipt.drops.items():
            self.drops.setdefault(level, Counter()).update(rules)
        self.not_checked.update(receipt.notes.get("not_checked", {}))
        for rule, found in receipt.reasons.items():
            self.reasons.setdefault(rule, Counter()).update(found)


def stages_of(folder: Path) -> list[str]:
    """The names of a run's stages and queries in their order. Raises UserError where there is no run."""
    run = read_run(folder)
    if run is None:
        raise UserError(f"{folder}: no run here yet; `carnac run` makes one")
    stages: list[str] = run["stages"]
    return stages


def funnel(folder: Path) -> list[Summary]:
    """The stages of a run in their order. Raises UserError where there is no run."""
    return Funnel(folder).read()


class Funnel:
    """The funnel of a run that may be under way: what has not changed since the last look is not read again, but for stores,
    which do not tell."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, dict[str, int]] = {}  # stage → receipt → when it was written
        self._summaries: dict[str, Summary] = {}

    def read(self) -> list[Summary]:
        return [self._stage(name) for name in stages_of(self.folder)]

    def _stage(self, name: str) -> Summary:
        folder = self.folder / "stages" / name
        if on_store(folder):
            summary = Summary(name)
            for receipt in stage_receipts(folder):
                self._add(summary, receipt)
            return summary
        there = {path.name: when for path in sorted(folder.glob("*.json")) if (when := written(path)) is not None}
        seen, known = self._seen.get(name, {}), self._summaries.get(name)
        if known is None or any(there.get(file) != when for file, when in seen.items()):
            seen, known = {}, Summary(name)
        for file, when in there.items():
            if file not in seen and (found := read_receipt((folder / file).with_suffix(""))):
                self._add(known, found)
                seen[file] = when
        self._seen[name], self._summaries[name] = seen, known
        return known

    def _add(self, summary: Summary, receipt: Receipt) -> None:
        summary.add(receipt)
        for file in receipt.tables if summary.stage == "saving" else ():
            row = next(read_rows(self.folder / "stages" / summary.stage / "answer" / file))
            summary.named, summary.wanted = (int(value) for value in row.values())


def written(path: Path) -> int | None:
    """Nanoseconds since the epoch; none where there is no such file (any more)."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def receipts(folder: Path) -> Iterator[Receipt]:
    """All receipts of a run, stage by stage."""
    for name in stages_of(folder):
        yield from stage_receipts(folder / "stages" / name)


def as_json(summaries: list[Summary]) -> list[dict[str, Any]]:
    return [
        vars(summary)
        | {"drops": {level: dict(sorted(rules.items())) for level, rules in summary.drops.items()}}
        | {"reasons": {rule: dict(sorted(counts.items())) for rule, counts in summary.reasons.items()}}
        | {"not_checked": dict(sorted(summary.not_checked.items()))}
        for summary in summaries
    ]


def print_funnel(summaries: list[Summary], console: Console) -> None:
    console.print(funnel_table(summaries))
    for summary in summaries:
        if summary.named and summary.wanted is not None:
            times = f"{summary.named / summary.wanted:.1f} times fewer" if summary.wanted else "fewer"
            console.print(
                f"Images asked for: {summary.wanted:,} of the {summary.named:,} that all pages name, {times} than if all were "
                "fetched before pages are judged."
            )


def funnel_table(summaries: list[Summary]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    for name in ("in", "out"):
        table.add_column(name, justify="right")
    table.add_column("dropped, by reason", overflow="fold", ratio=1)
    for name in ("seconds", "size"):
        table.add_column(name, justify="right")
    for summary in summaries:
        if summary.query and not summary.failed:
            continue
        drops = Text("\n").join(_drops(summary))
        table.add_row(
            summary.stage,
            f"{summary.rows_in:,}",
            f"{summary.rows_out:,}",
            drops,
            f"{summary.seconds:.1f}",
            size(summary.bytes),
        )
    queries = [summary for summary in summaries if summary.query]
    table.add_row(
        counted(len(queries), "query", "queries"),
        "",
        "",
        "",
        f"{sum(q.seconds for q in queries):.1f}",
        size(sum(q.bytes for q in queries)),
    )
    return table


def losses(summaries: list[Summary]) -> Iterator[str]:
    """What could not be read of the input, a line each."""
    for summary in summaries:
        if lost := summary.lost:
            stretches = counted(lost["stretches"], "damaged stretch", "damaged stretches")
            yield (
                f"lost: {stretches} of the input, {size(lost['bytes'])}, about {counted(lost['records'], 'record')}; "
                "`carnac explain CONFIG --rule damage` says where"
            )
        if summary.wrong_digests:
            yield f"not as stored: {counted(summary.wrong_digests, 'record')} with another digest than the header says"


def reasons(summary: Summary) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Level by level the rules that dropped something and how often, the most frequent first."""
    for level in LEVELS:
        if rules := summary.drops.get(level):
            yield level, _frequent(rules)


def _frequent(counts: Counter[str]) -> list[tuple[str, int]]:
    """The most frequent first; of equally frequent ones by name."""
    return sorted(counts.items(), key=lambda x: (-x[1], x[0]))


def _drops(summary: Summary) -> Iterator[Text]:
    for level, rules in reasons(summary):
        told = ", ".join(
            f"{rule} {count:,}{_beside(rule, count, summary.rows_in)}{_beneath(summary.reasons.get(rule))}"
            for rule, count in rules
        )
        yield Text.assemble((f"{level}s ", "bold"), told)
    if summary.not_checked:
        counts = ", ".join(f"{signal} {count:,}" for signal, count in sorted(summary.not_checked.items()))
        yield Text.assemble(("not checked ", "bold"), counts)
    if summary.failed:
        yield Text(f"{summary.failed} of {counted(summary.shards, 'shard')} failed", "bold red")


def _beneath(reasons: Counter[str] | None) -> str:
    """The reasons of a rule that has several, the most frequent first."""
    told = ", ".join(f"{reason} {count:,}" for reason, count in _frequent(reasons or Counter()))
    return f" ({told})" if told else ""


def _beside(rule: str, count: int, documents: int) -> str:
    """Our share beside the published one, where there is one."""
    return f" ({count / documents:.1%}, OBELICS {PUBLISHED[rule]:.1%})" if rule in PUBLISHED and documents else ""


def size(count: int) -> str:
    """1234567 → 1.2 MB"""
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if count >= 10**power:
            return f"{count / 10**power:.1f} {unit}"
    return f"{count} B"
