"""Two verbs: `each` runs a task on every shard, `sql` asks a question over the keys of all of them."""

import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.config import EngineSettings
from pipeline.database import connect, quoted, read_parquet
from pipeline.errors import StorageFull
from pipeline.worker import SPAWN, Death, Shard, alone, prepare

# How DuckDB says that it could not write for want of room.
_FULL = ("No space left", "File too large", "quota exceeded", "Could not write", "max_temp_directory_size")
EMPTY = "none.parquet"  # what a query writes that finds nothing: its columns


Spare = Callable[[Shard, Death], Shard | None]


class Engine(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def each(
        self,
        task: Callable[[Shard], None],
        shards: Sequence[Shard],
        spare: Spare[Shard] | None = None,
        stage: str = "",
    ) -> Iterator[tuple[Shard, Death | None]]:
        """Runs a picklable `task` on every shard; yields each with None, or with how its worker died, as they end.

        A worker that dies costs its shard a second try in a process of its own. When that dies, too, `spare` gives the
        shard without what killed it, or None where that is not known; it runs where the process did. `stage`: for
        whose resources are configured.
        """
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
        self.patience = settings.patience
        self.spill = Path(settings.spill) if settings.spill else spill
        self.deaths = self.retries = 0  # of workers, and shards that were tried again for it
        self._pool: ProcessPoolExecutor | None = None
        self._seconds: ThreadPoolExecutor | None = None  # each thread waits for the process of a second try
        # Workers share the cores among themselves already; numpy's own threads would only get into their way.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            for process in multiprocessing.active_children():
                process.kill()
        for pool in (self._pool, self._seconds):
            if pool is not None:
                pool.shutdown(cancel_futures=True)

    def each(
        self,
        task: Callable[[Shard], None],
        shards: Sequence[Shard],
        spare: Spare[Shard] | None = None,
        stage: str = "",
    ) -> Iterator[tuple[Shard, Death | None]]:
        """Exceptions of the task itself pass through. A worker that dies takes the pool along, and nobody knows whose
        shard killed it: each one that was under way gets its second try."""
        queue = deque(shards)
        running: dict[Future[Death | None], Shard] = {}
        again: deque[Shard] = deque()
        while queue or running or again:
            # No more than one shard a worker is handed out, so that few are suspects when a worker dies.
            while (queue or again) and len(running) < self.workers:
                if again:
                    shard = again.popleft()
                    self.retries += 1
                    running[self._submit_alone(task, shard, spare)] = shard
                    continue
                shard = queue.popleft()
                try:
                    running[self._submit(task, shard)] = shard
                except BrokenProcessPool:  # found out before any of its futures was
                    queue.appendleft(shard)
                    break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                shard = running.pop(future)
                try:
                    death = future.result()
                except BrokenProcessPool:
                    again.append(shard)
                    if self._pool is not None:
                        self.deaths += 1
                        self._pool.shutdown()
                        self._pool = None
                else:
                    self.deaths += death is not None
                    yield shard, death

    def _submit(self, task: Callable[[Shard], None], shard: Shard) -> "Future[Death | None]":
        if self._pool is None:
            patience = (self.patience,)
            self._pool = ProcessPoolExecutor(self.workers, mp_context=SPAWN, initializer=prepare, initargs=patience)
        return self._pool.submit(task, shard)  # a task answers None

    def _submit_alone(
        self, task: Callable[[Shard], None], shard: Shard, spare: Spare[Shard] | None
    ) -> "Future[Death | None]":
        if self._seconds is None:
            self._seconds = ThreadPoolExecutor(self.workers)
        return self._seconds.submit(alone, task, shard, spare, self.patience)

    def sql(self, query: str, out: Path, by: str | None = "shard", **tables: Sequence[str]) -> None:
        import duckdb

        self.spill.mkdir(parents=True, exist_ok=True)
        out.mkdir(parents=True)
        room = self.max_spill or 9 * shutil.disk_usage(self.spill).free // 10
        every = [file for files in tables.values() for file in files]
        try:
            with connect(every) as connection:
                connection.sql(f"SET memory_limit = '{self.memory}B'")
                connection.sql(f"SET temp_directory = {quoted(self.spill)}")
                connection.sql(f"SET max_temp_directory_size = '{room}B'")
                connection.sql(f"SET threads = {self.workers}")
                for name, files in tables.items():
                    connection.sql(f"CREATE VIEW {name} AS SELECT * FROM {read_parquet(files)}")
                target, partition = (
                    (out, f", PARTITION_BY ({by}), WRITE_PARTITION_COLUMNS") if by else (out / "all.parquet", "")
                )
                connection.sql(f"COPY ({query}) TO {quoted(target)} (FORMAT parquet{partition}, OVERWRITE_OR_IGNORE)")
                if not any(out.rglob("*.parquet")):  # no row, no partition; what reads the answer needs its columns
                    none = quoted(out / EMPTY)
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
            shutil.rmtree(self.spill, ignore_errors=True)


class InProcess(LocalEngine):
    """All shards in this process, one after the other: for files that no other process sees, and for debuggers."""

    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], spare: Spare[Shard] | None = None, stage: str = ""
    ) -> Iterator[tuple[Shard, Death | None]]:
        for shard in shards:
            task(shard)
            yield shard, None


def _gb(count: float) -> str:
    return f"{count / 10**9:.3g} GB"
