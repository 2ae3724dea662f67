"""Opened sources in; one lane's documents out, mixed by tokens, in an order of seed and lane alone."""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from pipeline.errors import UserError
from pipeline.training.config import Source
from pipeline.training.data import Raw, Unit
from pipeline.training.sources import Opened

# Where a source has fewer units a lane than this, each unit's documents are dealt to the lanes instead of the units:
# else some lanes would have far more than others, or nothing.
FEW = 4

DRY_DOCUMENTS, DRY_EPOCHS = 1000, 10  # after so many without a text, and a whole epoch, a source is given up


@dataclass(slots=True)
class Share:
    """How far a lane has come in a source; all that is needed to go on. Counts are of this lane, from the first step."""

    epoch: int = 0
    unit: int = 0  # of this epoch, in the lane's order
    row: int = 0  # of this unit, in the lane's order
    tokens: int = 0  # of windows that were packed
    documents: int = 0
    textless: int = 0  # documents in which nothing can be learned
    images: int = 0
    broken_images: int = 0
    missing_images: int = 0
    lost: int = 0  # rows that could not be read

    def state(self) -> dict[str, int]:
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}


def next_source(tokens: Sequence[int], weights: Sequence[float], ended: Sequence[bool]) -> int | None:
    """The source that is furthest below its weight, measured by that weight; None where all have ended.

    With it no source is ever more than one document away from its share, and what others leave when they end is
    shared by weight.
    """
    going = [number for number, over in enumerate(ended) if not over]
    return min(going, key=lambda number: (tokens[number] / weights[number], number), default=None)


@dataclass(slots=True)
class Walk:
    """One lane's way through a source, epoch after epoch."""

    source: Source
    opened: Opened
    seed: int
    lane: int
    lanes: int
    shelf: "WeakValueDictionary[tuple[str, int], Unit]"  # units that a lane of this process holds
    share: Share = field(default_factory=Share)
    notes: list[str] = field(default_factory=list)
    _unit: Unit | None = None
    _order: Any = None

    @property
    def ended(self) -> bool:
        return self.source.epochs is not None and self.share.epoch >= self.source.epochs

    def next(self) -> Raw | None:
        """The next document; None at the end of each epoch.

        Raises:
            UserError: what it would be read from is gone or damaged.
        """
        share = self.share
        units = self._units()
        while share.unit < len(units):
            if self._unit is None:
                self._open(int(units[share.unit]))
            if share.row < len(self._order):
                assert self._unit is not None
                row = int(self._order[share.row])
                share.row += 1
                return self._unit.read(row)
            self._unit = None
            share.unit, share.row = share.unit + 1, 0
        share.epoch, share.unit, share.row = share.epoch + 1, 0, 0
        return None

    def goto(self, state: dict[str, int]) -> None:
        self.share, self._unit = Share(**state), None

    def dry(self, documents: int) -> UserError:
        """Why a source is given up in which epochs went by with so many documents, none of them with a text."""
        what = f"{self.source.path}: the source {self.source.name}"
        if documents:
            return UserError(f"{what}: no document of its {self.source.split} split holds any text to learn")
        return UserError(f"{what} holds fewer documents than data.lanes, {self.lanes}; lower it")

    @property
    def _dealt(self) -> bool:
        """Whether documents are dealt to the lanes, not units."""
        return self.opened.units < FEW * self.lanes

    def _seed(self, *further: int) -> Any:
        # By name, so that a source keeps its order when others come before it.
        return np.random.default_rng((self.seed, zlib.crc32(self.source.name.encode()), self.share.epoch, *further))

    def _units(self) -> Any:
        order = self._seed().permutation(self.opened.units)
        return order if self._dealt else order[self.lane :: self.lanes]

    def _open(self, number: int) -> None:
        key = (self.source.name, number)
        unit = self.shelf.get(key)
        if unit is None:
            unit = self.shelf[key] = self.opened.open(number)
        order = self._seed(number).permutation(unit.rows)
        # Each unit is dealt from another lane on, so that what is left over does not always fall to the first.
        self._order = order[(self.lane + number) % self.lanes :: self.lanes] if self._dealt else order
        self._unit = unit
        if not self.share.row:
            self.share.lost += unit.lost if not self._dealt or number % self.lanes == self.lane else 0
            self.notes += unit.notes


def state_of(walks: Sequence[Walk]) -> dict[str, dict[str, int]]:
    return {walk.source.name: walk.share.state() for walk in walks}


def together(counts: Iterable[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """What lanes, or ranks, have read in all, by source: tokens, documents, images, …; the furthest epoch."""
    total: dict[str, dict[str, int]] = {}
    for each in counts:
        for name, values in each.items():
            known = total.setdefault(name, {})
            for what, value in values.items():
                if what == "epoch":
                    known[what] = max(known.get(what, 0), value)
                elif what not in {"unit", "row"}:  # where a lane stands
                    known[what] = known.get(what, 0) + value
    return total


def goto(walks: Sequence[Walk], state: dict[str, dict[str, int]]) -> None:
    """Brings a lane's walks to where a state says.

    Raises:
        UserError: the state is of other sources.
    """
    names = [walk.source.name for walk in walks]
    if set(names) != set(state):
        raise UserError(
            f"data.sources: the training to go on with read {', '.join(sorted(state))}, now they are {', '.join(sorted(names))}"
        )
    for walk in walks:
        walk.goto(state[walk.source.name])
