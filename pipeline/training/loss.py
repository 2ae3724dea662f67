"""Logits and labels in; cross-entropy and z-loss a token out, in fp32.

Computed outside the model: transformers' own loss of IDEFICS reshapes by `vocab_size` and fails as soon as there are
additional tokens, which every real checkpoint has.
"""

from dataclasses import dataclass
from typing import Any

import torch

from pipeline.training.packing import IGNORED


@dataclass(slots=True)
class TokenLosses:
    """fp32 [B, L]; zero where `learned` (bool [B, L]) is false. Place t is about token t, as predicted before it."""

    cross_entropy: Any
    z: Any
    learned: Any


def token_losses(logits: Any, labels: Any) -> TokenLosses:
    """Cross-entropy in nats and squared log-partition; logits [B, L, V], labels [B, L], not yet shifted."""
    before, target = logits[:, :-1].float(), labels[:, 1:]
    learned = target != IGNORED
    log_partition = before.logsumexp(-1)
    chosen = before.gather(-1, target.clamp(min=0)[..., None]).squeeze(-1)
    zero = before.new_zeros(())
    first = (1, 0)  # nothing is predicted of a sequence's first token
    return TokenLosses(
        torch.nn.functional.pad(torch.where(learned, log_partition - chosen, zero), first),
        torch.nn.functional.pad(torch.where(learned, log_partition.square(), zero), first),
        torch.nn.functional.pad(learned, first),
    )


def means(losses: TokenLosses) -> tuple[Any, Any]:
    """Mean cross-entropy and mean z-loss over the tokens that are learned (the published `sum / sum of mask`)."""
    count = losses.learned.sum().clamp(min=1)
    return losses.cross_entropy.sum() / count, losses.z.sum() / count
