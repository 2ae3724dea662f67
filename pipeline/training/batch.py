"""Sequences in; the tensors of one step out, with the masks that keep documents apart."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch

from pipeline.errors import UserError
from pipeline.training import data
from pipeline.training.config import TrainConfig
from pipeline.training.packing import Sequence, image_index, sequences
from pipeline.training.tokenizer import Vocabulary


@dataclass(slots=True)
class Batch:
    """B sequences of L tokens with R images in all, at most N in a sequence (N is 1 where there are none)."""

    input_ids: Any  # int64 [B, L]
    labels: Any  # int64 [B, L]
    position: Any  # int64 [B, L]
    document: Any  # int64 [B, L], -1 on padding
    image: Any  # int64 [B, L]: which of its sequence's images a token attends, -1 for none
    pixels: Any  # uint8 [R, H, W, 3]: only images that are there
    slots: Any  # int64 [R, 2]: sequence and place in it
    places: int  # N
    keys: list[list[str]]  # documents, by sequence
    epoch: int = 0

    @property
    def tokens(self) -> int:
        """Tokens that are no padding."""
        return int((self.document >= 0).sum())

    @property
    def images(self) -> int:
        return len(self.slots)


@dataclass(slots=True)
class Counts:
    """What was read so far."""

    documents: int = 0
    broken_images: int = 0


def collate(packed: list[Sequence], vocabulary: Vocabulary, image_size: int) -> Batch:
    """Stacks sequences; a batch without a single image is valid, too."""
    input_ids = np.stack([sequence.input_ids for sequence in packed])
    document = np.stack([sequence.document for sequence in packed])
    pixels = [image for sequence in packed for image in sequence.images]
    slots = [(row, place) for row, sequence in enumerate(packed) for place in range(len(sequence.images))]
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.from_numpy(np.stack([sequence.labels for sequence in packed])),
        position=torch.from_numpy(np.stack([sequence.position for sequence in packed])),
        document=torch.from_numpy(document),
        image=torch.from_numpy(image_index(input_ids, document, vocabulary.image)),
        pixels=torch.from_numpy(np.stack(pixels) if pixels else np.zeros((0, image_size, image_size, 3), np.uint8)),
        slots=torch.tensor(slots, dtype=torch.int64).reshape(-1, 2),
        places=max(1, *(len(sequence.images) for sequence in packed)),
        keys=[sequence.keys for sequence in packed],
    )


def self_attention_mask(document: Any) -> Any:
    """True where a token may attend another: of its own document and not after it; bool [B, 1, L, L].

    Padding counts as a document of its own, so that no row is empty (its softmax would be undefined).
    """
    length = document.shape[-1]
    same = document[:, None, :, None] == document[:, None, None, :]
    return same & torch.ones(length, length, dtype=torch.bool, device=document.device).tril()


def image_attention_mask(image: Any, places: int) -> Any:
    """One-hot over the N places for images, all zero for a token that attends none; int64 [B, L, N]."""
    return (image[..., None] == torch.arange(places, device=image.device)).long()


def batches(
    groups: list[data.RowGroup], vocabulary: Vocabulary, config: TrainConfig, counts: Counts
) -> Iterator[Batch]:
    """Batches without end, epoch after epoch; the last sequences of one may share a batch with the first of the next.

    Raises:
        UserError: an epoch went by without a single sequence.
    """
    stream = _epochs(groups, vocabulary, config, counts)
    while drawn := list(islice(stream, config.batch_size)):
        batch = collate([sequence for _, sequence in drawn], vocabulary, config.model.vision.image_size)
        batch.epoch = drawn[-1][0]
        yield batch


def _epochs(
    groups: list[data.RowGroup], vocabulary: Vocabulary, config: TrainConfig, counts: Counts
) -> Iterator[tuple[int, Sequence]]:
    size, pixels = config.model.vision.image_size, config.data.max_pixels
    epoch = 0
    while True:
        documents = data.documents(groups, config.seed, epoch, image_size=size, max_pixels=pixels)
        empty = True
        for sequence in sequences(
            _counted(documents, counts), vocabulary, config.packing, (config.seed, epoch), config.loss.fake_token
        ):
            empty = False
            yield epoch, sequence
        if empty:
            raise UserError(f"{config.data.path}: no document of the {config.data.split} shards holds any text")
        epoch += 1


def _counted(stream: Iterator[data.Document], counts: Counts) -> Iterator[data.Document]:
    for document in stream:
        counts.documents += 1
        counts.broken_images += document.broken_images
        yield document
