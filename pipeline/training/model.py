"""A configuration and a vocabulary in; the model out, frozen as configured and without values; a batch's losses by token."""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.training import autoregressive, idefics
from pipeline.training.batch import Batch
from pipeline.training.config import Loss, Model, TrainConfig
from pipeline.training.freeze import adapt, freeze, is_adapter, stock_name
from pipeline.training.loss import TokenLosses
from pipeline.training.tokenizer import Vocabulary
from pipeline.training.weights import prefixes

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Part:
    """Parameters of a part of the model."""

    name: str
    parameters: int
    trained: int


def skeleton(config: TrainConfig, vocabulary: Vocabulary) -> Any:
    """The model on the device meta: to be counted, or sharded, given memory (`to_empty`) and filled.

    Parameters that are trained are fp32; frozen ones have `parallel.precision`, and so has all that is computed. Of a
    vision encoder that is trained in part, what is frozen is fp32, too.

    Raises:
        UserError: a pattern of `model.train` or `model.lora.targets` that finds nothing.
    """
    compute = PRECISIONS[config.parallel.precision]
    with torch.device("meta"):
        model = _family(config.model, vocabulary)
        if config.model.lora:
            adapt(model, config.model.lora, compute)
    trained = freeze(model, config.model)
    # transformers' own modules, as the vision encoder is, want one precision for all their weights.
    _, encoder = prefixes(config.model.family)
    seeing = any(name.startswith(encoder) and not is_adapter(name) for name in trained)
    for name, parameter in model.named_parameters():
        wide = parameter.requires_grad or (seeing and name.startswith(encoder))
        parameter.data = parameter.data.to(torch.float32 if wide else compute)
    model.compute = compute
    model.mixed = any(p.dtype != compute and not is_adapter(name) for name, p in model.named_parameters())
    return model.train()


def token_losses(model: Any, batch: Batch, loss: Loss) -> TokenLosses:
    """Cross-entropy and z-loss of each token, fp32 [B, L]. `model` may be wrapped (DDP) or sharded (FSDP)."""
    return TokenLosses(*model(batch, loss.chunk))


PARTS = {
    "vision encoder": ("model.vision_model.",),
    "perceiver": ("model.perceiver_resampler.",),
    "gated cross-attention": ("model.gated_cross_attn_layers.",),
    "connector": ("model.connector.",),
    "new tokens": ("model.embed_tokens.additional_embedding.", "lm_head.additional_fc."),
    "language model": ("",),
}


def part_of(name: str) -> str:
    """The part of the model that a parameter is of."""
    stock = stock_name(name)
    return "adapters" if is_adapter(name) else next(part for part, start in PARTS.items() if stock.startswith(start))


def parts(model: Any) -> list[Part]:
    """The model's parameters by part."""
    found = {name: [0, 0] for name in ("adapters", *PARTS)}
    for name, parameter in model.named_parameters():
        part = found[part_of(name)]
        part[0] += parameter.numel()
        part[1] += parameter.numel() * parameter.requires_grad
    return [Part(name, *counts) for name, counts in found.items() if counts[0]]


def _family(settings: Model, vocabulary: Vocabulary) -> Any:
    if settings.family == "idefics":
        return idefics.IdeficsForTraining(idefics.configuration(settings, vocabulary))
    sizes = autoregressive.configuration(settings, vocabulary)
    if settings.family == "idefics2":
        return autoregressive.Idefics2ForTraining(sizes)
    return autoregressive.Idefics3ForTraining(sizes)
