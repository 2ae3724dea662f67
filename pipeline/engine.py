"""Two verbs: `each` runs a task on every shard, `sql` asks a question over the keys of all of them."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from pipeline.config import EngineSettings
from pipeline.database import connect, quoted, read_parquet
from pipeline.errors import StorageFull
from pipeline.worker import Crew, Death, Died, Shard, alone

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
        self._crew = Crew(settings.patience)
        self._asking: ThreadPoolExecutor | None = None  # each thread waits for one process
        self._over = False
        # Workers share the cores among themselves already; numpy's own threads would only get into their way.
        for library in ("OMP", "OPENBLAS", "MKL"):
            os.environ.setdefault(f"{library}_NUM_THREADS", "1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if error is not None:
            for process in multiprocessing.active_children():
                process.kill()
        if self._asking is not None:
            self._asking.shutdown(cancel_futures=True)
        self._crew.end()

    def each(
        self,
        task: Callable[[Shard], None],
        shards: Sequence[Shard],
        spare: Spare[Shard] | None = None,
        stage: str = "",
    ) -> Iterator[tuple[Shard, Death | None]]:
        """Exceptions of the task itself pass through."""
        if self._asking is None:
            self._asking = ThreadPoolExecutor(self.workers)
        queue = iter(shards)
        running: dict[Future[Death | None], Shard] = {}
        while True:
            for shard in islice(queue, self.workers - len(running)):
                running[self._asking.submit(self._do, task, shard, spare)] = shard
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()

    def _do(self, task: Callable[[Shard], None], shard: Shard, spare: Spare[Shard] | None) -> Death | None:
        """In a thread: has a worker do the shard, and if that dies, a process of the shard's own."""
        try:
            return self._crew.ask(partial(task, shard))
        except Died:
            if self._over:  # it did not die of the shard
                return None
        self.deaths += 1
        self.retries += 1
        death = alone(task, shard, spare, self.patience)
        self.deaths += death is not None
        return death

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
