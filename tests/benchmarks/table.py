"""What was measured in; the tables of the README of this folder out, in which the rows of other benchmarks stay.

The README is all that is kept: it is read back, and what was not measured this time is written as it stood.
"""

import ast
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.figure import Figure, cells

HERE = Path(__file__).parent
README = HERE / "README.md"
MARK = "<!-- Below this line all is written by `python -m tests.benchmarks`. -->"
_MACHINE = re.compile(r"(\d+)\. (.+)")
_BENCHMARK = re.compile(r"\| `(\w+)` \| .* \| (\S*) \| (\d*) \|")
_FIGURE = re.compile(r"\| .* \| `(\w+)` \|")


@dataclass(slots=True)
class Measured:
    """A benchmark as the table has it: on which machine, for how many minutes, and its rows as they are written."""

    machine: str
    minutes: str
    rows: list[str] = field(default_factory=list)


def row(figure: Figure, name: str) -> str:
    return _row([*cells(figure), f"`{name}`"])


def _row(values: Iterable[str]) -> str:
    return f"| {' | '.join(value.replace('|', '∣') for value in values)} |"


def read(path: Path) -> dict[str, Measured]:
    """What the tables hold, by benchmark."""
    machines: dict[str, str] = {}
    known: dict[str, Measured] = {}
    for line in path.read_text("utf-8").partition(MARK)[2].splitlines():
        if found := _MACHINE.fullmatch(line):
            machines[found[1]] = found[2]
        elif (found := _BENCHMARK.fullmatch(line)) and found[3]:
            known[found[1]] = Measured(machines[found[3]], found[2])
        elif found := _FIGURE.fullmatch(line):
            known[found[1]].rows.append(line)
    return known


def write(path: Path, names: Sequence[str], known: Mapping[str, Measured]) -> None:
    """Writes the tables anew, benchmarks in the order of their names; what stands before them stays."""
    machines = list(dict.fromkeys(known[name].machine for name in names if name in known))
    lines = [*(f"{number}. {machine}" for number, machine in enumerate(machines, 1)), ""]
    lines += ["| benchmark | what it measures | minutes | on machine |", "|---|---|--:|--:|"]
    for name in names:
        one = known.get(name)
        on = [one.minutes, str(machines.index(one.machine) + 1)] if one else ["", ""]
        lines.append(_row([f"`{name}`", about(name), *on]))
    lines += ["", "| what | ours | limit | held | peer | peer's | command |", "|---|--:|--:|---|---|--:|---|"]
    lines += [line for name in names if name in known for line in known[name].rows]
    before = path.read_text("utf-8").partition(MARK)[0]
    path.write_text(f"{before}{MARK}\n\n" + "\n".join(lines) + "\n", "utf-8")


def about(name: str) -> str:
    """The first line of a benchmark's docstring, read without its imports."""
    return (ast.get_docstring(ast.parse((HERE / f"{name}.py").read_text("utf-8"))) or "").partition("\n")[0]


def machine() -> str:
    """The machine at hand, in words."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    parts = [
        found[1] if found else platform.machine(),
        f"{len(os.sched_getaffinity(0))} cores",
        f"{memory:.0f} GB of memory",
    ]
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        parts += subprocess.run(query, check=False, capture_output=True, text=True).stdout.splitlines()
    return ", ".join([*parts, f"Python {platform.python_version()}"])
