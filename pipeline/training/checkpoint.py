"""A model, its optimizer and the place in the data in; folders on the disk out, and back from the latest that is whole.

checkpoints/step-00000020/   what torch.distributed.checkpoint writes, each rank its share, beside the training
              commit.json    written last: a folder without it is no checkpoint
"""

import hashlib
import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from pipeline.errors import StorageFull, UserError
from pipeline.storage import write_json
from pipeline.training.config import Checkpoints
from pipeline.training.parallel import Ranks, local

COMMIT = "commit.json"
BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}  # integers as wide as a number of so many bytes


@dataclass(slots=True)
class Mark:
    """What a checkpoint says of itself; all of it is checked when it is loaded, or is the place where to go on."""

    step: int  # so many were made
    learning_rate: float  # of the last one
    model: str  # names, shapes and types of all parameters, and the vocabulary
    frozen: str  # bits of what is not trained
    trained: str  # bits of what is, and of the optimizer's state
    trained_only: bool  # whether frozen weights are left out
    micro_batch: int  # sequences; another number would be another order
    seen: int  # sum of a 64-bit hash of each micro-batch's place and documents
    data: dict[str, Any]  # the loader's state
    spikes: list[float]  # the guard's
    left_out: list[str]  # documents that are not learned any more
    incidents: list[int]  # steps that were skipped or rolled back
    files: dict[str, int]  # bytes


class Store:
    """The checkpoints of one training. One is written at a time, while the training goes on."""

    def __init__(self, folder: Path, settings: Checkpoints, ranks: Ranks) -> None:
        self.folder, self.settings, self.ranks = folder, settings, ranks
        self._writing: threading.Thread | None = None
        self._failed: list[BaseException] = []
        # Of its own, so that what is written in the background does not come between the steps' messages.
        self._group = dist.new_group(backend="gloo")
        pinned = ranks.device.type == "cuda"
        self._stager = DefaultStager(StagingOptions(pinned, False, False, pinned))

    def close(self) -> None:
        """Waits for what is being written, and lets go of the host's memory."""
        if self._writing is not None:
            self._writing.join()
        self._stager.close()

    def steps(self) -> list[int]:
        """Those of the committed checkpoints, the first rank's view, ascending."""
        found = self.folder.glob(f"step-*/{COMMIT}") if self.ranks.first else ()
        steps = sorted(int(path.parent.name.removeprefix("step-")) for path in found)
        return list(self.ranks.gather(steps)[0])

    def save(self, mark: Mark, model: Any, optimizer: Any) -> None:
        """Copies the state to the host's memory and returns; the rest happens beside the training.

        Raises:
            UserError: the checkpoint before could not be written.
        """
        self.wait()
        folder = self.folder / _name(mark.step)
        if self.ranks.first:
            (folder / COMMIT).unlink(missing_ok=True)
        first = Path(self.settings.local) / _name(mark.step) if self.settings.local else folder
        state = _state(model, optimizer, self.settings.trained_only)
        saved = dcp.async_save(state, checkpoint_id=first, process_group=self._group, async_stager=self._stager)
        self._writing = threading.Thread(target=self._finish, args=(saved, mark, first, folder))
        self._writing.start()

    def wait(self) -> None:
        """Until the last checkpoint is on the disk.

        Raises:
            UserError: it could not be written.
        """
        if self._writing is not None:
            self._writing.join()
            self._writing = None
        if self._failed:
            error = self._failed.pop()
            said = f"{self.folder}: a checkpoint cannot be written: {_reason(error)}"
            raise StorageFull(f"{said}; make room, and the same command goes on from the one before") from error

    def remove_after(self, step: int) -> None:
        """Removes checkpoints of later steps, and those that were never finished."""
        if self.ranks.first and self.folder.is_dir():
            for path in sorted(self.folder.glob("step-*")):
                if int(path.name.removeprefix("step-")) > step or not (path / COMMIT).is_file():
                    _remove(path)

    def latest(
        self,
        wanted: int | None,
        model: Any,
        optimizer: Any,
        misfit: Callable[[Mark], str | None],
        report: Callable[[str], None],
    ) -> Mark | None:
        """Loads the latest checkpoint that can be used, or that of the step `wanted`, and removes those after it; None
        where there is none. `misfit` says why one is not of this training.

        Raises:
            UserError: the checkpoint `wanted` is not there; there are some, but none can be used.
        """
        found = self.steps()
        if wanted is not None and wanted not in found:
            have = ", ".join(map(str, found)) or "none"
            raise self.ranks.said_once(UserError(f"--resume-step {wanted}: no such checkpoint (there are: {have})"))
        for step in found[::-1] if wanted is None else [wanted]:
            mark = self.load(step, model, optimizer, misfit)
            if isinstance(mark, Mark):
                report(f"goes on from the checkpoint of step {step:,}")
                self.remove_after(step)
                return mark
            report(f"the checkpoint of step {step:,} is not used: {mark}")
        if found:
            said = f"{self.folder}: no checkpoint in it can be used; remove the folder to begin anew"
            raise self.ranks.said_once(UserError(said))
        self.remove_after(0)
        return None

    def load(self, step: int, model: Any, optimizer: Any, misfit: Callable[[Mark], str | None]) -> Mark | str:
        """Loads the checkpoint of a step; its mark, or in one line why it cannot be used.

        Its commit mark, `misfit` and the sizes of its files are looked at before anything is loaded, the bits of weights
        and optimizer after.
        """
        folder = self.folder / _name(step)
        mark = self._readable(folder, misfit) if self.ranks.first else None
        [mark, *_] = self.ranks.gather(mark)
        if isinstance(mark, str):
            return mark
        assert mark is not None
        state = _state(model, optimizer, mark.trained_only)
        problem = None
        try:
            dcp.load(state, checkpoint_id=folder, process_group=self._group)
            _put(state, model, optimizer, mark.trained_only)
        except (dcp.CheckpointException, OSError, RuntimeError, ValueError, KeyError) as error:
            problem = f"cannot be read: {_reason(error)}"
        problem = next(filter(None, self.ranks.gather(problem)), None)
        if problem is None and checksum(trained_state(model, optimizer), self.ranks) != mark.trained:
            problem = "its weights are not those that were saved"
        return problem or mark

    def _readable(self, folder: Path, misfit: Callable[[Mark], str | None]) -> Mark | str:
        try:
            raw = json.loads((folder / COMMIT).read_text(encoding="utf-8"))
            mark = Mark(**{field.name: raw[field.name] for field in fields(Mark)})
        except (OSError, ValueError, KeyError, TypeError):
            return f"{COMMIT} cannot be read"
        if problem := misfit(mark):
            return problem
        for name, size in mark.files.items():
            path = folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                return f"{name} is cut short ({found} of {size} bytes)" if found is not None else f"{name} is missing"
        return mark

    def _finish(self, saved: Any, mark: Mark, first: Path, folder: Path) -> None:
        try:
            saved.result()
            if first != folder:
                folder.mkdir(parents=True, exist_ok=True)
                for path in sorted(first.glob(f"__{self.ranks.rank}_*")):
                    shutil.copy(path, folder)
                if self.ranks.first:
                    shutil.copy(first / ".metadata", folder)
                dist.barrier(self._group)
                _remove(first)
            if self.ranks.first:
                mark.files = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
                write_json(folder / COMMIT, asdict(mark))
                for old in sorted(self.folder.glob(f"step-*/{COMMIT}"))[: -self.settings.keep]:
                    _remove(old.parent)
        except BaseException as error:
            self._failed.append(error)


def fingerprint(model: Any, vocabulary: dict[str, int]) -> str:
    """Tells one model from another by the names, shapes, types and training of its parameters, and the vocabulary."""
    digest = hashlib.sha256(json.dumps(sorted(vocabulary.items())).encode())
    for name, parameter in sorted(model.named_parameters()):
        digest.update(f"{name} {list(parameter.shape)} {parameter.dtype} {parameter.requires_grad}\n".encode())
    return digest.hexdigest()


def frozen_state(model: Any) -> dict[str, Any]:
    return {name: p for name, p in model.named_parameters() if not p.requires_grad}


def trained_state(model: Any, optimizer: Any) -> dict[str, Any]:
    """The parameters that are trained, and what AdamW knows of each: two moments and how many updates it had."""
    found: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            moments = optimizer.state.get(parameter, {})
            found |= {name: parameter} | {f"{name} {kind}": moment for kind, moment in moments.items()}
    return found


def checksum(tensors: dict[str, Any], ranks: Ranks) -> str:
    """Over the bits of tensors, whole or in pieces: their integers are summed, which no order or division changes."""
    sums = [
        local(t).detach().contiguous().view(BITS[t.element_size()]).sum(dtype=torch.int64) for t in tensors.values()
    ]
    pieces = torch.tensor([local(tensor) is not tensor for tensor in tensors.values()], device=ranks.device)
    if not sums:
        return ""
    stacked = torch.stack(sums)
    added = ranks.add(stacked.clone())
    values = torch.where(pieces, added, stacked).tolist()
    return hashlib.sha256(json.dumps(sorted(zip(tensors, values, strict=True))).encode()).hexdigest()


def hash_of(place: int, keys: list[list[str]]) -> int:
    """64 bits of a micro-batch's place in the run and its documents; their sum tells what was seen, in any order."""
    return int.from_bytes(hashlib.blake2b(json.dumps([place, keys]).encode(), digest_size=8).digest(), "big")


def _state(model: Any, optimizer: Any, trained_only: bool) -> dict[str, Any]:
    options = StateDictOptions(ignore_frozen_params=trained_only)
    return {
        "model": get_model_state_dict(model, options=options),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=options),
    }


def _put(state: dict[str, Any], model: Any, optimizer: Any, trained_only: bool) -> None:
    options = StateDictOptions(ignore_frozen_params=trained_only, strict=not trained_only)
    set_model_state_dict(model, state["model"], options=options)
    set_optimizer_state_dict(model, optimizer, state["optimizer"], options=options)


def _name(step: int) -> str:
    return f"step-{step:08}"


def _remove(folder: Path) -> None:
    (folder / COMMIT).unlink(missing_ok=True)  # first, so that a folder half removed is no checkpoint
    shutil.rmtree(folder, ignore_errors=True)


def _reason(error: BaseException) -> str:
    """The first line of what lies at the bottom of an error of torch.distributed.checkpoint."""
    if isinstance(error, dcp.CheckpointException):
        error = next(iter(error.failures.values()))[0]
    return getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
