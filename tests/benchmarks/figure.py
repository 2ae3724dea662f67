"""The name of a benchmark in; its figures out: the shape that all of them yield, and what they measure with."""

import gzip
import importlib
import importlib.metadata
import json
import math
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from tests.conftest import ROOT

P = ParamSpec("P")
T = TypeVar("T")


class NotMeasured(Exception):
    """What a benchmark needs is not here; its message says what that is."""


@dataclass(frozen=True, slots=True)
class Given:
    """What a benchmark may use. `folder` is empty and will be removed; `quick` asks for small sizes, whose figures say little."""

    folder: Path
    pages: Path
    folds: Path | None = None
    quick: bool = False

    @property
    def material(self) -> Path:
        """The folder of real pages, crawls and images. Raises NotMeasured where there is none."""
        if not self.pages.is_dir():
            raise NotMeasured("needs the folder of real pages (CARNAC_MATERIAL)")
        return self.pages


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. Limits are those of the design: bounds of the value, or of its ratio to the peer's (`beside`).

    `ours` is None where nothing could be measured, `theirs` where the peer is not installed. A peer is the name of its
    distribution, or in words what else was measured.
    """

    what: str
    ours: float | None
    unit: str = ""
    least: float | None = None
    most: float | None = None
    peer: str = ""
    theirs: float | None = None
    beside: float | None = None

    @property
    def ratio(self) -> float | None:
        """Ours over theirs."""
        return self.ours / self.theirs if self.ours is not None and self.theirs else None

    @property
    def limit(self) -> str:
        bounds = [("≥", self.least, ""), ("≤", self.most, ""), ("≥", self.beside, " × the peer's")]
        return ", ".join(f"{sign} {bound:,g}{of}" for sign, bound, of in bounds if bound is not None)

    @property
    def held(self) -> bool | None:
        """Whether it is within its limits; None where it has none, or what they speak of was not measured."""
        least = [(self.ours, self.least), (self.ratio, self.beside)]
        kept = [value >= bound for value, bound in least if value is not None and bound is not None]
        if self.ours is not None and self.most is not None:
            kept.append(self.ours <= self.most)
        return all(kept) if kept else None


def cells(figure: Figure) -> list[str]:
    """What a row says: what, ours, limit, whether it is held, peer, theirs."""
    ours = "not measured" if figure.ours is None else told(figure.ours, figure.unit)
    theirs = ""
    if figure.peer:
        theirs = "not installed" if figure.theirs is None else told(figure.theirs, figure.unit)
        theirs += f" (ours {figure.ratio:.2f} ×)" if figure.ratio else ""
    held = {True: "yes", False: "no", None: ""}[figure.held]
    return [figure.what, ours, figure.limit, held, with_version(figure.peer), theirs]


def told(value: float, unit: str) -> str:
    """Three digits that count, or all of a whole number."""
    if isinstance(value, int) or value >= 1000 or value == 0:
        number = f"{value:,.0f}"
    else:
        number = f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
    return f"{number} {unit}".rstrip()


def with_version(peer: str) -> str:
    try:
        return f"{peer} {importlib.metadata.version(peer)}" if peer else ""
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return peer


def json_rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines, gzip'd or not."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def fastest(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of this process on the processor in the fastest of several runs, the first of which also loads what it needs."""
    seconds = []
    for _ in range(times):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def alone(work: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a function of a module returns in a process of its own, which begins with nothing loaded."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments, **named).result()


def figures_of(name: str, folds: Path | None, quick: bool) -> list[Figure]:
    """The figures of one benchmark, printed as they come. Raises NotMeasured."""
    pages = Path(os.environ.get("CARNAC_MATERIAL", ROOT.parent / "shared" / "material"))
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        for figure in importlib.import_module(f"tests.benchmarks.{name}").figures(
            Given(Path(folder), pages, folds, quick)
        ):
            found.append(figure)
            what, ours, limit, held, peer, theirs = cells(figure)
            kept = {"yes": "held", "no": "NOT HELD", "": ""}[held]
            print(f"  {what:<72} {ours:>18}  {limit:<20} {kept:<8} {peer} {theirs}".rstrip(), flush=True)
    return found
