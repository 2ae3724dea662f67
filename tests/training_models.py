"""Tiny models of every family and their documents, and what a plain training makes of logits, to compare with."""

from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad

from pipeline.training.batch import Batch, collate
from pipeline.training.config import TrainConfig
from pipeline.training.data import decode
from pipeline.training.image_forms import ImageForm, Pictures, image_form, special_tokens
from pipeline.training.loss import TokenLosses
from pipeline.training.model import skeleton
from pipeline.training.packing import IGNORED, Window, assemble
from pipeline.training.tokenizer import Vocabulary
from pipeline.training.weights import fill
from tests.training_shards import BOS, EOS, F, I, picture, spell, tiny

FAMILIES = ("idefics", "idefics2", "idefics3")


def configured(family: str, **model: Any) -> TrainConfig:
    """The smallest model of a family; `model` changes settings of it."""
    config = tiny(Path("data"), Path("model"))
    if family == "idefics":
        return config.model_copy(update={"model": config.model.model_copy(update=model)})
    raw = config.model_dump()
    raw["model"] |= {"family": family, "num_key_value_heads": 2, "cross_layer_interval": 1} | model
    raw["model"]["vision"] |= {"patch_size": 7, "hidden_act": "gelu_pytorch_tanh"}
    raw["model"]["perceiver"] |= {"n_key_value_heads": 1}
    raw["images"] |= {"longest": 56, "shortest": 14}
    raw["packing"] |= {"tokens": 100}
    return TrainConfig.model_validate(raw)


def vocabulary_of(config: TrainConfig) -> Vocabulary:
    """A token a byte, and the family's."""
    named = {token: 302 + number for number, token in enumerate(special_tokens(config))}
    return Vocabulary(spell, 300, 0, BOS, EOS, F, I, named, 302 + len(named))


def build(config: TrainConfig, vocabulary: Vocabulary) -> Any:
    """The model whole on the CPU, ready to train."""
    model = skeleton(config, vocabulary)
    model.to_empty(device="cpu")
    fill(model, config.model, config.seed)
    return model


def made(family: str, **model: Any) -> tuple[TrainConfig, Vocabulary, ImageForm, Any]:
    config = configured(family, **model)
    vocabulary = vocabulary_of(config)
    return config, vocabulary, image_form(config, vocabulary), build(config, vocabulary)


def open_gates(model: Any, deviation: float = 0.0) -> Any:
    """So that images count: all alike, or drawn."""
    drawn = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "alpha" in name and deviation:
                parameter.normal_(std=deviation, generator=drawn)
            elif "alpha" in name:
                parameter.fill_(0.7)
    return model


def documents(config: TrainConfig, form: ImageForm) -> list[Window]:
    """Two images that are wide and high, none, one."""

    def shown(seed: int, size: tuple[int, int]) -> Pictures:
        found = decode(picture(seed, size=size), form, config.data)
        assert found is not None
        return found

    def window(key: str, *pieces: list[int] | Pictures) -> Window:
        ids, images = [BOS], []
        for piece in pieces:
            if isinstance(piece, list):
                ids += piece
            else:
                ids += [F, *form.ids(piece), F]
                images.append(piece)
        return Window(key, ids, images, [3 <= i < F for i in ids], 0)

    wide, high, small = shown(1, (40, 20)), shown(2, (20, 40)), shown(3, (30, 30))
    return [
        window("a", [10, 11], wide, [12, 13]),
        window("b", [20, 21, 22, EOS]),
        window("c", high, [30, 31], small, [32]),
    ]


def batch_of(vocabulary: Vocabulary, form: ImageForm, *sequences: list[Window], tokens: int = 160) -> Batch:
    return collate([assemble(windows, vocabulary, tokens) for windows in sequences], vocabulary, form)


def logits(model: Any, batch: Batch) -> Any:
    """All logits of a batch, fp32 [B, L, V]."""
    hidden = model.hidden_states(batch)
    weights = [weight.to(hidden.dtype) for weight in model.head()]
    return torch.cat([torch.nn.functional.linear(hidden, weight) for weight in weights], dim=-1).float()


def logit_losses(logits: Any, labels: Any) -> TokenLosses:
    """The losses of each token by torch's own functions, of logits [B, L, V] that are there already."""
    target, first = pad(labels[:, 1:], (0, 1), value=IGNORED), (1, 0)
    wide = logits.float()
    entropy = cross_entropy(wide.flatten(0, 1), target.flatten(), reduction="none").view_as(target)
    learned = target != IGNORED
    z = wide.logsumexp(-1).square() * learned
    return TokenLosses(*(pad(values[:, :-1], first) for values in (entropy, z, learned)))


def means(losses: TokenLosses) -> tuple[Any, Any]:
    """Mean cross-entropy and mean z-loss over the tokens that are learned (the published `sum / sum of mask`)."""
    count = losses.learned.sum().clamp(min=1)
    return losses.cross_entropy.sum() / count, losses.z.sum() / count


def image_attention_mask(image: Any, places: int) -> Any:
    """One-hot over the N places for images, all zero for a token that attends none; int64 [B, L, N]."""
    return (image[..., None] == torch.arange(places, device=image.device)).long()


def gradients(model: Any, batches: list[Batch], config: TrainConfig) -> dict[str, Any]:
    """Of the summed cross-entropy, by parameter."""
    model.zero_grad()
    for batch in batches:
        model(batch, config.loss.chunk)[0].sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


def saved_by(model: Any, batch: Any) -> int:
    """Bytes that autograd really keeps over a pass, without weights."""
    kept: dict[int, int] = {}
    held = []

    def keep(tensor: Any) -> Any:
        held.append(tensor)
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held.append(model.hidden_states(batch))
    return sum(number for pointer, number in kept.items() if pointer not in weights)
