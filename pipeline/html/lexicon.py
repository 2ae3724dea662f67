"""The words in an element's attributes and in a short text, as 64-bit hashes, and what was learned of them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from filters.ngrams import INVERSE, ODD, Hashes, powers
from pipeline.html.blocks import Blocks
from pipeline.html.tags import TAG, TAGS, Bytes, Ints, eights

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
_SALTS = np.array([0xD6E8FEB86659FD93 * (2 * number + 1) % (1 << 64) for number in range(16)], np.uint64)
PART, ROLE, STYLE, TEXT, ALL, FIRST = range(6)
WHOLE = 8  # added to the kind of a word that was not split

_LOWER = np.arange(256, dtype=np.uint8)
_LOWER[65:91] += 32
_TERM = _LOWER.astype(np.uint64) + np.uint64(1)  # of the polynomial
_LETTER, _UPPER, _SOLID = 1, 2, 4  # bits of a byte of an attribute's value
_KINDS = np.full(256, _SOLID, np.uint8)
_KINDS[[9, 10, 12, 13, 32, 34]] = 0
_KINDS[65:91] |= _LETTER | _UPPER
_KINDS[97:123] |= _LETTER
_KIND_OF = _KINDS.tobytes()
_IS_WORDY = (((_KINDS & _LETTER) > 0) | (np.arange(256) >= 0x80)).astype(np.uint8).tobytes()


def _hashes(data: Bytes, begin: Ints, end: Ints) -> Hashes:
    """Of the stretches of `data` in lower case from `begin` to `end`."""
    count = len(data) + 1
    running = np.zeros(count, np.uint64)
    np.cumsum(_TERM.take(data) * powers(ODD, count - 1), out=running[1:])
    return (running[end] - running[begin]) * powers(INVERSE, count)[begin]


def hash_of(word: str, kind: int) -> int:
    """The hash of one word as the functions below compute it."""
    total = 0
    for place, byte in enumerate(word.encode()):
        total += (byte + 1) * pow(ODD, place, 1 << 64)
    return (total % (1 << 64)) ^ int(_SALTS[kind])


def _runs(inside: NDArray[np.integer[Any]]) -> tuple[Ints, Ints]:
    """Where the stretches of what is not 0 begin and end; the last is 0."""
    edges = np.flatnonzero(np.diff(inside > 0, prepend=False))
    return edges[::2], edges[1::2]


_ATTRIBUTES = (  # an attribute's name as far as it is looked at, and the kind of its words
    (b" class", PART),
    (b" id", PART),
    (b" role", ROLE),
    (b"itemprop", ROLE),
    (b" hidden", STYLE),
    (b" style", STYLE),
)
_HIDDEN = len(b"hidden=")


@dataclass(slots=True)
class Values:
    """A attributes that say what an element is, with V values among them that differ, which have W words."""

    owner: Ints  # (A,) the tag
    value: Ints  # (A,) number of the value
    words: Hashes  # (W,)
    of_value: Ints  # (W,)
    number: Ints  # (N,) for every tag a number that tells its class from others


def attribute_values(blocks: Blocks) -> Values:
    """Most values are there many times: each is taken apart once."""
    data, html = blocks.data, blocks.html
    number = np.zeros(len(blocks.starts), np.int64)
    quotes = np.append(np.flatnonzero(data == ord('"')), len(data))
    opens = np.flatnonzero(data.take(quotes[:-1] - 1) == ord("="))
    at = quotes.take(opens)
    names = eights(data)[at - 9]
    kind_of = np.full(len(at), -1)
    for name, kind in _ATTRIBUTES:
        kind_of[names >> np.uint64(64 - 8 * len(name)) == int.from_bytes(name, "little")] = kind
    chosen = np.flatnonzero(kind_of >= 0)
    at, kind_of, stop = at[chosen], kind_of[chosen], quotes[opens[chosen] + 1]
    owner = np.searchsorted(blocks.starts, at) - 1
    real = (at < blocks.ends[owner]) & (owner >= 0)
    real &= (kind_of != ROLE) | (data[at - 2] != ord("p")) | (data[at - 10] == ord(" "))
    if not real.all():  # what looks like an attribute, but is text
        at, kind_of, stop, owner = at[real], kind_of[real], stop[real], owner[real]
    if not len(at):
        nothing = np.zeros(0, np.int64)
        return Values(nothing, nothing, np.zeros(0, np.uint64), nothing, number)
    # A value has no quotes within: they are escaped. That of "hidden" is its own name.
    hidden = (kind_of == STYLE) & (data[at - 2] == ord("n"))
    begin = at + 1 - hidden * (_HIDDEN + 1)
    stop = np.where(hidden, at, np.minimum(stop, at + 1 + MAX_VALUE))
    texts = [html[begin:end] for begin, end in zip(begin.tolist(), stop.tolist(), strict=True)]
    keys: list[bytes | tuple[int, bytes]] = [*texts]
    for place in np.flatnonzero(kind_of != PART).tolist():
        keys[place] = int(kind_of[place]), texts[place]
    known = dict.fromkeys(keys)
    numbers = dict(zip(known, range(len(known)), strict=True))
    value = np.fromiter(map(numbers.__getitem__, keys), np.int64, len(keys))
    kind_of_value = np.empty(len(known), np.int64)
    kind_of_value[value] = kind_of
    different = [key if isinstance(key, bytes) else key[1] for key in known]
    words, of_value = _taken_apart(different, kind_of_value)
    classes = kind_of == PART
    number[owner[classes]] = value[classes] + 1
    return Values(owner, value, words, of_value, number)


def _taken_apart(values: list[bytes], kind_of: Ints) -> tuple[Hashes, Ints]:
    """The words of each value, and which value has them: the runs of letters, split where an upper-case one follows a
    lower-case one, and as words of another kind what stands between spaces."""
    joined = b'"'.join([b"", *values, b""])
    length = np.fromiter(map(len, values), np.int64, len(values)) + 1
    kinds = np.frombuffer(joined.translate(_KIND_OF), np.uint8)
    letter, upper = kinds & _LETTER, (kinds & _UPPER) >> 1
    begins = letter[1:] & ~(letter[:-1] & (upper[:-1] | ~upper[1:]))
    ends = letter[:-1] & ~(letter[1:] & ~begins)
    begin, end = np.flatnonzero(begins) + 1, np.flatnonzero(ends) + 1
    long = end - begin > 1
    begin, end = begin[long], end[long]
    solid_begin, solid_end = _runs(kinds & _SOLID)
    all_begin = np.append(begin, solid_begin)
    of_value = np.repeat(np.arange(len(values)), length)[all_begin - 1]
    salt = kind_of[of_value]
    salt[len(begin) :] += WHOLE
    hashes = _hashes(np.frombuffer(joined, np.uint8), all_begin, np.append(end, solid_end))
    return hashes ^ _SALTS[salt], of_value


def attribute_words(blocks: Blocks) -> tuple[Ints, Hashes]:
    """The words of the attributes that say what an element is: the tag of each and its hash."""
    found = attribute_values(blocks)
    order = np.argsort(found.of_value, kind="stable")
    first = np.searchsorted(found.of_value[order], np.arange(len(found.value) + 1))
    each = np.diff(first)[found.value]
    place = np.repeat(first[found.value] - np.cumsum(each) + each, each) + np.arange(int(each.sum()))
    return np.repeat(found.owner, each), found.words[order][place]


def text_words(blocks: Blocks) -> tuple[Ints, Hashes]:
    """The words of the short blocks: the block of each and its hash; and as words of their own each text as a whole, and its
    first two words."""
    short = np.flatnonzero(blocks.counts[:, 0] <= SHORT)
    begin, length = blocks.text_begin[short], blocks.text_end[short] - blocks.text_begin[short] + 1
    ends = np.cumsum(length)
    owner = np.repeat(np.arange(len(short)), length)
    place = (begin - ends + length).take(owner) + np.arange(len(owner))
    place[ends - 1] = 0
    taken = blocks.text.take(place)
    taken[ends - 1] = ord(" ")
    begins, stops = _runs(np.frombuffer(taken.tobytes().translate(_IS_WORDY), np.uint8))
    if not len(begins):
        return np.zeros(0, np.int64), np.zeros(0, np.uint64)
    owner = owner[begins]
    hashes = _hashes(taken, begins, stops)
    new = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
    nth = np.arange(len(owner)) - np.repeat(new, np.diff(np.append(new, len(owner))))
    mixed = (hashes ^ (hashes >> np.uint64(29))) * powers(ODD, 1002)[np.minimum(nth, 1000) + 1]
    whole = np.add.reduceat(mixed, new)
    mixed[nth >= 2] = 0
    first = np.add.reduceat(mixed, new)
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
    """What was learned of words: `hashes` of V words, and for each its weights around a block, as the block's own and in its
    text (V + 1, 3), and the bits of its purpose (V + 1,); the last are those of no word. `slots` holds the number of each
    word in one of its two slots, elsewhere 0."""

    hashes: Hashes
    weights: NDArray[np.float32]
    bits: Ints
    slots: Ints

    def find(self, words: Hashes) -> Ints:
        """The number of each word, V for one that is unknown."""
        first, second = (self.slots.take(slots) for slots in _two_slots(words, len(self.slots)))
        place = np.where(self.hashes.take(first) == words, first, second)
        place[self.hashes.take(place) != words] = len(self.hashes)
        return place


def _two_slots(words: Hashes, size: int) -> tuple[Ints, Ints]:
    """Where each word may stand among as many slots, a power of two."""
    shift = np.uint64(65 - size.bit_length())
    mixed = words * np.uint64(ODD)
    return (mixed >> shift).view(np.int64), (mixed * np.uint64(ODD) >> shift).view(np.int64)


def _slots(hashes: Hashes) -> Ints:
    """Each word in one of its slots, by cuckoo hashing: who comes later takes it, and who stood there goes to his other."""
    nobody = len(hashes)
    slots = np.full(4 << nobody.bit_length(), nobody)
    both = np.stack(_two_slots(hashes, len(slots)))
    other = np.zeros(nobody, np.int64)
    left = np.arange(nobody)
    while len(left):
        slot = both[other[left], left]
        before = slots[slot]
        slots[slot] = left
        won = slots[slot] == left
        left = np.unique(np.append(left[~won], before[won]))
        left = left[left < nobody]
        other[left] ^= 1
    slots[slots == nobody] = 0
    return slots


def lexicon(hashes: Hashes, weights: NDArray[np.float32]) -> Lexicon:
    """The lexicon of learned weights (V, 3), to which the words of PURPOSES are added."""
    every = np.union1d(hashes, np.array(sorted(_PURPOSE_BITS), np.uint64))
    table = np.zeros((len(every) + 1, 3), np.float32)
    table[np.searchsorted(every, hashes)] = weights
    bits = np.array([*(_PURPOSE_BITS.get(int(word), 0) for word in every), 0], np.int64)
    return Lexicon(every, table, bits, _slots(every))


def tag_bits(tag: Ints) -> Ints:
    return _TAG_BIT[tag]
