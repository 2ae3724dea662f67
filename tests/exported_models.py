"""Tiny models of random weights in stock transformers folders, as anybody's tools would write them."""

from pathlib import Path
from typing import Any

import torch
from transformers import (
    Idefics2Config,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
)
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from pipeline.training import tokenizer
from pipeline.training.export import export
from pipeline.training.image_forms import image_form
from pipeline.training.tokenizer import END_OF_UTTERANCE
from tests.training_models import build, open_gates
from tests.training_shards import prose, tiny

ROWS = [f"<row_{r}_col_{c}>" for r in (1, 2, 3) for c in (1, 2, 3)]


def words(*more: str) -> Any:
    """A byte-level tokenizer of 320 tokens and `more` special ones."""
    return tokenizer.learn((prose(n, 20) for n in range(20)), 320, 512, more)


def write_idefics(folder: Path, seed: int = 0) -> Path:
    """As our own export writes it, with gates that are open."""
    learned = words()
    vocabulary = tokenizer.vocabulary(learned)
    config = tiny(folder, folder, seed=seed)
    built = open_gates(build(config, vocabulary), 2.0)
    export(built, learned, vocabulary, image_form(config, vocabulary), folder)
    return folder


def spread(built: Any, seed: int) -> Any:
    """The model with matrices so large that a picture makes a difference to what it writes."""
    drawn = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in built.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.4, generator=drawn)
    return built


def write_idefics2(folder: Path, splitting: bool = False, seed: int = 0) -> Path:
    learned = words(END_OF_UTTERANCE)
    config = Idefics2Config(
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 28, "patch_size": 7, "hidden_act": "gelu"},
        perceiver_config={"hidden_size": 32, "resampler_n_latents": 4, "resampler_depth": 1, "resampler_n_heads": 2,
                          "resampler_head_dim": 8, "num_key_value_heads": 1, "hidden_act": "silu"},
        text_config={"model_type": "mistral", "vocab_size": len(learned), "hidden_size": 32, "intermediate_size": 48,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
                     "max_position_embeddings": 512},
        image_token_id=learned.convert_tokens_to_ids(tokenizer.IMAGE),
    )  # fmt: skip
    spread(Idefics2ForConditionalGeneration(config), seed).save_pretrained(folder)
    images = Idefics2ImageProcessorPil(size={"longest_edge": 28, "shortest_edge": 14}, do_image_splitting=splitting)
    Idefics2Processor(images, learned, image_seq_len=4).save_pretrained(folder)
    return folder


def write_idefics3(folder: Path, seed: int = 0) -> Path:
    learned = words(END_OF_UTTERANCE, "<global-img>", *ROWS)
    config = Idefics3Config(
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
                       "image_size": 28, "patch_size": 7},
        text_config={"model_type": "llama", "vocab_size": len(learned), "hidden_size": 32, "intermediate_size": 48,
                     "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0,
                     "max_position_embeddings": 512},
        scale_factor=2,
        image_token_id=learned.convert_tokens_to_ids(tokenizer.IMAGE),
        pad_token_id=0,
    )  # fmt: skip
    spread(Idefics3ForConditionalGeneration(config), seed).save_pretrained(folder)
    images = Idefics3ImageProcessorPil(size={"longest_edge": 56}, max_image_size={"longest_edge": 28})
    Idefics3Processor(images, learned, image_seq_len=4).save_pretrained(folder)
    return folder
