"""A model in; the same with its blocks compiled, and with less of them kept for the backward pass."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from pipeline.training.config import Parallel

# What selective recomputing keeps: what is expensive to make. Norms, rotations and activations are made anew.
_ATEN = torch.ops.aten
KEPT = [
    _ATEN.mm.default,
    _ATEN.addmm.default,
    _ATEN.bmm.default,
    _ATEN._scaled_dot_product_flash_attention.default,
    _ATEN._scaled_dot_product_efficient_attention.default,
    _ATEN._scaled_dot_product_cudnn_attention.default,
    _ATEN._scaled_dot_product_flash_attention_for_cpu.default,
]


def prepare_blocks(model: Any, parallel: Parallel, backend: str = "inductor") -> None:
    """Recomputes and compiles each of the model's blocks as configured, in place; to be called before sharding.

    Only the training pass: generation, where no gradient is asked for, goes through the blocks as they are. A vision
    encoder that is frozen is compiled all the same.
    """
    for block in model.units():
        plain = block.forward
        trained = any(parameter.requires_grad for parameter in block.parameters())
        frozen_vision = not trained and block in list(model.model.vision_model.encoder.layers)
        made = plain
        if parallel.recompute != "none":
            made = _recomputed(made, parallel.recompute)
        if parallel.compile:
            # Around the recomputing, which it has to see into; inside FSDP's hooks, which it must not.
            made = torch.compile(made, backend=backend, fullgraph=True)
        if made is not plain:
            block.forward = made if frozen_vision else _when_training(made, plain)


def _recomputed(forward: Callable[..., Any], how: str) -> Callable[..., Any]:
    if how == "selective":
        context = functools.partial(create_selective_checkpoint_contexts, KEPT)
        return functools.partial(checkpoint, forward, use_reentrant=False, context_fn=context)
    return functools.partial(checkpoint, forward, use_reentrant=False)


def _when_training(made: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(plain)
    def forward(*inputs: Any, **named: Any) -> Any:
        return (made if torch.is_grad_enabled() else plain)(*inputs, **named)

    return forward
