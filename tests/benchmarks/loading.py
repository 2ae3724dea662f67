"""Data to train on: images a second of a core, padding, and how long a slower step waits, as `loader.py` prints them."""

import re
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.figure import Figure, Given
from tests.conftest import ROOT

_LINE = re.compile(r"(\S.*?) {2,}([\d.]+)(%?) +limit (at least|below) ([\d.]+)%?")


def figures(given: Given) -> Iterator[Figure]:
    command = [sys.executable, "-m", "tests.benchmarks.loader", str(given.material)]
    command += ["--steps", "10"] if given.quick else []
    printed = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout
    print(printed, end="")
    for what, value, unit, side, bound in _LINE.findall(printed):
        least, most = (float(bound), None) if side == "at least" else (None, float(bound))
        yield Figure(what, float(value), unit, least=least, most=most)
