"""Names of benchmarks in; their figures on the terminal and in the table of README.md beside this file out.

    python -m tests.benchmarks [--quick] [--folds DIR] [NAME …]

Each runs in a process of its own, one after the other.
"""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks import table
from tests.benchmarks.figure import Figure, NotMeasured, alone, figures_of

NAMES = (
    "crawls", "road", "extraction", "filters", "perplexity", "nsfw", "ledger", "duplicates", "decisions",
    "image_duplicates", "decontamination", "images", "sight", "cluster", "loader", "gpu",
)  # fmt: skip


def main(given: Sequence[str] | None = None, readme: Path = table.README) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all of them by default: {', '.join(NAMES)}")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, to see that all of it works; the table stays"
    )
    parser.add_argument(
        "--folds", type=Path, metavar="DIR", help="models that pipeline.html.train_main left, for extraction"
    )
    asked = parser.parse_args(given)
    if unknown := [name for name in asked.names if name not in NAMES]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    known, failed = table.read(readme), []
    for name in asked.names or NAMES:
        print(f"\n{name}: {table.about(name)}", flush=True)
        started = time.perf_counter()
        try:
            found = alone(figures_of, name, asked.folds, asked.quick)
        except NotMeasured as reason:
            print(f"  not measured: {reason}", flush=True)
            if name in known:  # on another machine, which had what is missing here
                continue
            found = [Figure(f"{name}: {reason}", None)]
        except Exception:  # one that fails costs the others nothing
            traceback.print_exc()
            failed.append(name)
            continue
        minutes = f"{(time.perf_counter() - started) / 60:.1f}"
        known[name] = table.Measured(table.machine(), minutes, [table.row(figure, name) for figure in found])
        if not asked.quick:
            table.write(readme, NAMES, known)
    if failed:
        print(f"\nfailed, their rows left as they were: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
