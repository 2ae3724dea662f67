"""A model and held-out documents in; its loss on each source out, and whether it looks at the images.

The same documents are packed in the same way each time. Loss falls with training even where images are taken away, as a
language model learns from text alone; so the text that follows an image is read three times: with its images, with black
ones, and with those of others.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.training.batch import Batch
from pipeline.training.config import Source, TrainConfig
from pipeline.training.language import Language
from pipeline.training.model import token_losses
from pipeline.training.once import in_step, once
from pipeline.training.sources import in_order, open_sources

if TYPE_CHECKING:
    from pipeline.training.parallel import Ranks

SURE = 2.0  # standard errors by which a difference must exceed zero before anything is said of it


def validate(model: Any, config: TrainConfig, language: Language, ranks: "Ranks") -> dict[str, Any] | None:
    """Mean cross-entropy and z-loss a token of each held-out source and of all, and what `sight` says; None where no
    source holds any documents out.

    To be called on all ranks; `model` is whole or sharded. It is left as it was, and so is what is drawn by chance.

    Raises:
        UserError: held-out documents that cannot be read, or that hold no text.
    """
    sources = held_out(config)
    if not sources:
        return None
    settings = config.data.model_copy(update={"path": None, "sources": tuple(sources)})
    found = config.model_copy(update={"data": settings})
    sums: dict[str, Any] = {}
    pairs = torch.zeros(len(_PAIRS), dtype=torch.float64, device=ranks.device)
    with _evaluating(model):
        for number, (source, opened) in enumerate(zip(sources, open_sources(settings), strict=True)):
            rows = islice(in_order(opened), config.validation.documents)
            drawn = once(rows, found, language, rank=ranks.rank, world=ranks.world)
            spare: Batch | None = None  # the last one with a picture
            total = sums[source.name] = torch.zeros(3, dtype=torch.float64, device=ranks.device)
            for place, batch in enumerate(in_step(drawn, found, language, ranks)):
                losses = token_losses(model, batch, config.loss)
                total += torch.stack(
                    [losses.cross_entropy.double().sum(), losses.z.double().sum(), losses.learned.double().sum()]
                )
                if config.validation.ablation:
                    seed = (config.seed, number, place, ranks.rank)
                    behind = after_image(batch, language.vocabulary.image)
                    pairs += _ablated(model, batch, config, losses, behind, seed, spare)
                    spare = batch if batch.images else spare
    each = torch.stack(list(sums.values()))
    ranks.add(each)
    ranks.add(pairs)
    means = {"loss": 0, "z_loss": 1}
    said: dict[str, Any] = {
        f"{name}/{source}": values[place] / values[2]
        for source, values in zip(sums, each.tolist(), strict=True)
        for name, place in means.items()
        if values[2]
    }
    every = each.sum(0).tolist()
    if not every[2]:
        raise ranks.said_once(UserError("validation: there is nothing to learn in the documents that are held out"))
    said |= {name: every[place] / every[2] for name, place in means.items()}
    said["tokens"] = int(every[2])
    return said | sight(pairs.tolist()) if config.validation.ablation else said


def held_out(config: TrainConfig) -> list[Source]:
    """The sources that validation reads: those that it names, or the split `validation.split` of those of training that
    have files of that split."""
    if config.validation.sources:
        return list(config.validation.sources)
    split = config.validation.split
    found = [source.model_copy(update={"split": split}) for source in config.data.listed]
    return [source for source in found if any(Path(source.path).glob(f"{split}-*"))]


def without_images(batch: Batch) -> Batch:
    """The batch with black pictures; where they stand in the text stays as it is."""
    return replace(batch, pixels=torch.zeros_like(batch.pixels))


def with_others_images(batch: Batch, seed: tuple[int, ...], spare: Batch | None = None) -> Batch:
    """The batch with its pictures dealt anew, so that none stays where it was; in the place of a single one stands one
    of `spare`, if there is such a batch."""
    if batch.images == 1 and spare is not None:
        return replace(batch, pixels=spare.pixels[-1:], extent=spare.extent[-1:])
    order = np.random.default_rng(seed).permutation(batch.images)
    dealt = np.empty_like(order)
    dealt[order] = np.roll(order, 1)  # one cycle through all of them
    chosen = torch.from_numpy(dealt).to(batch.pixels.device)
    return replace(batch, pixels=batch.pixels[chosen], extent=batch.extent[chosen])


def after_image(batch: Batch, image: int) -> Any:
    """Which tokens stand behind an image of their own document, and may see it: bool [B, L]."""
    shown = (batch.input_ids == image).long().cumsum(-1)
    begins = torch.ones_like(shown, dtype=torch.bool)
    begins[:, 1:] = batch.document[:, 1:] != batch.document[:, :-1]
    before = torch.where(begins, shown - (batch.input_ids == image).long(), 0).cummax(-1).values
    return (shown > before) & (batch.document >= 0)


# Sums over sequences: of tokens n behind an image, of their losses, and what the standard errors of two differences need.
_PAIRS = ("n", "real", "zeroed", "shuffled", "n²", "zeroed²", "zeroed·n", "shuffled²", "shuffled·n")


def sight(sums: list[float]) -> dict[str, Any]:
    """What images contribute, from the sums of `_PAIRS`: nats a token that the text behind them costs more without them
    (`zeroed`), or with those of others (`shuffled`), with the standard error of each over sequences; and in words."""
    values = dict(zip(_PAIRS, sums, strict=True))
    tokens = values["n"]
    if not tokens:
        return {"sight": "no held-out text stands behind an image"}
    found: dict[str, Any] = {"tokens_behind_images": int(tokens), "loss_behind_images": values["real"] / tokens}
    tells = []
    for name in ("zeroed", "shuffled"):
        more = (values[name] - values["real"]) / tokens
        spread = values[f"{name}²"] - 2 * more * values[f"{name}·n"] + more**2 * values["n²"]
        error = math.sqrt(max(0.0, spread)) / tokens
        found |= {name: more, f"{name}_error": error}
        tells.append(more > SURE * error)
    figures = (
        f"without its images the text behind them costs {found['zeroed']:+.3f} ± {found['zeroed_error']:.3f} nats a token, "
        f"with those of others {found['shuffled']:+.3f} ± {found['shuffled_error']:.3f}"
    )
    verdict = {
        (True, True): "the model looks",
        (True, False): "the model sees that there is an image, not which",
        (False, True): "the model takes one image for another",
        (False, False): "no sign that the model looks",
    }[tells[0], tells[1]]
    return found | {"sight": f"{verdict}: {figures}"}


def _ablated(
    model: Any,
    batch: Batch,
    config: TrainConfig,
    losses: Any,
    behind: Any,
    seed: tuple[int, ...],
    spare: Batch | None,
) -> Any:
    """The sums of `_PAIRS` of a batch; zero where no other picture can take the place of its single one."""
    dealt = batch.images > 1 or (batch.images == 1 and spare is not None)
    counted = (losses.learned & behind).double() * dealt
    tokens = counted.sum(-1)

    def of(losses: Any) -> Any:
        return (losses.cross_entropy.double() * counted).sum(-1)

    real = of(losses)
    others = [
        of(token_losses(model, changed, config.loss))
        for changed in (without_images(batch), with_others_images(batch, seed, spare))
    ]
    sums = [tokens.sum(), real.sum(), *(other.sum() for other in others), tokens.square().sum()]
    for other in others:
        sums += [(other - real).square().sum(), ((other - real) * tokens).sum()]
    return torch.stack(sums)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Without gradients and dropout; module by module as it was afterwards."""
    training = {module: module.training for module in model.modules()}
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), torch.no_grad():
        model.eval()
        try:
            yield
        finally:
            for module, was in training.items():
                module.training = was


def check_held_out(config: TrainConfig) -> None:
    """Refuses a validation that was asked for and has nothing to read.

    Raises:
        UserError: `validation.every` is set and no source holds documents out, or one cannot be read.
    """
    sources = held_out(config)
    if config.validation.every and not sources:
        raise UserError(
            f"validation.every: no source has a split {config.validation.split} of documents that are held out "
            "(`export.validation` of carnac run makes one); name validation.sources, or leave it out"
        )
    if sources:
        open_sources(config.data.model_copy(update={"path": None, "sources": tuple(sources)}))
