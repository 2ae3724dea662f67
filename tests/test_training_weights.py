"""Weights of a language model, a vision encoder or a whole model come to their places, or one line says why not."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    IdeficsForVisionText2Text,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from pipeline.errors import UserError
from pipeline.training.config import TrainConfig
from pipeline.training.model import skeleton
from pipeline.training.weights import fill
from tests.training_models import build, configured, vocabulary_of
from tests.training_shards import BYTES, tiny

CONFIG = tiny(Path("data"), Path("model"))


def named(config: TrainConfig = CONFIG, **model: Any) -> TrainConfig:
    return config.model_copy(update={"model": config.model.model_copy(update=model)})


def llama(folder: Path, vocab_size: int = 300, **changes: Any) -> Any:
    sizes = CONFIG.model
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=sizes.hidden_size,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            **changes,
        )
    )
    made.save_pretrained(folder)
    return made


def clip(folder: Path) -> Any:
    sizes = CONFIG.model.vision
    made = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=sizes.embed_dim,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            image_size=sizes.image_size,
            patch_size=sizes.patch_size,
            hidden_act="gelu",
        )
    )
    made.save_pretrained(folder)
    return made


def test_a_language_model_and_a_vision_encoder_come_to_their_places(tmp_path: Path) -> None:
    words_model, encoder = llama(tmp_path / "llama"), clip(tmp_path / "clip")
    built = build(named(language=str(tmp_path / "llama"), vision_encoder=str(tmp_path / "clip")), BYTES)
    state = built.state_dict()
    for name, value in words_model.state_dict().items():
        assert torch.equal(state[name], value), name
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encoder(pixel_values=pixels).last_hidden_state
        assert (built.model.vision_model(pixel_values=pixels).last_hidden_state - expected).abs().max() < 1e-5
    drawn = build(CONFIG, BYTES).state_dict()
    assert torch.equal(state["model.perceiver_resampler.latents"], drawn["model.perceiver_resampler.latents"])


def test_a_whole_model_comes_back_as_it_was(tmp_path: Path) -> None:
    first = build(named().model_copy(update={"seed": 3}), BYTES)
    first.save_pretrained(tmp_path, max_shard_size="100KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    again = build(named(checkpoint=str(tmp_path)), BYTES)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())
    stock = IdeficsForVisionText2Text.from_pretrained(tmp_path)
    assert set(stock.state_dict()) == set(again.state_dict())


def test_an_older_form_of_files_is_read_too(tmp_path: Path) -> None:
    first = build(named().model_copy(update={"seed": 3}), BYTES)
    torch.save(first.state_dict(), tmp_path / "pytorch_model.bin")
    again = build(named(checkpoint=str(tmp_path)), BYTES)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in first.state_dict().items())


def test_a_language_model_of_another_family(tmp_path: Path) -> None:
    config = configured("idefics2")
    sizes = config.model
    mistral = MistralForCausalLM(
        MistralConfig(
            vocab_size=300,
            hidden_size=sizes.hidden_size,
            intermediate_size=sizes.intermediate_size,
            num_hidden_layers=sizes.num_hidden_layers,
            num_attention_heads=sizes.num_attention_heads,
            num_key_value_heads=sizes.num_key_value_heads,
        )
    )
    mistral.save_pretrained(tmp_path)
    built = build(named(config, language=str(tmp_path)), vocabulary_of(config))
    layer = "layers.2.mlp.up_proj.weight"
    assert torch.equal(built.state_dict()[f"model.text_model.{layer}"], mistral.state_dict()[f"model.{layer}"])
    table, old = (
        built.state_dict()["model.text_model.embed_tokens.weight"],
        mistral.state_dict()["model.embed_tokens.weight"],
    )
    assert torch.equal(table[:300], old)
    assert (table[300:] - old.mean(0)).abs().max() < 1e-6


def refused(config: TrainConfig) -> str:
    with pytest.raises(UserError) as caught:
        build(config, BYTES)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    llama(tmp_path, vocab_size=310)
    said = refused(named(language=str(tmp_path)))
    assert ".weight is (310, 32), the configuration's sizes make it (300, 32)" in said


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    llama(tmp_path)
    assert "is it of family idefics?" in refused(named(checkpoint=str(tmp_path)))
    assert "holds no model.vision_model." in refused(named(vision_encoder=str(tmp_path)))


def test_a_folder_without_weights_and_a_hub_that_does_not_answer_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "holds none of model.safetensors.index.json" in refused(named(language=str(tmp_path)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "nothing-of-that-name: no weights in a folder, and none that the hub gives" in refused(
        named(language="nobody/nothing-of-that-name")
    )


def test_a_file_cut_short_is_one_line(tmp_path: Path) -> None:
    llama(tmp_path)
    whole = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    assert "no readable weights" in refused(named(language=str(tmp_path)))


def test_extra_tensors_of_old_checkpoints_are_left(tmp_path: Path) -> None:
    llama(tmp_path)
    values = load_file(tmp_path / "model.safetensors")
    save_file({**values, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}, tmp_path / "model.safetensors")
    build(named(language=str(tmp_path)), BYTES)


def test_values_do_not_depend_on_the_order_in_which_parameters_are_drawn() -> None:
    one, two = build(CONFIG, BYTES), skeleton(named(num_hidden_layers=8), BYTES)
    two.to_empty(device="cpu")
    fill(two, named(num_hidden_layers=8).model, CONFIG.seed)
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(one.get_parameter(name), two.get_parameter(name))
    assert torch.isfinite(two.model.layers[7].self_attn.rotary_emb.inv_freq).all()
