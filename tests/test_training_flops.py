"""Operations by formula are those that torch counts; trained and frozen parts are charged what they cost."""

from dataclasses import replace
from typing import Any

import pytest
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from pipeline.training.config import Model, Parallel, TrainConfig, Vision
from pipeline.training.flops import PEAKS, peak, work
from pipeline.training.image_forms import image_form
from pipeline.training.model import skeleton, token_losses
from pipeline.training.recompute import prepare_blocks
from tests.training_models import FAMILIES, batch_of, build, configured, documents, vocabulary_of
from tests.training_shards import BYTES


def counted(model: Any, batch: Any, config: TrainConfig) -> dict[str, float]:
    """What torch counts of forward and backward, by operation; attention as plain products (bmm)."""
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        token_losses(model, batch, config.loss).cross_entropy.sum().backward()
    return {str(operation): number for operation, number in counter.get_flop_counts()["Global"].items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("train", "recompute", "over"),
    [
        (None, "none", 1e-9),
        (["*"], "none", 1e-9),
        (None, "selective", 1e-9),
        (None, "full", 0.07),
        (["lm_head.*", "model.*layers.*.up_proj.weight"], "none", 0.1),
    ],
)
def test_multiplications_are_those_that_torch_counts(
    family: str, train: list[str] | None, recompute: str, over: float
) -> None:
    """Exactly where blocks are kept and trained whole or not at all; else a few of a hundred too many."""
    config = configured(family, train=train)
    vocabulary = vocabulary_of(config)
    form, model = image_form(config, vocabulary), build(config, vocabulary)
    prepare_blocks(model, Parallel.model_validate({"recompute": recompute}))
    batch = batch_of(vocabulary, form, documents(config, form), documents(config, form)[1:])
    plain = {name: number for name, number in counted(model, batch, config).items() if "bmm" not in name}
    found = work(model, batch.input_ids.shape[1], recompute, attention=False).of(batch)[1]
    assert 0 <= found / sum(plain.values()) - 1 <= over


def test_attention_is_counted_once_for_each_key_that_is_seen() -> None:
    """One sequence without padding among its images: what the masks leave of the products that torch counts."""
    config = configured("idefics", train=["*"])
    form, model = image_form(config, vocabulary_of(config)), build(config, vocabulary_of(config))
    one = documents(config, form)[2]
    batch = batch_of(vocabulary_of(config), form, [one], tokens=len(one.ids))
    products = sum(number for name, number in counted(model, batch, config).items() if "bmm" in name)
    (whole, _), (plain, _) = (work(model, len(one.ids), attention=attention).of(batch) for attention in (True, False))
    length, images, layers = len(one.ids), batch.images, config.model.num_hidden_layers
    causal = 3 * 2 * length * length * config.model.hidden_size * layers  # half of what is computed
    blocks, latents = layers // config.model.cross_layer_interval, config.model.perceiver.n_latents
    others = 3 * 4 * length * latents * (images - 1) * config.model.hidden_size * blocks
    assert whole - plain == products - causal - others


def test_the_published_sizes_take_what_was_derived_for_them() -> None:
    """38.6 TFLOP a sequence of 1,024 tokens with 5 images, 54.9 with full recomputing; 4 operations a frozen parameter."""
    nine_billion = Model(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=32,
        num_attention_heads=32,
        vision=Vision(embed_dim=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16),
    )
    config = configured("idefics").model_copy(update={"model": nine_billion})
    model = skeleton(config, replace(BYTES, size=32000))
    ours, hardware = work(model, 1024).among(1, 5)
    assert ours / 1e12 == pytest.approx(38.6, rel=0.01)
    assert work(model, 1024, "full").among(1, 5)[1] / 1e12 == pytest.approx(54.9, rel=0.05)
    assert 0 < (hardware - ours) / ours < 0.01


def test_a_batch_is_counted_by_its_shape() -> None:
    config = configured("idefics")
    form, model = image_form(config, vocabulary_of(config)), build(config, vocabulary_of(config))
    one, two = (batch_of(vocabulary_of(config), form, *[documents(config, form)] * number) for number in (1, 2))
    amount = work(model, one.input_ids.shape[1])
    assert amount.of(two)[0] == pytest.approx(2 * amount.of(one)[0])


def test_a_device_is_known_by_its_name() -> None:
    assert peak("NVIDIA H200") == PEAKS["H200"] == 989e12
    assert peak("NVIDIA GH200 480GB") == 989e12
    assert peak("NVIDIA A100-SXM4-80GB") == 312e12
    assert peak("NVIDIA H100 PCIe") == 756e12
    assert peak("NVIDIA L40S") == 362e12
    assert peak("Some other device") is None
