"""Receipts and ledgers in; the funnel, and what happened to one page, out as text."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.database import connect, read_parquet
from pipeline.errors import UserError
from pipeline.minhash import similarity
from pipeline.places import on_store, place
from pipeline.receipts import stage_receipts, tables_of
from pipeline.run import read_run
from pipeline.storage import read_rows
from pipeline.stored import stored_record
from pipeline.terminal import counted
from pipeline.verdicts import twin_named
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


def _stages(folder: Path) -> list[str]:
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
        return [self._stage(name) for name in _stages(self.folder)]

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
    for name in _stages(folder):
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


def tables(folder: Path, name: str) -> dict[str, list[str]]:
    """For each stage of a run the files of the table `name` that its receipts tell of."""
    found: dict[str, list[str]] = {}
    for stage in _stages(folder):
        found[stage] = tables_of(folder / "stages" / stage, name)
    return found


def select(files: list[str], columns: str, where: str, *values: Any) -> list[dict[str, Any]]:
    """Rows of Parquet files by a condition; `?` stands for a value."""
    if not files:
        return []
    with connect(files) as connection:
        connection.sql("SET TimeZone = 'UTC'")
        columns_of = connection.execute(f"SELECT {columns} FROM {read_parquet(files)} WHERE {where}", list(values))
        names = [column[0] for column in columns_of.description]
        return [dict(zip(names, row, strict=True)) for row in columns_of.fetchall()]


def _unseen(url: str, folder: Path) -> UserError:
    return UserError(f"{url}: no page of this address was read in {folder}; addresses are as the crawl writes them")


def explain(folder: Path, url: str) -> Iterator[str]:
    """All that happened to a page, line by line: each of its captures, each paragraph and image that was dropped.

    Raises:
        UserError: the run has not seen this address.
    """
    ledgers = tables(folder, "ledger")
    stages = tables(folder, "documents")
    dropped = {
        stage: select(ledgers[stage], "*", "url = ? ORDER BY shard, row, position, paragraph", url) for stage in ledgers
    }
    evidence = {stage: files for stage, files in tables(folder, "consent").items() if stage in ("consent", "images")}
    columns = "shard, row, warc_filename, warc_record_offset, CAST(crawl_date AS VARCHAR) AS crawl_date"
    captures = select(stages.get("documents", []), columns, "url = ? ORDER BY crawl_date", url)
    early = [row for row in dropped.get("documents", []) if row["level"] == "document"]
    if not captures and not early:
        raise _unseen(url, folder)
    for row in early:
        yield f"{url}"
        yield f"  {'documents':<{STAGE}} dropped by {row['rule']}: {row['value']} (expected {row['bound']})"
    for capture in captures:
        key = capture["shard"], capture["row"]
        yield f"{url}"
        yield (
            f"  captured {capture['crawl_date']}, record at byte {capture['warc_record_offset']} of {capture['warc_filename']}"
        )
        for stage, lines in dropped.items():
            yield from _not_checked(evidence.get(stage, []), stage, *key)
            for row in (line for line in lines if (line["shard"], line["row"]) == key):
                yield from _tell(folder, stage, row)
                if row["level"] == "document":
                    break
            else:
                continue
            break
        else:
            kept = select(stages.get("final", []), "nodes", "shard = ? AND row = ?", *key)
            for row in kept:
                images = [node["image"]["url"] for node in row["nodes"] if node["image"]]
                words = sum(len(node["text"].split()) for node in row["nodes"] if node["text"])
                left = (counted(len(row["nodes"]), "node"), counted(words, "word"), counted(len(images), "image"))
                yield f"  kept: {', '.join(left)}"
                yield from (f"    {image}" for image in images)


def records(folder: Path, url: str) -> Iterator[bytes]:
    """The WARC records of a page as they were written, each of its captures, in pieces.

    Raises:
        UserError: the run has not seen this address, or its WARC file is no longer there.
    """
    place = "shard, warc_record_offset, crawl_date"
    kept = select(tables(folder, "documents").get("documents", []), place, "url = ?", url)
    ledger = tables(folder, "ledger").get("documents", [])
    dropped = select(ledger, place, "url = ? AND level = 'document'", url)
    if not kept and not dropped:
        raise _unseen(url, folder)
    for row in sorted(kept + dropped, key=lambda row: (row["crawl_date"], row["shard"], row["warc_record_offset"])):
        receipt = read_receipt(folder / "stages" / "documents" / f"{row['shard']:05d}")
        if receipt is None:
            raise UserError(f"{folder}: shard {row['shard']} of documents has no receipt; run it again")
        yield from _stored(receipt.notes["files"], row["warc_record_offset"], url)


def _stored(files: dict[str, list[int]], offset: int, url: str) -> Iterator[bytes]:
    """The record in one of the files of a shard, all of which may have one at this place."""
    possible = [file for file, offsets in files.items() if not offsets or offset in offsets]
    for file in possible[:-1]:
        try:
            pieces = stored_record(file, offset, url)
            first = next(pieces)
        except UserError:
            continue
        yield first
        yield from pieces
        return
    yield from stored_record(possible[-1], offset, url)


def sample_of_rule(folder: Path, rule: str, count: int) -> Iterator[str]:
    """What a rule throws away, for tuning: some of its drops, the same ones each time, with value and bound.

    Raises:
        UserError: the rule has dropped nothing in this run.
    """
    ledgers = tables(folder, "ledger")
    seen: Counter[str] = Counter()
    for stage, files in ledgers.items():
        seen.update(row["rule"] for row in select(files, "DISTINCT rule", "true"))
        order = "md5(concat_ws(' ', url, crawl_date, position, paragraph))"
        for row in select(files, "*", f"rule = ? ORDER BY {order} LIMIT {int(count)}", rule):
            yield f"{_measured(folder, row)}  {stage}, {row['level']}  {row['url']}"
            if row["excerpt"]:
                yield f"    {row['excerpt']}"
    if rule not in seen:
        raise UserError(f"--rule {rule}: has dropped nothing in {folder} (those that did: {', '.join(sorted(seen))})")


def _with_earlier(folder: Path) -> list[Path]:
    """The folder of a run and those of the runs that it was made against."""
    run = read_run(folder)
    return [folder, *(place(name) for name in (run or {}).get("input", {}).get("against", []))]


def _alike(folder: Path, one: tuple[int, int], other: tuple[int, int]) -> str:
    """How alike two documents are, as far as their signatures say."""
    files = [file for run in _with_earlier(folder) for file in tables(run, "signatures").get("keys", [])]
    found = [select(files, "signature", "shard = ? AND row = ?", *place) for place in (one, other)]
    if not all(found):
        return ""
    ours, theirs = (np.frombuffer(rows[0]["signature"], "<u2") for rows in found)
    return f", similarity {float(similarity(ours, theirs)):.2f}"


def _not_checked(files: list[str], stage: str, shard: int, row: int) -> Iterator[str]:
    """What could not be asked about the page and its images, one line a signal and reason."""
    seen = select(files, "*", "shard = ? AND row = ? AND says = 'not_checked' ORDER BY position, signal", shard, row)
    told = Counter(f"{found['signal']}: {found['where']}: {found['value']}" for found in seen)
    for unasked, count in told.items():
        yield f"  {stage:<{STAGE}} not checked by {unasked}" + (f" ({count} addresses)" if count > 1 else "")


def _measured(folder: Path, row: dict[str, Any]) -> str:
    """Value and bound of a drop; a document or an image that the value names by its place, by its address."""
    measured = f"{row['value']} (expected {row['bound']})"
    if row["rule"] in ("latest_url", "near_duplicate", "latest_image_set"):
        twin = twin_named(row["value"])
        files = [file for run in _with_earlier(folder) for file in tables(run, "documents")["documents"]]
        columns = "url, CAST(crawl_date AS VARCHAR) AS crawl_date"
        for other in select(files, columns, "shard = ? AND row = ?", *twin):
            measured = f"for {other['url']}, captured {other['crawl_date']}"
        if row["rule"] == "near_duplicate":
            measured += _alike(folder, (row["shard"], row["row"]), twin)
    if row["rule"] in ("image_repeated", "image_everywhere"):
        measured = re.sub(r"(\d+):(\d+):(\d+)", lambda found: _image_at(folder, *map(int, found.groups())), measured)
    return measured


def _tell(folder: Path, stage: str, row: dict[str, Any]) -> Iterator[str]:
    place = "" if row["position"] is None else f" at {row['position']}"
    place += "" if row["paragraph"] is None else f".{row['paragraph']}"
    yield f"  {stage:<{STAGE}} {row['level']}{place} dropped by {row['rule']}: {_measured(folder, row)}"
    if row["level"] != "document":
        yield f"  {'':<{STAGE}}   {row['excerpt']}"


def _image_at(folder: Path, shard: int, row: int, position: int) -> str:
    """The address of an image and of its page."""
    files = tables(folder, "documents")["documents"]
    for page in select(files, "url, nodes", "shard = ? AND row = ?", shard, row):
        for node in page["nodes"]:
            if node["position"] == position and node["image"]:
                return f"{node['image']['url']} of {page['url']}"
    return f"{shard}:{row}:{position}"
