"""Documents in; sequences of one fixed length out, packed best-fit, in which no document sees another.

An image is `<fake_token_around_image>`, the tokens of its form, and that token again. A document is `<s> … </s>`; one
that is longer than a sequence, or has too many images, is cut into consecutive windows, each with `<s>` of its own,
`</s>` only in the last.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pipeline.document import END_OF_DOCUMENT
from pipeline.training.data import Document, Said
from pipeline.training.image_forms import ImageForm, Pictures
from pipeline.training.tokenizer import Vocabulary

Ids = NDArray[np.int64]

IGNORED = -100  # a label that has no loss; torch's convention
NONE = -1  # no document (padding), no image, no source

# An image in a window's last tenth opens the next window instead: else the text about it would not see it. m4 drew its
# windows' starts from three quarters of a window before an image; a last quarter left free so often costs 4 % of padding.
LATE = 0.9


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of one document that fits a sequence: ids from `<s>` on, and its images in order."""

    key: str
    ids: list[int]
    images: list[Pictures]
    learned: list[bool]  # by id: whether it is to be predicted
    source: int = 0


@dataclass(slots=True)
class Sequence:
    """Windows one after the other, padded; all arrays have the sequence's length."""

    input_ids: Ids
    labels: Ids  # the token itself where it is to be predicted, else `IGNORED`
    document: Ids  # which window a token is of: 0, 1, …; `NONE` on padding
    position: Ids  # counted from each window's start
    source: Ids  # of the window; `NONE` on padding
    images: list[Pictures] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)  # of the documents, by window

    @property
    def tokens(self) -> int:
        return int((self.document != NONE).sum())


@dataclass(frozen=True, slots=True)
class _Text:
    ids: list[int]
    learned: bool


def windows(
    document: Document,
    vocabulary: Vocabulary,
    form: ImageForm,
    tokens: int,
    images: int,
    *,
    fake_label: bool = True,
    source: int = 0,
) -> Iterator[Window]:
    """The windows of a document; those in which nothing is learned but the end and the tokens around images are left out.

    `tokens` is a sequence's length and at least two more than the form's longest image.
    """
    for pieces in split(document.pieces):
        units = [piece if isinstance(piece, Pictures) else _text(piece, vocabulary) for piece in pieces]
        spoken = any(isinstance(piece, Said) for piece in pieces)  # of a dialogue answers alone are learned
        for ids, learned, held in _cut(units, vocabulary, form, tokens, images, fake_label and not spoken, not spoken):
            outside_text = {vocabulary.eos, vocabulary.fake}
            if any(known and i not in outside_text for i, known in zip(ids[1:], learned[1:], strict=True)):
                yield Window(document.key, ids, held, learned, source)


def split(pieces: Iterable[str | Said | Pictures]) -> list[list[str | Said | Pictures]]:
    """Splits where the text says that another document begins; joins texts that stand together by a blank line."""
    parts: list[list[str | Said | Pictures]] = [[]]
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


def assemble(windows: Iterable[Window], vocabulary: Vocabulary, tokens: int) -> Sequence:
    """One sequence from windows that fit it; from none, one of padding alone."""
    input_ids: Ids = np.full(tokens, vocabulary.pad, dtype=np.int64)
    labels: Ids = np.full(tokens, IGNORED, dtype=np.int64)
    document: Ids = np.full(tokens, NONE, dtype=np.int64)
    source: Ids = np.full(tokens, NONE, dtype=np.int64)
    position: Ids = np.zeros(tokens, dtype=np.int64)
    made = Sequence(input_ids, labels, document, position, source)
    start = 0
    for number, window in enumerate(windows):
        end = start + len(window.ids)
        input_ids[start:end] = window.ids
        labels[start:end] = np.where(window.learned, window.ids, IGNORED)
        document[start:end] = number
        source[start:end] = window.source
        position[start:end] = np.arange(end - start)
        made.images += window.images
        made.keys.append(window.key)
        start = end
    return made


def picture_index(input_ids: Ids, image: int, latents: int) -> Ids:
    """For each `<image>` the picture that it shows, counted through the sequence, `latents` tokens each; `NONE` elsewhere.

    Works along the last axis; the families that take pictures among the text.
    """
    is_image = input_ids == image
    return np.where(is_image, (np.cumsum(is_image, axis=-1) - 1) // latents, NONE)


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


def _text(piece: str | Said, vocabulary: Vocabulary) -> _Text:
    if isinstance(piece, str):
        return _Text(vocabulary.encode(piece), True)
    ids = [vocabulary.token(piece.text)] if piece.token else vocabulary.within(piece.text)
    return _Text(ids, piece.learned)


def _cut(
    units: list[_Text | Pictures],
    vocabulary: Vocabulary,
    form: ImageForm,
    tokens: int,
    images: int,
    fake_label: bool,
    end_label: bool,
) -> Iterator[tuple[list[int], list[bool], list[Pictures]]]:
    fake = vocabulary.fake
    shown = [None if isinstance(unit, _Text) else form.ids(unit) for unit in units]
    left = sum(
        len(unit.ids) if isinstance(unit, _Text) else len(ids or ()) + 2 for unit, ids in zip(units, shown, strict=True)
    )  # tokens still to come, at most, without </s>
    ids, learned, held = [vocabulary.bos], [False], list[Pictures]()
    for unit, between in zip(units, shown, strict=True):
        if isinstance(unit, _Text):
            at = 0
            while at < len(unit.ids):
                if len(ids) == tokens:
                    yield ids, learned, held
                    ids, learned, held = [vocabulary.bos], [False], []
                more = unit.ids[at : at + tokens - len(ids)]
                ids += more
                learned += [unit.learned] * len(more)
                at += len(more)
            left -= len(unit.ids)
            continue
        assert between is not None
        joins = form.shared and ids[-1] == fake
        full = len(held) == images or len(ids) + len(between) + (1 if joins else 2) > tokens
        late = len(ids) > LATE * tokens and len(ids) + left + 1 > tokens
        if full or late:
            yield ids, learned, held
            ids, learned, held = [vocabulary.bos], [False], []
            joins = False
        ids += [*between, fake] if joins else [fake, *between, fake]
        # What stands between the two, an image's shape and its layout, cannot be known from the text before it.
        learned += ([] if joins else [fake_label]) + [False] * len(between) + [fake_label]
        held.append(unit)
        left -= len(between) + 2
    if len(ids) < tokens:
        ids.append(vocabulary.eos)
        learned.append(end_label)
    yield ids, learned, held
