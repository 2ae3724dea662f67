"""The output folder of a configuration in; the right to work there, and what `run.json` says of the run in it, out."""

import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.lease import WHOLE, InUse, Lease
from pipeline.part import Part
from pipeline.places import entries, on_store, place, read_bytes
from pipeline.storage import write_json


class Output:
    """The folder of a run: who holds it, the stages that were worked at there, and where this machine has under way what is
    not yet in it."""

    def __init__(self, config: Config, path: str, part: Part | None, keys: dict[str, Any], first: int) -> None:
        """`keys`: how documents are compared in this run; `first`: the number of its first shard."""
        holder = part.lease if part else WHOLE
        self.config, self.path, self.part, self.keys = config, path, part, keys
        self.folder, self.local = place(config.output), local_of(config, holder)
        self.lease = Lease(self.folder, holder, config.engine.store.beat)
        self.shards = range(first, first)
        self.stages: list[str] = []  # of this run, in order
        self.begun: set[str] = set()  # that were ever worked at in this folder

    @property
    def leads(self) -> bool:
        """Whether this process does what is done once for all parts of a run."""
        return self.part is None or self.part.leads

    @property
    def alone(self) -> bool:
        """Whether nobody else has anything under way in the local folder."""
        return self.part is None or on_store(self.folder)

    def claim(self) -> None:
        """Takes the folder for this process.

        Raises:
            UserError: it cannot be written, is another configuration's, is no run's, or another run holds it.
        """
        mine = self._identity()
        try:
            theirs = read_run(self.folder)
            if theirs is None and any(not path.name.startswith(".") for path in entries(self.folder)):
                raise UserError(
                    f"{self.path}: output: {self.folder} holds other files and no run; choose an empty folder"
                )
            if theirs is not None and {key: theirs.get(key) for key in mine} != mine:
                differs = next(key for key in mine if theirs.get(key) != mine[key])
                raise UserError(
                    f"{self.path}: output: {self.folder} is the output of another configuration: {differs} was "
                    f"{json.dumps(theirs.get(differs))}, is {json.dumps(mine[differs])}; choose another folder or remove it"
                )
            if on_store(self.folder) and self.folder.fs.protocol == "memory" and self.config.engine.workers != 0:  # type: ignore[attr-defined]
                raise UserError(f"{self.path}: output: no other process sees memory://; set engine.workers: 0")
            if not on_store(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
            self.lease.__enter__()
            if self.part:
                self.part.announce(self.folder)
            theirs = read_run(self.folder)  # as whoever held it before has left it
            self.begun = {*theirs.get("begun", []), *theirs["stages"]} if theirs else set()
            self.remember()
        except InUse as error:
            raise UserError(f"{self.path}: output: {error}") from None
        except OSError as error:
            raise UserError(f"{self.path}: output: {self.folder} cannot be written: {error.strerror}") from None

    def number(self, count: int) -> range:
        """Numbers the shards of this run, from its first on."""
        self.shards = range(self.shards.start, self.shards.start + count)
        self.remember()
        return self.shards

    def remember(self) -> None:
        """Writes `run.json`."""
        if not self.leads and read_run(self.folder) is not None:
            return
        about = {"keys": self.keys, "shards": [self.shards.start, self.shards.stop], "stages": self.stages}
        about["begun"] = sorted({*self.begun, *self.stages})
        write_json(self.folder / "run.json", self._identity() | about)

    def _identity(self) -> dict[str, Any]:
        """What tells this configuration's output from another's."""
        return {"name": self.config.name, "input": self.config.input.choice}

    def stage(self, name: str) -> Path:
        """The folder of a stage that is now worked at."""
        folder = self.folder / "stages" / name
        if not on_store(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.begun.add(name)
        if name not in self.stages:
            self.stages.append(name)
            self.remember()  # so that what a killed run did can be told, too
        return folder


def local_of(config: Config, lease: str) -> Path:
    """The folder on this machine for what a run has under way: its output, if that is here; or else one that a run which
    goes on finds again."""
    folder = place(config.output)
    if not on_store(folder):
        return folder
    name = hashlib.sha256(f"{config.output} {lease}".encode()).hexdigest()[:16]
    return Path(config.engine.spill or tempfile.gettempdir()) / f"carnac-{os.getuid()}-{name}"


def read_run(folder: Path) -> dict[str, Any] | None:
    """What `run.json` says of a folder: the name and input of its configuration and the stages, in order."""
    try:
        read: dict[str, Any] = json.loads(read_bytes(folder / "run.json"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(f"{folder / 'run.json'}: damaged; remove the folder or choose another output") from None
    return read
