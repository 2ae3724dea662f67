"""Micro-batches in; one step of the optimizer and its figures out. The host never waits for the device here.

Losses are summed over micro-batches and ranks and divided once by the number of tokens that were learned, so that a
token weighs the same wherever it stands: the step of two ranks is that of one with twice the sequences.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pipeline.training.batch import Batch
from pipeline.training.config import TrainConfig
from pipeline.training.guard import KINDS, Spikes
from pipeline.training.loss import TokenLosses
from pipeline.training.model import part_of, token_losses
from pipeline.training.packing import IGNORED
from pipeline.training.parallel import Ranks, local, unsynchronised
from pipeline.training.setup import Built

SMALL = 1e-6  # beside a norm that divides, as in torch's clip_grad_norm_

# What a step counts, over all micro-batches and ranks: labels, tokens that are no padding, places for tokens, images, and
# how many ranks were asked to stop, to save, or have no more data.
COUNTS = ("learned", "tokens", "places", "images", "stop", "save", "ended")


@dataclass(slots=True)
class Figures:
    """Of one step, on their way from the device; `wait` gives them by name."""

    names: list[str]
    values: Any  # fp64, on the host once `copied` has happened
    copied: Any | None

    def wait(self) -> dict[str, float]:
        if self.copied is not None:
            self.copied.synchronize()
        return dict(zip(self.names, self.values.tolist(), strict=True))


class Step:
    """Holds what goes from step to step: the module to call, its optimizer, and the measure of what stands out.

    `sources` are the names of those of the data.
    """

    def __init__(self, built: Built, config: TrainConfig, ranks: Ranks, spikes: Spikes, sources: Sequence[str]) -> None:
        self.module, self.optimizer = built.module, built.optimizer
        self.config, self.ranks, self.spikes = config, ranks, spikes
        self.sources = list(sources)
        self.trained: dict[str, list[Any]] = {}
        self.sharded = False
        for name, parameter in built.model.named_parameters():
            if parameter.requires_grad:
                self.trained.setdefault(part_of(name), []).append(parameter)
                self.sharded |= local(parameter) is not parameter

    def __call__(self, step: int, batches: Sequence[Batch], rate: float, asked: Sequence[bool]) -> Figures:
        """Makes step 0, 1, … at the learning rate `rate`; `asked` is what this rank wants: stop, save, no more data.

        An update is not made where loss or gradient are not finite, where nothing is learned, or where they spike and
        `guard.spike` is skip; all this is decided on the device.
        """
        seed(self.config.seed, step, self.ranks.rank)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        device = self.ranks.device
        told = torch.tensor([*_counts(batches), *map(float, asked)], dtype=torch.float64)
        # From pinned memory: a copy from any other would wait for all that the device still has to do.
        counts = self.ranks.add((told.pin_memory() if device.type == "cuda" else told).to(device, non_blocking=True))
        learned = counts[0].clamp(min=1)
        scale = (self.ranks.world / learned).float()  # DDP and FSDP2 take the mean over ranks

        by_source = [f"{what}/{source}" for source in self.sources for what in ("loss", "learned")]
        sums = torch.zeros(2 + len(by_source), dtype=torch.float64, device=device)
        for number, batch in enumerate(batches):
            moved = batch.to(device)
            with unsynchronised(self.module, number == len(batches) - 1):
                losses = token_losses(self.module, moved, self.config.loss)
                loss = losses.cross_entropy.sum() + self.config.loss.z_loss * losses.z.sum()
                (loss * scale).backward()
            sums += _sums(moved, losses, len(self.sources))
        self.ranks.add(sums)
        means = sums[:2] / learned
        for place in range(2, len(sums), 2):
            sums[place] /= sums[place + 1].clamp(min=1)

        norms = self._norms()
        norm = torch.linalg.vector_norm(norms)
        finite, over = self.spikes.judge(torch.stack([means[0], norm]))
        finite = finite & means[1].isfinite()
        dropped = ~finite | (counts[0] == 0)
        if self.config.guard.spike == "skip":
            dropped |= (over > self.config.guard.deviations).any()
        self._clip(norm)
        self.optimizer.found_inf = dropped.float()
        self.optimizer.grad_scale = None
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

        names = [
            *COUNTS,
            "loss",
            "z_loss",
            *by_source,
            "gradient_norm",
            *(f"gradient_norm/{part}" for part in self.trained),
        ]
        names += ["finite", "dropped", *(f"over/{kind}" for kind in KINDS)]
        verdict = torch.stack([finite, dropped]).double()
        return _sent(names, torch.cat([counts, means, sums[2:], norm[None], norms, verdict, over]))

    def _norms(self) -> Any:
        """The norm of the gradient of each part of the model, fp64."""
        zero = torch.zeros((), dtype=torch.float64, device=self.ranks.device)
        squares = []
        for parameters in self.trained.values():
            gradients = [local(p.grad) for p in parameters if p.grad is not None]
            norms = torch._foreach_norm(gradients) if gradients else []
            squares.append(sum((norm.double().square() for norm in norms), zero))
        total = torch.stack(squares)
        return (self.ranks.add(total) if self.sharded else total).sqrt()

    def _clip(self, norm: Any) -> None:
        share = (self.config.optimizer.clip / (norm + SMALL)).clamp(max=1.0).float()
        gradients = [local(p.grad) for parameters in self.trained.values() for p in parameters if p.grad is not None]
        torch._foreach_mul_(gradients, share)


def seed(number: int, step: int, rank: int) -> None:
    """What is drawn in a step (dropout, where a model has any) depends on seed, step and rank alone."""
    digest = hashlib.blake2b(f"{number} {step} {rank}".encode(), digest_size=8).digest()
    torch.manual_seed(int.from_bytes(digest, "big") >> 1)


def _counts(batches: Sequence[Batch]) -> list[float]:
    return [
        float(sum(int((batch.labels[:, 1:] != IGNORED).sum()) for batch in batches)),
        float(sum(batch.tokens for batch in batches)),
        float(sum(batch.input_ids.numel() for batch in batches)),
        float(sum(batch.images for batch in batches)),
    ]


def _sums(batch: Batch, losses: TokenLosses, sources: int) -> Any:
    """Summed cross-entropy and z-loss; then for each source its cross-entropy and how many tokens it is of. fp64."""
    cross_entropy = losses.cross_entropy.detach().double()
    found = [cross_entropy.sum(), losses.z.detach().double().sum()]
    for source in range(sources):
        of = batch.source == source
        found += [(cross_entropy * of).sum(), (losses.learned & of).sum().double()]
    return torch.stack(found)


def _sent(names: list[str], values: Any) -> Figures:
    if values.device.type != "cuda":
        return Figures(names, values, None)
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record()
    return Figures(names, host, copied)
