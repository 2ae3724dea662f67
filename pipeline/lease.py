"""A folder in; the right to write there for as long as one lives, or word that another has it, out.

On this machine's disks it is a lock. On a store it is a file in which its owner counts up every few seconds: whoever finds
one watches it a little longer than that, and takes it over if it does not move. No two clocks are compared.
"""

import fcntl
import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.errors import UserError
from pipeline.places import entries, on_store, read_bytes, remove
from pipeline.storage import write_json

WHOLE = "run"  # the lease of all of a folder; any other is of a part of it
WATCHED = 2.5  # beats in which a living owner has moved, on a slow store, too


class InUse(UserError):
    """Another run has the folder."""


class Lease:
    """Held within `with`. Parts of a folder are held side by side, but not beside the whole.

    Raises:
        InUse: another holds it; `check` raises it where it was lost since.
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, name: str = WHOLE, beat: float = 5.0) -> None:
        """`beat`: seconds."""
        self.folder, self.name, self.beat = folder, name, beat
        self.owner = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex[:8]}"
        self._locks: list[int] = []
        self._count = 0
        self._lost: str | None = None
        self._over = threading.Event()
        self._beating: threading.Thread | None = None

    def __enter__(self) -> Self:
        if on_store(self.folder):
            self._take()
        else:
            self._lock()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lock in self._locks:
            os.close(lock)
        self._locks = []
        if self._beating is not None:
            self._over.set()
            self._beating.join()
            self._beating = None
            with suppress(UserError):  # it ends by itself where the store is away
                if (self._read(self._path(self.name)) or {}).get("owner") == self.owner:
                    remove([self._path(self.name)])

    def check(self) -> None:
        """Raises InUse where another has taken the lease over, because this process stood still for long."""
        if self._lost is not None:
            raise InUse(f"{self.folder}: was taken over by another run ({self._lost}) while this one did not answer")

    def _lock(self) -> None:
        try:
            whole = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
            self._locks.append(whole)
            fcntl.flock(whole, (fcntl.LOCK_EX if self.name == WHOLE else fcntl.LOCK_SH) | fcntl.LOCK_NB)
            if self.name != WHOLE:
                self._locks.append(os.open(self.folder / f".lock-{self.name}", os.O_WRONLY | os.O_CREAT, 0o644))
                fcntl.flock(self._locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.__exit__(None, None, None)
            raise InUse(f"{self.folder} is in use by another run") from None

    def _path(self, name: str) -> Path:
        return self.folder / f".lease-{name}"

    def _read(self, path: Path) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = json.loads(read_bytes(path))
        except (FileNotFoundError, ValueError):
            return None
        return found

    def _write(self) -> None:
        self._count += 1
        write_json(self._path(self.name), {"owner": self.owner, "beat": self.beat, "count": self._count})

    def _take(self) -> None:
        self._refuse_the_living()
        self._write()
        self._beating = threading.Thread(target=self._live, daemon=True)
        self._beating.start()
        # Of two who found it free at once the one that wrote last has it; the other sees that now, or at its next beat.
        time.sleep(self.beat / 4)
        self._look()
        if self._lost is not None:
            self.__exit__(None, None, None)
            raise InUse(f"{self.folder} is in use by another run ({self._lost})")
        if self.name == WHOLE:
            return
        # The whole and a part that came at the same time: the part gives way.
        if found := self._read(self._path(WHOLE)):
            self.__exit__(None, None, None)
            raise InUse(f"{self.folder} is in use by another run ({found['owner']})")

    def _refuse_the_living(self) -> None:
        rivals = [self._path(name) for name in {self.name, WHOLE}]
        if self.name == WHOLE:
            rivals += [path for path in entries(self.folder) if path.name.startswith(".lease-")]
        watched = {path: found for path in set(rivals) if (found := self._read(path))}
        if not watched:
            return
        until = time.monotonic() + WATCHED * max(found["beat"] for found in watched.values())
        while time.monotonic() < until:
            time.sleep(min(found["beat"] for found in watched.values()) / 4)
            for path, found in watched.items():
                now = self._read(path)
                if now is not None and now != found:
                    raise InUse(f"{self.folder} is in use by another run ({now['owner']})")
        remove([path for path in watched if path != self._path(self.name)])

    def _live(self) -> None:
        while not self._over.wait(self.beat):
            with suppress(UserError):  # a store that is away for a moment; who watches it cannot see it either
                self._look()
                if self._lost is not None:
                    return
                self._write()

    def _look(self) -> None:
        found = self._read(self._path(self.name))
        if found is not None and found.get("owner") != self.owner:
            self._lost = str(found.get("owner"))
