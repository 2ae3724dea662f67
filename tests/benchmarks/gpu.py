"""IDEFICS-9B of random weights on a GPU: utilisation, tokens a second, wait for data and memory, as `training.py` finds them."""

import json
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.figure import Figure, Given, NotMeasured
from tests.conftest import ROOT


def figures(given: Given) -> Iterator[Figure]:
    import torch

    from tests.benchmarks.training import STOCK, TOKENS, UTILISATION, WAIT, WHOLE

    if not torch.cuda.is_available():
        raise NotMeasured("needs a GPU")
    path = given.folder / "found.json"
    command = [
        sys.executable,
        "-m",
        "tests.benchmarks.training",
        "--json",
        str(path),
        *(["--small"] if given.quick else []),
    ]
    subprocess.run(command, check=False, cwd=ROOT)
    found = json.loads(path.read_text("utf-8"))
    stock = found.pop(STOCK, {"failed": "not asked"})
    theirs = None if stock["failed"] else stock["tokens_per_second"]
    for name, row in found.items():
        if row["failed"]:
            print(f"  {name}: {row['failed']}")
            continue
        whole = name == WHOLE
        what = f"training, {name}"
        least = TOKENS if whole else None
        peer = "transformers" if theirs else ""
        yield Figure(f"{what}: tokens", row["tokens_per_second"], "tokens/s", least, peer=peer, theirs=theirs)
        if row["utilisation"] is not None:
            share = 100 * row["utilisation"]
            yield Figure(f"{what}: of the device's peak", share, "%", least=100 * UTILISATION if whole else None)
        yield Figure(f"{what}: memory", row["memory"] / 1e9, "GB")
        if whole:
            yield Figure(f"{what}: images", row["images_per_second"], "images/s")
            yield Figure(f"{what}: wait for data", 100 * row["wait"], "%", most=100 * WAIT)
