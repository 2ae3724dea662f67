"""A configuration in; micro-batches of one rank out, in an order that ranks, workers and resuming do not change.

The data run in `data.lanes` independent streams. Micro-batch i of the whole training is the next of lane i mod lanes;
rank r of W takes those with i ≡ r (mod W), and its workers share them in turn. Where all lanes stand is all that is
needed to go on: epoch, unit and row of each source, and the sequences of the pack at hand that were given already.
"""

import contextlib
import copy
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch.utils.data import DataLoader, IterableDataset

from pipeline.errors import UserError
from pipeline.training import data
from pipeline.training.batch import Batch, filled
from pipeline.training.config import TrainConfig
from pipeline.training.lane import Feed, Lane
from pipeline.training.language import Language
from pipeline.training.mixture import together

GRACE = 20.0  # seconds that a worker outlives a SIGTERM


class Loader:
    """Micro-batches of one rank; `state_dict` says where the data stand after the last one that was given."""

    def __init__(
        self,
        config: TrainConfig,
        language: Language,
        *,
        rank: int = 0,
        world: int = 1,
        state: dict[str, Any] | None = None,
        leave_out: frozenset[str] = frozenset(),
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        """`state` is the union of all ranks' `state_dict`, of any number of ranks. Documents whose keys are in `leave_out`
        are replaced by padding, so that no other one moves. `report` is given what the user should know, once a line.

        Raises:
            UserError: lanes that ranks and workers cannot share; a state of other lanes or sources.
        """
        self.config, self.rank, self.world = config, rank, world
        self.feed = Feed(config, language, leave_out)
        self.size = config.micro_batch or max(1, config.batch_size // world)
        lanes, workers = config.data.lanes, config.data.workers
        check_lanes(lanes, world, workers)
        state = state or {"next": 0, "lanes": {}}
        if state["lanes"] and set(map(int, state["lanes"])) != set(range(lanes)):
            raise UserError(
                f"data.lanes {lanes}: the training to go on with has {len(state['lanes'])}, and its order depends on them"
            )
        if state["next"] % world:
            raise UserError(
                f"the training to go on with stands at micro-batch {state['next']}, no multiple of {world} GPUs"
            )
        self._next: int = state["next"]
        shelf: WeakValueDictionary[tuple[str, int], data.Unit] = WeakValueDictionary()
        self._states = {lane: state["lanes"].get(str(lane)) for lane in range(rank, lanes, world)}
        for lane in self._states:  # what is wrong with a state is said before any work starts
            made = Lane(lane, self.feed, shelf, self._states[lane])
            self._states[lane] = self._states[lane] or made.state
        self._report = report
        self._reported = set[str]()
        self._counts = {lane: known.get("counts", known["sources"]) for lane, known in self._states.items() if known}
        self._ended = set[int]()
        self._workers: Any = None

    def __iter__(self) -> Iterator[Batch]:
        """Goes on from the last batch that was given; ends when all lanes of this rank have.

        Raises:
            UserError: what is read is gone or damaged, a source has nothing to learn, or a worker died.
        """
        with contextlib.closing(self._drawn()) as stream:
            yield from self._given(stream)

    def _given(self, stream: Iterator[Batch | str]) -> Iterator[Batch]:
        for found in stream:
            if isinstance(found, str):
                raise UserError(found)
            lane = found.state["lane"]
            if found.state["ended"]:
                self._ended.add(lane)
            if self._ended.issuperset(self._states) and not found.tokens:
                return
            self._next += self.world
            self._counts[lane] = found.state["counts"]
            self._states[lane] = {name: found.state[name] for name in ("pack", "given", "sources")}
            for note in found.notes:
                if note not in self._reported:
                    self._reported.add(note)
                    self._report(note)
            yield found

    def state_dict(self) -> dict[str, Any]:
        """`next`, the micro-batch of the whole training that comes next; `lanes`, those of this rank by number."""
        lanes = {str(lane): {**(state or {}), "counts": self._counts[lane]} for lane, state in self._states.items()}
        return {"next": self._next, "lanes": lanes}

    def counts(self) -> dict[str, dict[str, int]]:
        """By source what this rank's lanes have read since the first step: tokens, documents, images, broken ones …"""
        return together(self._counts.values())

    def padding(self) -> Batch:
        """A micro-batch of padding alone, for a rank whose lanes have ended while others go on."""
        return filled([], self.size, self.config, self.feed.language)

    def close(self) -> None:
        """Ends the workers; the state stays."""
        self._workers = None

    def _drawn(self) -> Generator[Batch | str, None, None]:
        turns = _Turns(self.feed, self.size, self.rank, self.world, self._next, self._states)
        if not self.config.data.workers:
            yield from turns
            return
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["pipeline.training.loader"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of more workers than cores: that is for the user to say
            loader = DataLoader(
                turns,
                batch_size=None,
                num_workers=self.config.data.workers,
                prefetch_factor=self.config.data.ahead,
                multiprocessing_context=context,
                worker_init_fn=_outlive_the_first_signal,
                pin_memory=torch.cuda.is_available(),
                generator=torch.Generator(),  # else it would draw from the one that the model draws from
            )
            self._workers = iter(loader)
        try:
            # A thread takes a batch over from its worker, which may be busy, while the step before it goes on.
            with ThreadPoolExecutor(1) as taking:
                coming = taking.submit(next, self._workers, None)
                while self._workers is not None and (found := coming.result()) is not None:
                    coming = taking.submit(next, self._workers, None)
                    yield found
        except (
            RuntimeError,
            ConnectionError,
            EOFError,
        ) as error:  # the latter two: while it was handing something over
            if isinstance(error, RuntimeError) and "worker" not in str(error):
                raise
            raise UserError(f"a process that reads the data died: {data.first_line(error)}") from None
        finally:
            self._workers = None


def check_lanes(lanes: int, world: int, workers: int) -> None:
    """Refuses lanes that cannot be shared.

    Raises:
        UserError: they are no multiple of GPUs times workers.
    """
    streams = world * max(workers, 1)
    if lanes % streams:
        raise UserError(
            f"data.lanes {lanes} must be a multiple of GPUs ({world}) times data.workers ({workers}): {streams}, "
            f"{2 * streams}, …"
        )


class _Turns(IterableDataset):  # type: ignore[misc]
    """The micro-batches of a rank, or in a worker every n-th of them; without end, an error as its line."""

    def __init__(
        self, feed: Feed, size: int, rank: int, world: int, start: int, states: dict[int, dict[str, Any] | None]
    ) -> None:
        self.feed, self.size, self.rank, self.world, self.start = feed, size, rank, world, start
        self.states = copy.deepcopy(states)

    def __iter__(self) -> Iterator[Batch | str]:
        worker = torch.utils.data.get_worker_info()
        first, stride = (0, 1) if worker is None else (worker.id, worker.num_workers)
        shelf: WeakValueDictionary[tuple[str, int], data.Unit] = WeakValueDictionary()
        lanes: dict[int, Lane] = {}
        turn = self.start + self.rank + first * self.world
        try:
            while True:
                number = turn % self.feed.config.data.lanes
                if number not in lanes:
                    lanes[number] = Lane(number, self.feed, shelf, self.states[number])
                yield lanes[number].batch(self.size)
                turn += stride * self.world
        except UserError as error:
            yield str(error)


def _outlive_the_first_signal(worker: int) -> None:
    """SIGTERM to a whole group asks the training to save and end, and it needs its workers for that: they end at the
    second one, or `GRACE` seconds after the first."""

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        timer = threading.Timer(GRACE, os._exit, (1,))
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, first)
