"""A parsed page in; its text blocks, its images and the elements around them, as arrays, out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

# Without text that a reader sees as such; the serialisation does not escape the text of some of them.
DROPPED = (
    "head script style template svg iframe xmp noembed noframes plaintext textarea link option datalist object canvas audio video"
).split()
VOID = "area base br col embed hr img input keygen link meta param source track wbr".split()
# Text runs through them; every other element begins and ends a block.
INLINE = (
    "a abbr acronym b bdi bdo big br cite code data del dfn em font i ins kbd mark q s samp small span strike strong sub "
    "sup time tt u var wbr nobr"
).split()
NAMED = (
    "h1 h2 h3 h4 h5 h6 p div ul ol li dl dt dd table thead tbody tfoot tr td th caption section article main aside "
    "nav header footer form blockquote pre figure figcaption details summary label legend fieldset button select "
    "address body html center picture noscript video audio hgroup dialog menu amp-img"
).split()
TAGS = list(dict.fromkeys([*NAMED, *INLINE, *VOID]))
TAG = {name: number for number, name in enumerate(TAGS)}
UNKNOWN = len(TAGS)


def _key(name: str) -> int:
    return int.from_bytes(name.encode()[:8].ljust(8, b"\0"), "little")


_ORDER = sorted(range(len(TAGS)), key=lambda number: _key(TAGS[number]))
_KEYS = np.array([_key(TAGS[number]) for number in _ORDER], np.uint64)
_NUMBERS = np.array(_ORDER, np.int64)
_IS_VOID = np.array([name in VOID for name in TAGS] + [False])
_IS_INLINE = np.array([name in INLINE for name in TAGS] + [False])


# Two lookup tables of packed counts, 21 bits each: what one byte of text adds to its block's sums.
_FIELD = 21
_LOW = (1 << _FIELD) - 1


def _table(*kinds: bytes) -> Ints:
    table = np.zeros(256, np.int64)
    for number, kind in enumerate(kinds):
        table[np.frombuffer(kind, np.uint8)] += 1 << (_FIELD * number)
    return table


_ALNUM = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_" + bytes(range(0x80, 0x100))
_WORD = np.zeros(256, bool)
_WORD[np.frombuffer(_ALNUM, np.uint8)] = True
_UPPER = np.zeros(256, bool)
_UPPER[65:91] = True
_COUNT_A = _table(b".!?", b",;:", b"0123456789")
_COUNT_B = _table(b"|/>\xbb\xb7#@*+", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"$%\xa3\xa5")
_CHAR = np.ones(256, bool)
_CHAR[[9, 10, 12, 13, 32]] = False
_CHAR[0x80:0xC0] = False  # continuation bytes


@dataclass(slots=True)
class Blocks:
    """N tags, E of them starts of elements with an end, B blocks of text, I images; indices are into the tags.

    A block is the text between two tags of elements that are not inline; it has a word.
    """

    html: bytes  # the page as serialised, every "<" and ">" of which delimits a tag
    data: NDArray[np.uint8]  # the same as numbers, and eight spaces
    text: NDArray[np.uint8]  # all of it that stands outside of tags
    text_begin: Ints  # (B,) of each block's stretch of `text`
    text_end: Ints  # (B,)
    starts: Ints  # (N,) of the tags, at "<"
    ends: Ints  # (N,) past ">"
    tag: Ints  # (N,) number in TAGS
    closing: NDArray[np.bool_]  # (N,)
    match: Ints  # (N,) the end tag of a start tag and the reverse; a void element's own
    parent: Ints  # (N,) the start tag of the element around; -1 where there is none
    opening: Ints  # the opening tags, void ones among them
    first: Ints  # (B,) the tag before the block
    last: Ints  # (B,) the tag after the block
    text_tag: Ints  # (B,) the tag before the block's first word
    element: Ints  # (B,) the start tag of the block's element
    counts: (
        Floats  # (B, 12): words, words in links, bytes, sentence ends, commas, digits, separators, capitals, signs, ...
    )
    images: Ints  # (I,)


def blocks(tree: LexborHTMLParser) -> Blocks | None:
    """The blocks of `tree`, from which elements without text are removed. None where it holds nothing."""
    tree.strip_tags(DROPPED)
    html = (tree.html or "").encode("utf-8", "replace")
    html = _without_comments(html)
    html = html[max(html.find(b"<html"), 0) :]
    data = np.frombuffer(html + b"        ", np.uint8)
    starts = np.flatnonzero(data == ord("<"))
    ends = np.flatnonzero(data == ord(">")) + 1
    if len(starts) != len(ends):  # the name of an attribute may hold "<"
        starts = starts[np.searchsorted(starts, np.append(0, ends[:-1]))]
    if len(starts) < 2:
        return None
    closing = data[starts + 1] == ord("/")
    tag = _tags(data, starts + 1 + closing)
    void = _IS_VOID[tag]
    match, parent = _tree(closing, void)
    if (tag[match] != tag).any() or (closing[match] == closing)[~void].any():
        void = _unpaired(tag, closing, void)
        match, parent = _tree(closing, void)

    # Text lies between a tag's end and the next tag; only stretches that hold something are looked at.
    begin, length = ends[:-1], starts[1:] - ends[:-1]
    held = np.flatnonzero(length)
    begin, length = begin[held], length[held]
    offset = np.cumsum(length) - length
    text = data[np.repeat(begin - offset, length) + np.arange(int(length.sum()))]
    word = _WORD[text]
    opens = word.copy()
    opens[1:] &= ~word[:-1]
    opens[offset] = word[offset]
    words = np.add.reduceat(opens, offset, dtype=np.int64) if len(offset) else np.zeros(0, np.int64)
    wordy = words > 0
    boundary = ~_IS_INLINE[tag]
    segment = np.cumsum(boundary)
    chunk_segment = segment[held]
    # Chunks of a block are neighbours: the block begins where the segment changes.
    keep = np.flatnonzero(wordy)
    if not len(keep):
        return None
    new = np.flatnonzero(np.diff(chunk_segment[keep], prepend=-1))
    first_chunk = keep[new]
    number = chunk_segment[first_chunk]
    of_segment = np.searchsorted(chunk_segment, number)  # the first chunk of the segment, spaces too
    till_segment = np.searchsorted(chunk_segment, number, side="right")
    boundaries = np.flatnonzero(boundary)
    first = boundaries[number - 1]
    last = np.append(boundaries, len(starts) - 1)[number]
    element = np.where(closing[first], parent[first], np.where(void[first], parent[first], first))

    link = _open(tag == TAG["a"], match, closing)
    strong = _open((tag == TAG["b"]) | (tag == TAG["strong"]), match, closing)
    linked = np.where(link[held] > 0, words, 0)
    bold = np.where(strong[held] > 0, words, 0)
    bounds = offset[of_segment]
    till = np.append(offset, len(text))[till_segment]
    # Between two blocks there are chunks of spaces only, which add nothing.
    packed = np.add.reduceat(_COUNT_A[text], bounds)
    packed2 = np.add.reduceat(_COUNT_B[text], bounds)
    capital = np.add.reduceat(opens & _UPPER[text], bounds, dtype=np.int64)
    chars = np.add.reduceat(_CHAR[text], bounds, dtype=np.int64)
    chunk_words = np.stack([words, linked, bold, np.where(wordy, 1, 0)], 1)
    sums = np.add.reduceat(chunk_words, of_segment, axis=0)
    # The block's last character that is no space.
    solid = np.flatnonzero(_CHAR[text] | (text >= 0x80))
    closing_char = text[solid[np.searchsorted(solid, till) - 1]]
    opening_char = text[solid[np.searchsorted(solid, bounds)]]
    anchors = np.cumsum((tag == TAG["a"]) & ~closing)
    breaks = np.cumsum(tag == TAG["br"])
    counts = np.stack(
        [
            sums[:, 0],
            sums[:, 1],
            sums[:, 2],
            sums[:, 3],
            chars,
            packed & _LOW,
            packed >> _FIELD & _LOW,
            packed >> 2 * _FIELD & _LOW,
            packed2 & _LOW,
            packed2 >> _FIELD & _LOW,
            packed2 >> 2 * _FIELD & _LOW,
            capital,
            anchors[last] - anchors[first],
            breaks[last] - breaks[first],
            _ENDING[closing_char],
            _OPENING[opening_char],
        ],
        1,
    ).astype(np.float32)
    opening = np.flatnonzero(~closing)
    return Blocks(
        html,
        data,
        text,
        bounds,
        till,
        starts,
        ends,
        tag,
        closing,
        match,
        parent,
        opening,
        first,
        last,
        held[first_chunk],
        element,
        counts,
        np.flatnonzero(((tag == TAG["img"]) | (tag == TAG["amp-img"])) & ~closing),
    )


_ENDING = np.zeros(256, np.int64)
_ENDING[[ord(char) for char in ".!?"]] = 1
_ENDING[[ord(char) for char in ":"]] = 2
_ENDING[[ord(char) for char in ",;-"]] = 3
_ENDING[[ord(char) for char in ")\"'"]] = 4
_ENDING[48:58] = 5
_OPENING = np.zeros(256, np.int64)
_OPENING[65:91] = 1
_OPENING[97:123] = 2
_OPENING[48:58] = 3
_OPENING[128:] = 4


def _without_comments(html: bytes) -> bytes:
    """`html` as serialised, its comments taken out; "<!--" may also be part of an attribute's name."""
    parts: list[bytes] = []
    kept = seen = 0  # where what is kept goes on, and the end of the last comment or tag
    at = html.find(b"<!--")
    while at >= 0:
        opened = html.find(b"<", max(html.rfind(b">", seen, at) + 1, seen))
        if opened < at:
            seen = html.find(b">", at) + 1
        else:
            parts.append(html[kept:at])
            kept = seen = html.find(b"-->", at + 4) + 3
        if seen < at:  # neither ends
            break
        at = html.find(b"<!--", seen)
    parts.append(html[kept:])
    return b"".join(parts)


def _tags(data: NDArray[np.uint8], at: Ints) -> Ints:
    """The numbers of the tags whose names begin `at`, by their first eight bytes."""
    every = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    name = every[at]
    ones, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    ends = np.zeros_like(name)
    for byte in b" >":  # the classic test for a zero byte, for eight at once
        differing = name ^ (ones * np.uint64(byte))
        ends |= (differing - ones) & ~differing & high
    lowest = ends & (~ends + np.uint64(1))
    name &= (lowest >> np.uint64(7)) - np.uint64(1)
    place = np.minimum(np.searchsorted(_KEYS, name), len(_KEYS) - 1)
    return np.where(_KEYS[place] == name, _NUMBERS[place], UNKNOWN)


def _tree(closing: NDArray[np.bool_], void: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Which tags belong together, and which element is around each, from well-formed nesting."""
    count = len(closing)
    step = np.where(void, 0, np.where(closing, -1, 1))  # in MathML, <img> may have an end tag
    depth = np.cumsum(step) - (step > 0)  # of the element, for both its tags
    index = np.arange(count)
    match = index.copy()
    paired = np.flatnonzero(~void)
    ordered = paired[np.argsort(depth[paired], kind="stable")]
    if len(ordered) % 2:
        ordered = ordered[:-1]
    match[ordered[::2]] = ordered[1::2]
    match[ordered[1::2]] = ordered[::2]
    opened = ordered[::2]
    width = np.int64(count + 1)
    keys = depth[opened] * width + opened
    around = depth - 1
    wanted = around * width + index
    place = np.searchsorted(keys, wanted) - 1
    parent = np.where((around >= 0) & (place >= 0), opened[place], -1)
    return match, parent


def _unpaired(tag: Ints, closing: NDArray[np.bool_], void: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """`void`, and the tags that have no partner, where the serialised page does not nest well."""
    unpaired = void.copy()
    opened: list[int] = []
    waiting: dict[int, int] = {}
    kinds, closes = tag.tolist(), closing.tolist()
    for at in np.flatnonzero(~void).tolist():
        kind = kinds[at]
        if not closes[at]:
            opened.append(at)
            waiting[kind] = waiting.get(kind, 0) + 1
        elif not waiting.get(kind):
            unpaired[at] = True
        else:
            while True:
                last = opened.pop()
                waiting[kinds[last]] -= 1
                if kinds[last] == kind:
                    break
                unpaired[last] = True
    unpaired[opened] = True
    return unpaired


def _open(chosen: NDArray[np.bool_], match: Ints, closing: NDArray[np.bool_]) -> Ints:
    """(N,) how many of the chosen elements are open after each tag."""
    return np.cumsum(np.where(chosen & (match != np.arange(len(match))), np.where(closing, -1, 1), 0))
