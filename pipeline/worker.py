"""A task and a shard in; the task done in a process that may die of it, or how that process died, out."""

import faulthandler
import gc
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, TypeVar

from pipeline import deadline

Shard = TypeVar("Shard")
Answer = TypeVar("Answer")
SPAWN = multiprocessing.get_context("spawn")
KILLS = (
    3  # processes that SIGKILL may end on a shard before it is the shard's doing: whoever is short of memory sends it
)
# Objects between two searches for cycles, and searches between two of older objects (`gc.set_threshold`): a page makes
# thousands of objects and no cycle, and Python's own 700 would have each page searched many times.
COLLECTED = (50_000, 20, 20)
GRACE = 10.0  # seconds in which a process without a task ends by itself
TRACE = 40  # lines of a stack dump that are kept
_HUNG = "Timeout ("  # how faulthandler begins the dump of a process that it ends


@dataclass(frozen=True)
class Death:
    """How the worker of a shard died, twice or more, and its last stack as far as one was left."""

    how: str
    trace: list[str] = field(default_factory=list)


class _Watch:
    """Of this process: after how many seconds without a sign of life it is ended, and where its stack goes."""

    def __init__(self) -> None:
        self.seconds = 0.0  # none: nobody watches
        self.file: IO[str] | None = None
        self.armed = 0.0
        self.working = False
        self.second = False  # another process died of what this one is to do


_watch = _Watch()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """A process that is begun in this block never hears of Ctrl-C, which is its parent's to handle: one that still loads
    its modules would end with a traceback."""
    resource_tracker.ensure_running()  # when it is begun it lets SIGINT through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _prepare(patience: float, trace: str) -> None:
    """What a process of ours does before its first task. A parent that was killed takes its workers along."""
    watch(patience, trace)
    gc.set_threshold(*COLLECTED)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def watch(patience: float, trace: str = os.devnull) -> None:
    """From now on a task of this process that gives no sign of life for `patience` seconds ends it, stack dump in the
    file `trace`."""
    deadline.expendable = True
    _watch.seconds = patience
    if _watch.file is None or _watch.file.name != trace:
        _watch.file = Path(trace).open("a", encoding="utf-8")  # noqa: SIM115  # faulthandler writes to it at the end


@contextmanager
def watched() -> Iterator[None]:
    """Around a task: the process is watched, if `watch` was called, as long as the block lasts."""
    _watch.working, _watch.armed = True, 0.0
    alive()
    try:
        yield
    finally:
        _watch.working = False
        if _watch.seconds:
            faulthandler.cancel_dump_traceback_later()


def alive() -> None:
    """A sign of life: a document begun, a unit done, a host waited for. A thread in C keeps the time, so that code which
    never gives up the interpreter's lock is ended as well."""
    if not (_watch.seconds and _watch.working):
        return
    now = time.monotonic()
    if now - _watch.armed >= min(1.0, _watch.seconds / 4):
        _watch.armed = now
        assert _watch.file is not None
        faulthandler.dump_traceback_later(_watch.seconds, exit=True, file=_watch.file)


def on_second_try() -> bool:
    return _watch.second


class Died(Exception):
    """A process ended before it answered."""


class Worker:
    """A process of ours that does one task after another, each asked for through a pipe of its own: when it dies, at
    whatever moment, the pipe ends, and nobody else waits for a lock that it held."""

    def __init__(self, patience: float, second: bool = False) -> None:
        """`second`: another process died of what this one is to do, so its last stack is kept."""
        self._trace = tempfile.NamedTemporaryFile(prefix="carnac-", suffix=".trace") if second else None  # noqa: SIM115
        self._pipe, theirs = SPAWN.Pipe()
        trace = self._trace.name if self._trace else os.devnull
        self.process = SPAWN.Process(target=_work, args=(theirs, patience, trace, second))
        with _uninterrupted():
            self.process.start()
        theirs.close()

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """What the picklable `call` answers there. What it raises passes through.

        Raises:
            Died: the process ended before it answered.
        """
        try:
            self._pipe.send(call)
            answer, error = self._pipe.recv()
        except (EOFError, OSError):
            raise Died from None
        if error is not None:
            raise error
        return answer  # type: ignore[no-any-return]

    def end(self) -> tuple[int, list[str]]:
        """Ends the process; its exit status, and its last stack as far as it left one."""
        self._pipe.close()
        self.process.join(GRACE)
        self.process.kill()
        self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        if self._trace is None:
            return code, []
        with self._trace as trace:
            return code, trace.read().decode("utf-8", "replace").splitlines()[:TRACE]


class Crew:
    """Workers, as many as are asked at once; each is kept for what is asked next."""

    def __init__(self, patience: float, first: Callable[[], None] | None = None) -> None:
        """`first`: what each of them is asked before anything else."""
        self.patience, self.first = patience, first
        self._idle: list[Worker] = []

    def ask(self, call: Callable[[], Answer]) -> Answer:
        """As Worker.ask; by any thread."""
        try:
            worker, first = self._idle.pop(), None
        except IndexError:
            worker, first = Worker(self.patience), self.first
        try:
            if first is not None:
                worker.ask(first)
            answer = worker.ask(call)
        except BaseException:
            worker.end()
            raise
        self._idle.append(worker)
        return answer

    def end(self) -> None:
        while self._idle:
            self._idle.pop().end()


def alone(
    task: Callable[[Shard], None],
    shard: Shard,
    spare: Callable[[Shard, Death], Shard | None] | None,
    patience: float,
) -> Death | None:
    """Runs a task, whose worker died once, in a process of its own. When this one dies, too, `spare` gives the shard
    without what killed it, which is tried next; None, or how the last one died. What the task raises passes through."""
    while True:
        suspects: list[Shard | None] = []
        done, code, trace = _once(partial(task, shard), patience)
        while code == -signal.SIGKILL and not done and not _sure(suspects):
            suspects.append(spare(shard, _KILLED) if spare else None)
            if not _sure(suspects):
                done, code, trace = _once(partial(task, shard), patience)
        if done:
            return None
        if any(line.startswith(_HUNG) for line in trace):
            how = f"hung {patience:g} s"
        elif code == -signal.SIGKILL:
            how = f"the worker died {len(suspects) + 1} times (SIGKILL: out of memory, or somebody's doing)"
        else:
            how = f"the worker died twice ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"
        death = Death(how, trace)
        spared = spare(shard, death) if spare else None
        if spared is None:
            return death
        shard = spared


_KILLED = Death("SIGKILL")


def _sure(suspects: list[Any]) -> bool:
    """Whether it was the same thing that the last processes were killed over; or there were so many that it does not matter."""
    return len(suspects) >= KILLS and (suspects[-KILLS:] == suspects[-1:] * KILLS or len(suspects) >= 3 * KILLS)


def _once(call: Callable[[], None], patience: float) -> tuple[bool, int, list[str]]:
    """Whether a process of its own did it; else its exit status and last stack."""
    worker, done = Worker(patience, second=True), True
    try:
        worker.ask(call)
    except Died:
        done = False
    finally:
        code, trace = worker.end()
    return done, code, trace


def _work(asked: Connection, patience: float, trace: str, second: bool) -> None:
    _prepare(patience, trace)
    if second:
        _watch.second = True
        assert _watch.file is not None
        faulthandler.enable(_watch.file)
        with suppress(OSError):  # where memory runs out it is this process that goes, not the one that tells of it
            Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with suppress(EOFError, BrokenPipeError):  # who asks has ended
        while True:
            call = asked.recv()
            answered: tuple[Any, Exception | None]
            try:
                answered = call(), None
            except Exception as error:  # carried to who asks, where it is raised
                answered = None, error
            asked.send(answered)
    os._exit(0)  # all is written; threads of libraries could hold an interpreter that takes its leave
