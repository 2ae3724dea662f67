"""What seeing and checking cost: the slowest pages named, a run read back, and the memory of that by the number of shards.

    python -m tests.benchmarks.sight

The sample crawl is run by the quickstart's configuration with one worker. Seconds are those of a processor. Naming the
slowest pages is measured a document, alone, and held against what the run took for each: a difference of two runs would be
smaller than their spread.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from pipeline.cli import main as carnac
from pipeline.config import Images
from pipeline.funnel import funnel, receipts
from pipeline.sample import write
from pipeline.slow import Slowest
from pipeline.storage import write_json
from pipeline.verify import verify
from pipeline.versions import digest
from pipeline.work import read_receipt
from tests.conftest import ROOT

MOST = 1.0  # per cent of a run's time, for the slowest pages
SHARDS = (10, 1_000, 10_000)
GROWTH = 1.1  # of the memory, from the fewest shards to the most

_PEAK = (
    "import sys; from pathlib import Path; from pipeline.config import Images; from pipeline.memory import peak;"
    "from pipeline.verify import verify; verify(Path(sys.argv[1]), Images(), 0, lambda line: None); print(peak())"
)


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


def main() -> int:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write(folder / "sample")
        run = folder / "run"
        months = [str(folder / "sample" / month) for month in ("2026-03", "2026-09")]
        changes = [f"output={run}", f"input.paths={months}", "engine.workers=1", "consent={}"]
        sets = [part for change in changes for part in ("--set", change)]
        assert carnac(["run", str(ROOT / "configs" / "quickstart.yaml"), *sets]) == 0
        documents = sum(summary.rows_in for summary in funnel(run) if not summary.query)
        worked = sum(receipt.processor for receipt in receipts(run))
        share = 100 * naming() * documents / worked
        print(
            f"\nslowest pages   {1e6 * naming():.1f} µs a document and stage, {share:.3f} % of a run (at most {MOST:g} %)"
        )

        started = time.process_time()
        verified = verify(run, Images(), 0, print)
        spent = time.process_time() - started
        found = verified.found
        print(
            f"verify          {spent:.1f} s for {found.files:,} files, {found.bytes / 1e6:.1f} MB and {found.images:,} images; "
            f"the run itself {worked:.1f} s; {verified.problems} problems"
        )
        peaks = []
        for shards in SHARDS:
            made = many(run, folder / f"many{shards}", shards)
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", _PEAK, str(made)], check=True, capture_output=True, text=True, cwd=ROOT
            )
            peaks.append(int(done.stdout))
            print(
                f"memory          {shards:6,} shards: {peaks[-1] / 1e6:.0f} MB, {time.perf_counter() - started:.0f} s"
            )
            shutil.rmtree(made)
        held = share <= MOST and not verified.problems and peaks[-1] <= GROWTH * peaks[0]
    print("held" if held else "NOT held")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
