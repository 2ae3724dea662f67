"""What a training shows of itself: shares, rates, gates, and utilisation that charges no more than was asked for."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.config import TrainConfig
from pipeline.training.loop import train
from pipeline.training.parallel import Ranks
from pipeline.training.sight import Sight, Window, duration, finished, most, trackers
from tests.training_shards import log_of, picture, prose, steps_of, tiny, write_corpus, write_shard


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, list[str]]:
    folder, lines = tmp_path_factory.mktemp("sight"), list[str]()
    write_corpus(folder / "web")
    write_shard(folder / "plain" / "train-00000-of-00001.parquet", [[prose(n, 30)] for n in range(20)])
    sources = [
        {"name": "web", "path": str(folder / "web"), "weight": 3},
        {"name": "plain", "path": str(folder / "plain"), "weight": 1},
    ]
    config = tiny(
        folder / "web",
        folder / "run",
        data={"sources": sources},
        steps=8,
        micro_batch=1,
        sight={"every": 4, "peak_teraflops": 0.001},
    )
    train(config, lines.append)
    return config, lines


def test_losses_are_told_by_source_and_add_up(trained: tuple[TrainConfig, list[str]]) -> None:
    for line in steps_of(Path(trained[0].output)):
        total = sum(line["learned"].values())
        by_source = sum(loss * line["learned"][source] for source, loss in line["losses"].items())
        assert by_source / total == pytest.approx(line["loss"])
        parts = line["gradient_norms"]
        assert sum(norm**2 for norm in parts.values()) ** 0.5 == pytest.approx(line["gradient_norm"])
        assert set(parts) == {"new tokens", "perceiver", "gated cross-attention"}


def test_gates_and_shares_are_read_where_a_line_is_shown(trained: tuple[TrainConfig, list[str]]) -> None:
    config, lines = trained
    with_gates = [line for line in steps_of(Path(config.output)) if "gates" in line]
    assert [line["step"] for line in with_gates] == [1, 4, 8]
    assert all(len(line["gates"]) == 4 for line in with_gates)
    assert all(0 < abs(value) < 1 for value in with_gates[-1]["gates"].values())
    assert all(sum(line["shares"].values()) == pytest.approx(1, abs=1e-3) for line in with_gates)
    assert len([line for line in lines if line.startswith("step ")]) == 3


def test_utilisation_is_operations_over_time_and_the_end_says_what_came_of_it(
    trained: tuple[TrainConfig, list[str]],
) -> None:
    config, lines = trained
    steps, end = steps_of(Path(config.output)), log_of(Path(config.output))[-1]
    assert all(0 < line["mfu"] < line["hfu"] for line in steps)
    # Four sequences would cost more than two: the same work in both micro-batches of a step, but for images.
    work = [line["mfu"] * line["seconds"] * 1e9 for line in steps]
    assert max(work) < 2 * min(work)
    assert end["effective_mfu"] == pytest.approx(end["mfu"] * (1 - end["padding"]) * end["goodput"], abs=1e-4)
    assert any("effective MFU" in line for line in lines)


def test_a_window_is_what_was_added_less_what_was_taken_back() -> None:
    window = Window()
    for _ in range(4):
        window.add({"tokens": 80, "places": 100, "images": 5}, 2.0, 0.5, (6e12, 8e12))
    rates = window.rates(peak=1e13)
    assert rates == {
        "tokens_per_second": 40.0,
        "images_per_second": 2.5,
        "padding": 0.2,
        "data_wait": 0.25,
        "mfu": 0.3,
        "hfu": 0.4,
    }
    window.remove(1)
    assert window.steps == 3
    assert window.rates(1e13) == rates


def test_the_log_is_cut_where_it_will_be_written_again(tmp_path: Path) -> None:
    config = tiny(tmp_path, tmp_path, steps=4)
    events = [
        {"event": "start", "step": 0},
        *({"event": "step", "step": n} for n in range(1, 5)),
        {"event": "end", "step": 4},
    ]
    text = "".join(json.dumps(event) + "\n" for event in events)
    (tmp_path / "train.jsonl").write_text(text + '{"event": "st', encoding="utf-8")
    assert finished(tmp_path, 4)
    assert not finished(tmp_path, 5)
    sight = Sight(config, tmp_path, lambda _: None)
    sight.rewind(2)
    sight.event("step", 3, loss=float("nan"), inner={"value": float("inf")})
    sight.close()
    after = log_of(tmp_path)
    assert [(event["event"], event["step"]) for event in after] == [("start", 0), ("step", 1), ("step", 2), ("step", 3)]
    assert after[-1] == {"event": "step", "step": 3, "loss": None, "inner": {"value": None}}


def test_a_tracker_that_is_not_installed_is_one_line(tmp_path: Path) -> None:
    missing = [name for name in ("wandb", "trackio") if find_spec(name) is None]
    for name in missing:
        with pytest.raises(UserError, match=f"sight.trackers: {name} is not installed: pip install {name}"):
            trackers(tiny(tmp_path, tmp_path, sight={"trackers": [name]}), tmp_path)


def test_tensorboard_gets_every_number(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", [[prose(1, 20), picture(1), prose(2, 20)]])
    config = tiny(tmp_path / "data", tmp_path / "run", steps=2, sight={"trackers": ["tensorboard"], "every": 1})
    train(config, lambda _: None)
    [file] = (tmp_path / "run" / "tensorboard").iterdir()
    assert b"gradient_norms/perceiver" in file.read_bytes()


def test_what_is_left_is_told_in_the_unit_that_fits() -> None:
    assert [duration(s) for s in (7, 600, 5400, 300_000)] == ["7 s", "10 min", "1 h 30 min", "3.5 d"]


def test_the_peak_is_of_all_gpus_and_of_a_cpu_unknown(tmp_path: Path) -> None:
    ranks = Ranks(0, 8, torch.device("cpu"))
    config = tiny(tmp_path, tmp_path, sight={"peak_teraflops": 989})
    assert most(config.sight, ranks) == 8 * 989e12
    assert most(tiny(tmp_path, tmp_path).sight, ranks) is None
