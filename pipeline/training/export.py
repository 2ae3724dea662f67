"""A trained model in; a folder that stock transformers loads out, or the trained weights alone."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    Idefics2ForConditionalGeneration,
    Idefics2Processor,
    Idefics3ForConditionalGeneration,
    Idefics3Processor,
    IdeficsForVisionText2Text,
    IdeficsProcessor,
)
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.utils import logging

from pipeline.training.freeze import is_adapter
from pipeline.training.image_forms import Idefics, Idefics2, Idefics3, ImageForm
from pipeline.training.tokenizer import Vocabulary

CLASSES = {
    "idefics": IdeficsForVisionText2Text,
    "idefics2": Idefics2ForConditionalGeneration,
    "idefics3": Idefics3ForConditionalGeneration,
}


def export(
    model: Any,
    tokenizer: Any,
    vocabulary: Vocabulary,
    form: ImageForm,
    folder: Path,
    state: dict[str, Any] | None = None,
) -> None:
    """Writes weights, configuration, processor and tokenizer into a folder.

    `state` are the model's whole values by name, where it is sharded; else they are asked of the model. Adapters are
    added to the weights that they stand beside. All is written in the precision that the model computes in.
    """
    state = model.state_dict() if state is None else state
    folder.mkdir(parents=True, exist_ok=True)
    _stock_model(model, state, vocabulary, folder)
    processor(tokenizer, form).save_pretrained(folder)


def processor(tokenizer: Any, form: ImageForm) -> Any:
    """transformers' processor that shows images as training did."""
    if isinstance(form, Idefics):
        images = IdeficsImageProcessorPil(image_size=form.side)
        return IdeficsProcessor(images, tokenizer, image_size=form.side)
    if isinstance(form, Idefics2):
        size = {"shortest_edge": form.shortest, "longest_edge": form.side}
        images = Idefics2ImageProcessorPil(size=size, do_image_splitting=form.split)
        return Idefics2Processor(images, tokenizer, image_seq_len=form.latents)
    assert isinstance(form, Idefics3)
    images = Idefics3ImageProcessorPil(
        size={"longest_edge": form.most}, max_image_size={"longest_edge": form.side}, do_image_splitting=form.split
    )
    return Idefics3Processor(images, tokenizer, image_seq_len=form.latents)


def generation_config(vocabulary: Vocabulary, **settings: Any) -> Any:
    """Generation stops at `</s>` and never writes an image's tokens; `settings` are further ones of transformers."""
    return GenerationConfig(
        pad_token_id=vocabulary.pad,
        bos_token_id=vocabulary.bos,
        eos_token_id=vocabulary.eos,
        bad_words_ids=[[vocabulary.fake], [vocabulary.image]],
        **settings,
    )


def stock_state(state: dict[str, Any], scaling: float = 0.0) -> dict[str, Any]:
    """Values under transformers' names, adapters added to the weights they stand beside (`scaling`: alpha / rank).

    LoRA: W + scaling B A. DoRA: the same with each row brought to the magnitude that was learned (arXiv 2402.09353).
    """
    merged = {}
    for name, value in state.items():
        layer, base, rest = name.partition(".base_layer.")
        if is_adapter(name):
            continue
        if base and rest == "weight":
            down, up = (state[f"{layer}.lora_{side}.default.weight"].float() for side in "AB")
            wide = value.float() + scaling * up @ down
            magnitude = state.get(f"{layer}.lora_magnitude_vector.default.weight")
            if magnitude is not None:
                wide *= (magnitude.float() / wide.norm(dim=1))[:, None]
            merged[f"{layer}.{rest}"] = wide.to(value.dtype)
        else:
            merged[f"{layer}.{rest}" if base else name] = value
    return merged


def stock_configuration(model: Any) -> Any:
    """The model's configuration under the name of transformers' class."""
    model.config.architectures = [CLASSES[model.config.model_type].__name__]
    return model.config


def _stock_model(model: Any, state: dict[str, Any], vocabulary: Vocabulary, folder: Path) -> None:
    with torch.device("meta"):
        stock = CLASSES[model.config.model_type](stock_configuration(model))
    values = {
        name: value.detach().to("cpu", model.compute) for name, value in stock_state(state, scaling(model)).items()
    }
    stock.load_state_dict(values, assign=True)
    stock.config.dtype = model.compute
    stock.generation_config = generation_config(vocabulary)
    with no_progress_bar():
        stock.save_pretrained(folder)


def scaling(model: Any) -> float:
    """What adapters are multiplied by; they all have the same. 0 where there are none."""
    return next((float(m.scaling["default"]) for m in model.modules() if hasattr(m, "lora_A")), 0.0)


@contextmanager
def no_progress_bar() -> Iterator[None]:
    """Without transformers' bars: of one file they would stand between the lines of the log."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
