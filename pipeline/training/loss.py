"""Hidden states and a head's weights in; cross-entropy and z-loss a token out, in fp32, without ever holding all logits.

Computed outside the model: transformers' own loss of IDEFICS reshapes by `vocab_size` and fails as soon as there are
additional tokens, which every real checkpoint has.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear, pad
from torch.utils.checkpoint import checkpoint

from pipeline.training.packing import IGNORED


@dataclass(slots=True)
class TokenLosses:
    """fp32 [B, L]; zero where `learned` (bool [B, L]) is false. Place t is about token t, as predicted before it."""

    cross_entropy: Any
    z: Any
    learned: Any


def linear_losses(hidden: Any, weights: Sequence[Any], labels: Any, chunk: int) -> tuple[Any, Any, Any]:
    """What `TokenLosses` holds, of hidden states [B, L, D], labels [B, L] not yet shifted, and the head's weights.

    The head is the weights one below the other, each [V_i, D]: IDEFICS keeps those of its additional tokens apart.
    Logits are made for `chunk` tokens at a time, in the precision of `hidden` and then fp32, and made anew in the
    backward pass: of a vocabulary of 32,000 a sequence of 1,024 tokens would keep 131 MB, and several times. That
    costs one multiplication more, 0.7 % of a step of IDEFICS-9B.
    """
    target = pad(labels[:, 1:], (0, 1), value=IGNORED)  # what follows each token; nothing follows the last
    states, wanted = hidden.flatten(0, 1), target.flatten()
    parts = [
        _recomputed(states[start : start + chunk], wanted[start : start + chunk], *weights)
        for start in range(0, len(wanted), chunk)
    ]
    cross_entropy, z = (torch.cat(column).view_as(labels) for column in zip(*parts, strict=True))
    first = (1, 0)  # nothing is predicted of a sequence's first token
    return (
        pad(cross_entropy[:, :-1], first),
        pad(z[:, :-1], first),
        pad(target[:, :-1] != IGNORED, first),
    )


def _recomputed(states: Any, target: Any, *weights: Any) -> Any:
    if not torch.is_grad_enabled():
        return _chunk(states, target, *weights)
    # There is no dropout in it, so no state of a random generator to keep, which would wait for the device.
    return checkpoint(_chunk, states, target, *weights, use_reentrant=False, preserve_rng_state=False)


def _chunk(states: Any, target: Any, *weights: Any) -> Any:
    # A weight that is trained is kept in fp32 and cast here, so that its gradient is summed over chunks in fp32.
    return _losses(target, [linear(states, weight.to(states.dtype)) for weight in weights])


def _losses(target: Any, logits: list[Any]) -> tuple[Any, Any]:
    """Cross-entropy in nats and squared log-partition; `logits` are stretches of the vocabulary, one after another."""
    partition, chosen, start = None, None, 0
    for part in logits:
        wide = part.float()
        size = wide.shape[-1]
        own = wide.gather(-1, (target - start).clamp(0, size - 1)[..., None]).squeeze(-1)
        inside = wide.logsumexp(-1)
        chosen = own if chosen is None else torch.where(target >= start, own, chosen)
        partition = inside if partition is None else torch.logaddexp(partition, inside)
        start += size
    learned = target != IGNORED
    zero = torch.zeros((), device=target.device)
    return torch.where(learned, partition - chosen, zero), torch.where(learned, partition.square(), zero)  # type: ignore[operator,union-attr]
