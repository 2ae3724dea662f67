"""Steps that stand out are found, named and treated as configured; a step that hangs ends with its stacks."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from pipeline.training import model, step
from pipeline.training.config import Guard, TrainConfig
from pipeline.training.guard import Requests, Spikes, suspicion
from pipeline.training.loop import train
from pipeline.training.loss import TokenLosses
from tests.conftest import ROOT
from tests.training_shards import log_of, steps_of, tiny, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def judged(guard: Guard, losses: list[float], state: list[float] | None = None) -> tuple[list[bool], Spikes]:
    """Which of the losses spike, beside a gradient norm that stays as it is but for a little noise."""
    spikes = Spikes(guard, torch.device("cpu"), state)
    found = []
    for number, loss in enumerate(losses):
        _, over = spikes.judge(torch.tensor([loss, 1 + 0.01 * math.sin(number)], dtype=torch.float64))
        found.append(bool((over > guard.deviations).any()))
    return found, spikes


def falling(steps: int) -> list[float]:
    """A loss curve: it falls, with noise."""
    noise = np.random.default_rng(0).normal(0, 0.05, steps)
    return [float(2 + 4 * math.exp(-n / 40) + noise[n]) for n in range(steps)]


def test_a_curve_that_falls_has_no_spikes_and_one_that_jumps_has() -> None:
    guard, losses = Guard(), falling(1000)
    assert not any(judged(guard, losses)[0])
    losses[950] += 1.5
    found, _ = judged(guard, losses)
    assert [number for number, spike in enumerate(found) if spike] == [950]


def test_a_new_level_is_learned_and_nothing_is_judged_before_patience_ends() -> None:
    guard = Guard(patience=20, memory=20)
    found, _ = judged(guard, [9.0, *falling(200), *(value + 3 for value in falling(400)[200:])])
    assert not any(found[:201])
    assert found[201]
    assert not any(found[-100:])


def test_what_is_no_number_is_no_measure() -> None:
    guard, losses = Guard(patience=10), falling(100)
    before, after = judged(guard, losses)[1].state(), judged(guard, [*losses, math.nan, math.inf])[1].state()
    assert before == after


def test_the_measure_goes_on_from_its_state() -> None:
    guard, losses = Guard(), falling(200)
    whole, first = judged(guard, losses)[1], judged(guard, losses[:77])[1]
    spikes = Spikes(guard, torch.device("cpu"), json.loads(json.dumps(first.state())))
    for number, loss in enumerate(losses[77:], 77):
        spikes.judge(torch.tensor([loss, 1 + 0.01 * math.sin(number)], dtype=torch.float64))
    assert spikes.state() == whole.state()


def test_a_suspicion_says_what_stood_out_and_by_how_much() -> None:
    figures = {
        "finite": 1.0,
        "loss": 5.0,
        "z_loss": 1.0,
        "gradient_norm": 2.0,
        "over/loss": 12.3,
        "over/gradient_norm": 1.0,
    }
    assert suspicion(figures, Guard(spike="skip")) == ("skip", "loss 5 is 12.3 deviations over its mean")
    assert suspicion({**figures, "over/loss": 1.0}, Guard()) is None
    broken = {**figures, "finite": 0.0, "loss": math.nan}
    assert suspicion(broken, Guard(non_finite="rollback"))[0] == "rollback"  # type: ignore[index]


def poisoned(monkeypatch: pytest.MonkeyPatch, at: int, factor: float) -> list[int]:
    """From now on the loss of the `at`-th call is multiplied: a document that the model cannot digest. A batch that
    holds none of its documents is never touched, so what is left out is seen to be."""
    real, calls, keys = model.token_losses, list[int](), set[str]()

    def wrong(module: Any, batch: Any, loss: Any) -> TokenLosses:
        calls.append(1)
        if len(calls) == at:
            keys.update(key for window in batch.keys for key in window)
        own = {key for window in batch.keys for key in window}
        found = real(module, batch, loss)
        scale = factor if keys and own == keys else 1.0
        return TokenLosses(found.cross_entropy * scale, found.z, found.learned)

    monkeypatch.setattr(step, "token_losses", wrong)
    return calls


def configured(corpus: Path, output: Path, **guard: Any) -> TrainConfig:
    return tiny(
        corpus,
        output,
        steps=14,
        batch_size=1,
        packing={"tokens": 64, "images": 4, "window": 4},
        checkpoints={"every": 4},
        guard={"patience": 4, "deviations": 50.0, **guard},
        sight={"every": 5},
    )


def suspects(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "suspects.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("factor", [math.nan, 1e4])
def test_a_step_that_is_skipped_changes_nothing_and_is_named(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    poisoned(monkeypatch, 7, factor)
    lines: list[str] = []
    train(configured(corpus, tmp_path / "run", non_finite="skip", spike="skip"), lines.append)
    steps = steps_of(tmp_path / "run")
    assert [line["step"] for line in steps] == list(range(1, 15))
    dropped = [line["step"] for line in steps if line.get("dropped")]
    assert 7 in dropped
    assert [line["step"] for line in suspects(tmp_path / "run")] == dropped
    [first, *_] = suspects(tmp_path / "run")
    assert first["action"] == "skip"
    assert first["documents"]
    assert all(key.startswith("train-0000") for key in first["documents"])
    assert any(line.startswith("step 7: ") and "named in suspects.jsonl" in line for line in lines)
    assert all(math.isfinite(line["loss"]) for line in steps if not line.get("dropped"))
    assert "NaN" not in (tmp_path / "run" / "train.jsonl").read_text(encoding="utf-8")


def test_a_rollback_goes_on_without_the_documents(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, 7, math.nan)
    lines: list[str] = []
    train(configured(corpus, tmp_path / "run", non_finite="rollback"), lines.append)
    [found] = suspects(tmp_path / "run")
    assert (found["step"], found["action"]) == (7, "rollback")
    events = log_of(tmp_path / "run")
    assert [line["step"] for line in events if line["event"] == "step"] == list(range(1, 15))
    [back] = [line for line in events if line["event"] == "rollback"]
    assert (back["step"], back["left_out"]) == (4, len(found["documents"]))
    assert any(line.startswith("rolled back to step 4; ") for line in lines)
    mark = json.loads((tmp_path / "run" / "checkpoints" / "step-00000014" / "commit.json").read_text(encoding="utf-8"))
    assert mark["left_out"] == found["documents"]
    assert mark["incidents"] == [7]


def test_before_the_first_checkpoint_a_rollback_begins_anew(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned(monkeypatch, 2, math.nan)
    train(configured(corpus, tmp_path / "run", non_finite="rollback"), lambda _: None)
    [back] = [line for line in log_of(tmp_path / "run") if line["event"] == "rollback"]
    assert back["step"] == 0
    assert [line["step"] for line in steps_of(tmp_path / "run")] == list(range(1, 15))


def test_too_many_incidents_end_the_training(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = model.token_losses

    def wrong(*arguments: Any) -> TokenLosses:
        found = real(*arguments)
        return TokenLosses(found.cross_entropy * math.nan, found.z, found.learned)

    monkeypatch.setattr(step, "token_losses", wrong)
    with pytest.raises(UserError, match="the 4th time within 100 steps") as caught:
        train(configured(corpus, tmp_path / "run", non_finite="skip", most=3), lambda _: None)
    assert caught.value.status == 1


def test_a_spike_may_stop_the_training(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned(monkeypatch, 7, 1e4)
    with pytest.raises(UserError, match=r"step 7: loss .* deviations over its mean"):
        train(configured(corpus, tmp_path / "run", spike="stop"), lambda _: None)


def test_a_request_by_file_is_heard_once(tmp_path: Path) -> None:
    (tmp_path / "save").touch()
    requests = Requests(tmp_path)
    assert requests.look() == (False, True)
    assert requests.look() == (False, False)
    assert not list(tmp_path.iterdir())


def test_a_step_that_hangs_ends_with_the_stacks_of_all_threads() -> None:
    code = """
import time
from pipeline.training.guard import Watchdog
def hangs_here():
    time.sleep(60)
watchdog = Watchdog(0.5, rank=3)
with watchdog.watching():
    watchdog.begin(17)
    watchdog.rest()
    time.sleep(1)
    watchdog.begin(18)
    hangs_here()
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "carnac: rank 3: step 18 takes more than guard.step_seconds 0.5; what each thread does:" in run.stderr
    assert "in hangs_here" in run.stderr
