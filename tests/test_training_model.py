"""The model: what is trained, how it begins, and that a packed document is computed as if it stood alone."""

from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import IdeficsForVisionText2Text, LlamaConfig, LlamaForCausalLM
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

from pipeline.errors import UserError
from pipeline.training.batch import Batch
from pipeline.training.config import Model, Parallel, Vision
from pipeline.training.export import generation_config
from pipeline.training.freeze import PUBLISHED, freeze, trained_parameters
from pipeline.training.loss import TokenLosses
from pipeline.training.model import parts, skeleton, token_losses
from pipeline.training.optimizer import adamw, learning_rate
from pipeline.training.packing import Window
from pipeline.training.trained import self_attention
from tests import training_models
from tests.training_models import build, gradients, image_attention_mask, logit_losses, logits, means, open_gates
from tests.training_shards import BOS, BYTES, EOS, FORM, F, I, shown, tiny, window

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIG = tiny(Path("data"), Path("model"))


DOCUMENTS = [
    window("a", [BOS, 10, 11, F, I, F, 12, 13, F, I, F, I, F, 14, EOS], [shown(1), shown(2), shown(3)]),
    window("b", [BOS, 20, 21, 22, EOS], []),
    window("c", [BOS, F, I, F, 30, 31, 32, EOS], [shown(4)]),
    window("d", [BOS, 40, 41, 42, F, I, F, 43], [shown(5)]),  # cut: no end
]


@pytest.fixture(scope="module")
def model() -> Any:
    return open_gates(build(CONFIG, BYTES))


batch_of = partial(training_models.batch_of, BYTES, FORM, tokens=48)


def losses_of(model: Any, batch: Batch) -> TokenLosses:
    with torch.no_grad():
        return token_losses(model, batch, CONFIG.loss)


def test_a_packed_document_has_the_losses_it_has_alone(model: Any) -> None:
    packed = losses_of(model, batch_of(DOCUMENTS, DOCUMENTS[2:]))
    for row, windows in enumerate((DOCUMENTS, DOCUMENTS[2:])):
        start = 0
        for one in windows:
            end = start + len(one.ids)
            alone = losses_of(model, batch_of([one], tokens=len(one.ids)))
            assert torch.equal(packed.learned[row, start:end], alone.learned[0])
            assert (packed.cross_entropy[row, start:end] - alone.cross_entropy[0]).abs().max() < 1e-5
            assert (packed.z[row, start:end] - alone.z[0]).abs().max() < 1e-4  # squares of about 6
            start = end
    assert not packed.learned[0, 36:].any()


def test_a_packed_document_has_the_gradients_it_has_alone(model: Any) -> None:
    packed = gradients(model, [batch_of(DOCUMENTS)], CONFIG)
    alone = gradients(model, [batch_of([one]) for one in DOCUMENTS], CONFIG)
    for name, gradient in packed.items():
        assert (gradient - alone[name]).abs().max() <= 1e-4 * max(1.0, float(alone[name].abs().max())), name


def test_an_image_changes_only_what_follows_it_in_its_document(model: Any) -> None:
    other = [DOCUMENTS[0], DOCUMENTS[1], window("c", DOCUMENTS[2].ids, [shown(9)]), DOCUMENTS[3]]
    with torch.no_grad():
        one, two = (logits(model, batch_of(windows))[0] for windows in (DOCUMENTS, other))
    differs = (one - two).abs().amax(-1) > 1e-6
    first = 15 + 5 + 2  # the image's place in the third document
    assert differs.nonzero().flatten().tolist() == list(range(first, 15 + 5 + 8))


def stock_of(model: Any) -> Any:
    """transformers' own model with the same weights."""
    stock = IdeficsForVisionText2Text(model.config)
    stock.load_state_dict(model.state_dict())
    for name, parameter in stock.named_parameters():
        parameter.requires_grad_(model.get_parameter(name).requires_grad)
    return stock.train()


def stock_logits(stock: Any, batch: Batch, pixels: Any) -> Any:
    return stock(
        input_ids=batch.input_ids,
        attention_mask=self_attention(batch.document, torch.float32) == 0,
        position_ids=batch.position,
        pixel_values=pixels,
        image_attention_mask=image_attention_mask(batch.image, batch.places),
    ).logits


def padded_pixels(model: Any, batch: Batch) -> Any:
    pixels = torch.zeros(len(batch.input_ids), batch.places, 3, 28, 28)
    pixels[batch.slots[:, 0], batch.slots[:, 1]] = model.normalised(batch.pixels)
    return pixels


@pytest.mark.parametrize(
    "sequences",
    [[DOCUMENTS], [DOCUMENTS, [DOCUMENTS[1], DOCUMENTS[3]]], [[one] for one in DOCUMENTS], [[DOCUMENTS[1]]]],
    ids=["packed", "of other lengths", "unpacked", "text alone"],
)
@pytest.mark.parametrize("train", [None, ["*"]], ids=["as published", "all"])
def test_logits_and_gradients_are_those_of_the_stock_model_fed_with_pixels(
    sequences: list[list[Window]], train: list[str] | None
) -> None:
    sizes = CONFIG.model.model_copy(update={"train": train})
    model = open_gates(build(CONFIG.model_copy(update={"model": sizes}), BYTES))
    stock, batch = stock_of(model), batch_of(*sequences)
    expected = stock_logits(stock, batch, padded_pixels(model, batch))
    real = batch.document >= 0
    with torch.no_grad():
        assert (logits(model, batch) - expected)[real].abs().max() < 1e-5
    for losses in (logit_losses(expected, batch.labels), token_losses(model, batch, CONFIG.loss)):
        cross_entropy, z = means(losses)
        (cross_entropy + 0.1 * z).backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            mine, other = parameter.grad, stock.get_parameter(name).grad
            assert mine is not None, name
            other = torch.zeros_like(mine) if other is None else other
            assert (mine - other).abs().max() <= 2e-5 * max(1.0, float(other.abs().max())), name


def test_the_perceiver_by_sdpa_is_the_stock_perceiver(model: Any) -> None:
    context = torch.randn(3, 5, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        stock = stock_of(model).model.perceiver_resampler(context)
        assert (model.model.perceiver_resampler(context) - stock).abs().max() < 1e-5


def test_with_closed_gates_the_model_is_its_language_model() -> None:
    built, batch = build(CONFIG, BYTES), batch_of(DOCUMENTS)
    sizes = built.config
    llama = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=sizes.vocab_size + sizes.additional_vocab_size,
            hidden_size=sizes.hidden_size,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            attn_implementation="sdpa",
        )
    )
    state = built.state_dict()
    words, more = state["model.embed_tokens.weight"], state["model.embed_tokens.additional_embedding.weight"]
    state["model.embed_tokens.weight"] = torch.cat([words, more])
    state["lm_head.weight"] = torch.cat([state["lm_head.weight"], state["lm_head.additional_fc.weight"]])
    llama.load_state_dict({name: state[name] for name in llama.state_dict()})
    with torch.no_grad():
        alone = llama(
            input_ids=batch.input_ids,
            attention_mask=self_attention(batch.document, torch.float32) == 0,
            position_ids=batch.position,
        ).logits
        assert (logits(built, batch) - alone).abs().max() < 1e-5


def test_generation_goes_through_the_same_model(model: Any) -> None:
    """Its own forward has a cache; greedy, it writes what the training pass would."""
    ids = torch.tensor([[BOS, 10, 11, F, I, F, 12]])
    pixels = model.normalised(torch.from_numpy(shown(1).pixels))[None]
    seen = torch.tensor([[0, 0, 0, 0, 1, 1, 1]])[..., None]
    model.eval()
    answer = model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=pixels,
        image_attention_mask=seen,
        generation_config=generation_config(BYTES, max_new_tokens=6),
    )
    model.train()
    text = [BOS, 10, 11, F, I, F, 12]
    for _ in range(6):
        batch = batch_of([window("a", text, [shown(1)])], tokens=len(text))
        with torch.no_grad():
            text = [*text, int(logits(model, batch)[0, -1, :F].argmax())]
    assert answer[0].tolist() == text


def test_half_precision_keeps_trained_weights_in_fp32_and_frozen_ones_in_bf16() -> None:
    exact, batch = open_gates(build(CONFIG, BYTES)), batch_of(DOCUMENTS)
    half = open_gates(build(CONFIG.model_copy(update={"parallel": Parallel(precision="bf16")}), BYTES))
    kinds = {(parameter.requires_grad, parameter.dtype) for parameter in half.parameters()}
    assert kinds == {(True, torch.float32), (False, torch.bfloat16)}
    wanted, found = (token_losses(built, batch, CONFIG.loss) for built in (exact, half))
    assert found.cross_entropy.dtype == torch.float32
    assert (wanted.cross_entropy - found.cross_entropy).abs().max() < 0.05 * wanted.cross_entropy.max()
    found.cross_entropy.sum().backward()
    gradients = [parameter.grad for parameter in half.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.dtype == torch.float32 for gradient in gradients)


def test_everything_trained_in_half_precision_computes_in_bf16() -> None:
    sizes = CONFIG.model.model_copy(update={"train": ["*"]})
    changed = CONFIG.model_copy(update={"parallel": Parallel(precision="bf16"), "model": sizes})
    built = open_gates(build(changed, BYTES))
    assert built.hidden_states(batch_of(DOCUMENTS)).dtype == torch.bfloat16
    losses = token_losses(built, batch_of(DOCUMENTS), CONFIG.loss)
    losses.cross_entropy.sum().backward()
    trained = [parameter for parameter in built.parameters() if parameter.requires_grad]
    assert all(p.dtype == torch.float32 and p.grad is not None for p in trained)


def test_blocks_hold_all_but_the_ends_of_the_model(model: Any) -> None:
    inside = {id(parameter) for block in model.units() for parameter in block.parameters()}
    outside = {name for name, parameter in model.named_parameters() if id(parameter) not in inside}
    assert all(
        name.startswith(("model.embed_tokens", "lm_head", "model.norm", "model.vision_model.")) for name in outside
    )
    assert not any("layers." in name for name in outside)


def test_pixels_are_normalised_as_the_stock_processor_does(model: Any) -> None:
    stock = IdeficsImageProcessorPil(image_size=28)([shown(1).pixels[0]], return_tensors="pt")
    assert (model.normalised(torch.from_numpy(shown(1).pixels)) - stock).abs().max() < 1e-6


def test_a_batch_of_text_alone_is_computed_and_trained(model: Any) -> None:
    batch = batch_of([DOCUMENTS[1]])
    model.zero_grad()
    loss, _ = means(token_losses(model, batch, CONFIG.loss))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with_dummy = model(
        input_ids=batch.input_ids[:, :5],
        pixel_values=torch.randn(1, 1, 3, 28, 28),
        image_attention_mask=torch.zeros(1, 5, 1, dtype=torch.int64),
    ).logits
    assert (logits(model, batch)[:, :5] - with_dummy).abs().max() < 1e-5


def test_only_cross_attention_perceiver_and_new_tokens_are_trained() -> None:
    built = build(CONFIG, BYTES)
    trained = {name for name, p in built.named_parameters() if p.requires_grad}
    frozen = {name for name, p in built.named_parameters() if not p.requires_grad}
    assert all(any(fnmatchcase(name, pattern) for pattern in PUBLISHED["idefics"]) for name in trained)
    assert {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"} <= frozen
    assert any(name.startswith("model.vision_model.") for name in frozen)
    assert any(name.startswith("model.layers.") for name in frozen)
    assert sum(part.trained for part in parts(built)) == trained_parameters(built.config)
    assert sum(part.parameters for part in parts(built)) == sum(p.numel() for p in built.parameters())


def test_freezing_holds_after_a_load_and_is_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    build(CONFIG, BYTES).save_pretrained(tmp_path)
    loaded = IdeficsForVisionText2Text.from_pretrained(tmp_path)
    freeze(loaded, CONFIG.model)
    assert sum(p.numel() for p in loaded.parameters() if p.requires_grad) == trained_parameters(loaded.config)
    del loaded.model.gated_cross_attn_layers[1]
    with pytest.raises(ValueError, match="parameters to train, expected"):
        freeze(loaded, CONFIG.model)


def test_what_is_trained_can_be_chosen_and_a_pattern_that_finds_nothing_is_refused() -> None:
    chosen = CONFIG.model.model_copy(update={"train": ["model.layers.3.*", "lm_head.*"]})
    built = build(CONFIG.model_copy(update={"model": chosen}), BYTES)
    trained = {name for name, p in built.named_parameters() if p.requires_grad}
    assert {name.split(".")[2] for name in trained if name.startswith("model.layers.")} == {"3"}
    assert {"lm_head.weight", "lm_head.additional_fc.weight"} <= trained
    assert not any("perceiver" in name for name in trained)
    with pytest.raises(UserError, match=r"model\.train: no parameter is called model\.layer\.\*"):
        freeze(built, CONFIG.model.model_copy(update={"train": ["lm_head.*", "model.layer.*"]}))


def test_the_published_sizes_have_the_published_number_of_trained_parameters() -> None:
    vision = Vision(embed_dim=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16)
    nine_billion = Model(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, vision=vision
    )
    words = replace(BYTES, size=32000)
    model = skeleton(CONFIG.model_copy(update={"model": nine_billion}), words)
    assert round(trained_parameters(model.config) / 1e6) == 1560
    sizes = {part.name: round(part.parameters / 1e6, 1) for part in parts(model)}
    assert sizes["vision encoder"] == 630.8
    assert sizes["gated cross-attention"] == 1434.5
    assert sizes["perceiver"] == 126.0
    assert round(sum(sizes.values())) == 8930


def test_trained_parts_begin_as_their_makers_drew_them() -> None:
    wide = CONFIG.model.model_copy(update={"hidden_size": 128, "intermediate_size": 256})
    built = build(CONFIG.model_copy(update={"model": wide}), BYTES)
    state = built.state_dict()
    vision, depth = wide.vision.embed_dim, 2 * wide.num_hidden_layers
    block, perceiver = "model.gated_cross_attn_layers.0", "model.perceiver_resampler"
    for name, deviation in {
        f"{block}.cross_attn.q_proj.weight": (0.4 / 128) ** 0.5,
        f"{block}.cross_attn.k_proj.weight": (0.4 / vision) ** 0.5,
        f"{block}.mlp.up_proj.weight": (0.4 / 128) ** 0.5,
        f"{block}.mlp.down_proj.weight": (0.4 / (256 * depth)) ** 0.5,
        f"{perceiver}.blocks.0.0.q_proj.weight": (0.4 / vision) ** 0.5,
        f"{perceiver}.blocks.1.1.fc.weight": (0.4 / vision) ** 0.5,
        f"{perceiver}.blocks.1.1.c_proj.weight": (0.4 / (vision * depth)) ** 0.5,
        f"{perceiver}.latents": vision**-0.5,
        "model.embed_tokens.additional_embedding.weight": 128**-0.5,
        "lm_head.additional_fc.weight": 128**-0.5,
        "model.layers.0.mlp.up_proj.weight": wide.initializer_range,
    }.items():
        tolerance = 4 * deviation / (2 * state[name].numel()) ** 0.5  # four standard errors
        assert abs(float(state[name].std()) - deviation) < tolerance, name
        assert abs(float(state[name].mean())) < 4 * deviation / state[name].numel() ** 0.5, name
    assert all(not state[name].any() for name in state if "alpha" in name)
    assert all((state[name] == 1).all() for name in state if "norm" in name and name.endswith("weight"))


def test_with_closed_gates_images_change_nothing() -> None:
    built = build(CONFIG, BYTES)
    other = [window("a", DOCUMENTS[0].ids, [shown(7), shown(8), shown(9)])]
    with torch.no_grad():
        assert torch.equal(logits(built, batch_of([DOCUMENTS[0]])), logits(built, batch_of(other)))


def test_the_same_seed_draws_the_same_weights_and_leaves_torch_alone() -> None:
    before = torch.random.get_rng_state()
    one, two, three = (build(CONFIG.model_copy(update={"seed": seed}), BYTES).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.perceiver_resampler.latents"], three["model.perceiver_resampler.latents"])


def test_gates_biases_norms_and_the_perceiver_have_no_weight_decay() -> None:
    built = build(CONFIG, BYTES)
    decayed, free = adamw(built, CONFIG.optimizer).param_groups
    names = {id(parameter): name for name, parameter in built.named_parameters()}
    with_decay = {names[id(p)] for p in decayed["params"]}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert "model.gated_cross_attn_layers.0.mlp.up_proj.weight" in with_decay
    assert not any(part in name for name in with_decay for part in ("norm", "alpha", "perceiver", "bias"))
    assert len(decayed["params"]) + len(free["params"]) == sum(p.requires_grad for p in built.parameters())


def test_the_learning_rate_warms_up_and_falls_in_straight_lines() -> None:
    settings = CONFIG.optimizer.model_copy(update={"learning_rate": 0.5, "final_learning_rate": 0.1, "warmup_steps": 2})
    rates = [learning_rate(step, 7, settings) for step in range(7)]
    assert rates == pytest.approx([0.25, 0.5, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert learning_rate(0, 1, settings.model_copy(update={"warmup_steps": 0})) == 0.5


def test_additional_tokens_are_the_two_of_idefics() -> None:
    config = build(CONFIG, BYTES).config
    assert (config.vocab_size, config.additional_vocab_size) == (300, 2)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
