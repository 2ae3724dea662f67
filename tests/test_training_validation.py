"""Validation: the loss of held-out documents as it is, whether images contribute, and a training that it leaves alone."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig
from pipeline.training.language import Language, language
from pipeline.training.loop import train
from pipeline.training.model import token_losses
from pipeline.training.once import once
from pipeline.training.packing import IGNORED
from pipeline.training.parallel import Ranks
from pipeline.training.sources import in_order, open_sources
from pipeline.training.validation import after_image, held_out, sight, validate, with_others_images, without_images
from tests.training_models import build, configured, open_gates
from tests.training_shards import picture, prose, tiny, write_corpus, write_shard

pytestmark = pytest.mark.usefixtures("one_thread")

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    rows: list[list[str | bytes]] = [
        [prose(n + 50, 9), picture(n), prose(n + 70, 15), *([picture(n + 30)] if n % 2 else []), prose(n + 90, 6 + n)]
        for n in range(7)
    ]
    write_shard(folder / "validation-00000-of-00001.parquet", [*rows, [prose(99, 30)]], row_group=3)
    return folder


Made = tuple[TrainConfig, Any, Language]


@pytest.fixture(scope="module")
def made(corpus: Path) -> Made:
    config = tiny(corpus, corpus / "model", micro_batch=2)
    spoken = language(config)
    return config, open_gates(build(config, spoken.vocabulary), 2.0), spoken


def batches(config: TrainConfig, spoken: Language) -> list[Batch]:
    [opened] = open_sources(config.data.model_copy(update={"split": "validation"}))
    return list(once(in_order(opened), config, spoken))


def test_the_loss_is_the_mean_over_all_tokens_of_held_out_documents(
    made: Made,
) -> None:
    config, model, spoken = made
    found = validate(model, config, spoken, ALONE)
    assert found is not None
    total = count = 0.0
    with torch.no_grad():
        for batch in batches(config, spoken):
            losses = token_losses(model.eval(), batch, config.loss)
            total += float(losses.cross_entropy.sum())
            count += float(losses.learned.sum())
    model.train()
    assert found["loss"] == found["loss/data"] == pytest.approx(total / count, abs=1e-6)
    assert found["tokens"] == count
    assert found["z_loss"] > 0
    assert found == validate(model, config, spoken, ALONE)


def test_every_document_is_in_one_batch_whatever_the_batches_are(
    made: Made,
) -> None:
    config, model, spoken = made
    losses = []
    for size, window in ((2, 8), (3, 8), (1, 1)):
        packing = config.packing.model_copy(update={"window": window})
        other = config.model_copy(update={"micro_batch": size, "packing": packing})
        keys = [key for batch in batches(other, spoken) for row in batch.keys for key in row]
        assert set(keys) == {f"validation-00000-of-00001.parquet:{n}" for n in range(8)}
        found = validate(model, other, spoken, ALONE)
        assert found is not None
        losses.append((found["loss"], found["tokens"]))
    assert losses[0][1] == losses[1][1] == losses[2][1]
    assert losses[1][0] == pytest.approx(losses[0][0], abs=1e-5)
    assert losses[2][0] == pytest.approx(losses[0][0], abs=1e-5)  # packed as each document alone


def test_ranks_share_the_documents_and_say_the_same(made: Made) -> None:
    config, _, spoken = made
    config = config.model_copy(update={"packing": config.packing.model_copy(update={"window": 2})})
    [opened] = open_sources(config.data.model_copy(update={"split": "validation"}))
    dealt = [list(once(in_order(opened), config, spoken, rank=rank, world=3)) for rank in range(3)]
    keys = [{key for batch in of_rank for row in batch.keys for key in row} for of_rank in dealt]
    assert not keys[0] & keys[1]
    assert not keys[1] & keys[2]
    assert len(set.union(*keys)) == 8


def test_a_validation_changes_neither_modules_nor_chance(made: Made) -> None:
    config, model, spoken = made
    model.train()
    model.model.vision_model.eval()
    before = {name: module.training for name, module in model.named_modules()}
    chance = torch.random.get_rng_state()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    validate(model, config, spoken, ALONE)
    assert before == {name: module.training for name, module in model.named_modules()}
    assert torch.equal(chance, torch.random.get_rng_state())
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    model.train()


def test_a_model_with_closed_gates_does_not_look_and_one_with_open_gates_is_told(
    made: Made,
) -> None:
    config, model, spoken = made
    opened = validate(model, config, spoken, ALONE)
    closed = validate(build(config, spoken.vocabulary), config, spoken, ALONE)
    assert opened is not None
    assert closed is not None
    assert (closed["zeroed"], closed["shuffled"], closed["zeroed_error"]) == (0, 0, 0)
    assert closed["sight"].startswith(
        "no sign that the model looks: without its images the text behind them costs +0.000"
    )
    assert opened["zeroed"] != 0 != opened["shuffled"]
    assert opened["tokens_behind_images"] == closed["tokens_behind_images"] > 0


def test_only_text_behind_an_image_is_compared(made: Made) -> None:
    config, model, spoken = made
    for batch in batches(config, spoken):
        behind = after_image(batch, spoken.vocabulary.image)
        assert torch.equal(behind, batch.image >= 0)  # what the cross-attention attends, too
        with torch.no_grad():
            real, other = (token_losses(model, b, config.loss).cross_entropy for b in (batch, without_images(batch)))
        assert not ((real != other) & ~behind)[:, 1:].any()


@pytest.mark.parametrize("family", ["idefics2", "idefics3"])
def test_the_other_families_are_asked_whether_they_look(family: str, corpus: Path) -> None:
    raw = configured(family).model_dump() | {"data": {"path": str(corpus)}, "micro_batch": 2}
    config = TrainConfig.model_validate(raw)
    spoken = language(config)
    model = build(config, spoken.vocabulary)
    found = validate(model, config, spoken, ALONE)
    assert found is not None
    assert found["zeroed"] != 0 != found["shuffled"]
    assert found["tokens_behind_images"] < found["tokens"]
    batch = batches(config, spoken)[0]
    behind = after_image(batch, spoken.vocabulary.image)
    with torch.no_grad():
        real, other = (token_losses(model, b, config.loss).cross_entropy for b in (batch, without_images(batch)))
    assert not ((real - other).abs() > 1e-5)[~behind].any()
    assert (real != other).any()


def test_others_images_are_a_derangement(made: Made) -> None:
    config, _, spoken = made
    batch = max(batches(config, spoken), key=lambda batch: batch.images)
    assert batch.images > 2
    for seed in range(20):
        other = with_others_images(batch, (seed,))
        same = (other.pixels == batch.pixels).flatten(1).all(1)
        assert not same.any()
        assert sorted(map(float, other.pixels.float().mean((1, 2, 3)))) == sorted(
            map(float, batch.pixels.float().mean((1, 2, 3)))
        )
    assert torch.equal(with_others_images(batch, (1,)).pixels, with_others_images(batch, (1,)).pixels)
    one = replace(batch, pixels=batch.pixels[:1], extent=batch.extent[:1], slots=batch.slots[:1])
    assert torch.equal(with_others_images(one, (1,), batch).pixels, batch.pixels[-1:])


def test_the_verdict_weighs_the_difference_against_its_error() -> None:
    def sums(zeroed: list[float], shuffled: list[float]) -> list[float]:
        count = len(zeroed)  # sequences of ten tokens, each token at 2 nats with its image
        return [
            *(10.0 * count, 20.0 * count, 20.0 * count + sum(zeroed), 20.0 * count + sum(shuffled), 100.0 * count),
            *(sum(d * d for d in zeroed), 10 * sum(zeroed), sum(d * d for d in shuffled), 10 * sum(shuffled)),
        ]

    steady, noise = [1.0, 1.2, 0.8, 1.0], [1.0, -1.0, 1.1, -1.1]
    found = sight(sums(steady, steady))
    assert found["sight"].startswith("the model looks: ")
    assert found["zeroed"] == pytest.approx(0.1)
    assert found["zeroed_error"] == pytest.approx(math.sqrt(0.04 + 0.04) / 40)
    assert sight(sums(steady, noise))["sight"].startswith("the model sees that there is an image, not which")
    assert sight(sums(noise, noise))["sight"].startswith("no sign that the model looks")
    assert sight([0.0] * 9) == {"sight": "no held-out text stands behind an image"}


def log_of(folder: Path, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["event"] == event]


def test_a_training_is_to_the_bit_what_it_is_without_validation(corpus: Path, tmp_path: Path) -> None:
    said: list[str] = []
    runs = []
    for every in (1, None):
        config = tiny(corpus, tmp_path / str(every), steps=3, validation={"every": every})
        runs.append(train(config, said.append))
    losses = [[step["loss"] for step in log_of(run, "step")] for run in runs]
    assert losses[0] == losses[1]
    weights = [(run / "model" / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]
    assert [event["step"] for event in log_of(runs[0], "validation")] == [1, 2, 3]
    assert [event["step"] for event in log_of(runs[1], "validation")] == [3]
    assert log_of(runs[0], "validation")[-1] == log_of(runs[1], "validation")[-1]
    assert sum(line.startswith("validation: loss ") for line in said) == 4


def test_what_is_held_out_is_named_or_found(corpus: Path, tmp_path: Path) -> None:
    config = tiny(corpus, tmp_path)
    assert [source.split for source in held_out(config)] == ["validation"]
    write_corpus(tmp_path / "other")
    bare = tiny(tmp_path / "other", tmp_path / "model", steps=1)
    assert held_out(bare) == []
    train(bare, lambda _: None)
    assert not log_of(tmp_path / "model", "validation")
    source = {"name": "held", "path": str(corpus), "split": "validation"}
    named = tiny(tmp_path / "other", tmp_path / "named", steps=1, validation={"sources": [source]})
    assert "loss/held" in log_of(train(named, lambda _: None), "validation")[0]
    asked = tiny(tmp_path / "other", tmp_path / "asked", validation={"every": 2})
    with pytest.raises(UserError, match=r"validation\.every: no source has a split validation"):
        train(asked, lambda _: None)


def test_labels_of_images_are_never_counted(made: Made) -> None:
    config, _, spoken = made
    for batch in batches(config, spoken):
        assert (batch.labels[batch.input_ids == spoken.vocabulary.image] == IGNORED).all()
