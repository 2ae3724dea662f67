"""Recomputed and compiled blocks give the losses and gradients of plain ones."""

import pytest
import torch

from pipeline.training.config import Parallel
from pipeline.training.image_forms import image_form
from pipeline.training.recompute import prepare_blocks
from tests.training_models import (
    FAMILIES,
    batch_of,
    build,
    configured,
    documents,
    gradients,
    open_gates,
    saved_by,
    vocabulary_of,
)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["selective", "full"])
def test_recomputed_blocks_have_the_same_gradients(family: str, how: str) -> None:
    config = configured(family)
    form = image_form(config, vocabulary_of(config))
    batch = batch_of(vocabulary_of(config), form, documents(config, form))
    plain, again = (open_gates(build(config, vocabulary_of(config))) for _ in range(2))
    prepare_blocks(again, Parallel.model_validate({"recompute": how}))
    expected = gradients(plain, [batch], config)
    for name, gradient in gradients(again, [batch], config).items():
        assert (gradient - expected[name]).abs().max() <= 1e-6 * max(1.0, float(expected[name].abs().max())), name


def test_full_recomputing_keeps_a_fraction() -> None:
    config = configured("idefics")
    form = image_form(config, vocabulary_of(config))
    batch = batch_of(vocabulary_of(config), form, documents(config, form))
    plain, again = (build(config, vocabulary_of(config)) for _ in range(2))
    prepare_blocks(again, Parallel(recompute="full"))
    assert saved_by(again, batch) < saved_by(plain, batch) / 2


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # dynamo's own access
@pytest.mark.parametrize(
    ("family", "how"),
    [
        ("idefics", "selective"),
        *(pytest.param(*each, marks=pytest.mark.slow) for each in (("idefics", "none"), ("idefics", "full"))),
        *(
            pytest.param(family, how, marks=pytest.mark.slow)
            for family in FAMILIES[1:]
            for how in ("none", "selective")
        ),
    ],
)
def test_compiled_blocks_have_no_break_and_the_same_gradients(family: str, how: str) -> None:
    """`aot_eager` traces forward and backward whole, and needs no compiler; one layer of a kind, for time."""
    config = configured(family)
    sizes = config.model.model_copy(
        update={
            "num_hidden_layers": 1,
            "cross_layer_interval": 1,
            "vision": config.model.vision.model_copy(update={"num_hidden_layers": 1}),
            "perceiver": config.model.perceiver.model_copy(update={"depth": 1}),
        }
    )
    config = config.model_copy(update={"model": sizes})
    form = image_form(config, vocabulary_of(config))
    batch = batch_of(vocabulary_of(config), form, documents(config, form))
    plain, made = (open_gates(build(config, vocabulary_of(config))) for _ in range(2))
    torch._dynamo.reset()
    prepare_blocks(made, Parallel.model_validate({"recompute": how, "compile": True}), backend="aot_eager")
    expected = gradients(plain, [batch], config)
    for name, gradient in gradients(made, [batch], config).items():
        assert (gradient - expected[name]).abs().max() <= 1e-5 * max(1.0, float(expected[name].abs().max())), name
