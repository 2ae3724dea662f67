"""Receipts as a run gets them in; a line of JSON a finished task, and metrics on a port, out where these are asked for."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pipeline.config import Config, LogFolder
from pipeline.errors import UserError
from pipeline.terminal import json_line
from pipeline.work import Receipt

if TYPE_CHECKING:
    from pipeline.metrics import Exposed

TASKS = "tasks.jsonl"


class Sight:
    """Of one run, from `open` to `close`. What nobody asked for costs nothing and loads nothing."""

    def __init__(self, config: Config, path: str) -> None:
        self.config, self.path = config, path
        self.engine: Any = None
        self._log: IO[str] | None = None
        self._metrics: Exposed | None = None

    def open(self) -> None:
        """Raises UserError where the log cannot be written or the port cannot be had."""
        if self.config.logs == "json":
            self._log = sys.stderr
        elif isinstance(self.config.logs, LogFolder):
            folder = Path(self.config.logs.folder)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                self._log = (folder / TASKS).open("a", encoding="utf-8")
            except OSError as error:
                raise UserError(f"{self.path}: logs.folder: {folder} cannot be written: {error.strerror}") from None
        if self.config.metrics:
            from pipeline.metrics import Exposed

            try:
                self._metrics = Exposed(self.config.metrics, self)
            except OSError as error:
                self.close()
                place = f"{self.config.metrics.address}:{self.config.metrics.port}"
                raise UserError(
                    f"{self.path}: metrics: {place} cannot be had: {error.strerror}; choose another metrics.port or address"
                ) from None

    def close(self) -> None:
        if self._metrics:
            self._metrics.close()
        if self._log and self._log is not sys.stderr:
            self._log.close()
        self._metrics = self._log = None

    def found(self, receipt: Receipt) -> None:
        """A shard was done before."""
        if self._metrics:
            self._metrics.found(receipt)

    def begin(self, stage: str, shards: int) -> None:
        """So many are to be done."""
        if self._metrics:
            self._metrics.begin(stage, shards)

    def end(self, receipt: Receipt) -> None:
        """A task has left its receipt."""
        if self._log:
            print(json_line(_line(self.config.name, receipt)), file=self._log, flush=True)
        if self._metrics:
            self._metrics.end(receipt)


def _line(run: str, receipt: Receipt) -> dict[str, Any]:
    """`memory`: bytes that the worker has held at most since it began; `worker`: none where it died."""
    host, _, process = receipt.worker.partition(" ")
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "run": run,
        "stage": receipt.stage,
        "shard": receipt.shard if receipt.shard >= 0 else None,
        "rows_in": receipt.rows_in,
        "rows_out": receipt.rows_out,
        "bytes": receipt.bytes,
        "seconds": receipt.seconds,
        "processor": receipt.processor,
        "memory": receipt.memory,
        "host": host or None,
        "pid": int(process) if process else None,
        "error": receipt.error,
    }
