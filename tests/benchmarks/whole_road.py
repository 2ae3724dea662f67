"""The folder of real pages in; pages a second from WARC files to judged documents, beside datatrove's, out.

`python -m tests.benchmarks.whole_road [MATERIAL]`, with datatrove 0.10, faust-cchardet and python-magic installed beside what
the tests need. Two workers each, their start included. Ours reads, decodes, extracts with images, applies the text rules and
names the language; datatrove reads and extracts text (`WarcReader`, `Trafilatura`).
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import yaml

from pipeline import config
from pipeline.documents import read_documents
from pipeline.judge import judge
from pipeline.run import Run
from pipeline.scores import score_texts

ROOT = Path(__file__).resolve().parent.parent.parent  # not from conftest: each worker would import pytest
WORKERS = 2
RATIO = 8
PAGES_OF_A_CRAWL = 90_000 * 30_000  # files of Common Crawl and pages in each


def carnac(paths: list[Path], folder: Path) -> int:
    """How many pages were read."""
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    raw |= {"name": "road", "output": str(folder / "run"), "input": {"paths": [str(path) for path in paths]}}
    raw |= {"engine": {"workers": WORKERS}, "consent": {}}
    (folder / "road.yaml").write_text(yaml.safe_dump(raw))
    settings = config.load(str(folder / "road.yaml"))
    with Run(settings, "road.yaml") as run:
        pages = run.each("documents", read_documents, settings.extract, warc=run.warcs())
        plain = run.each("text", judge, settings.text, documents=pages)
        run.each("scores", score_texts, settings.scores.asked, documents=plain)
    return sum(receipt.rows_in for receipt in pages.receipts.values())


def datatrove(paths: list[Path], folder: Path) -> int:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    (folder / "in").mkdir()
    for path in paths:
        shutil.copy(path, folder / "in")
    reader = WarcReader(str(folder / "in"))
    executor = LocalPipelineExecutor(
        [reader, Trafilatura()], tasks=len(paths), workers=WORKERS, logging_dir=str(folder / "logs")
    )
    stats = executor.run()
    return int(next(step.stats["documents"].total for step in stats.stats if "Warc" in step.name))


def main() -> int:
    material = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "material"
    paths = sorted(material.glob("pages/wcxb-*.warc.gz"))
    rates = {}
    for run in (carnac, datatrove):
        with tempfile.TemporaryDirectory() as folder:
            started = time.perf_counter()
            pages = run(paths, Path(folder))
            rates[run.__name__] = pages / (time.perf_counter() - started)
    ratio = rates["carnac"] / rates["datatrove"]
    for name, rate in rates.items():
        hours = PAGES_OF_A_CRAWL / rate * WORKERS / 3600
        print(f"{name:<10} {rate:6.0f} pages/s, two workers; a crawl of 90,000 files: {hours:,.0f} core-hours")
    print(f"ours beside datatrove's {ratio:.1f}   limit {RATIO}   {'held' if ratio >= RATIO else 'NOT HELD'}")
    return 0 if ratio >= RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
