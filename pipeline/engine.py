"""Two verbs: `each` runs a task on every shard, `sql` asks a question over the keys of all of them."""

import gc
import multiprocessing
import os
import shutil
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from pipeline.config import EngineSettings
from pipeline.errors import StorageFull

Shard = TypeVar("Shard")
# How DuckDB says that it could not write for want of room.
_FULL = ("No space left", "File too large", "quota exceeded", "Could not write", "max_temp_directory_size")
# Objects between two searches for cycles, and searches between two of older objects (`gc.set_threshold`): a page makes
# thousands of objects and no cycle, and Python's own 700 would have each page searched many times.
COLLECTED = (50_000, 20, 20)
_SPAWN = multiprocessing.get_context("spawn")


class Engine(Protocol):
    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], gpus: float = 0
    ) -> Iterator[tuple[Shard, str | None]]:
        """Runs a picklable `task` on every shard; yields each with None, or with why its worker died, as they end."""
        ...

    def sql(self, query: str, out: Path, by: str | None = "shard", **tables: Sequence[str]) -> None:
        """Runs `query` over the Parquet files of `tables`; writes Parquet below `out`, a folder `by`=value each."""
        ...


class LocalEngine:
    """One machine: a pool of spawned processes, and DuckDB with a memory limit that spills to disk."""

    def __init__(self, settings: EngineSettings, spill: Path) -> None:
        self.workers = settings.workers or os.cpu_count() or 1
        self.memory = settings.memory
        self.max_spill = settings.max_spill
        self.spill = Path(settings.spill) if settings.spill else spill
        self._pool: ProcessPoolExecutor | None = None
        # Workers share the cores among themselves already; numpy's own threads would only get into their way.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            if error is not None:
                for process in multiprocessing.active_children():
                    process.kill()
            self._pool.shutdown(cancel_futures=True)

    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], gpus: float = 0
    ) -> Iterator[tuple[Shard, str | None]]:
        """Exceptions of the task itself pass through. A worker that dies takes the pool along, and nobody knows whose
        shard killed it: each one that was under way gets one retry in a process of its own."""
        queue = deque(shards)
        running: dict[Future[None], Shard] = {}
        while queue or running:
            suspects: list[Shard] = []
            try:
                # No more than one shard a worker is handed out, so that few are suspects when a worker dies.
                while queue and len(running) < self.workers:
                    shard = queue.popleft()
                    try:
                        running[self._submit(task, shard)] = shard
                    except BrokenProcessPool:
                        queue.appendleft(shard)
                        raise
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    future.result()
                    yield running.pop(future), None
            except BrokenProcessPool:
                suspects = list(running.values())
                running.clear()
                assert self._pool is not None
                self._pool.shutdown()
                self._pool = None
            for shard in suspects:
                yield shard, _alone(task, shard)

    def _submit(self, task: Callable[[Shard], None], shard: Shard) -> "Future[None]":
        if self._pool is None:
            self._pool = ProcessPoolExecutor(self.workers, mp_context=_SPAWN, initializer=_prepare_worker)
        return self._pool.submit(task, shard)

    def sql(self, query: str, out: Path, by: str | None = "shard", **tables: Sequence[str]) -> None:
        import duckdb

        self.spill.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True)
        room = self.max_spill or 9 * shutil.disk_usage(self.spill).free // 10
        connection = duckdb.connect()
        try:
            connection.sql(f"SET memory_limit = '{self.memory}B'")
            connection.sql(f"SET temp_directory = {quoted(self.spill)}")
            connection.sql(f"SET max_temp_directory_size = '{room}B'")
            connection.sql(f"SET threads = {self.workers}")
            for name, files in tables.items():
                listed = ", ".join(map(quoted, files))
                connection.sql(
                    f"CREATE VIEW {name} AS SELECT * FROM read_parquet([{listed}], hive_partitioning = false)"
                )
            target, partition = (
                (out, f", PARTITION_BY ({by}), WRITE_PARTITION_COLUMNS") if by else (out / "all.parquet", "")
            )
            connection.sql(f"COPY ({query}) TO {quoted(target)} (FORMAT parquet{partition}, OVERWRITE_OR_IGNORE)")
            if not any(out.rglob("*.parquet")):  # no row, no partition; what reads the answer needs its columns
                none = quoted(out / "none.parquet")
                connection.sql(f"COPY (SELECT * FROM ({query}) AS answer LIMIT 0) TO {none} (FORMAT parquet)")
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            reason = " ".join(str(error).split())
            if isinstance(error, duckdb.IOException) and not any(sign in reason for sign in _FULL):
                raise
            raise StorageFull(
                f"a query over {', '.join(tables) or 'nothing'} found no room: with {_gb(self.memory)} of memory "
                f"(engine.memory) it needed more than {_gb(room)} on disk (engine.max_spill, by default nine tenths of what is "
                f"free) in {self.spill} (engine.spill); finished shards are kept ({reason[:200]})"
            ) from None
        finally:
            connection.close()
            shutil.rmtree(self.spill, ignore_errors=True)


def quoted(value: object) -> str:
    """A value as a string of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def _gb(count: float) -> str:
    return f"{count / 10**9:.3g} GB"


def _prepare_worker() -> None:
    """Ctrl-C is the parent's to handle; a parent that was killed takes its workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.set_threshold(*COLLECTED)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _alone(task: Callable[[Shard], None], shard: Shard) -> str | None:
    """Runs the task in a process of its own; None, or how that process died. Exceptions of the task pass through."""
    ours, theirs = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_run_and_tell, args=(theirs, task, shard))
    process.start()
    theirs.close()
    answer: Any = _SILENCE
    with suppress(EOFError):
        answer = ours.recv()
    process.join()
    if answer is _SILENCE:
        code = process.exitcode or 0
        return f"the worker died twice ({signal.Signals(-code).name if code < 0 else f'exit status {code}'})"
    if isinstance(answer, BaseException):
        raise answer
    return None


_SILENCE = object()


def _run_and_tell(answer: Connection, task: Callable[[Shard], None], shard: Shard) -> None:
    _prepare_worker()
    try:
        task(shard)
    except Exception as error:  # carried to the parent, who raises it
        answer.send(error)
    else:
        answer.send(None)
