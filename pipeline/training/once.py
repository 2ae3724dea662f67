"""Rows in; batches that hold each document once, in its order, out: for validation, and to score documents."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from pipeline.training.batch import Batch, filled
from pipeline.training.config import TrainConfig
from pipeline.training.data import Document, Raw, document
from pipeline.training.language import Language
from pipeline.training.packing import Sequence, assemble, pack, windows

if TYPE_CHECKING:
    from pipeline.training.parallel import Ranks


def once(
    rows: Iterable[Raw],
    config: TrainConfig,
    language: Language,
    *,
    rank: int = 0,
    world: int = 1,
    seen: Callable[[Document], None] = lambda document: None,
) -> Iterator[Batch]:
    """Batches of `micro_batch` sequences, packed as for training but not shuffled, the last one filled with padding.

    Of several ranks each takes every `world`-th pack of documents, so that what is packed together depends on nothing
    else. `seen` is told of each document once it is decoded, also of one without text.
    """
    size = config.micro_batch or config.batch_size
    stream, number = iter(rows), 0
    waiting: list[Sequence] = []
    while together := list(islice(stream, config.packing.window)):
        if number % world == rank:
            waiting += _packed(together, config, language, seen)
        number += 1
        while len(waiting) >= size:
            yield filled(waiting[:size], size, config, language)
            del waiting[:size]
    if waiting:
        yield filled(waiting, size, config, language)


def in_step(batches: Iterable[Batch], config: TrainConfig, language: Language, ranks: "Ranks") -> Iterator[Batch]:
    """The same, and padding while another rank has more: a model in pieces must be called by all ranks together."""
    stream = iter(batches)
    while True:
        batch = next(stream, None)
        if not ranks.add(torch.tensor([float(batch is not None)], device=ranks.device)).item():
            return
        if batch is None:
            batch = filled([], config.micro_batch or config.batch_size, config, language)
        yield batch.to(ranks.device)


def _packed(
    rows: list[Raw],
    config: TrainConfig,
    language: Language,
    seen: Callable[[Document], None],
) -> Iterator[Sequence]:
    tokens, images = config.packing.tokens, config.packing.images
    found: list[Any] = []
    for raw in rows:
        made = document(raw, language.form, config.data)
        seen(made)
        found += windows(made, language.vocabulary, language.form, tokens, images, fake_label=config.loss.fake_token)
    for together in pack(found, tokens, images):
        yield assemble(together, language.vocabulary, tokens)
