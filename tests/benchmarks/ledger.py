"""The ledger of drops: its share of a run's time on the processor, and of the kept data's bytes.

The whole flow runs over the sample crawl, and the stages that judge texts over 400 real pages without their images: in this
process, with the ledger and without in turn. Times are the least of several runs. Kept bytes are those of the corpus; of pages
without images, of their texts alone, and without a limit: a line of the ledger quotes up to 160 characters of what was dropped,
which was about as much as what was kept.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filters.verdict import Verdict
from pipeline.config import load
from pipeline.document import Document
from pipeline.documents import read_documents
from pipeline.engine import LocalEngine, Spare
from pipeline.flow import flow
from pipeline.judge import judge
from pipeline.run import Run
from pipeline.sample import write
from pipeline.scores import score_texts
from pipeline.stages import Stage
from pipeline.work import Work
from pipeline.worker import Death, Shard
from tests.benchmarks.figure import Figure, Given
from tests.conftest import ROOT

TIMES = 7


class Inline(LocalEngine):
    """The local engine without a pool: what it does is this process's time."""

    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], spare: Spare[Shard] | None = None, stage: str = ""
    ) -> Iterator[tuple[Shard, Death | None]]:
        for shard in shards:
            task(shard)
            yield shard, None


def judge_texts(run: Run) -> Stage:
    """The first stages of the flow, which pages without images of their own pass."""
    c = run.config
    plain = run.each(
        "text", judge, c.text, documents=run.each("documents", read_documents, c.extract, warc=run.warcs())
    )
    scored = run.each("scores", score_texts, c.scores.asked, documents=plain)
    return run.each("score_rules", judge, c.score_rules, documents=scored)


def count_only(
    work: Work, document: Document, level: str, rule: str, verdict: Verdict, *place: Any, reason: str = ""
) -> None:
    work.drops[level][rule] += 1
    if reason:
        work.reasons.setdefault(rule, Counter())[reason] += 1


@contextmanager
def without_ledger() -> Iterator[None]:
    drop = Work.drop
    Work.drop = count_only  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        Work.drop = drop  # type: ignore[method-assign]


def seconds(config: str, settings: list[str], what: Callable[[Run], Stage], output: Path) -> tuple[float, Stage]:
    with Run(load(config, [*settings, f"output={output}", "engine.workers=1"]), config) as run:
        run.engine = Inline(run.config.engine, output / "spill")
        started = time.process_time()
        last = what(run)
        spent = time.process_time() - started
        assert not run.failures, run.failures
        return spent, last


def cost(
    name: str, config: str, settings: list[str], what: Callable[[Run], Stage], given: Given, most_bytes: float | None
) -> Iterator[Figure]:
    """The share of the time and the share of the bytes."""
    taken: dict[bool, list[float]] = {True: [], False: []}
    first = name.replace(" ", "-")
    for number in range(2 * (1 if given.quick else TIMES) + 2):
        output = given.folder / f"{first}-{number}"
        if number % 2:
            with without_ledger():
                spent, _ = seconds(config, settings, what, output)
        else:
            spent, last = seconds(config, settings, what, output)
        if number > 1:  # models and word lists are loaded in the first
            taken[number % 2 == 0].append(spent)
    written, bare = min(taken[True]), min(taken[False])
    ledger = sum(path.stat().st_size for path in output.with_name(f"{first}-0").glob("stages/*/*.ledger.parquet"))
    kept = sum(
        table["bytes"] for one in last.receipts.values() for which, table in one.tables.items() if which != "ledger"
    )
    print(f"  {written:.2f} s, without it {bare:.2f} s; {ledger / 1e3:.0f} kB, kept {kept / 1e3:.0f} kB")
    yield Figure(f"the ledger of {name}, of the time", 100 * (written / bare - 1), "%", most=5)
    yield Figure(f"the ledger of {name}, of the kept bytes", 100 * ledger / kept, "%", most=most_bytes)


def figures(given: Given) -> Iterator[Figure]:
    crawl = given.folder / "crawl"
    write(crawl)
    quickstart, obelics = (str(ROOT / "configs" / f"{name}.yaml") for name in ("quickstart", "obelics"))
    pages = ", ".join(str(given.material / "pages" / f"{name}.warc.gz") for name in ("en-00", "wcxb-00"))
    months = [str(crawl / month) for month in ("2026-03", "2026-09")]
    sample = [f"input.paths={months}", f"consent.lists=[{crawl}/opt-out.txt]"]
    sample.append(f"consent.robots.captures=[{crawl}/robotstxt]")
    yield from cost("the sample crawl", quickstart, sample, flow, given, 10)
    yield from cost("pages without images", obelics, [f"input.paths=[{pages}]"], judge_texts, given, None)
