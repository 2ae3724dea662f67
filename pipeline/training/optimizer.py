"""A model in; AdamW with the published groups out, and the learning rate as a function of the step alone."""

from typing import Any

import torch

from pipeline.training.config import Optimizer

# Parameters without weight decay, by what their names contain; m4's list, which spares the whole perceiver.
NO_DECAY = ("bias", "alpha", "layernorm", "ln", "layer_norm", "perceiver_resampler")


def learning_rate(step: int, steps: int, optimizer: Optimizer) -> float:
    """Of step 0, 1, …: linear warm-up to `learning_rate`, then linear to `final_learning_rate` at the last step."""
    if step < optimizer.warmup_steps:
        return optimizer.learning_rate * (step + 1) / optimizer.warmup_steps
    share = (step - optimizer.warmup_steps) / max(1, steps - 1 - optimizer.warmup_steps)
    return optimizer.learning_rate + (optimizer.final_learning_rate - optimizer.learning_rate) * min(1.0, share)


def adamw(model: Any, optimizer: Optimizer) -> Any:
    """`torch.optim.AdamW` over what is trained, in two groups: with weight decay, and without (`NO_DECAY`)."""
    decayed: list[Any] = []
    free: list[Any] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (free if any(part in name for part in NO_DECAY) else decayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": optimizer.weight_decay}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=optimizer.learning_rate, betas=optimizer.betas, eps=optimizer.epsilon)
