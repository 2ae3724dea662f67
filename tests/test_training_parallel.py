"""Two ranks (gloo) do what one does: whole on each (DDP) and in pieces (FSDP2), through the command and torchrun."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.checkpoint import checksum
from pipeline.training.config import TrainConfig
from pipeline.training.loop import train
from pipeline.training.parallel import Ranks
from pipeline.training.resume import settled
from tests.conftest import ROOT
from tests.test_training_checkpoint import ENVIRONMENT, curve, mark, weights
from tests.test_training_checkpoint import configured as checkpointed
from tests.training_shards import log_of, steps_of, write_corpus, written

STEPS = 6


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def configured(corpus: Path, output: Path, **changes: Any) -> TrainConfig:
    settings = {"micro_batch": 1, "steps": STEPS, "checkpoints": {"every": 3}, "sight": {"every": 3}}
    return checkpointed(corpus, output, **(settings | changes))


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    config = configured(corpus, tmp_path_factory.mktemp("alone") / "run")
    train(config, lambda _: None)
    return config


def two_ranks(config: TrainConfig, *more: str) -> "subprocess.CompletedProcess[str]":
    launcher = [sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "pipeline", "train", written(config), *more]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def near(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> float:
    """The largest difference of losses and norms, relative where they are over 1."""
    pairs = [(f[name], e[name]) for f, e in zip(found, expected, strict=True) for name in ("loss", "gradient_norm")]
    return float(max(abs(a - b) / max(1.0, abs(b)) for a, b in pairs))


@pytest.mark.parametrize("shard", [pytest.param("none", marks=pytest.mark.slow), "fsdp"])
def test_two_ranks_equal_one_and_one_goes_on_where_two_were(
    corpus: Path, alone: TrainConfig, tmp_path: Path, shard: str
) -> None:
    """Documents to the bit, losses and norms to 1e-5; weights to 1e-4, as Adam divides tiny gradients by their size.
    Then from step 3 of two ranks on one."""
    config = configured(corpus, tmp_path / "run", parallel={"shard": shard})
    run = two_ranks(config)
    assert run.returncode == 0, run.stderr
    assert "UserWarning" not in run.stderr
    shown = [line for line in run.stdout.splitlines() if line.startswith("step ")]
    assert len(shown) == 3  # of the first rank alone
    assert near(steps_of(Path(config.output)), steps_of(Path(alone.output))) < 1e-5
    assert [step["learned"] for step in curve(config.output)] == [step["learned"] for step in curve(alone.output)]
    assert mark(config.output, STEPS)["seen"] == mark(alone.output, STEPS)["seen"]
    assert mark(config.output, STEPS)["data"] == mark(alone.output, STEPS)["data"]
    assert mark(config.output, STEPS)["frozen"] == mark(alone.output, STEPS)["frozen"]
    found, expected = weights(config.output), weights(alone.output)
    assert max(float((found[name] - expected[name]).abs().max()) for name in expected) < 1e-4
    assert {"end"} <= {event["event"] for event in log_of(Path(config.output))}

    lines: list[str] = []
    train(config, lines.append, resume_step=3)
    assert lines[0] == "goes on from the checkpoint of step 3"
    assert near(steps_of(Path(config.output)), steps_of(Path(alone.output))) < 1e-5
    assert mark(config.output, STEPS)["seen"] == mark(alone.output, STEPS)["seen"]
    assert mark(config.output, STEPS)["data"] == mark(alone.output, STEPS)["data"]


@pytest.mark.slow
def test_a_mistake_is_said_once(corpus: Path, tmp_path: Path) -> None:
    run = two_ranks(configured(corpus, tmp_path / "run", data={"path": str(corpus), "lanes": 1}))
    assert run.returncode != 0
    said = [line for line in run.stderr.splitlines() if line.startswith("carnac: ")]
    assert said == ["carnac: data.lanes 1 must be a multiple of GPUs (2) times data.workers (0): 2, 4, …"]


def test_a_step_must_divide_among_the_gpus(corpus: Path, tmp_path: Path) -> None:
    config = configured(corpus, tmp_path / "run")
    assert settled(config, 4).micro_batch == 1
    with pytest.raises(UserError, match="batch_size 4 must be a multiple of micro_batch 1 times 3 GPUs"):
        settled(config, 3)
    assert settled(config.model_copy(update={"micro_batch": None}), 2).micro_batch == 2


def test_a_checksum_tells_one_bit_and_the_name() -> None:
    here = Ranks(0, 1, torch.device("cpu"))
    values = {"a": torch.arange(6.0), "b": torch.ones(3, dtype=torch.bfloat16)}
    known = checksum(values, here)
    assert checksum(dict(reversed(values.items())), here) == known
    assert checksum({"a": values["a"], "c": values["b"]}, here) != known
    values["a"].view(torch.int32)[3] ^= 1
    assert checksum(values, here) != known
