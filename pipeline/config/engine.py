"""By what the work is done, and what is seen of it: the settings under `engine`, `metrics` and `logs`."""

from typing import Annotated

from pydantic import AfterValidator, Field

from pipeline.config.read import unknown
from pipeline.config.section import Bytes, Section


class Resources(Section):
    """What one shard of a stage holds while it is worked on, on a cluster."""

    cpus: float = Field(default=1, gt=0)
    gpus: float = Field(default=0, ge=0)
    memory: Bytes | None = None

    def __str__(self) -> str:
        memory = f", {self.memory / 10**9:.3g} GB of memory" if self.memory else ""
        return f"{self.cpus:g} CPUs, {self.gpus:g} GPUs{memory}"


# The stages of pipeline/flow.py and of what it calls, by what stands before the first slash of their names.
STAGES = (
    "benchmarks", "consent", "decontaminate", "decontaminate_images", "documents", "earlier", "export", "fetched", "final",
    "image_keys", "image_rules", "images", "keys", "near_duplicate", "near_image", "score_rules", "scores", "text",
    "training_loss", "unique", "unique_images",
)  # fmt: skip


def _stages(named: dict[str, Resources]) -> dict[str, Resources]:
    for name in named:
        if name not in STAGES:
            raise ValueError(unknown("stage", name, STAGES))
    return named


class Store(Section):
    """How a store is asked, where the output lies on one."""

    retries: int = Field(default=6, ge=0)  # of a call that fails
    back_off: float = Field(default=0.5, ge=0)  # seconds before the first of them; doubled from there, and jittered
    at_once: int = Field(default=16, ge=1)  # calls of a process
    beat: float = Field(default=5, gt=0)  # seconds in which a run shows that it is alive


class EngineSettings(Section):
    workers: int | None = Field(default=None, ge=0)  # none: one a core; 0: all in one process
    memory: Bytes = 4 * 10**9  # of a query, before it spills
    spill: str | None = None  # folder for what does not fit; none: inside the run's output
    max_spill: Bytes | None = None  # there, at most; none: nine tenths of what is free
    # Seconds that a worker may go without beginning a document or doing a unit of work; then it is ended and the document
    # at hand left out. Longer than hosts may be waited for (input.fetch.deadline).
    patience: float = Field(default=1800, gt=0)
    resources: Annotated[dict[str, Resources], AfterValidator(_stages)] = {}  # of stages; with --engine ray
    autoscales: bool = False  # whether nodes come to the cluster when they are asked for
    store: Store = Store()


class Metrics(Section):
    """Where the process that drives a run answers Prometheus."""

    port: int = Field(default=9100, ge=1, le=65535)
    address: str = Field(default="127.0.0.1", min_length=1)  # 0.0.0.0: whoever reaches this machine


class LogFolder(Section):
    """A line of JSON a finished task in `folder`/tasks.jsonl, beside the plain lines."""

    folder: str = Field(min_length=1)
