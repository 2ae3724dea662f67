"""A training that was cut off goes on to the bit; what is damaged, or of another training, is refused by name."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.training.config import Checkpoints, TrainConfig
from pipeline.training.loop import train
from tests.conftest import ROOT
from tests.training_shards import log_of, steps_of, tiny, write_corpus, written

STEPS = 12
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


def configured(corpus: Path, output: Path, **changes: Any) -> TrainConfig:
    """Two micro-batches a step, of two lanes; a checkpoint after each step, all kept."""
    settled = {
        "data": {"path": str(corpus), "lanes": 2},
        "packing": {"tokens": 64, "images": 4, "window": 5},
        "batch_size": 4,
        "micro_batch": 2,
        "steps": STEPS,
        "checkpoints": {"every": 1, "keep": 99},
        "sight": {"every": 5},
    }
    return tiny(corpus, output, **(settled | changes))


@pytest.fixture(scope="module")
def whole(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    config = configured(corpus, tmp_path_factory.mktemp("whole") / "run")
    train(config, lambda _: None)
    return config


def curve(output: Path | str) -> list[dict[str, Any]]:
    """What a training logged of its steps, but for the clock and what follows from it."""
    clock = {"seconds", "data_seconds", "tokens_per_second", "images_per_second", "data_wait"}
    return [{name: value for name, value in step.items() if name not in clock} for step in steps_of(Path(output))]


def mark(output: Path | str, step: int) -> dict[str, Any]:
    raw: dict[str, Any] = json.loads((folder(output, step) / "commit.json").read_text(encoding="utf-8"))
    return raw


def folder(output: Path | str, step: int) -> Path:
    return Path(output) / "checkpoints" / f"step-{step:08}"


def weights(output: Path | str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = load_file(Path(output) / "model" / "model.safetensors")
    return found


def copied(whole: TrainConfig, output: Path, step: int) -> TrainConfig:
    """A training as it stood when its checkpoint of a step was the last: what a kill leaves."""
    shutil.copytree(whole.output, output)
    for later in range(step + 1, STEPS + 1):
        shutil.rmtree(folder(output, later))
    shutil.rmtree(output / "model")
    return whole.model_copy(update={"output": str(output)})


def rarely(config: TrainConfig) -> TrainConfig:
    """A checkpoint at the end alone, which saves time."""
    return config.model_copy(update={"checkpoints": Checkpoints(every=1000, keep=99)})


def said(config: TrainConfig, **arguments: Any) -> list[str]:
    lines: list[str] = []
    train(config, lines.append, **arguments)
    return lines


def refused(config: TrainConfig, **arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        train(config, lambda _: None, **arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param((1, 6, 7, STEPS - 1), id="some"),
        pytest.param((2, 3, 4, 5, 8, 9, 10), id="others", marks=pytest.mark.slow),
    ],
)
def test_from_every_step_it_goes_on_to_the_bit(begun: tuple[int, ...], whole: TrainConfig, tmp_path: Path) -> None:
    """Losses, norms and gates of all steps, weights, moments, what was seen, and where the data stand."""
    kept = weights(whole.output)
    assert any(lane["given"] for step in begun for lane in mark(whole.output, step)["data"]["lanes"].values())
    for step in begun:
        config = rarely(copied(whole, tmp_path / f"run-{step}", step))
        assert f"goes on from the checkpoint of step {step}" in said(config)
        assert curve(config.output) == curve(whole.output)
        again, before = mark(config.output, STEPS), mark(whole.output, STEPS)
        assert {**again, "files": 0} == {**before, "files": 0}
        mended = weights(config.output)
        assert all(torch.equal(mended[name], kept[name]) for name in kept)


def command(config: TrainConfig) -> list[str]:
    return [sys.executable, "-m", "pipeline", "train", written(config)]


def wait_for_steps(config: TrainConfig, steps: int) -> None:
    """Until so many steps are in the log."""
    log, until = Path(config.output) / "train.jsonl", time.monotonic() + 120
    while not log.is_file() or log.read_text(encoding="utf-8").count('"event": "step"') < steps:
        assert time.monotonic() < until, f"no {steps} steps"
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_at_any_moment_the_same_command_leaves_the_same_curve(corpus: Path, tmp_path: Path) -> None:
    steps = 60
    config = configured(corpus, tmp_path / "killed", steps=steps, checkpoints={"every": 7}, sight={"every": 100})
    with subprocess.Popen(command(config), cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_steps(config, 9)
        finally:
            process.kill()
    logged = len(steps_of(Path(config.output)))
    assert 9 <= logged < steps
    run = subprocess.run(command(config), cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    events = [(event["event"], event["step"]) for event in log_of(Path(config.output))]
    assert [step for event, step in events if event == "step"] == list(range(1, steps + 1))
    assert (
        [event for event, _ in events].count("resume") == run.stdout.count("goes on from the checkpoint of step") == 1
    )
    straight = rarely(configured(corpus, tmp_path / "straight", steps=steps, sight={"every": 100}))
    train(straight, lambda _: None)
    assert curve(config.output) == curve(straight.output)
    assert mark(config.output, steps)["seen"] == mark(straight.output, steps)["seen"]
    assert all(torch.equal(value, weights(straight.output)[name]) for name, value in weights(config.output).items())


def test_asked_to_end_it_saves_and_exits_well(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = configured(corpus, tmp_path / "run", steps=10_000, checkpoints={"every": 10_000})

    def ask() -> None:
        wait_for_steps(config, 3)
        os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask)
    asking.start()
    assert main(["train", written(config)]) == 0
    asking.join()
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("stopped as asked, saved at step ")
    step = int(last.split("step ")[1].split(" of")[0].replace(",", ""))
    assert mark(config.output, step)["step"] == step == steps_of(Path(config.output))[-1]["step"]


def test_a_file_asks_to_save_and_another_to_stop(corpus: Path, tmp_path: Path) -> None:
    config = configured(corpus, tmp_path / "run", steps=400, checkpoints={"every": 1000}, sight={"every": 1})
    lines: list[str] = []
    asked = {3: "save", 12: "stop"}

    def ask(line: str) -> None:
        lines.append(line)
        if line.startswith("step "):
            step = int(line.split()[1].partition("/")[0])
            if step in asked:
                (tmp_path / "run" / asked[step]).touch()
            if step >= 3 and not any(line.startswith("saved") for line in lines):
                time.sleep(0.2)  # files are looked for once a second

    train(config, ask)
    assert any(line.startswith("saved at step ") for line in lines)
    assert lines[-1].startswith("stopped as asked")
    assert not (tmp_path / "run" / "stop").exists()
    assert not (tmp_path / "run" / "save").exists()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_more_steps_go_on_where_a_finished_training_ended(whole: TrainConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path / "run")
    config = whole.model_copy(update={"output": str(tmp_path / "run")})
    assert said(config) == [f"all 12 steps are made, a larger `steps` goes on; model: {tmp_path / 'run' / 'model'}"]
    lines = said(config.model_copy(update={"steps": 14}))
    assert lines[0] == "goes on from the checkpoint of step 12"
    assert lines[1].startswith("the learning rate of step 12 was 0.001, now 0.0013")
    assert [step["step"] for step in steps_of(tmp_path / "run")] == list(range(1, 15))
    assert [event["step"] for event in log_of(tmp_path / "run") if event["event"] == "end"] == [14]
    assert "steps 3: " in refused(config.model_copy(update={"steps": 3}))


def test_an_earlier_checkpoint_is_gone_back_to_at_another_rate(whole: TrainConfig, tmp_path: Path) -> None:
    shutil.copytree(whole.output, tmp_path / "run")
    slower = whole.optimizer.model_copy(update={"scale": 0.5})
    config = whole.model_copy(update={"output": str(tmp_path / "run"), "optimizer": slower})
    assert "--resume-step 40: no such checkpoint (there are: 1, 2, " in refused(config, resume_step=40)
    lines = said(config, resume_step=4)
    assert lines[0] == "optimizer.scale: 0.5, until now 1.0"
    assert lines[1] == "goes on from the checkpoint of step 4"
    before, after = steps_of(Path(whole.output)), steps_of(tmp_path / "run")
    assert [step["step"] for step in after] == list(range(1, STEPS + 1))
    assert after[4]["loss"] == before[4]["loss"]  # computed before the first update at the new rate
    assert [a["learning_rate"] / b["learning_rate"] for a, b in zip(after, before, strict=True)] == [1] * 4 + [0.5] * 8


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("seed", 7, "seed: 7, but the training in "),
        ("model", {"hidden_size": 64}, "model.hidden_size: 64, but "),
        ("packing", {"window": 6}, "packing.window: 6, but "),
        ("tokenizer", {"vocab_size": 330}, "tokenizer.vocab_size: 330, but "),
        ("batch_size", 8, "batch_size: 8, but "),
        ("micro_batch", 1, "micro_batch: 1, but "),
        ("data", {"lanes": 4}, "data.lanes: 4, but "),
        ("loss", {"z_loss": 0.0}, "loss.z_loss: 0.0, but "),
    ],
)
def test_another_training_is_refused_by_the_name_of_the_key(
    whole: TrainConfig, key: str, value: Any, line: str
) -> None:
    inner = getattr(whole, key)
    changed = inner.model_copy(update=value) if isinstance(value, dict) else value
    assert refused(whole.model_copy(update={key: changed})).startswith(line)


def test_a_checkpoint_cut_short_is_passed_over_for_the_one_before(whole: TrainConfig, tmp_path: Path) -> None:
    config = rarely(copied(whole, tmp_path / "run", 8))
    [shard] = folder(config.output, 8).glob("*.distcp")
    size = shard.stat().st_size
    with shard.open("r+b") as file:
        file.truncate(size // 2)
    (folder(config.output, 7) / ".metadata").unlink()
    (folder(config.output, 6) / "commit.json").write_text('{"step": 6', encoding="utf-8")
    lines = said(config)
    assert lines[:4] == [
        f"the checkpoint of step 8 is not used: {shard.name} is cut short ({size // 2} of {size} bytes)",
        "the checkpoint of step 7 is not used: .metadata is missing",
        "the checkpoint of step 6 is not used: commit.json cannot be read",
        "goes on from the checkpoint of step 5",
    ]
    assert curve(config.output) == curve(whole.output)


def test_flipped_bits_are_found_once_loaded(whole: TrainConfig, tmp_path: Path) -> None:
    config = rarely(copied(whole, tmp_path / "run", 5))
    [shard] = folder(config.output, 5).glob("*.distcp")
    held = bytearray(shard.read_bytes())
    place = len(held) // 2
    held[place : place + 64] = bytes(byte ^ 1 for byte in held[place : place + 64])
    shard.write_bytes(held)
    lines = said(config)
    assert lines[0].startswith("the checkpoint of step 5 is not used: ")
    assert lines[1] == "goes on from the checkpoint of step 4"
    assert curve(config.output) == curve(whole.output)


def test_a_checkpoint_of_another_model_is_not_loaded(whole: TrainConfig, corpus: Path, tmp_path: Path) -> None:
    sizes = whole.model.model_copy(update={"intermediate_size": 64})
    other = rarely(configured(corpus, tmp_path / "other", steps=9).model_copy(update={"model": sizes}))
    train(other, lambda _: None)
    config = rarely(copied(whole, tmp_path / "run", 8))
    shutil.copytree(folder(other.output, 9), folder(config.output, 9))
    lines = said(config)
    assert lines[0] == "the checkpoint of step 9 is not used: it is of another model or vocabulary"
    assert lines[1] == "goes on from the checkpoint of step 8"
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    shutil.copytree(folder(other.output, 9), folder(config.output, 9))
    assert "no checkpoint in it can be used; remove the folder to begin anew" in refused(config)


def test_what_was_not_committed_is_no_checkpoint(whole: TrainConfig, tmp_path: Path) -> None:
    config = rarely(copied(whole, tmp_path / "run", 3))
    shutil.copytree(folder(config.output, 3), folder(config.output, 4))
    (folder(config.output, 4) / "commit.json").unlink()
    assert "goes on from the checkpoint of step 3" in said(config)
    assert curve(config.output) == curve(whole.output)


def test_the_latest_few_are_kept_and_the_frozen_weights_may_be_left_out(corpus: Path, tmp_path: Path) -> None:
    light = {"every": 1, "keep": 2, "trained_only": True, "local": str(tmp_path / "local")}
    config = configured(corpus, tmp_path / "run", steps=4, checkpoints=light)
    train(config, lambda _: None)
    assert sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000004",
    ]
    assert not list((tmp_path / "local").iterdir())
    heavy = configured(corpus, tmp_path / "heavy", steps=6, checkpoints={"every": 2})
    train(heavy, lambda _: None)
    sizes = [sum(mark(each.output, 4)["files"].values()) for each in (config, heavy)]
    assert sizes[0] < 0.8 * sizes[1]
    train(config.model_copy(update={"steps": 6}), lambda _: None)
    assert mark(config.output, 6)["seen"] == mark(heavy.output, 6)["seen"]


def test_other_frozen_weights_are_refused(corpus: Path, tmp_path: Path) -> None:
    light = {"every": 100, "trained_only": True}
    config = configured(corpus, tmp_path / "run", steps=2, checkpoints=light)
    train(config, lambda _: None)
    commit = folder(config.output, 2) / "commit.json"
    commit.write_text(json.dumps(mark(config.output, 2) | {"frozen": "other"}), encoding="utf-8")
    lines: list[str] = []
    with pytest.raises(UserError, match="no checkpoint in it can be used"):
        train(config.model_copy(update={"steps": 3}), lines.append)
    assert lines == ["the checkpoint of step 2 is not used: it was trained beside other frozen weights"]


def test_a_disk_that_is_full_ends_with_one_line_and_the_checkpoint_before_stays(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = configured(corpus, tmp_path / "run", steps=50, checkpoints={"every": 5})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        assert main(["train", written(config)]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    [line] = capsys.readouterr().err.splitlines()
    assert "a checkpoint cannot be written: " in line
    assert "the same command goes on from the one before" in line
