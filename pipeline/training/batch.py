"""Sequences in; the tensors of one micro-batch out, with the masks that keep documents apart."""

from dataclasses import dataclass, field, fields, replace
from typing import Any, Self

import numpy as np
import torch

from pipeline.training.config import TrainConfig
from pipeline.training.image_forms import ImageForm
from pipeline.training.language import Language
from pipeline.training.packing import Sequence, assemble, image_index, picture_index
from pipeline.training.tokenizer import Vocabulary


@dataclass(slots=True)
class Batch:
    """B sequences of L tokens with R pictures in all, at most N in a sequence (N is 1 where there are none)."""

    input_ids: Any  # int64 [B, L]
    labels: Any  # int64 [B, L]
    position: Any  # int64 [B, L]
    document: Any  # int64 [B, L], -1 on padding
    image: Any  # int64 [B, L]: the picture of its sequence that a token attends, or that an `<image>` among text shows
    source: Any  # int64 [B, L], -1 on padding
    pixels: Any  # uint8 [R, H, W, 3]: only pictures that are there
    extent: Any  # int64 [R, 2]: height and width of the picture in it; the rest is padding, zero
    slots: Any  # int64 [R, 2]: sequence and place in it
    places: int  # N
    keys: list[list[str]]  # documents, by sequence and window
    epoch: int = 0  # the furthest that a source of its lane has come to
    state: dict[str, Any] = field(default_factory=dict)  # of its lane after this batch
    notes: list[str] = field(default_factory=list)  # what the user should know of the files that were read for it

    @property
    def tokens(self) -> int:
        """Tokens that are no padding."""
        return int((self.document >= 0).sum())

    @property
    def images(self) -> int:
        """Pictures; of Idefics3 an image has several."""
        return len(self.slots)

    def to(self, device: Any) -> Self:
        """The same batch on another device; from pinned memory, without waiting, where that is a GPU."""
        device = torch.device(device)
        if device.type != "cuda":
            return self._each(lambda tensor: tensor.to(device))
        return self.pin_memory()._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Any) -> Self:
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return replace(self, **{name: change(value) for name, value in values.items() if torch.is_tensor(value)})

    def __getstate__(self) -> tuple[dict[str, Any], Any]:
        """All tensors as one: whoever takes them from another process has to ask for each, and wait."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        bytes_, at = [], 0
        for name in _TENSORS:
            tensor = values[name]
            values[name] = (at, tensor.dtype, tensor.shape)
            bytes_.append(tensor.contiguous().flatten().view(torch.uint8))
            at += tensor.nbytes
        return values, torch.cat(bytes_)

    def __setstate__(self, state: tuple[dict[str, Any], Any]) -> None:
        values, bytes_ = state
        for name in _TENSORS:
            at, kind, shape = values[name]
            values[name] = bytes_[at : at + shape.numel() * kind.itemsize].view(kind).view(shape)
        for name, value in values.items():
            setattr(self, name, value)


# Wide numbers first, so that each of them begins where it may.
_TENSORS = ("input_ids", "labels", "position", "document", "image", "source", "extent", "slots", "pixels")


def filled(sequences: list[Sequence], size: int, config: TrainConfig, language: Language) -> Batch:
    """A batch of `size` sequences: those that are there, and padding."""
    missing = size - len(sequences)
    empty = [assemble([], language.vocabulary, config.packing.tokens) for _ in range(missing)]
    return collate([*sequences, *empty], language.vocabulary, language.form)


def collate(packed: list[Sequence], vocabulary: Vocabulary, form: ImageForm) -> Batch:
    """Stacks sequences; a batch without a single image is valid, too."""
    input_ids = np.stack([sequence.input_ids for sequence in packed])
    document = np.stack([sequence.document for sequence in packed])
    if form.crossed:
        image = image_index(input_ids, document, vocabulary.image)
    else:
        image = picture_index(input_ids, vocabulary.image, form.latents)
    shown = [(row, pictures) for row, sequence in enumerate(packed) for pictures in sequence.images]
    of = np.array([row for row, pictures in shown for _ in pictures.pixels], np.int64)
    counts = np.bincount(of, minlength=len(packed))
    places = np.arange(len(of)) - np.repeat(np.cumsum(counts) - counts, counts)
    pixels = [np.zeros((0, form.side, form.side, 3), np.uint8), *(pictures.pixels for _, pictures in shown)]
    extent = [np.zeros((0, 2), np.int64), *(pictures.extent for _, pictures in shown)]
    return Batch(
        input_ids=torch.from_numpy(input_ids),
        labels=torch.from_numpy(np.stack([sequence.labels for sequence in packed])),
        position=torch.from_numpy(np.stack([sequence.position for sequence in packed])),
        document=torch.from_numpy(document),
        image=torch.from_numpy(image),
        source=torch.from_numpy(np.stack([sequence.source for sequence in packed])),
        pixels=torch.from_numpy(np.concatenate(pixels)),
        extent=torch.from_numpy(np.concatenate(extent)),
        slots=torch.from_numpy(np.stack([of, places], axis=-1)),
        places=max(1, int(counts.max())),
        keys=[sequence.keys for sequence in packed],
    )
