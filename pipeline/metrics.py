"""Receipts as a run gets them in; what they add up to on a port, as Prometheus reads it, out."""

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pipeline.config import Metrics
from pipeline.funnel import Summary
from pipeline.work import Receipt

if TYPE_CHECKING:
    from pipeline.sight import Sight

# By name of a counter what it counts and the field of a stage's `Summary` that holds it.
_SUMS = {
    "carnac_documents_in": ("Rows that finished shards read, by stage.", "rows_in"),
    "carnac_documents_out": ("Rows that finished shards kept, by stage.", "rows_out"),
    "carnac_seconds": ("Seconds of workers, by stage.", "seconds"),
    "carnac_processor_seconds": ("Seconds of a processor, by stage.", "processor"),
    "carnac_bytes": ("Bytes of the tables that were written, by stage.", "bytes"),
}


class Exposed(Collector):
    """Serves until it is closed. Shards that were found done count as those that were done now.

    Raises:
        OSError: the port is in use, or the address is none of this machine's.
    """

    def __init__(self, settings: Metrics, sight: "Sight") -> None:
        self._sight = sight
        self._stages: dict[str, Summary] = {}
        self._waiting: dict[str, int] = {}
        self._lock = threading.Lock()  # a scrape comes at any moment
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        self._server, self._thread = start_http_server(settings.port, settings.address, registry)

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def begin(self, stage: str, shards: int) -> None:
        with self._lock:
            self._stages.setdefault(stage, Summary(stage))
            self._waiting[stage] = shards

    def found(self, receipt: Receipt) -> None:
        with self._lock:
            self._stages.setdefault(receipt.stage, Summary(receipt.stage)).add(receipt)

    def end(self, receipt: Receipt) -> None:
        self.found(receipt)
        with self._lock:
            self._waiting[receipt.stage] = max(0, self._waiting.get(receipt.stage, 0) - 1)

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            yield from list(self._families())

    def _families(self) -> Iterator[Metric]:
        engine = self._sight.engine
        for name, (meaning, field) in _SUMS.items():
            counter = CounterMetricFamily(name, meaning, labels=["stage"])
            for stage, summary in self._stages.items():
                counter.add_metric([stage], getattr(summary, field))
            yield counter
        drops = CounterMetricFamily("carnac_drops", "What rules dropped.", labels=["stage", "level", "rule"])
        shards = GaugeMetricFamily(
            "carnac_shards", "Shards and queries, by stage and state.", labels=["stage", "state"]
        )
        for stage, summary in self._stages.items():
            for level, rules in summary.drops.items():
                for rule, count in rules.items():
                    drops.add_metric([stage, level, rule], count)
            left = self._waiting.get(stage, 0)
            running = min(left, getattr(engine, "workers", 1))  # no worker waits while there is a shard
            counts = {"done": summary.shards - summary.failed, "failed": summary.failed}
            for state, count in (counts | {"running": running, "waiting": left - running}).items():
                shards.add_metric([stage, state], count)
        yield drops
        yield shards
        yield GaugeMetricFamily("carnac_queue", "Shards of the stage at hand that wait.", self._queue(engine))
        deaths, retries = getattr(engine, "deaths", 0), getattr(engine, "retries", 0)
        yield CounterMetricFamily("carnac_worker_deaths", "Workers that died.", deaths)
        yield CounterMetricFamily("carnac_retries", "Shards that were tried again because their worker died.", retries)
        info = GaugeMetricFamily("carnac_run", "One, for the run by its name.", labels=["name"])
        info.add_metric([self._sight.config.name], 1)
        yield info

    def _queue(self, engine: object) -> int:
        left = sum(self._waiting.values())
        return max(0, left - getattr(engine, "workers", 1))
