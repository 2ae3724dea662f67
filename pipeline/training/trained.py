"""A batch in; losses by token out: what the models of all families have in common when they are trained."""

from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.functional import embedding

from pipeline.training.batch import Batch
from pipeline.training.loss import linear_losses


class Trained:
    """Beside a model class of transformers: `model(batch, chunk)` trains, anything else is transformers' own forward.

    Weights and their names stay transformers'. The way through `__call__` is what FSDP and DDP hang on to, so a batch
    goes through it, and so does each of `units()`.
    """

    compute: Any = (
        torch.float32
    )  # what hidden states are computed in; weights of another type are cast where they are used

    def units(self) -> list[Any]:
        """The modules that are called whole, on every rank in every step: to compile, recompute and shard each."""
        raise NotImplementedError

    def hidden_states(self, batch: Batch) -> Any:
        """What the head sees, [B, L, D]. Nothing in it waits for the device."""
        raise NotImplementedError

    def head(self) -> tuple[Any, ...]:
        """The head's weights, as `linear_losses` takes them."""
        raise NotImplementedError

    def shown(self, ids: Any, pixels: Any, extent: Any) -> dict[str, Any]:
        """What `generate` takes beside ids [1, L] that name pictures, uint8 [R, H, W, 3] of which [R, 2] is real."""
        raise NotImplementedError

    def computing(self, device: Any) -> Any:
        """Within it transformers' own forward works on weights of two precisions, too."""
        return autocast(device, self.compute, self.compute != torch.float32)

    def losses(self, batch: Batch, chunk: int) -> tuple[Any, Any, Any]:
        """Cross-entropy, z-loss and what is learned: a tuple, as FSDP finds no tensor in anything else."""
        return linear_losses(self.hidden_states(batch), self.head(), batch.labels, chunk)


def autocast(device: Any, compute: Any, enabled: bool) -> Any:
    """torch's autocast to the type `compute`, or nothing."""
    return torch.autocast(torch.device(device).type, dtype=compute) if enabled else nullcontext()


def pictures(batch: Batch) -> Any:
    """A batch's pictures, uint8 [R, H, W, 3]; a black one where it has none, which nothing attends.

    So every rank calls the same modules in the same order whatever its documents hold, and parameters that had
    nothing to do have a gradient of zero, not none, on one device as on many.
    """
    return batch.pixels if len(batch.pixels) else batch.pixels.new_zeros(1, *batch.pixels.shape[1:])


def normalise(pixels: Any, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Any:
    """uint8 [R, H, W, 3] to what a vision encoder takes: fp32 [R, 3, H, W]."""
    channels = pixels.float() / 255
    # By channel, with plain numbers: a tensor of them would be copied to the device and waited for.
    return torch.stack([(channels[..., c] - mean[c]) / deviation[c] for c in range(3)], dim=1)


def look_up(ids: Any, weights: tuple[Any, ...], compute: Any) -> Any:
    """Embeddings [B, L, D] of ids that count through several tables, each [V_i, D], one below the other."""
    found, start = None, 0
    for weight in weights:
        own = embedding((ids - start).clamp(0, len(weight) - 1), weight).to(compute)
        found = own if found is None else torch.where((ids >= start)[..., None], own, found)
        start += len(weight)
    return found


def self_attention(document: Any, compute: Any) -> Any:
    """0 where a token may attend another, of its own document and not after it, else -inf; [B, 1, L, L].

    Padding counts as a document of its own, so that no row is empty (its softmax would be undefined). Numbers rather
    than booleans, which SDPA would turn into numbers in each layer anew.
    """
    length = document.shape[-1]
    same = document[:, None, :, None] == document[:, None, None, :]
    allowed = same & torch.ones(length, length, dtype=torch.bool, device=document.device).tril()
    return as_bias(allowed, compute)


def as_bias(allowed: Any, compute: Any) -> Any:
    """What SDPA adds to its scores: 0 where `allowed`, else -inf."""
    return torch.zeros((), dtype=compute, device=allowed.device).masked_fill(~allowed, float("-inf"))


def dense(layer: Any, states: Any) -> Any:
    """A linear layer, its weights cast to the type of `states`; an adapter in its place sees to that itself."""
    if type(layer) is torch.nn.Linear:
        bias = layer.bias
        return torch.nn.functional.linear(
            states, layer.weight.to(states.dtype), None if bias is None else bias.to(states.dtype)
        )
    return layer(states)
