"""Seeing and checking: what naming the slowest pages costs, a run read back, the memory of that by the number of shards.

The sample crawl is run by the quickstart's configuration with one worker. Naming the slowest pages is measured a document, alone,
and held against what the run took for each: a difference of two runs would be smaller than their spread.
"""

import io
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.cli import main as carnac
from pipeline.config import Images
from pipeline.funnel import funnel, receipts
from pipeline.memory import peak
from pipeline.sample import write
from pipeline.slow import Slowest
from pipeline.storage import write_json
from pipeline.verify import verify
from pipeline.versions import digest
from pipeline.work import read_receipt
from tests.benchmarks.figure import Figure, Given, alone
from tests.conftest import ROOT

SHARDS = (10, 1_000, 10_000)


def naming(count: int = 200_000) -> float:
    """Seconds for one document."""
    shard = Slowest("benchmark")
    urls = [f"https://host{number % 2_000}.example/page/{number}" for number in range(count)]
    started = time.process_time()
    for url in urls:
        shard.begin(url)
        shard.end()
    return (time.process_time() - started) / count


def many(run: Path, folder: Path, shards: int) -> Path:
    """A run that has come no further than its first stage, with so many shards."""
    stage = folder / "stages" / "text"
    stage.mkdir(parents=True)
    prefix = run / "stages" / "text" / "00000"
    receipt = read_receipt(prefix)
    assert receipt is not None
    for shard in range(shards):
        for table in receipt.tables:
            shutil.copy(f"{prefix}.{table}.parquet", stage / f"{shard:05d}.{table}.parquet")
        read = {"documents": f"shard {shard}"}
        own = replace(receipt, shard=shard, read=read, fingerprint=digest([receipt.of, read]))
        (stage / f"{shard:05d}.json").write_text(json.dumps(asdict(own)), encoding="utf-8")
    write_json(folder / "run.json", {"name": "many", "input": {}, "shards": [0, shards], "stages": ["text"]})
    return folder


def memory_of_verify(run: Path) -> int:
    verify(run, Images(), 0, lambda line: None)
    return peak()


def figures(given: Given) -> Iterator[Figure]:
    folder = given.folder
    write(folder / "sample")
    run = folder / "run"
    months = [str(folder / "sample" / month) for month in ("2026-03", "2026-09")]
    changes = [f"output={run}", f"input.paths={months}", "engine.workers=1", "consent={}"]
    sets = [part for change in changes for part in ("--set", change)]
    with redirect_stdout(io.StringIO()):
        assert carnac(["run", str(ROOT / "configs" / "quickstart.yaml"), *sets]) == 0
    documents = sum(summary.rows_in for summary in funnel(run) if not summary.query)
    worked = sum(receipt.processor for receipt in receipts(run))
    seconds = naming()
    yield Figure("naming the slowest pages, of a document in a stage", 1e6 * seconds, "µs")
    yield Figure("naming the slowest pages, of a run's time", 100 * seconds * documents / worked, "%", most=1)

    started = time.process_time()
    verified = verify(run, Images(), 0, print)
    spent = time.process_time() - started
    found = verified.found
    what = f"verify over {found.files:,} files, {found.bytes / 1e6:.1f} MB, {found.images:,} images"
    yield Figure(what, spent, "s", peer="the run itself", theirs=worked)
    yield Figure("problems that it finds in a run that is well", verified.problems, most=0)
    least = 0.0
    for shards in SHARDS[: 2 if given.quick else None]:
        made = many(run, folder / f"many{shards}", shards)
        memory = alone(memory_of_verify, made) / 1e6
        least = least or memory
        yield Figure(f"peak memory of verify over {shards:,} shards", memory, "MB", most=round(1.1 * least))
        shutil.rmtree(made)
