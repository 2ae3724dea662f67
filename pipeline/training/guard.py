"""A step's figures in; whether they stand out, and what is done about it. Also what ends or saves a training from
outside: signals, files, and a step that hangs."""

import faulthandler
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from pipeline.errors import UserError
from pipeline.training.config import Guard, TrainConfig
from pipeline.training.parallel import Ranks

LEAST = 0.01  # a deviation is taken for at least so much of the mean: a flat curve's next move is no spike
SUSPECTS = "suspects.jsonl"
KINDS = ("loss", "gradient_norm")  # what is watched, in this order


class Spikes:
    """Running mean and deviation of loss and gradient norm, on the device, where the verdict is needed first.

    Means are exponential over `memory` steps, plain ones until then. A value that spikes counts only as far as the bound,
    so that one outlier leaves the measure as it was and a new level is learned; one that is no number does not count.
    """

    def __init__(self, guard: Guard, device: Any, state: list[float] | None = None) -> None:
        self.guard = guard
        start = state or [0.0] * (1 + 2 * len(KINDS))
        self._state = torch.tensor(start, dtype=torch.float64, device=device)  # steps, means, variances

    def judge(self, values: Any) -> tuple[Any, Any]:
        """Whether a step's figures (fp64 [2]) are all finite, and by how many deviations each is over its mean (fp64 [2];
        0 before `patience` steps)."""
        count, mean, variance = self._state[0], self._state[1:3], self._state[3:5]
        finite = values.isfinite().all()
        deviation = torch.maximum(variance.sqrt(), LEAST * mean.abs()).clamp(min=1e-12)
        judged = count >= self.guard.patience
        over = torch.where(judged & finite, (values - mean) / deviation, 0.0)
        taken = torch.where(judged, torch.minimum(values, mean + self.guard.deviations * deviation), values)
        share = torch.maximum(1 / (count + 1), torch.full_like(count, 1 / self.guard.memory))
        moved = taken - mean
        after = torch.cat([count[None] + 1, mean + share * moved, (1 - share) * (variance + share * moved.square())])
        self._state = torch.where(finite, after, self._state)
        return finite, over

    def state(self) -> list[float]:
        """For a checkpoint; the host waits for it."""
        return [float(value) for value in self._state.tolist()]


def suspicion(figures: Mapping[str, float], guard: Guard) -> tuple[str, str] | None:
    """(what to do, why), where a step's figures stand out."""
    if not figures["finite"]:
        found = ", ".join(f"{kind} {figures[kind]:g}" for kind in ("loss", "z_loss", "gradient_norm"))
        return guard.non_finite, f"no finite figures: {found}"
    over = [kind for kind in KINDS if figures[f"over/{kind}"] > guard.deviations]
    if not over:
        return None
    said = (f"{kind} {figures[kind]:.4g} is {figures[f'over/{kind}']:.1f} deviations over its mean" for kind in over)
    return guard.spike, ", ".join(said)


class Suspects:
    """Steps that stood out: what is done about them, and their documents, a JSON line each in `suspects.jsonl`."""

    def __init__(self, config: TrainConfig, ranks: Ranks, report: Callable[[str], None]) -> None:
        self.config, self.ranks, self.report = config, ranks, report
        self.left_out: frozenset[str] = frozenset()  # documents that are not learned any more
        self.incidents: list[int] = []  # steps that were skipped or rolled back

    def restore(self, left_out: Iterable[str], incidents: Iterable[int]) -> None:
        """What a checkpoint knew; what was found since, before a rollback, stays."""
        self.left_out |= frozenset(left_out)
        self.incidents = self.incidents or list(incidents)

    def look(self, step: int, figures: Mapping[str, float], keys: list[str], rate: float) -> bool:
        """Whether to roll back, then without the documents of the step; `keys` are those of this rank.

        Raises:
            UserError: the training is to stop, or was skipping and rolling back too often.
        """
        found = suspicion(figures, self.config.guard)
        if found is None:
            return False
        action, reason = found
        named = sorted({key for keys in self.ranks.gather(keys) for key in keys})
        if self.ranks.first:
            line = {"step": step, "reason": reason, "action": action, "documents": named}
            with (Path(self.config.output) / SUSPECTS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self.report(f"step {step}: {reason}: {action}; its {len(named)} documents are named in {SUSPECTS}")
        self.incidents += [step] * (action in {"skip", "rollback"})
        recent = [each for each in self.incidents if each > step - self.config.guard.memory]
        if action == "stop" or len(recent) > self.config.guard.most:
            often = f", the {len(recent)}th time within {self.config.guard.memory} steps" if action != "stop" else ""
            some = ", ".join(named[:5]) + (" …" if len(named) > 5 else "")
            error = UserError(
                f"step {step}: {reason}{often}; optimizer.learning_rate {self.config.optimizer.learning_rate} (then "
                f"{rate:.3g}): a lower one may help (documents of the step: {some})"
            )
            error.status = 1
            raise self.ranks.said_once(error)
        self.left_out |= frozenset(named if action == "rollback" else ())
        return action == "rollback"


class Requests:
    """What a signal or a file in the output folder asks for; the first rank looks for the files, once a second."""

    def __init__(self, folder: Path | None) -> None:
        self.stop = False
        self._folder, self._looked = folder, 0.0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """SIGTERM asks to save and stop. Where signals cannot be heard (not the main thread), files still are."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._heard)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    def _heard(self, _number: int, _frame: FrameType | None) -> None:
        self.stop = True

    def look(self) -> tuple[bool, bool]:
        """(stop, save); a file that asked is removed, and to save is asked once."""
        if self._folder is not None and time.monotonic() - self._looked >= 1:
            self._looked = time.monotonic()
            self.stop |= _taken(self._folder / "stop")
            return self.stop, _taken(self._folder / "save")
        return self.stop, False


def _taken(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:
        return False
    return True


class Watchdog:
    """Ends the process with the stacks of all threads where a step takes longer than it may: a rank that hangs in a
    collective or on a disk would otherwise hold all GPUs until somebody looks."""

    def __init__(self, seconds: float | None, rank: int) -> None:
        self._seconds, self._rank = seconds, rank
        self._step, self._until = 0, float("inf")
        self._ended = threading.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        if self._seconds is None:
            yield
            return
        thread = threading.Thread(target=self._watch, args=(self._seconds,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join()

    def begin(self, step: int) -> None:
        if self._seconds is not None:
            self._step, self._until = step, time.monotonic() + self._seconds

    def rest(self) -> None:
        """What follows is no step and may take its time."""
        self._until = float("inf")

    def _watch(self, seconds: float) -> None:
        while not self._ended.wait(min(1.0, seconds / 4)):
            if time.monotonic() > self._until:
                said = f"carnac: rank {self._rank}: step {self._step} takes more than guard.step_seconds {seconds:g}"
                print(f"{said}; what each thread does:", file=sys.stderr, flush=True)
                faulthandler.dump_traceback(all_threads=True)
                os._exit(1)
