"""Idefics2 and Idefics3: the training pass has the numbers of transformers' own, for documents packed or alone."""

from typing import Any

import pytest
import torch
from transformers import Idefics2ForConditionalGeneration, Idefics3ForConditionalGeneration

from pipeline.training.batch import Batch
from pipeline.training.config import Lora, Parallel
from pipeline.training.freeze import is_adapter
from pipeline.training.image_forms import image_form
from pipeline.training.model import parts, token_losses
from tests.training_models import (
    FAMILIES,
    batch_of,
    build,
    configured,
    documents,
    logit_losses,
    logits,
    made,
    means,
    vocabulary_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")

AUTOREGRESSIVE = ("idefics2", "idefics3")
STOCK = {"idefics2": Idefics2ForConditionalGeneration, "idefics3": Idefics3ForConditionalGeneration}


def stock_of(family: str, model: Any) -> Any:
    stock = STOCK[family](model.config)
    stock.load_state_dict(model.state_dict())
    return stock.train()


def stock_logits(family: str, stock: Any, model: Any, batch: Batch) -> Any:
    """transformers' own forward over one document, with the images and masks that its processor would give."""
    pixels = model.normalised(batch.pixels)
    rows = torch.arange(batch.pixels.shape[1])
    real = (rows[None, :, None] < batch.extent[:, 0, None, None]) & (rows[None, None] < batch.extent[:, 1, None, None])
    images = (
        {"pixel_values": (pixels * real[:, None])[None], "pixel_attention_mask": real[None]} if batch.images else {}
    )
    return stock(input_ids=batch.input_ids, **images, use_cache=False).logits


@pytest.mark.parametrize("family", AUTOREGRESSIVE)
def test_losses_and_gradients_are_those_of_the_stock_model(family: str) -> None:
    config, vocabulary, form, model = made(family, train=["*"])
    stock = stock_of(family, model)
    windows = documents(config, form)
    packed = batch_of(vocabulary, form, windows, windows[1:])
    losses = token_losses(model, packed, config.loss)
    (means(losses)[0] + 0.1 * means(losses)[1]).backward()
    found, start, all_cross, all_z, count = logits(model, packed), {0: 0, 1: 0}, 0.0, 0.0, 0
    for row, part in enumerate((windows, windows[1:])):
        for one in part:
            alone = batch_of(vocabulary, form, [one], tokens=len(one.ids))
            expected = stock_logits(family, stock, model, alone)
            begin, end = start[row], start[row] + len(one.ids)
            assert (found[row, begin:end] - expected[0]).abs().max() < 2e-5
            start[row] = end
            mine = logit_losses(expected, alone.labels)
            all_cross, all_z = all_cross + mine.cross_entropy.sum(), all_z + mine.z.sum()
            count += int(mine.learned.sum())
    ((all_cross + 0.1 * all_z) / count).backward()  # type: ignore[attr-defined]
    assert count == int(losses.learned.sum())
    for name, parameter in model.named_parameters():
        mine, other = parameter.grad, stock.get_parameter(name).grad
        assert mine is not None, name
        assert (mine - other).abs().max() <= 2e-5 * max(1.0, float(other.abs().max())), name


@pytest.mark.parametrize("family", AUTOREGRESSIVE)
def test_a_batch_of_text_alone_has_gradients_of_zero_for_the_connector(family: str) -> None:
    config, vocabulary, form, model = made(family)
    batch = batch_of(vocabulary, form, [documents(config, form)[1]])
    assert not batch.images
    token_losses(model, batch, config.loss).cross_entropy.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and not p.grad.any() for p in trained)


@pytest.mark.parametrize("family", AUTOREGRESSIVE)
def test_only_the_connector_is_trained_unless_said_otherwise(family: str) -> None:
    config, _, _, model = made(family)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith("model.connector.")}
    sizes = {part.name: part.trained for part in parts(model)}
    assert sizes["connector"] == sum(sizes.values())
    assert config.model.family == family


@pytest.mark.parametrize("family", AUTOREGRESSIVE)
@pytest.mark.parametrize("train", [None, ["*"]], ids=["as published", "all"])
def test_half_precision_trains_fp32_weights(family: str, train: list[str] | None) -> None:
    exact = made(family, train=train)
    config = exact[0].model_copy(update={"parallel": Parallel(precision="bf16")})
    half = build(config, exact[1])
    assert {p.dtype for p in half.parameters() if p.requires_grad} == {torch.float32}
    batch = batch_of(exact[1], exact[2], documents(config, exact[2]))
    wanted, found = (token_losses(model, batch, config.loss) for model in (exact[3], half))
    assert (wanted.cross_entropy - found.cross_entropy).abs().max() < 0.05 * wanted.cross_entropy.max()
    found.cross_entropy.sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in half.parameters() if p.requires_grad)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_change_nothing_at_first_and_are_trained(family: str, dora: bool, precision: str) -> None:
    pytest.importorskip("peft")
    text = "model.layers" if family == "idefics" else "model.text_model.layers"
    lora = Lora(rank=2, alpha=4, dropout=0.0, dora=dora, targets=[f"{text}.*.q_proj", "*.vision_model.*.fc1"])
    config = configured(family).model_copy(update={"parallel": Parallel.model_validate({"precision": precision})})
    vocabulary = vocabulary_of(config)
    form = image_form(config, vocabulary)
    adapted = build(config.model_copy(update={"model": config.model.model_copy(update={"lora": lora})}), vocabulary)
    plain = build(config, vocabulary)
    batch = batch_of(vocabulary, form, documents(config, form), documents(config, form)[:1])
    one, other = (token_losses(model, batch, config.loss).cross_entropy for model in (plain, adapted))
    assert (one - other).abs().max() < (1e-5 if precision == "fp32" else 0.05)
    other.sum().backward()
    adapters = {name: p for name, p in adapted.named_parameters() if is_adapter(name)}
    assert len(adapters) == (3 if dora else 2) * (
        config.model.num_hidden_layers + config.model.vision.num_hidden_layers
    )
    assert all(p.requires_grad and p.grad is not None and p.dtype == torch.float32 for p in adapters.values())
    frozen = [name for name, p in adapted.named_parameters() if ".base_layer." in name and p.requires_grad]
    assert not frozen
