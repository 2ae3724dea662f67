"""What a training will take is known before it begins, and what does not fit is refused by name."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import UserError
from pipeline.training import memory as memory_module
from pipeline.training.config import Parallel
from pipeline.training.image_forms import image_form
from pipeline.training.memory import activations, available, memory, pictures, require, size
from pipeline.training.model import build, skeleton
from pipeline.training.plan import plan
from tests.test_training_families import batch_of, documents, settings, words
from tests.training_shards import tiny


def saved_by(model: Any, batch: Any) -> int:
    """Bytes that autograd really keeps over a pass, without weights."""
    kept: dict[int, int] = {}
    held = []

    def keep(tensor: Any) -> Any:
        held.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held.append(model.hidden_states(batch))
    return sum(number for pointer, number in kept.items() if pointer not in weights)


@pytest.mark.parametrize("family", ["idefics", "idefics2", "idefics3"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_those_that_autograd_keeps(
    family: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(family) if family != "idefics" else tiny(Path("data"), Path("model"))
    config = config.model_copy(
        update={
            "parallel": Parallel.model_validate({"precision": precision}),
            "batch_size": 1,
            "packing": config.packing.model_copy(update={"tokens": 160}),
        }
    )
    form, model = image_form(config, words(config)), build(config, words(config))
    batch = batch_of(words(config), form, documents(config, form), tokens=160)
    monkeypatch.setattr(memory_module, "pictures", lambda *_: batch.images)
    expected = activations(skeleton(config, words(config)), config)[0]
    assert saved_by(model, batch) == pytest.approx(expected, rel=0.12)


def test_recomputing_keeps_less_and_pieces_weigh_less() -> None:
    config = tiny(Path("data"), Path("model"))
    kept = {}
    for how in ("none", "selective", "full"):
        changed = config.model_copy(update={"parallel": Parallel(recompute=how)})
        kept[how] = memory(skeleton(changed, words(config)), changed).activations
    assert kept["full"] < kept["selective"] < kept["none"]
    model = skeleton(config, words(config))
    whole, pieces = memory(model, config), memory(model, config, 4)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (whole.gradients, whole.moments) == (4 * trained, 8 * trained)
    assert whole.weights == 4 * sum(p.numel() for p in model.parameters())
    assert abs(pieces.weights - whole.weights / 4) <= 1
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_does_not_fit_is_said_with_what_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    config = tiny(Path("data"), Path("model"))
    model = skeleton(config, words(config))
    require(model, config, "cpu", 1)
    needed = memory(model, config).total
    monkeypatch.setattr(memory_module, "available", lambda _: needed * 2 // 3)
    with pytest.raises(UserError) as caught:
        require(model, config, "cpu", 1)
    said = str(caught.value)
    assert "\n" not in said
    assert f"training takes about {size(needed)} on cpu (weights " in said
    assert "a smaller micro_batch" in said
    assert "parallel.precision bf16" in said


def test_free_memory_is_what_the_system_says() -> None:
    assert (available("cpu") or 0) > 10**7


def test_pictures_are_bounded_by_their_tokens() -> None:
    idefics2, idefics3 = settings("idefics2"), settings("idefics3")
    assert pictures(skeleton(idefics2, words(idefics2)), idefics2) == 4
    assert pictures(skeleton(idefics3, words(idefics3)), idefics3) == min(4 * 5, 100 // 4)


def test_the_plan_says_what_fits_and_how_fast(tmp_path: Path) -> None:
    config = tiny(tmp_path, tmp_path / "model")
    said = plan(config)
    assert "on each of 1 H200 (141 GB), the model whole: fits" in said
    assert "tokens/s at 40% of 1 x 989 TFLOP/s" in said
    unknown = config.model_copy(update={"plan": config.plan.model_copy(update={"device": "abacus"})})
    with pytest.raises(UserError, match=r"plan\.device abacus: unknown; known are GB200"):
        plan(unknown)
