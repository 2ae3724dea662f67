"""Sizes in; an `IdeficsForVisionText2Text` out, initialised and frozen as published; its forward pass, its export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, IdeficsConfig, IdeficsForVisionText2Text, IdeficsProcessor
from transformers.models.idefics.image_processing_pil_idefics import (
    IDEFICS_STANDARD_MEAN,
    IDEFICS_STANDARD_STD,
    IdeficsImageProcessorPil,
)
from transformers.utils import logging

from pipeline.training.batch import Batch, image_attention_mask, self_attention_mask
from pipeline.training.config import Model
from pipeline.training.tokenizer import Vocabulary

ADDITIONAL_TOKENS = 2  # the one around images and `<image>`

# What IDEFICS trains; the language model and the vision encoder stay as they are.
TRAINED = (
    "model.gated_cross_attn_layers.",
    "model.perceiver_resampler.",
    "model.embed_tokens.additional_embedding.weight",
    "lm_head.additional_fc.weight",
)


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of a part of the model."""

    name: str
    parameters: int
    trained: int


def idefics_config(model: Model, vocab_size: int, ids: dict[str, int] | None = None) -> Any:
    """The `IdeficsConfig` of these sizes; `ids` are `pad_token_id`, `bos_token_id` and `eos_token_id`."""
    vision, perceiver = model.vision, model.perceiver
    return IdeficsConfig(
        vocab_size=vocab_size,
        additional_vocab_size=ADDITIONAL_TOKENS,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_hidden_layers=model.num_hidden_layers,
        num_attention_heads=model.num_attention_heads,
        cross_layer_interval=model.cross_layer_interval,
        max_position_embeddings=model.max_position_embeddings,
        initializer_range=model.initializer_range,
        qk_layer_norms=True,
        freeze_lm_head=True,
        use_resampler=True,
        vision_config={**vision.model_dump(), "initializer_range": model.initializer_range},
        perceiver_config={
            "use_resampler": True,
            "resampler_n_latents": perceiver.n_latents,
            "resampler_depth": perceiver.depth,
            "resampler_n_heads": perceiver.n_heads,
            "resampler_head_dim": perceiver.head_dim,
            "qk_layer_norms_perceiver": True,
        },
        # Only SDPA takes a boolean mask for what it is: eager attention would add it to the scores.
        attn_implementation="sdpa",
        **(ids or {}),
    )


def build(model: Model, vocabulary: Vocabulary, seed: int) -> Any:
    """A model from scratch, on the CPU in fp32, ready to train; the same seed gives the same weights."""
    ids = {"pad_token_id": vocabulary.pad, "bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.eos}
    config = idefics_config(model, vocabulary.size, ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = IdeficsForVisionText2Text(config)
        initialise(built)
    freeze(built)
    return built.train()


def initialise(model: Any) -> None:
    """Draws what IDEFICS trains as its makers did (m4); transformers left that out and draws all from N(0, 0.02)."""
    config = model.config
    hidden, vision, depth = config.hidden_size, config.vision_config.embed_dim, 2 * config.num_hidden_layers
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not name.startswith(TRAINED) or "norm" in name or ".ln." in name:
                continue
            if "alpha" in name:
                parameter.zero_()  # the gates are closed: a new model is its language model
            elif "additional" in name:
                parameter.normal_(std=hidden**-0.5)
            elif name.endswith("latents"):
                parameter.normal_(std=vision**-0.5)
            else:
                fan_in = vision if "perceiver_resampler" in name else parameter.shape[1]
                last = depth if "down_proj" in name or "c_proj" in name else 1
                parameter.normal_(std=(0.4 / (fan_in * last)) ** 0.5)


def freeze(model: Any) -> None:
    """Leaves only `TRAINED` to be trained, and checks that by name and by number.

    To be called after every load, as `from_pretrained` makes all parameters trainable.
    """
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED))
    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    unused = [start for start in TRAINED if not any(name.startswith(start) for name in trained)]
    expected = trained_parameters(model.config)
    if unused or sum(trained.values()) != expected:
        raise ValueError(
            f"freezing leaves {sum(trained.values())} parameters to train, expected {expected} (missing: {unused})"
        )


def trained_parameters(config: Any) -> int:
    """How many parameters IDEFICS trains, from the sizes alone (1.560 billion for IDEFICS-9B)."""
    hidden, vision, perceiver = config.hidden_size, config.vision_config.embed_dim, config.perceiver_config
    heads, inner = config.num_attention_heads, perceiver.resampler_n_heads * perceiver.resampler_head_dim
    block = (
        2 * hidden * hidden  # queries, output
        + 2 * vision * hidden  # keys, values
        + 2 * (hidden // heads)  # norms of queries and keys
        + 3 * hidden * config.intermediate_size
        + 2 * hidden  # norms
        + 2  # gates
    )
    layer = (
        4 * vision * inner  # queries, keys, values, output
        + 4 * perceiver.resampler_head_dim  # norms of queries and keys, with biases
        + 2 * vision * 4 * vision  # MLP
        + 6 * vision  # norms, with biases
    )
    resampler = perceiver.resampler_n_latents * vision + perceiver.resampler_depth * layer + 2 * vision
    blocks = config.num_hidden_layers // config.cross_layer_interval
    return int(blocks * block + resampler + 2 * config.additional_vocab_size * hidden)


def parts(model: Any) -> list[Part]:
    """The model's parameters by part."""
    starts = {
        "vision encoder": ("model.vision_model.",),
        "perceiver": ("model.perceiver_resampler.",),
        "gated cross-attention": ("model.gated_cross_attn_layers.",),
        "new tokens": TRAINED[2:],
        "language model": ("",),
    }
    found = {name: [0, 0] for name in starts}
    for name, parameter in model.named_parameters():
        part = found[next(part for part, start in starts.items() if name.startswith(start))]
        part[0] += parameter.numel()
        part[1] += parameter.numel() * parameter.requires_grad
    return [Part(name, *counts) for name, counts in found.items()]


def logits(model: Any, batch: Batch) -> Any:
    """The logits of a batch, [B, L, vocabulary and additional tokens]."""
    return model(
        input_ids=batch.input_ids,
        attention_mask=self_attention_mask(batch.document),
        position_ids=batch.position,
        image_encoder_embeddings=encode_images(model, batch),
        image_attention_mask=image_attention_mask(batch.image, batch.places),
        use_cache=False,
    ).logits


def encode_images(model: Any, batch: Batch) -> Any:
    """What the frozen vision encoder makes of a batch's images, [B, N, patches and class, width]; zero where none is.

    Only images that are there are encoded. A batch without images costs nothing, where transformers wants a dummy.
    """
    vision = model.config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2 + 1
    encoded = torch.zeros(len(batch.input_ids), batch.places, patches, vision.embed_dim, device=model.device)
    if batch.images:
        with torch.no_grad():
            states = model.model.vision_model(pixel_values=normalise(batch.pixels)).last_hidden_state
        encoded[batch.slots[:, 0], batch.slots[:, 1]] = states
    return encoded


def normalise(pixels: Any) -> Any:
    """uint8 [R, H, W, 3] to what the vision encoder takes: fp32 [R, 3, H, W] with CLIP's mean and deviation."""
    mean, std = (torch.tensor(values, device=pixels.device) for values in (IDEFICS_STANDARD_MEAN, IDEFICS_STANDARD_STD))
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def export(model: Any, tokenizer: Any, vocabulary: Vocabulary, folder: Path) -> None:
    """Writes a folder that stock `IdeficsForVisionText2Text`, `AutoTokenizer` and `AutoProcessor` load."""
    model.generation_config = generation_config(vocabulary)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # one file's bar would stand between the lines of the log
    model.save_pretrained(folder)
    if shown:
        logging.enable_progress_bar()
    images = IdeficsImageProcessorPil(image_size=model.config.vision_config.image_size)
    IdeficsProcessor(images, tokenizer, image_size=images.image_size).save_pretrained(folder)


def generation_config(vocabulary: Vocabulary, **settings: Any) -> Any:
    """Generation stops at `</s>` and never writes an image's tokens; `settings` are further ones of transformers."""
    return GenerationConfig(
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        bad_words_ids=[[vocabulary.fake], [vocabulary.image]],
        **settings,
    )
