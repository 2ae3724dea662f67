"""Ledgers and receipts in; what happened to one page, and what one rule dropped, out line by line."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.database import connect, read_parquet
from pipeline.errors import UserError
from pipeline.funnel import STAGE, stages_of
from pipeline.minhash import similarity
from pipeline.output import read_run
from pipeline.places import place
from pipeline.receipts import tables_of
from pipeline.stored import stored_record
from pipeline.terminal import counted
from pipeline.verdicts import twin_named
from pipeline.work import read_receipt


def tables(folder: Path, name: str) -> dict[str, list[str]]:
    """For each stage of a run the files of the table `name` that its receipts tell of."""
    return {stage: tables_of(folder / "stages" / stage, name) for stage in stages_of(folder)}


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
        yield f"{url}"
        yield (
            f"  captured {capture['crawl_date']}, record at byte {capture['warc_record_offset']} of {capture['warc_filename']}"
        )
        yield from _fate(folder, capture, dropped, evidence, stages.get("final", []))


def _fate(
    folder: Path,
    capture: dict[str, Any],
    dropped: dict[str, list[dict[str, Any]]],
    evidence: dict[str, list[str]],
    final: list[str],
) -> Iterator[str]:
    """What each stage dropped of a capture, as far as it came, and what is left of it in the end."""
    key = capture["shard"], capture["row"]
    for stage, lines in dropped.items():
        yield from _not_checked(evidence.get(stage, []), stage, *key)
        for row in (line for line in lines if (line["shard"], line["row"]) == key):
            yield from _tell(folder, stage, row)
            if row["level"] == "document":
                return
    for row in select(final, "nodes", "shard = ? AND row = ?", *key):
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
