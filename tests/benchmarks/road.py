"""From WARC files to judged documents: pages a second, beside datatrove's; and a run that has nothing to do.

Two workers each, their start included. Ours reads, decodes, extracts with images, applies the text rules and names the
language; datatrove reads and extracts text (`WarcReader`, `Trafilatura`).
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pipeline.config import load
from pipeline.documents import read_documents
from pipeline.funnel import Summary, funnel
from pipeline.judge import judge
from pipeline.run import Run
from pipeline.scores import score_texts
from tests.benchmarks.figure import Figure, Given
from tests.conftest import ROOT

WORKERS = 2
PAGES_OF_A_CRAWL = 90_000 * 30_000  # files of Common Crawl and pages in each
QUICKSTART = str(ROOT / "configs" / "quickstart.yaml")


def settings(inputs: list[Path], output: Path) -> list[str]:
    return [
        f"output={output}",
        f"input.paths={[str(path) for path in inputs]}",
        f"engine.workers={WORKERS}",
        "consent={}",
    ]


def carnac(paths: list[Path], folder: Path) -> int:
    """How many pages were read."""
    with Run(load(QUICKSTART, settings(paths, folder / "run")), QUICKSTART) as run:
        pages = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
        plain = run.each("text", judge, run.config.text, documents=pages)
        run.each("scores", score_texts, run.config.scores.asked, documents=plain)
    return sum(receipt.rows_in for receipt in pages.receipts.values())


def datatrove(paths: list[Path], folder: Path) -> int:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    (folder / "in").mkdir()
    for path in paths:
        shutil.copy(path, folder / "in")
    # Its own second a page is passed on a busy machine, and then each page costs a new process and gives nothing.
    steps = [WarcReader(str(folder / "in")), Trafilatura(timeout=30)]
    executor = LocalPipelineExecutor(steps, tasks=len(paths), workers=WORKERS, logging_dir=str(folder / "logs"))
    stats = executor.run()
    return int(next(step.stats["documents"].total for step in stats.stats if "Warc" in step.name))


def pages_a_second(read: Callable[[list[Path], Path], int], paths: list[Path], folder: Path) -> float | None:
    """None if what reads them is not installed."""
    folder.mkdir()
    started = time.perf_counter()
    try:
        pages = read(paths, folder)
    except ImportError:
        return None
    rate = pages / (time.perf_counter() - started)
    hours = PAGES_OF_A_CRAWL / rate * WORKERS / 3600
    print(f"  {read.__name__}: a crawl of 90,000 files would take {hours:,.0f} core-hours at {rate:.0f} pages/s")
    return rate


def figures(given: Given) -> Iterator[Figure]:
    paths = sorted(given.material.glob("pages/wcxb-*.warc.gz"))[: 2 if given.quick else None]
    ours, theirs = (pages_a_second(read, paths, given.folder / read.__name__) for read in (carnac, datatrove))
    what = "from WARC files to judged documents, two workers"
    yield Figure(what, ours, "pages/s", peer="datatrove", theirs=theirs, beside=8)
    yield from whole_run(paths if given.quick else [given.material / "pages"], given.folder / "run")


def whole_run(inputs: list[Path], output: Path) -> Iterator[Figure]:
    """The command, from the start of its process on, so that starting workers, loading models and all later stages count."""
    command = [sys.executable, "-m", "pipeline", "run", QUICKSTART]
    command += [part for change in settings(inputs, output) for part in ("--set", change)]
    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        seconds.append(time.perf_counter() - started)
    stages: dict[str, Summary] = {summary.stage: summary for summary in funnel(output)}
    read = stages["documents"].rows_in
    busy = sum(stages[name].seconds for name in ("documents", "text"))
    yield Figure("the whole run without images, two workers", read / seconds[0], "pages/s", least=60)
    yield Figure("reading to text rules, a worker", read / busy, "pages/s", least=30)
    yield Figure("a run that has nothing to do", seconds[1], "s", most=3)
