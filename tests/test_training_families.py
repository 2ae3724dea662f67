"""Idefics2 and Idefics3: the training pass has the numbers of transformers' own, for documents packed or alone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Idefics2ForConditionalGeneration, Idefics3ForConditionalGeneration

from pipeline.training.batch import Batch, collate
from pipeline.training.config import Lora, Parallel, TrainConfig
from pipeline.training.data import decode
from pipeline.training.freeze import is_adapter
from pipeline.training.image_forms import ImageForm, Pictures, image_form, special_tokens
from pipeline.training.loss import logit_losses, means
from pipeline.training.model import build, logits, parts, token_losses
from pipeline.training.packing import Window, assemble
from pipeline.training.tokenizer import Vocabulary
from tests.training_shards import BOS, EOS, F, I, picture, tiny

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILIES = ("idefics2", "idefics3")
STOCK = {"idefics2": Idefics2ForConditionalGeneration, "idefics3": Idefics3ForConditionalGeneration}


def settings(family: str, **model: Any) -> TrainConfig:
    raw = tiny(Path("data"), Path("model")).model_dump()
    raw["model"] |= {"family": family, "num_key_value_heads": 2, "cross_layer_interval": 1} | model
    raw["model"]["vision"] |= {"patch_size": 7, "hidden_act": "gelu_pytorch_tanh"}
    raw["model"]["perceiver"] |= {"n_key_value_heads": 1}
    raw["images"] |= {"longest": 56, "shortest": 14}
    raw["packing"] |= {"tokens": 100}
    return TrainConfig.model_validate(raw)


def words(config: TrainConfig) -> Vocabulary:
    named = {token: 302 + number for number, token in enumerate(special_tokens(config))}
    return Vocabulary(
        lambda text: [3 + byte for byte in text.encode()], 300, 0, BOS, EOS, F, I, named, 302 + len(named)
    )


def shown(config: TrainConfig, form: ImageForm, seed: int, size: tuple[int, int]) -> Pictures:
    found = decode(picture(seed, size=size), form, config.data)
    assert found is not None
    return found


def documents(config: TrainConfig, form: ImageForm) -> list[Window]:
    """Two images that are wide and high, none, one."""
    wide, high, small = (shown(config, form, n, size) for n, size in ((1, (40, 20)), (2, (20, 40)), (3, (30, 30))))

    def window(key: str, *pieces: list[int] | Pictures) -> Window:
        ids, images = [BOS], []
        for piece in pieces:
            if isinstance(piece, list):
                ids += piece
            else:
                ids += [F, *form.ids(piece), F]
                images.append(piece)
        return Window(key, ids, images, [3 <= i < F for i in ids], 0)

    return [
        window("a", [10, 11], wide, [12, 13]),
        window("b", [20, 21, 22, EOS]),
        window("c", high, [30, 31], small, [32]),
    ]


def made(family: str, **model: Any) -> tuple[TrainConfig, Vocabulary, ImageForm, Any]:
    config = settings(family, **model)
    vocabulary = words(config)
    return config, vocabulary, image_form(config, vocabulary), build(config, vocabulary)


def batch_of(vocabulary: Vocabulary, form: ImageForm, *sequences: list[Window], tokens: int = 160) -> Batch:
    return collate([assemble(windows, vocabulary, tokens) for windows in sequences], vocabulary, form)


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


@pytest.mark.parametrize("family", FAMILIES)
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


@pytest.mark.parametrize("family", FAMILIES)
def test_a_batch_of_text_alone_has_gradients_of_zero_for_the_connector(family: str) -> None:
    config, vocabulary, form, model = made(family)
    batch = batch_of(vocabulary, form, [documents(config, form)[1]])
    assert not batch.images
    token_losses(model, batch, config.loss).cross_entropy.sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert trained
    assert all(p.grad is not None and not p.grad.any() for p in trained)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_connector_is_trained_unless_said_otherwise(family: str) -> None:
    config, _, _, model = made(family)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in model.named_parameters() if name.startswith("model.connector.")}
    sizes = {part.name: part.trained for part in parts(model)}
    assert sizes["connector"] == sum(sizes.values())
    assert config.model.family == family


@pytest.mark.parametrize("family", FAMILIES)
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


@pytest.mark.parametrize("family", ["idefics", *FAMILIES])
@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_adapters_change_nothing_at_first_and_are_trained(family: str, dora: bool, precision: str) -> None:
    pytest.importorskip("peft")
    text = "model.layers" if family == "idefics" else "model.text_model.layers"
    lora = Lora(rank=2, alpha=4, dropout=0.0, dora=dora, targets=[f"{text}.*.q_proj", "*.vision_model.*.fc1"])
    config = settings(family) if family != "idefics" else tiny(Path("data"), Path("model"))
    config = config.model_copy(update={"parallel": Parallel.model_validate({"precision": precision})})
    vocabulary = words(config)
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
