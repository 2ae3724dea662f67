"""A model in; AdamW with the published groups out, and the learning rate as a function of the step alone."""

import math
from typing import Any

import torch

from pipeline.training.config import Optimizer

# Parameters without weight decay, by what their names contain; m4's list, which spares the whole perceiver.
NO_DECAY = ("bias", "alpha", "layernorm", "ln", "layer_norm", "perceiver_resampler")


def learning_rate(step: int, steps: int, optimizer: Optimizer) -> float:
    """Of step 0, 1, …: a linear warm-up to `learning_rate`, then as scheduled to `final_learning_rate` at the last."""
    if step < optimizer.warmup_steps:
        return optimizer.scale * optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    begins = optimizer.warmup_steps
    if optimizer.schedule == "wsd":
        begins = max(begins, steps - 1 - round(optimizer.decay * steps))
    share = min(1.0, max(0, step - begins) / max(1, steps - 1 - begins))
    if optimizer.schedule == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return optimizer.scale * (
        optimizer.learning_rate + (optimizer.final_learning_rate - optimizer.learning_rate) * share
    )


def adamw(model: Any, optimizer: Optimizer) -> Any:
    """`torch.optim.AdamW` over what is trained, in two groups: with weight decay, and without (`NO_DECAY`).

    Fused: one kernel for many parameters, which makes no update where `found_inf` is set, without asking the GPU.
    """
    decayed: list[Any] = []
    free: list[Any] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (free if any(part in name for part in NO_DECAY) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": optimizer.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=optimizer.learning_rate,
        betas=optimizer.betas,
        eps=optimizer.epsilon,
        fused=True,
    )
