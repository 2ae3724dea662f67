"""A parsed page in; its text blocks, its images and the elements around them, as arrays, out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from pipeline.html.tags import INLINE, TAG, TAGS, Bytes, Ints, Tags, tags

Floats = NDArray[np.float32]

_IS_INLINE = np.array([name in INLINE for name in TAGS] + [False])
_IS_IMAGE = np.array([name in ("img", "amp-img") for name in TAGS] + [False])

# What one byte of text is: one of sixteen classes, of which eight are counted as what they are, and with 8 added as the
# first byte of a word. The later bytes of a character of several are no characters.
_SPACE, _OTHER, _DIGIT, _CAPITAL, _END, _COMMA, _SEPARATOR, _SIGN = range(8)
_BEGINNING = 8
_LATER_SEPARATOR, _LATER_SIGN, _LATER = 12, 13, 14
_IS_WORD = 16  # a bit beside the class
_CLASSES = np.full(256, _OTHER, np.uint8)
_CLASSES[0x80:0xC0] = _LATER
for _class, _members in (
    (_SPACE, b"\t\n\f\r "),
    (_DIGIT, b"0123456789"),
    (_CAPITAL, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    (_END, b".!?"),
    (_COMMA, b",;:"),
    (_SEPARATOR, b"|/>#@*+"),
    (_SIGN, b"$%"),
    (_LATER_SEPARATOR, b"\xbb\xb7"),  # of » and ·,
    (_LATER_SIGN, b"\xa3\xa5"),  # of £ and ¥
):
    _CLASSES[list(_members)] = _class
_CLASSES[list(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") + list(range(0x80, 0x100))] |= (
    _IS_WORD
)
_CLASS_OF = _CLASSES.tobytes()

# Sums of a stretch: three take the places of classes that count nothing.
_MARKED, _LINKED, _BOLD = _SPACE, _LATER, 15
_CHARACTERS = (*range(1, 8), *(_BEGINNING + kind for kind in (_OTHER, _DIGIT, _CAPITAL)))
_COUNTED = np.zeros((12, 16), np.float32)  # which classes make up each of the first columns of Blocks.counts
for _number, _members_of in enumerate(
    (
        [_BEGINNING + kind for kind in (_OTHER, _DIGIT, _CAPITAL)],
        [_LINKED],
        [_BOLD],
        [_MARKED],
        _CHARACTERS,
        [_END],
        [_COMMA],
        [_DIGIT, _BEGINNING + _DIGIT],
        [_SEPARATOR, _LATER_SEPARATOR],
        [_CAPITAL, _BEGINNING + _CAPITAL],
        [_SIGN, _LATER_SIGN],
        [_BEGINNING + _CAPITAL],
    )
):
    _COUNTED[_number, list(_members_of)] = 1

_ENDING = np.zeros(256, np.float32)
_ENDING[[ord(char) for char in ".!?"]] = 1
_ENDING[[ord(char) for char in ":"]] = 2
_ENDING[[ord(char) for char in ",;-"]] = 3
_ENDING[[ord(char) for char in ")\"'"]] = 4
_ENDING[48:58] = 5
_OPENING = np.zeros(256, np.float32)
_OPENING[65:91] = 1
_OPENING[97:123] = 2
_OPENING[48:58] = 3
_OPENING[128:] = 4


@dataclass(slots=True)
class Blocks(Tags):
    """Of the N tags, E are starts of elements; B blocks of text, I images; indices are into the tags.

    A block is the text between two tags of elements that are not inline; it has a word.
    """

    text: Bytes  # all of the page's that stands outside of tags
    text_begin: Ints  # (B,) of each block's stretch of `text`
    text_end: Ints  # (B,)
    opening: Ints  # (E,) the start tags, void ones among them
    first: Ints  # (B,) the tag before the block
    last: Ints  # (B,) the tag after the block
    text_tag: Ints  # (B,) the tag before the block's first word
    element: Ints  # (B,) the start tag of the block's element
    # (B, 16): words, those in links, bold ones, stretches with words, characters, sentence ends, commas, digits, separators,
    # capitals, signs, words with a capital, links, line breaks, kind of last and of first character
    counts: Floats
    images: Ints  # (I,)
    before: Ints  # (N + 1,) how many blocks begin before each tag


def blocks(tree: LexborHTMLParser) -> Blocks | None:
    """The blocks of `tree`, from which elements without text are removed. None where it holds nothing."""
    page = tags(tree)
    if page is None:
        return None
    tag, closing, match, parent = page.tag, page.closing, page.match, page.parent
    # Text lies between a tag's end and the next tag; only stretches that hold something are looked at.
    begin = page.ends[:-1]
    length = page.starts[1:] - begin
    held = np.flatnonzero(length)
    if not len(held):
        return None
    begin, length = begin[held], length[held]
    till = np.cumsum(length)
    offset = till - length
    stretch = np.repeat(np.arange(len(held)), length)
    text = page.data.take((begin - offset).take(stretch) + np.arange(len(stretch)))
    sums, solid = _sums(text, stretch, offset)
    words = sums[:, _BEGINNING + _OTHER : _BEGINNING + _CAPITAL + 1].sum(1)
    wordy = words > 0
    keep = np.flatnonzero(wordy)
    if not len(keep):
        return None

    boundary = ~_IS_INLINE[tag]
    segment = np.cumsum(boundary)[held]
    # The stretches of a block are neighbours: the block begins where the segment changes.
    number = segment[keep]
    new = np.flatnonzero(np.append(True, number[1:] != number[:-1]))
    number = number[new]
    of_segment = np.searchsorted(segment, number)  # the first stretch of the segment, spaces too
    till_segment = np.searchsorted(segment, number, side="right")
    boundaries = np.append(np.flatnonzero(boundary), len(tag) - 1)
    first, last = boundaries[number - 1], boundaries[number]
    element = np.where(closing[first] | (match[first] == first), parent[first], first)

    step = np.where(closing, -1, 1)
    step[match == np.arange(len(tag))] = 0
    sums[:, _MARKED] = wordy
    sums[:, _LINKED] = np.where(np.cumsum((tag == TAG["a"]) * step)[held] > 0, words, 0)
    is_bold = (tag == TAG["b"]) | (tag == TAG["strong"])
    sums[:, _BOLD] = np.where(np.cumsum(is_bold * step)[held] > 0, words, 0)
    bounds, till = offset[of_segment], till[till_segment - 1]
    counts = np.empty((16, len(new)), np.float32)
    # What stands between two blocks has no words; it adds its signs to the first.
    counts[:12] = _COUNTED @ np.add.reduceat(sums, of_segment, axis=0).astype(np.float32).T
    anchors = np.cumsum((tag == TAG["a"]) & ~closing)
    breaks = np.cumsum(tag == TAG["br"])
    counts[12] = anchors[last] - anchors[first]
    counts[13] = breaks[last] - breaks[first]
    counts[14] = _ENDING[text[solid[np.searchsorted(solid, till) - 1]]]
    counts[15] = _OPENING[text[solid[np.searchsorted(solid, bounds)]]]
    before = np.zeros(len(tag) + 1, np.int64)
    np.cumsum(np.bincount(first, minlength=len(tag)), out=before[1:])
    return Blocks(
        page.html,
        page.data,
        page.starts,
        page.ends,
        tag,
        closing,
        match,
        parent,
        text,
        bounds,
        till,
        np.flatnonzero(~closing),
        first,
        last,
        held[keep[new]],
        element,
        counts.T,
        np.flatnonzero(_IS_IMAGE[tag] & ~closing),
        before,
    )


def _sums(text: Bytes, stretch: Ints, offset: Ints) -> tuple[Ints, Ints]:
    """How many bytes of each class every stretch of text has (S, 16), and which bytes are no spaces."""
    classes = np.frombuffer(text.tobytes().translate(_CLASS_OF), np.uint8)
    word = classes & _IS_WORD
    begins = word.copy()
    begins[1:] &= ~word[:-1]
    begins[offset] = word[offset]
    kinds = (classes & 15) + (begins >> 1)
    sums = np.bincount((stretch << 4) + kinds, minlength=len(offset) << 4).reshape(-1, 16)
    return sums, np.flatnonzero(classes)
