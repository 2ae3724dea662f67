"""What a training will take is known before it begins, and what does not fit is refused by name."""

from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.training import memory as memory_module
from pipeline.training.config import Parallel
from pipeline.training.flops import PEAKS
from pipeline.training.image_forms import image_form
from pipeline.training.memory import DEVICES, activations, available, memory, pictures, require, size
from pipeline.training.model import skeleton
from pipeline.training.plan import plan
from tests.training_models import FAMILIES, batch_of, build, configured, documents, saved_by, vocabulary_of
from tests.training_shards import tiny


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_activations_are_those_that_autograd_keeps(
    family: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(family)
    config = config.model_copy(
        update={
            "parallel": Parallel.model_validate({"precision": precision}),
            "batch_size": 1,
            "packing": config.packing.model_copy(update={"tokens": 160}),
        }
    )
    form, model = image_form(config, vocabulary_of(config)), build(config, vocabulary_of(config))
    batch = batch_of(vocabulary_of(config), form, documents(config, form), tokens=160)
    monkeypatch.setattr(memory_module, "pictures", lambda *_: batch.images)
    expected = activations(skeleton(config, vocabulary_of(config)), config)[0]
    assert saved_by(model, batch) == pytest.approx(expected, rel=0.12)


def test_recomputing_keeps_less_and_pieces_weigh_less() -> None:
    config = configured("idefics")
    kept = {}
    for how in ("none", "selective", "full"):
        changed = config.model_copy(update={"parallel": Parallel(recompute=how)})
        kept[how] = memory(skeleton(changed, vocabulary_of(config)), changed).activations
    assert kept["full"] < kept["selective"] < kept["none"]
    model = skeleton(config, vocabulary_of(config))
    whole, pieces = memory(model, config), memory(model, config, 4)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert (whole.gradients, whole.moments) == (4 * trained, 8 * trained)
    assert whole.weights == 4 * sum(p.numel() for p in model.parameters())
    assert abs(pieces.weights - whole.weights / 4) <= 1
    assert all(parameter.is_meta for parameter in model.parameters())


def test_what_does_not_fit_is_said_with_what_may_help(monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured("idefics")
    model = skeleton(config, vocabulary_of(config))
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
    idefics2, idefics3 = configured("idefics2"), configured("idefics3")
    assert pictures(skeleton(idefics2, vocabulary_of(idefics2)), idefics2) == 4
    assert pictures(skeleton(idefics3, vocabulary_of(idefics3)), idefics3) == min(4 * 5, 100 // 4)


def test_the_plan_says_what_fits_and_how_fast(tmp_path: Path) -> None:
    config = tiny(tmp_path, tmp_path / "model")
    said = plan(config)
    assert "on each of 1 H200 (141 GB), the model whole: fits" in said
    assert "tokens/s at 40% of 1 x 989 TFLOP/s" in said
    unknown = config.model_copy(update={"plan": config.plan.model_copy(update={"device": "abacus"})})
    with pytest.raises(UserError, match=r"plan\.device abacus: unknown; known are GB200"):
        plan(unknown)


def test_a_device_that_is_known_by_its_speed_is_known_by_its_memory() -> None:
    assert all(any(known in name for known in DEVICES) for name in PEAKS)
