"""A model and patterns of names in; what is trained out, and the rest frozen. What a pattern does not find is an error."""

import functools
from collections.abc import Callable
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any

import torch

from pipeline.errors import UserError
from pipeline.training.config import Lora, Model
from pipeline.training.trained import autocast

# What each family trains as published; backbones stay as they are but for adapters (`model.lora`). IDEFICS: model card;
# Idefics2: arXiv 2405.02246, finding 3 and section 4.1; Idefics3: arXiv 2408.12637, section 4.
PUBLISHED = {
    "idefics": (
        "model.gated_cross_attn_layers.*",
        "model.perceiver_resampler.*",
        "model.embed_tokens.additional_embedding.weight",
        "lm_head.additional_fc.weight",
    ),
    "idefics2": ("model.connector.*",),
    "idefics3": ("model.connector.*",),
}
# What no loss depends on: the norm of the pooled output, which nobody asks for. DDP waits for every gradient there is.
UNUSED = ("model.vision_model.post_layernorm.*",)
ADAPTERS = ("lora_A", "lora_B", "lora_magnitude_vector")  # peft's modules


def freeze(model: Any, settings: Model) -> set[str]:
    """Trains what the patterns name, and adapters; freezes all else. Returns the names of what is trained.

    To be called after every load, as transformers' `from_pretrained` makes all parameters trainable.

    Raises:
        UserError: a pattern of `model.train` that no parameter has.
        ValueError: an IDEFICS frozen as published that trains another number of parameters than its sizes say.
    """
    patterns = settings.train or PUBLISHED[settings.family]
    names = [stock_name(name) for name, _ in model.named_parameters()]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(f"model.train: no parameter is called {pattern} (such as {names[0]})")
    trained = set[str]()
    unused = UNUSED if settings.family == "idefics" else ()
    for name, parameter in model.named_parameters():
        stock = stock_name(name)
        chosen = any(fnmatchcase(stock, p) for p in patterns) and not any(fnmatchcase(stock, p) for p in unused)
        chosen |= is_adapter(name)
        parameter.requires_grad_(chosen)
        if chosen:
            trained.add(name)
    if settings.family == "idefics" and not settings.train and not settings.lora:
        found, expected = (
            sum(p.numel() for p in model.parameters() if p.requires_grad),
            trained_parameters(model.config),
        )
        if found != expected:
            raise ValueError(f"found {found} parameters to train, expected {expected}")
    return trained


def adapt(model: Any, lora: Lora, compute: Any) -> None:
    """Puts adapters beside the linear layers that `lora.targets` name, in place; they compute in the type `compute`.

    Raises:
        UserError: peft is not installed; a pattern that no linear layer has.
    """
    if find_spec("peft") is None:
        raise UserError("model.lora needs peft: pip install 'carnac[lora]'")
    from peft import LoraConfig, inject_adapter_in_model

    layers = [name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)]
    for pattern in lora.targets:
        if not any(fnmatchcase(name, pattern) for name in layers):
            raise UserError(f"model.lora.targets: no linear layer is called {pattern} (such as {layers[0]})")
    chosen = [name for name in layers if any(fnmatchcase(name, pattern) for pattern in lora.targets)]
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        use_dora=lora.dora,
        target_modules=chosen,
    )
    inject_adapter_in_model(config, model, low_cpu_mem_usage=True)
    for module in model.modules():
        if hasattr(module, "lora_A"):
            module.forward = _computing_in(compute, module.forward)


def _computing_in(compute: Any, forward: Callable[..., Any]) -> Callable[..., Any]:
    """An adapter's forward whose multiplications are of the type `compute`, although its weights are kept in fp32."""

    @functools.wraps(forward)
    def within(states: Any) -> Any:
        with autocast(states.device, compute, compute != torch.float32 and not states.is_meta):
            return forward(states).to(states.dtype)

    return within


def is_adapter(name: str) -> bool:
    """Whether a parameter is an adapter's."""
    return any(part in name.split(".") for part in ADAPTERS)


def stock_name(name: str) -> str:
    """A parameter's name in transformers' model, where no adapter stands before it."""
    return name.replace(".base_layer.", ".")


def trained_parameters(config: Any) -> int:
    """How many parameters an IDEFICS of this configuration trains, from its sizes alone."""
    hidden, vision = config.hidden_size, config.vision_config.embed_dim
    perceiver = config.perceiver_config
    inner = perceiver.resampler_n_heads * perceiver.resampler_head_dim
    block = (
        2 * hidden * hidden  # queries and output
        + 2 * vision * hidden  # keys and values
        + 2 * (hidden // config.num_attention_heads)  # norms of queries and keys
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
