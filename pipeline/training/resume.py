"""A configuration and an output folder in; the settings that the training goes on with out, or why it cannot."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.training.checkpoint import COMMIT
from pipeline.training.config import TrainConfig

SETTINGS, MODEL = "train.json", "model"  # of the output folder

# What may be another when a training goes on: nothing that changes the model or the order of the data.
FREE = (
    *("output", "steps", "threads", "optimizer.", "checkpoints.", "guard.", "sight.", "validation.", "sample."),
    *("parallel.shard", "parallel.compile", "parallel.recompute", "data.workers", "data.ahead"),
)


def settled(config: TrainConfig, world: int, report: Callable[[str], None] = lambda _: None) -> TrainConfig:
    """The configuration with `micro_batch` filled in: by default what it was when the training began.

    Raises:
        UserError: the folder holds something else; a key is another than when the training began; sizes that do not
            divide.
    """
    output = Path(config.output)
    if output.exists() and not (output / SETTINGS).is_file() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: holds something that is no training output; choose another `output` or remove it")
    began = _began(output)
    if config.micro_batch is None:
        micro = began["micro_batch"] if began else max(1, config.batch_size // world)
        config = config.model_copy(update={"micro_batch": micro})
    assert config.micro_batch is not None
    if config.batch_size % (config.micro_batch * world):
        raise UserError(
            f"batch_size {config.batch_size} must be a multiple of micro_batch {config.micro_batch} times {world} GPUs"
        )
    if began:
        before, now = dict(_leaves(began)), dict(_leaves(config.model_dump(mode="json")))
        changed = [key for key in {**before, **now} if before.get(key) != now.get(key)]
        for key in changed:
            was, here = before.get(key), now.get(key)
            if not key.startswith(FREE):
                raise UserError(
                    f"{key}: {here!r}, but the training in {output} began with {was!r}; "
                    "choose another `output`, or remove it to begin anew"
                )
            if key.startswith("optimizer."):
                report(f"{key}: {here!r}, until now {was!r}")
    return config


def _began(output: Path) -> dict[str, Any] | None:
    """The settings that the training in a folder began with; none where it has no checkpoint to go on from."""
    if not any(output.glob(f"checkpoints/step-*/{COMMIT}")):
        return None
    try:
        raw = json.loads((output / SETTINGS).read_text(encoding="utf-8"))
        return TrainConfig.model_validate(raw).model_dump(mode="json")
    except (OSError, ValueError) as error:
        raise UserError(f"{output / SETTINGS}: cannot be read: {str(error).splitlines()[0]}") from None


def _leaves(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, f"{key}.{name}" if key else name)
    else:
        yield key, value
