"""The model: what is trained, how it begins, and that a packed document is computed as if it stood alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import IdeficsForVisionText2Text
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

from pipeline.training.batch import Batch, collate, image_attention_mask, self_attention_mask
from pipeline.training.config import Model, Vision
from pipeline.training.loss import TokenLosses, means, token_losses
from pipeline.training.model import (
    ADDITIONAL_TOKENS,
    TRAINED,
    build,
    freeze,
    idefics_config,
    logits,
    normalise,
    parts,
    trained_parameters,
)
from pipeline.training.optimizer import adamw, learning_rate
from pipeline.training.packing import IGNORED, Window, assemble
from tests.training_shards import BOS, BYTES, EOS, FORM, F, I, shown, tiny, window

CONFIG = tiny(Path("data"), Path("model"))


DOCUMENTS = [
    window("a", [BOS, 10, 11, F, I, F, 12, 13, F, I, F, I, F, 14, EOS], [shown(1), shown(2), shown(3)]),
    window("b", [BOS, 20, 21, 22, EOS], []),
    window("c", [BOS, F, I, F, 30, 31, 32, EOS], [shown(4)]),
    window("d", [BOS, 40, 41, 42, F, I, F, 43], [shown(5)]),  # cut: no end
]


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Models this small only wait for one another's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> Any:
    """A model whose gates are open, so that images count."""
    built = build(CONFIG.model, BYTES, 0)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if "alpha" in name:
                parameter.fill_(0.7)
    return built


def batch_of(*sequences: list[Window], tokens: int = 48) -> Batch:
    return collate([assemble(windows, BYTES, tokens) for windows in sequences], BYTES, FORM)


def losses_of(model: Any, batch: Batch) -> TokenLosses:
    with torch.no_grad():
        return token_losses(logits(model, batch), batch.labels)


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
    def gradients(*batches: Batch) -> dict[str, Any]:
        model.zero_grad()
        for batch in batches:
            token_losses(logits(model, batch), batch.labels).cross_entropy.sum().backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}

    packed, alone = gradients(batch_of(DOCUMENTS)), gradients(*(batch_of([window]) for window in DOCUMENTS))
    for name, gradient in packed.items():
        assert (gradient - alone[name]).abs().max() <= 1e-4 * max(1.0, float(alone[name].abs().max())), name


def test_an_image_changes_only_what_follows_it_in_its_document(model: Any) -> None:
    other = [DOCUMENTS[0], DOCUMENTS[1], window("c", DOCUMENTS[2].ids, [shown(9)]), DOCUMENTS[3]]
    with torch.no_grad():
        one, two = (logits(model, batch_of(windows))[0] for windows in (DOCUMENTS, other))
    differs = (one - two).abs().amax(-1) > 1e-6
    first = 15 + 5 + 2  # the image's place in the third document
    assert differs.nonzero().flatten().tolist() == list(range(first, 15 + 5 + 8))


def test_logits_are_those_of_the_stock_model_fed_with_pixels(model: Any) -> None:
    batch = batch_of(DOCUMENTS, [DOCUMENTS[1], DOCUMENTS[3]])
    pixels = torch.zeros(2, batch.places, 3, 28, 28)
    pixels[batch.slots[:, 0], batch.slots[:, 1]] = normalise(batch.pixels)
    with torch.no_grad():
        stock = model(
            input_ids=batch.input_ids,
            attention_mask=self_attention_mask(batch.document),
            position_ids=batch.position,
            pixel_values=pixels,
            image_attention_mask=image_attention_mask(batch.image, batch.places),
        ).logits
        assert (logits(model, batch) - stock).abs().max() < 1e-5


def test_pixels_are_normalised_as_the_stock_processor_does() -> None:
    stock = IdeficsImageProcessorPil(image_size=28)([shown(1).pixels[0]], return_tensors="pt")
    assert (normalise(torch.from_numpy(shown(1).pixels)) - stock).abs().max() < 1e-6


def test_a_batch_of_text_alone_is_computed_and_trained(model: Any) -> None:
    batch = batch_of([DOCUMENTS[1]])
    model.zero_grad()
    loss, _ = means(token_losses(logits(model, batch), batch.labels))
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
    built = build(CONFIG.model, BYTES, 0)
    trained = {name for name, p in built.named_parameters() if p.requires_grad}
    frozen = {name for name, p in built.named_parameters() if not p.requires_grad}
    assert all(name.startswith(TRAINED) for name in trained)
    assert {"lm_head.weight", "model.embed_tokens.weight", "model.norm.weight"} <= frozen
    assert any(name.startswith("model.vision_model.") for name in frozen)
    assert any(name.startswith("model.layers.") for name in frozen)
    assert sum(part.trained for part in parts(built)) == trained_parameters(built.config)
    assert sum(part.parameters for part in parts(built)) == sum(p.numel() for p in built.parameters())


def test_freezing_holds_after_a_load_and_is_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    build(CONFIG.model, BYTES, 0).save_pretrained(tmp_path)
    loaded = IdeficsForVisionText2Text.from_pretrained(tmp_path)
    freeze(loaded)
    assert sum(p.numel() for p in loaded.parameters() if p.requires_grad) == trained_parameters(loaded.config)
    del loaded.model.gated_cross_attn_layers[1]
    with pytest.raises(ValueError, match="parameters to train, expected"):
        freeze(loaded)


def test_the_published_sizes_have_the_published_number_of_trained_parameters() -> None:
    vision = Vision(embed_dim=1280, intermediate_size=5120, num_hidden_layers=32, num_attention_heads=16)
    nine_billion = Model(
        hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32, vision=vision
    )
    config = idefics_config(nine_billion, 32000)
    assert round(trained_parameters(config) / 1e6) == 1560
    with torch.device("meta"):
        model = IdeficsForVisionText2Text(config)
    freeze(model)
    sizes = {part.name: round(part.parameters / 1e6, 1) for part in parts(model)}
    assert sizes["vision encoder"] == 630.8
    assert sizes["gated cross-attention"] == 1434.5
    assert sizes["perceiver"] == 126.0
    assert round(sum(sizes.values())) == 8930


def test_trained_parts_begin_as_their_makers_drew_them() -> None:
    wide = CONFIG.model.model_copy(update={"hidden_size": 128, "intermediate_size": 256})
    built = build(wide, BYTES, 0)
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
    built = build(CONFIG.model, BYTES, 0)
    other = [window("a", DOCUMENTS[0].ids, [shown(7), shown(8), shown(9)])]
    with torch.no_grad():
        assert torch.equal(logits(built, batch_of([DOCUMENTS[0]])), logits(built, batch_of(other)))


def test_the_same_seed_draws_the_same_weights_and_leaves_torch_alone() -> None:
    before = torch.random.get_rng_state()
    one, two, three = (build(CONFIG.model, BYTES, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["model.perceiver_resampler.latents"], three["model.perceiver_resampler.latents"])


def test_losses_are_torchs_cross_entropy_and_the_squared_log_partition() -> None:
    scores = torch.randn(2, 9, 302, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[IGNORED, 5, 300, IGNORED, 301 - 1, 7, 2, IGNORED, IGNORED], [IGNORED] * 8 + [9]])
    losses = token_losses(scores, labels)
    expected = torch.nn.functional.cross_entropy(scores[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    cross_entropy, z = means(losses)
    assert abs(float(cross_entropy - expected)) < 1e-6
    assert torch.equal(losses.learned, labels != IGNORED)
    squares = scores[:, :-1].logsumexp(-1).square()[labels[:, 1:] != IGNORED]
    assert abs(float(z - squares.mean())) < 1e-5


def test_losses_of_half_precision_logits_are_computed_in_fp32() -> None:
    scores = torch.randn(1, 5, 302, generator=torch.Generator().manual_seed(0)).bfloat16()
    losses = token_losses(scores, torch.tensor([[1, 2, 3, 4, 5]]))
    assert losses.cross_entropy.dtype == losses.z.dtype == torch.float32
    assert torch.equal(
        losses.cross_entropy, token_losses(scores.float(), torch.tensor([[1, 2, 3, 4, 5]])).cross_entropy
    )


def test_a_batch_without_labels_has_loss_zero() -> None:
    cross_entropy, z = means(token_losses(torch.randn(1, 4, 302), torch.full((1, 4), IGNORED)))
    assert (float(cross_entropy), float(z)) == (0.0, 0.0)


def test_gates_biases_norms_and_the_perceiver_have_no_weight_decay() -> None:
    built = build(CONFIG.model, BYTES, 0)
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
    config = build(CONFIG.model, BYTES, 0).config
    assert (config.vocab_size, config.additional_vocab_size) == (300, ADDITIONAL_TOKENS)
    assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
