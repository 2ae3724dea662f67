"""The whole road, timed: pages a second through the text rules, and how long a run takes that has nothing to do.

    python -m tests.benchmarks.road [MATERIAL]        # the folder of real pages; by default ../shared/material

Prints each figure beside its limit; exit status 1 if one is not held. Two workers.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.funnel import Summary, funnel
from tests.conftest import ROOT

PAGES_A_SECOND = 60
SECONDS_OF_NOTHING = 3


def main(material: Path) -> int:
    with tempfile.TemporaryDirectory() as folder:
        changes = ["name=road", f"output={folder}/run", f"input.paths=[{material / 'pages'}]", "consent={}"]
        command = [sys.executable, "-m", "pipeline", "run", str(ROOT / "configs" / "quickstart.yaml")]
        command += [part for change in [*changes, "engine.workers=2"] for part in ("--set", change)]
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
            seconds.append(time.perf_counter() - started)
        stages: dict[str, Summary] = {summary.stage: summary for summary in funnel(Path(folder) / "run")}
    busy = sum(stages[name].seconds for name in ("documents", "text"))
    pages = stages["documents"].rows_in
    # From the start of the process on, so that starting workers and loading models counts, and all later stages, too.
    figures = [
        (
            "pages/s of the whole run, no images",
            pages / seconds[0],
            PAGES_A_SECOND,
            pages / seconds[0] >= PAGES_A_SECOND,
        ),
        ("pages/s a core, reading to text rules", pages / busy, PAGES_A_SECOND / 2, pages / busy >= PAGES_A_SECOND / 2),
        ("seconds of a run with nothing to do", seconds[1], SECONDS_OF_NOTHING, seconds[1] < SECONDS_OF_NOTHING),
    ]
    for name, value, limit, held in figures:
        print(f"{name:<40} {value:8.1f}   limit {limit:g}   {'held' if held else 'NOT HELD'}")
    return 0 if all(held for *_, held in figures) else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "material"))
