"""The words in an element's attributes and in a short text, as 64-bit hashes, and what was learned of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import Blocks
from pipeline.html.tags import TAG, TAGS, Bytes, Ints

Hashes = NDArray[np.uint64]

SHORT = 12  # words: a block up to that is judged by its words, too
MAX_VALUE = 400  # bytes of an attribute's value that are read

# Words of class, id and role that say what an element is for. Each purpose is a bit of an element.
PURPOSES = {
    "comment": "comment comments disqus respond commentlist replies",
    "navigation": "nav navbar navigation menu submenu megamenu breadcrumb breadcrumbs crumb crumbs toc tab tabs",
    "footer": "footer foot colophon copyright legal contentinfo",
    "header": "header masthead topbar banner toolbar",
    "sidebar": "sidebar side aside rail widget widgets complementary",
    "related": "related recommended recommendation recommendations more recirc popular trending similar also suggested "
    "suggestion suggestions upsell next prev",
    "share": "share sharing social follow facebook twitter",
    "advert": "ad ads advert advertisement sponsor sponsored promo promotion",
    "consent": "cookie cookies consent gdpr privacy onetrust notice alert",
    "byline": "meta byline author date dateline timestamp published time posted avatar bio",
    "tagged": "tag tags category categories label labels topic topics",
    "body": "article articlebody post entry story content body text main richtext rte prose markdown wysiwyg copy",
    "product": "product products pdp item sku price prices buy variant variants swatch swatches spec specs",
    "review": "review reviews rating ratings star stars testimonial testimonials quote",
    "forum": "thread threads topic reply message msg postbody question answer answers forum discussion",
    "listing": "list items card cards grid tile tiles result results row rows feed loop",
    "overlay": "modal popup dialog overlay lightbox drawer dropdown tooltip offcanvas flyout",
    "paging": "pagination pager pages paging loadmore",
    "signup": "newsletter subscribe subscription signup optin form",
    "filter": "search filter filters facet facets sort refine autocomplete",
    "caption": "caption captions credit credits figcaption gallery slide slides slider carousel swiper",
    "hidden": "hidden hide invisible sr visuallyhidden screen offscreen none collapsed collapse",
    "question": "faq faqs accordion",
    "account": "login account cart basket checkout wishlist user signin register",
    "hero": "hero jumbotron headline title subtitle intro lead lede",
    "action": "cta button btn action actions",
    "print": "ignore noprint skip skiplink accessibility",
}
AROUND = (
    "nav header footer aside main article section form table ul ol dl li td th p blockquote pre figure figcaption button label "
    "details a h1 h2 h3 h4 select address"
).split()
BITS = [*AROUND, *PURPOSES]  # of an element: what it is, and what it is for
_TAG_BIT = np.zeros(len(TAGS) + 1, np.int64)
for _number, _name in enumerate(AROUND):
    _TAG_BIT[TAG[_name]] = 1 << _number

# A hash is the polynomial of the bytes in an odd base modulo 2^64, so that those of all words of a page come from
# differences of one running sum. The salts tell kinds of words apart.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_SALTS = np.array([0xD6E8FEB86659FD93 * (2 * number + 1) % (1 << 64) for number in range(16)], np.uint64)
PART, ROLE, STYLE, TEXT, ALL, FIRST = range(6)
WHOLE = 8  # added to the kind of a word that was not split


def _powers(base: int, count: int) -> Hashes:
    powers = np.full(count, base, np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


_KEPT = 1 << 18
_UP, _DOWN = _powers(_BASE, _KEPT), _powers(_INVERSE, _KEPT)

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_IS_LETTER = np.zeros(256, bool)
_IS_LETTER[65:91] = _IS_LETTER[97:123] = True
_IS_UPPER = np.zeros(256, bool)
_IS_UPPER[65:91] = True
_IS_WORDY = _IS_LETTER.copy()
_IS_WORDY[0x80:] = True
_IS_SOLID = np.ones(256, bool)
_IS_SOLID[[9, 10, 12, 13, 32, 34]] = False


def _hashes(data: Bytes, begin: Ints, end: Ints) -> Hashes:
    """Of the stretches of lower-case `data` from `begin` to `end`."""
    count = len(data) + 1
    up, down = (_UP, _DOWN) if count <= _KEPT else (_powers(_BASE, count), _powers(_INVERSE, count))
    running = np.zeros(count, np.uint64)
    np.cumsum((data.astype(np.uint64) + np.uint64(1)) * up[: count - 1], out=running[1:])
    return (running[end] - running[begin]) * down[begin]


def hash_of(word: str, kind: int) -> int:
    """The hash of one word as the functions below compute it."""
    total = 0
    for place, byte in enumerate(word.encode()):
        total += (byte + 1) * pow(_BASE, place, 1 << 64)
    return (total % (1 << 64)) ^ int(_SALTS[kind])


def _runs(inside: NDArray[np.bool_]) -> tuple[Ints, Ints]:
    """Where the stretches of True begin and end."""
    edges = np.flatnonzero(np.diff(inside, prepend=False, append=False))
    return edges[::2], edges[1::2]


_ATTRIBUTES = (  # the first eight bytes of an attribute and its quote, how many of them count, and the kind of its words
    (b' class="', 8, 0, PART),
    (b' id="', 5, 0, PART),
    (b' role="', 7, 0, ROLE),
    (b" itempro", 8, 3, ROLE),
    (b" hidden=", 8, -7, STYLE),  # its own name stands for it
    (b' style="', 8, 0, STYLE),
)


_BEGINS = np.zeros(256, bool)
_BEGINS[[name[1] for name, *_ in _ATTRIBUTES]] = True


def attribute_words(blocks: Blocks) -> tuple[Ints, Hashes, Ints]:
    """The words of the attributes that say what an element is: the tag of each and its hash; and for every tag a number
    that tells its class from others."""
    data = blocks.data
    every = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))
    spaces = np.flatnonzero(data[:-8] == 32)
    spaces = spaces[_BEGINS[data[spaces + 1]]]
    heads = every[spaces]
    places, kinds = [], []
    for name, size, further, kind in _ATTRIBUTES:
        mask = np.uint64((1 << (8 * size)) - 1)
        found = spaces[(heads & mask) == np.uint64(int.from_bytes(name[:size], "little"))]
        places.append(found + size + further)
        kinds.append(np.full(len(found), kind))
    at, kind_of = np.concatenate(places), np.concatenate(kinds)
    order = np.argsort(at, kind="stable")
    at, kind_of = at[order], kind_of[order]
    owner = np.searchsorted(blocks.starts, at) - 1
    real = (at < blocks.ends[owner]) & (owner >= 0) & ~blocks.closing[owner]
    at, kind_of, owner = at[real], kind_of[real], owner[real]
    number = np.zeros(len(blocks.starts), np.int64)
    if not len(at):
        return owner, np.zeros(0, np.uint64), number
    quotes = np.flatnonzero(data == 34)
    # The next quote closes the value: the pattern ended with the opening one, and within a value it is escaped.
    stop = quotes[np.minimum(np.searchsorted(quotes, at), len(quotes) - 1)]
    stop = np.minimum(np.minimum(stop, blocks.ends[owner] - 1), at + MAX_VALUE)
    # Most values are there many times: each is taken apart once.
    html = blocks.html
    seen: dict[tuple[int, bytes], int] = {}
    value = np.array(
        [
            seen.setdefault((kind, html[begin:end]), len(seen))
            for kind, begin, end in zip(kind_of.tolist(), at.tolist(), stop.tolist(), strict=True)
        ]
    )
    taken = np.frombuffer(b'"'.join([text for _, text in seen]) + b'"', np.uint8)
    length = np.array([len(text) + 1 for _, text in seen])
    kinds_seen = np.array([kind for kind, _ in seen])
    letter, upper = _IS_LETTER[taken], _IS_UPPER[taken]
    camel = np.zeros(len(taken) + 1, bool)
    camel[1:-1] = upper[1:] & letter[:-1] & ~upper[:-1]
    edges = np.diff(letter, prepend=False, append=False) | camel
    begin = np.flatnonzero(edges[:-1] & letter)
    end = np.flatnonzero(edges[1:] & letter) + 1
    long = end - begin > 1
    begin, end = begin[long], end[long]
    solid_begin, solid_end = _runs(_IS_SOLID[taken])
    of_byte = np.repeat(np.arange(len(length)), length)
    hashes = _hashes(_LOWER[taken], np.append(begin, solid_begin), np.append(end, solid_end))
    of_word = of_byte[np.append(begin, solid_begin)]
    salt = kinds_seen[of_word]
    salt[len(begin) :] += WHOLE
    order = np.argsort(of_word, kind="stable")
    words = (hashes ^ _SALTS[salt])[order]
    first = np.searchsorted(of_word[order], np.arange(len(length) + 1))
    each = np.diff(first)[value]
    reached = np.cumsum(each)
    tags = np.repeat(owner, each)
    words = words[np.repeat(first[value] - reached + each, each) + np.arange(len(tags))]
    classes = kind_of == PART
    number[owner[classes]] = value[classes] + 1
    return tags, words, number


def text_words(blocks: Blocks) -> tuple[Ints, Hashes]:
    """The words of the short blocks: the block of each and its hash; and as words of their own each text as a whole, and its
    first two words."""
    short = np.flatnonzero(blocks.counts[:, 0] <= SHORT)
    begin, length = blocks.text_begin[short], blocks.text_end[short] - blocks.text_begin[short] + 1
    offset = np.cumsum(length) - length
    padded = blocks.text
    taken = _LOWER[
        padded[np.minimum(np.repeat(begin - offset, length) + np.arange(int(length.sum())), len(padded) - 1)]
    ]
    taken[offset + length - 1] = 32
    begins, ends = _runs(_IS_WORDY[taken])
    if not len(begins):
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    owner = np.repeat(np.arange(len(short)), length)[begins]
    hashes = _hashes(taken, begins, ends)
    new = np.flatnonzero(np.diff(owner, prepend=-1))
    place = np.arange(len(owner)) - np.repeat(new, np.diff(np.append(new, len(owner))))
    mixed = (hashes ^ (hashes >> np.uint64(29))) * _UP[np.minimum(place, 1000) + 1]
    whole = np.add.reduceat(mixed, new)
    first = np.add.reduceat(np.where(place < 2, mixed, np.uint64(0)), new)
    of = short[owner]
    return (
        np.concatenate([of, of[new], of[new]]),
        np.concatenate([hashes ^ _SALTS[TEXT], whole ^ _SALTS[ALL], first ^ _SALTS[FIRST]]),
    )


_PURPOSE_BITS: dict[int, int] = {}
for _number, _words in enumerate(PURPOSES.values()):
    for _word in _words.split():
        for _kind in (PART, ROLE, STYLE):
            _hash = hash_of(_word, _kind)
            _PURPOSE_BITS[_hash] = _PURPOSE_BITS.get(_hash, 0) | 1 << (_number + len(AROUND))


@dataclass(slots=True)
class Lexicon:
    """What was learned of words: sorted `hashes`, and for each its weights around a block, as the block's own and in its
    text (V, 3), and the bits of its purpose (V,)."""

    hashes: Hashes
    weights: NDArray[np.float32]
    bits: Ints

    def find(self, words: Hashes) -> Ints:
        """The number of each word, that of no word for one that is unknown."""
        place = np.searchsorted(self.hashes, words)
        place[place == len(self.hashes)] = 0
        return np.where(self.hashes[place] == words, place, len(self.hashes))


def lexicon(hashes: Hashes, weights: NDArray[np.float32]) -> Lexicon:
    """The lexicon of learned weights (V, 3), to which the words of PURPOSES are added."""
    every = np.union1d(hashes, np.array(sorted(_PURPOSE_BITS), np.uint64))
    table = np.zeros((len(every) + 1, 3), np.float32)
    table[np.searchsorted(every, hashes)] = weights
    bits = np.array([*(_PURPOSE_BITS.get(int(word), 0) for word in every), 0], np.int64)
    return Lexicon(every, table, bits)


def tag_bits(tag: Ints) -> Ints:
    return _TAG_BIT[tag]
