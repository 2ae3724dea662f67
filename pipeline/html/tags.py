"""A parsed page in; its tags, which of them belong together and which element is around each, as arrays, out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from filters.ngrams import ODD

Ints = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

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
PADDING = b"        "  # so that eight bytes can be read anywhere in a page

_IS_VOID = np.array([name in VOID for name in TAGS] + [False])

# The numbers of the tags by their names' first eight bytes, in a hash table without collisions.
_NAMES = np.array([int.from_bytes(name.encode()[:8].ljust(8, b"\0"), "little") for name in TAGS], np.uint64)
_SHIFT = np.uint64(52)
_FACTOR = next(
    factor
    for factor in (np.uint64(ODD * odd % (1 << 64)) for odd in range(1, 10_000, 2))
    if len(np.unique(_NAMES * factor >> _SHIFT)) == len(TAGS)
)
_NUMBERS = np.full(1 << 12, UNKNOWN, np.int64)
_NUMBERS[_NAMES * _FACTOR >> _SHIFT] = np.arange(len(TAGS))
_NAMES = np.append(_NAMES, np.uint64(0))

# The elements to drop by a hash of their names' first three letters.
_LETTERS = np.uint32(0xFFFFFF)


def _three(letters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """16 bits of the first three letters, whatever their case."""
    return ((letters | np.uint32(0x202020)) & _LETTERS) * np.uint32(ODD >> 32) >> np.uint32(16)


_DROPPED = _three(np.array([int.from_bytes(name.encode()[:3], "little") for name in DROPPED], np.uint32))
_DROPPED_ALWAYS = 1  # there is always a head


@dataclass(slots=True)
class Tags:
    """N tags; indices are into them."""

    html: bytes  # the page as serialised, every "<" and ">" of which delimits a tag, and PADDING
    data: Bytes  # the same as numbers
    starts: Ints  # (N,) of the tags, at "<"
    ends: Ints  # (N,) past ">"
    tag: Ints  # (N,) number in TAGS
    closing: Bools  # (N,)
    match: Ints  # (N,) the end tag of a start tag and the reverse; a void element's own
    parent: Ints  # (N,) the start tag of the element around; -1 where there is none


def tags(tree: LexborHTMLParser) -> Tags | None:
    """The tags of `tree`, from which elements without text are removed. None where it has none."""
    tree.strip_tags(_held(tree.raw_html or b""))
    page = (tree.html or "").encode("utf-8", "replace")
    html = _without_comments(page)
    data = np.frombuffer(html, np.uint8)
    delimiters = np.flatnonzero((data | 2) == ord(">"))  # "<" is the one that differs in this bit
    if _alternate(data, delimiters):
        starts, ends = delimiters[::2].copy(), delimiters[1::2] + 1
    else:  # the name of an attribute may hold "<", and seem to begin a comment
        html = _without_comments_in_text(page)
        data = np.frombuffer(html, np.uint8)
        starts, ends = np.flatnonzero(data == ord("<")), np.flatnonzero(data == ord(">")) + 1
        starts = starts[np.searchsorted(starts, np.append(0, ends[:-1]))]
    if len(starts) < 2:
        return None
    closing = data[starts + 1] == ord("/")
    tag = _numbers(data, starts + 1 + closing)
    void = _IS_VOID[tag]
    found = nested(closing, void)
    if found is None or (tag[found[0]] != tag).any():
        void = _unpaired(tag, closing, void)
        found = nested(closing, void)
        assert found is not None
    return Tags(html, data, starts, ends, tag, closing, *found)


def _held(html: bytes) -> list[str]:
    """The elements to drop that the page may have."""
    seen = np.zeros(1 << 16, bool)
    if len(html) > 4:
        data = np.frombuffer(html, np.uint8)
        names = np.ndarray((len(data) - 3,), "<u4", data, strides=(1,))
        seen[_three(names[np.flatnonzero(data[:-4] == ord("<")) + 1])] = True
    seen[_DROPPED[:_DROPPED_ALWAYS]] = True
    return [name for name, held in zip(DROPPED, seen[_DROPPED].tolist(), strict=True) if held]


def _without_comments(html: bytes) -> bytes:
    """`html` from its root, padded, without what stands between "<!--" and "-->"."""
    parts: list[bytes] = []
    kept = 0
    at = html.find(b"<!--")
    root = html.find(b"<html", 0, at if at >= 0 else len(html))
    kept = max(root, 0)
    while at >= 0:
        parts.append(html[kept:at])
        kept = html.find(b"-->", at + 4) + 3
        if kept < at:
            break
        at = html.find(b"<!--", kept)
    parts += [html[kept:], PADDING]
    html = b"".join(parts)
    return html if root >= 0 else html[max(html.find(b"<html"), 0) :]


def _alternate(data: Bytes, delimiters: Ints) -> bool:
    """Whether every "<" is followed by a ">" and that by the next "<"."""
    signs = data[delimiters]
    return len(signs) % 2 == 0 and bool((signs[::2] == ord("<")).all() and (signs[1::2] == ord(">")).all())


def _without_comments_in_text(html: bytes) -> bytes:
    """The same, where "<!--" may be part of an attribute's name."""
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
    parts += [html[kept:], PADDING]
    html = b"".join(parts)
    return html[max(html.find(b"<html"), 0) :]


def eights(data: Bytes) -> NDArray[np.uint64]:
    """The eight bytes that begin at each place of padded `data`, as one number."""
    return np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))


def _numbers(data: Bytes, at: Ints) -> Ints:
    """The numbers of the tags whose names begin `at`, by their first eight bytes."""
    name = eights(data)[at]
    ones, high = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    ends = np.zeros_like(name)
    for byte in b" >":  # the classic test for a zero byte, for eight at once
        differing = name ^ (ones * np.uint64(byte))
        ends |= (differing - ones) & ~differing & high
    lowest = ends & (~ends + np.uint64(1))
    name &= (lowest >> np.uint64(7)) - np.uint64(1)
    number = _NUMBERS[name * _FACTOR >> _SHIFT]
    return np.where(_NAMES[number] == name, number, UNKNOWN)


def nested(closing: Bools, void: Bools) -> tuple[Ints, Ints] | None:
    """Which tags belong together, and which element is around each; None where starts and ends do not add up."""
    count = len(closing)
    step = np.where(void, 0, np.where(closing, -1, 1))  # in MathML, <img> may have an end tag
    reached = np.cumsum(step)
    if reached[-1] or reached.min() < 0:
        return None
    opens = step > 0
    depth = reached - opens  # of the element, for both its tags
    narrow = depth.astype(np.uint16) if count < 1 << 16 else depth  # sorted by radix
    order = np.argsort(narrow, kind="stable")
    match = np.arange(count)
    # At one depth the end of an element comes next after its start.
    paired = np.flatnonzero(opens[order])
    start, end = order[paired], order[paired + 1]
    match[start], match[end] = end, start
    # The first child of an element stands just behind its start; from there on all at that depth are its children.
    first = np.append(True, opens[:-1] & (step[1:] >= 0))
    parent = np.empty(count, np.int64)
    parent[order] = order[np.maximum.accumulate(np.where(first[order], np.arange(count), 0))] - 1
    return match, parent


def _unpaired(tag: Ints, closing: Bools, void: Bools) -> Bools:
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
