"""Documents in; sequences of one fixed length out, packed best-fit, in which no document sees another.

An image is `<fake_token_around_image><image><fake_token_around_image>`; neighbours share the token between them. A
document is `<s> … </s>`; one that is longer than a sequence, or has too many images, is cut into consecutive windows,
each with `<s>` of its own, `</s>` only in the last.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from pipeline.document import END_OF_DOCUMENT
from pipeline.training.config import Packing
from pipeline.training.data import Document, Pixels
from pipeline.training.tokenizer import Vocabulary

Ids = NDArray[np.int64]

IGNORED = -100  # a label that has no loss; torch's convention
NONE = -1  # no document (padding), no image

# An image in a window's last quarter opens the next window instead: else the text about it would not see it.
# m4 drew its windows' starts from the stretch of the same length before an image.
LATE = 0.75


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one document that fits a sequence: ids from `<s>` on, and its images in order."""

    key: str
    ids: list[int]
    images: list[Pixels]


@dataclass(slots=True)
class Sequence:
    """Windows one after the other, padded; all arrays have the sequence's length."""

    input_ids: Ids
    labels: Ids  # the token itself where it is to be predicted, else `IGNORED`
    document: Ids  # which window a token is of: 0, 1, …; `NONE` on padding
    position: Ids  # counted from each window's start
    images: list[Pixels] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of the documents, by window

    @property
    def tokens(self) -> int:
        return int((self.document != NONE).sum())


def sequences(
    stream: Iterable[Document],
    vocabulary: Vocabulary,
    packing: Packing,
    seed: tuple[int, ...],
    fake_label: bool = True,
) -> Iterator[Sequence]:
    """Packs `packing.window` documents at a time; yields their sequences shuffled, as packing sorts them by length.

    The shuffle is a function of `seed` and of the number of the window.
    """
    tokens, images = packing.tokens, packing.images
    documents = iter(stream)
    number = 0
    while batch := list(islice(documents, packing.window)):
        packed = pack([w for d in batch for w in windows(d, vocabulary, tokens, images)], tokens, images)
        for place in np.random.default_rng((*seed, number)).permutation(len(packed)):
            yield assemble(packed[place], vocabulary, tokens, fake_label)
        number += 1


def windows(document: Document, vocabulary: Vocabulary, tokens: int, images: int) -> Iterator[Window]:
    """The windows of a document; those without any text are left out, as nothing would be learned from them."""
    outside_text = {vocabulary.bos, vocabulary.eos, vocabulary.fake, vocabulary.image}
    for pieces in split(document.pieces):
        units = [vocabulary.encode(piece) if isinstance(piece, str) else piece for piece in pieces]
        for ids, held in _cut(units, vocabulary, tokens, images):
            if not outside_text.issuperset(ids):
                yield Window(document.key, ids, held)


def split(pieces: Iterable[str | Pixels]) -> list[list[str | Pixels]]:
    """Splits where the text says that another document begins; joins texts that stand together by a blank line."""
    parts: list[list[str | Pixels]] = [[]]
    for piece in pieces:
        if not isinstance(piece, str):
            parts[-1].append(piece)
            continue
        for number, text in enumerate(piece.split(END_OF_DOCUMENT)):
            if number:
                parts.append([])
            if not (text := text.strip()):
                continue
            last = parts[-1][-1] if parts[-1] else None
            if isinstance(last, str):
                parts[-1][-1] = f"{last}\n\n{text}"
            else:
                parts[-1].append(text)
    return [part for part in parts if part]


def pack(windows: list[Window], tokens: int, images: int) -> list[list[Window]]:
    """Best-fit decreasing: the longest window first, each into the fullest sequence that has room for it."""
    packed: list[list[Window]] = []
    free: list[tuple[int, int]] = []  # tokens, images
    for window in sorted(windows, key=lambda window: -len(window.ids)):
        long, held = len(window.ids), len(window.images)
        fitting = [(t, place) for place, (t, i) in enumerate(free) if t >= long and i >= held]
        if fitting:
            place = min(fitting)[1]
        else:
            place = len(packed)
            packed.append([])
            free.append((tokens, images))
        packed[place].append(window)
        free[place] = (free[place][0] - long, free[place][1] - held)
    return packed


def assemble(windows: list[Window], vocabulary: Vocabulary, tokens: int, fake_label: bool = True) -> Sequence:
    """One sequence from windows that fit it."""
    input_ids: Ids = np.full(tokens, vocabulary.pad, dtype=np.int64)
    document: Ids = np.full(tokens, NONE, dtype=np.int64)
    position: Ids = np.zeros(tokens, dtype=np.int64)
    start = 0
    for number, window in enumerate(windows):
        end = start + len(window.ids)
        input_ids[start:end] = window.ids
        document[start:end] = number
        position[start:end] = np.arange(end - start)
        start = end
    learned = (document != NONE) & (position > 0) & (input_ids != vocabulary.image)
    if not fake_label:
        learned &= input_ids != vocabulary.fake
    return Sequence(
        input_ids,
        np.where(learned, input_ids, IGNORED),
        document,
        position,
        [image for window in windows for image in window.images],
        [window.key for window in windows],
    )


def image_index(input_ids: Ids, document: Ids, image: int) -> Ids:
    """For each token the latest image of its own document, counted through the sequence; `NONE` before the first.

    Works along the last axis. The rule is Flamingo's: a token attends the most recent image alone.
    """
    places = np.broadcast_to(np.arange(input_ids.shape[-1]), input_ids.shape)
    is_image = input_ids == image
    latest = np.maximum.accumulate(np.where(is_image, places, NONE), axis=-1)
    begins = np.ones_like(is_image)
    begins[..., 1:] = document[..., 1:] != document[..., :-1]
    begin = np.maximum.accumulate(np.where(begins, places, 0), axis=-1)
    return np.where(latest >= begin, np.cumsum(is_image, axis=-1) - 1, NONE)


def _cut(
    units: list[list[int] | Pixels], vocabulary: Vocabulary, tokens: int, images: int
) -> Iterator[tuple[list[int], list[Pixels]]]:
    fake, image = vocabulary.fake, vocabulary.image
    left = 1 + sum(len(unit) if isinstance(unit, list) else 3 for unit in units)  # tokens still to come, at most
    ids, held = [vocabulary.bos], list[Pixels]()
    for unit in units:
        if isinstance(unit, list):
            at = 0
            while at < len(unit):
                if len(ids) == tokens:
                    yield ids, held
                    ids, held = [vocabulary.bos], []
                more = unit[at : at + tokens - len(ids)]
                ids += more
                at += len(more)
            left -= len(unit)
            continue
        needed = 2 if ids[-1] == fake else 3
        full = len(held) == images or len(ids) + needed > tokens
        late = len(ids) > LATE * tokens and len(ids) + left > tokens
        if full or late:
            yield ids, held
            ids, held = [vocabulary.bos], []
        ids += [image, fake] if ids[-1] == fake else [fake, image, fake]
        held.append(unit)
        left -= 3
    if len(ids) < tokens:
        ids.append(vocabulary.eos)
    yield ids, held
