"""Losses by token: what they are, that chunks change nothing, and what is kept for the backward pass."""

from typing import Any

import pytest
import torch

from pipeline.training.loss import TokenLosses, linear_losses
from pipeline.training.packing import IGNORED
from tests.training_models import logit_losses, means


def head(width: int = 16, sizes: tuple[int, ...] = (300, 2)) -> tuple[Any, ...]:
    draw = torch.Generator().manual_seed(1)
    return tuple(torch.randn(size, width, generator=draw).requires_grad_() for size in sizes)


def states(batch: int = 2, length: int = 9, width: int = 16) -> tuple[Any, Any]:
    draw = torch.Generator().manual_seed(2)
    labels = torch.randint(0, 302, (batch, length), generator=draw)
    labels[:, 0] = labels[0, 4:6] = IGNORED
    return torch.randn(batch, length, width, generator=draw).requires_grad_(), labels


def test_a_batch_without_labels_has_loss_zero() -> None:
    hidden, _ = states()
    with torch.no_grad():
        losses = TokenLosses(*linear_losses(hidden, head(), torch.full((2, 9), IGNORED), 4))
    assert tuple(map(float, means(losses))) == (0.0, 0.0)


@pytest.mark.parametrize("chunk", [1, 5, 18, 100])
def test_losses_and_gradients_are_torchs_in_chunks_of_any_size(chunk: int) -> None:
    hidden, labels = states()
    weights = head()
    whole = logit_losses(torch.cat([hidden @ weight.T for weight in weights], dim=-1), labels)
    parts = TokenLosses(*linear_losses(hidden, weights, labels, chunk))
    assert torch.equal(parts.learned, whole.learned)
    assert (parts.cross_entropy - whole.cross_entropy).abs().max() < 1e-5
    assert (parts.z - whole.z).abs().max() < 1e-3  # squares of about 10
    expected, found = (torch.autograd.grad(sum(means(losses)), (hidden, *weights)) for losses in (whole, parts))
    for one, other in zip(expected, found, strict=True):
        assert (one - other).abs().max() <= 1e-5 * one.abs().max()


def test_each_token_may_weigh_another() -> None:
    hidden, labels = states()
    weights = head()
    share = torch.rand(2, 9, generator=torch.Generator().manual_seed(3))
    whole, parts = (
        logit_losses(torch.cat([hidden @ weight.T for weight in weights], dim=-1), labels),
        TokenLosses(*linear_losses(hidden, weights, labels, 4)),
    )
    one, other = (torch.autograd.grad((losses.cross_entropy * share).sum(), hidden)[0] for losses in (whole, parts))
    assert (one - other).abs().max() < 1e-5


def test_no_logits_are_kept_for_the_backward_pass() -> None:
    hidden = torch.randn(1, 512, 16).requires_grad_()
    weights, labels = head(sizes=(4000, 2)), torch.randint(0, 4000, (1, 512))
    kept: dict[int, int] = {}

    def count(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        linear_losses(hidden, weights, labels, 64)
    inputs = sum(t.untyped_storage().nbytes() for t in (hidden, *weights))
    logits = 512 * 4000 * 4
    assert sum(kept.values()) <= inputs + 64 * 1024
    assert inputs + 64 * 1024 < logits / 10


def test_a_weight_in_fp32_has_its_gradient_in_fp32_under_states_in_half_precision() -> None:
    hidden, labels = states()
    weights = head()
    losses = TokenLosses(*linear_losses(hidden.bfloat16(), weights, labels, 4))
    assert losses.cross_entropy.dtype == torch.float32
    gradient = torch.autograd.grad(losses.cross_entropy.sum(), weights[0])[0]
    assert gradient.dtype == torch.float32
    exact = torch.autograd.grad(
        logit_losses(torch.cat([hidden @ weight.T for weight in weights], dim=-1), labels).cross_entropy.sum(),
        weights[0],
    )[0]
    assert (gradient - exact).norm() < 0.02 * exact.norm()
