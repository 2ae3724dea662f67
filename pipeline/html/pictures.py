"""The blocks of a page and how likely each is main content in; which of its images belong to that content, out."""

import re
from html import unescape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import Blocks, Floats
from pipeline.html.features import Elements
from pipeline.html.lexicon import BITS
from pipeline.html.tags import TAG, Ints

MIN_SIDE = 40  # pixels: of less on either stated side an image is an icon, a spacer or a counter,
MIN_INLINE = 10  # unless it stands in the midst of kept text, as the flags and symbols of a table do
ENOUGH = 12  # words: what an element around an image holds at least for its kept share to say something
SHARE = 0.5
INLINE_SHARE = 0.8
BETWEEN_SHARE = 0.3  # where kept text stands on both sides
CLIMBED = 12  # elements
NEAR = 40  # words between an image and the nearest kept block
AMIDST = 5  # words between the kept blocks on both sides of an image
LEAD = 60  # words that are not kept between a lead image and the first kept block
BULK = 0.3  # share of all kept words: what holds so many is the content, whatever its class says

_ATTRIBUTE = re.compile(r' ([^\s="]++)="([^"]*+)"')
_NUMBER = re.compile(r"\s*+(\d{1,5})(?:\.\d*+)?\s*+(?:px)?\s*+$")
# Words of an image's own class, id or file name that say it is no content.
_NO_CONTENT = re.compile(
    r"(?<![a-z])(?:avatars?|gravatar|icons?|sprites?|emojis?|smil(?:ey|ies)|spacer|pixel|tracking|beacon|logos?|badges?|favicon|"
    r"profile-?(?:pic|image|photo)|author-?(?:pic|image|photo|img)|userpic|headshot|transparent)(?![a-z])"
)
# One of these is in whatever that finds, and is found sooner.
_HINTS = (
    "avatar icon sprite emoji smil spacer pixel tracking beacon logo badge profile author userpic headshot transparent"
).split()
_COUNTER = re.compile(
    r"doubleclick|/pixel|scorecardresearch|facebook\.com/tr|google-analytics|quantserve|/beacon|/track|[/_-]ads[/_-]|gravatar\.com/"
)
_ROOT = re.compile(r"(?:https?:)?//[^/?#]++/?(?:[?#].*+)?|/(?:[?#].*+)?")
_ELSE = (
    "nav footer aside button address navigation sidebar related share advert consent signup account paging byline overlay"
).split()
OUTSIDE = sum(1 << BITS.index(name) for name in _ELSE)  # parts of a page that are for something else
_COMMENT = 1 << BITS.index("comment")


Attributes = dict[str, str | None]


def attributes_of(blocks: Blocks, tag: int) -> Attributes:
    """The attributes of one tag, by name in lower case."""
    written = blocks.html[blocks.starts[tag] : blocks.ends[tag]].decode("utf-8", "replace")
    return {name.lower(): unescape(value) if "&" in value else value for name, value in _ATTRIBUTE.findall(written)}


def kept_images(
    blocks: Blocks, around: Elements, probability: Floats, kept: NDArray[np.bool_]
) -> list[tuple[int, Attributes]]:
    """The tags of the images that belong to the kept blocks, in DOM order, and their attributes."""
    if not len(blocks.images) or not kept.any():
        return []
    of = features(blocks, around, probability, kept)
    found = []
    # The markup of those only that stand where content is: it costs more to read.
    for at in np.flatnonzero(judge(of)).tolist():
        tag = int(blocks.images[at])
        attributes = attributes_of(blocks, tag)
        if not no_content(attributes, bool(of["inline"][at])) and not _leads_home(blocks, tag):
            found.append((tag, attributes))
    return found


def features(blocks: Blocks, around: Elements, probability: Floats, kept: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What `judge` asks of the I images.

    `share`: of kept words in the smallest element around the image that has enough of them, the image's own figure apart;
    `level`: how many elements further out that is; `since`, `until`: words to the nearest kept block before and after;
    `bits`: of the elements around it that do not hold the bulk of the content; `kept_before`: share of all kept words.
    """
    images = blocks.images
    count, total = len(blocks.starts), len(blocks.first)
    words = blocks.counts[:, 0].astype(np.float64)
    held, good = np.zeros(total + 1), np.zeros(total + 1)
    np.cumsum(words, out=held[1:])
    np.cumsum(words * kept, out=good[1:])
    before = blocks.before
    closes = np.append(blocks.match, count)

    element = climbed(around.up, images, CLIMBED)
    figure = first(around.form[element] == TAG["figure"], element, -1)
    bulk = first(good[before[closes[element]]] - good[before[element]] >= BULK * good[-1], element, count)
    inner = np.where(figure >= 0, figure, images)
    low_own, high_own = before[inner], before[closes[inner]]
    size_own, good_own = held[high_own] - held[low_own], good[high_own] - good[low_own]

    element = climbed(around.up, inner, CLIMBED)
    outside = element == count
    low, high = before[element], before[closes[element]]
    low[outside], high[outside] = 0, total
    size = held[high] - held[low] - size_own
    enough = (size >= ENOUGH) | outside
    share = first(enough, (good[high] - good[low] - good_own) / np.maximum(size, 1), -1.0)
    level = np.where(enough.any(0), enough.argmax(0), CLIMBED)
    index = np.arange(total)
    previous = np.append(np.maximum.accumulate(np.where(kept, index, -1)), -1)[low_own - 1]
    following = np.append(np.minimum.accumulate(np.where(kept, index, total)[::-1])[::-1], total)[high_own]
    since = np.where(previous >= 0, held[low_own] - held[previous + 1], np.inf)
    until = np.where(following < total, held[np.minimum(following, total)] - held[high_own], np.inf)
    return {
        "share": share,
        "level": level,
        "since": since,
        "until": until,
        "bits": around.bits[images] & ~around.bits[bulk],
        "kept_before": good[low_own] / max(good[-1], 1),
        "figure": figure >= 0,
        "inline": (share >= INLINE_SHARE) & (level <= 4) & (np.maximum(since, until) < NEAR),
    }


def climbed(up: Ints, element: Ints, levels: int) -> Ints:
    """(levels, I) the elements around each, the innermost first."""
    around = np.empty((levels, len(element)), np.int64)
    for level in around:
        level[:] = element = up[element]
    return around


def first(wanted: NDArray[np.bool_], values: NDArray[Any], missing: float) -> NDArray[Any]:
    """The values (L, I) of the first of the L levels that is wanted (L, I)."""
    return np.where(wanted.any(0), values[wanted.argmax(0), np.arange(values.shape[1])], missing)


def judge(of: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """An image is content where most words close around it are kept and kept text is near, where kept text stands on both
    sides, and as the lead image above the text; but not in a part of the page that is for something else."""
    outside = (of["bits"] & OUTSIDE) != 0
    outside |= ((of["bits"] & _COMMENT) != 0) & (of["share"] < SHARE)
    # A box of any name in the midst of a text is a part of it.
    outside &= ~(of["inline"] & (of["since"] + of["until"] <= AMIDST))
    near = np.minimum(of["since"], of["until"]) <= NEAR
    within = (of["share"] >= SHARE) & near
    between = (of["since"] <= NEAR) & (of["until"] <= NEAR) & ((of["share"] >= BETWEEN_SHARE) | of["figure"])
    lead = (of["kept_before"] < 0.02) & (of["until"] <= LEAD) & (of["share"] >= 0.1)
    wanted: NDArray[np.bool_] = (within | between | lead) & ~outside
    return wanted


def _leads_home(blocks: Blocks, tag: int) -> bool:
    """Whether the image is a link to the site's first page: its logo."""
    parent = int(blocks.parent[tag])
    for _ in range(3):
        if parent >= 0 and blocks.tag[parent] == TAG["a"]:
            return _ROOT.fullmatch((attributes_of(blocks, parent).get("href") or "x").strip()[:300]) is not None
        parent = int(blocks.parent[parent]) if parent >= 0 else -1
    return False


def no_content(attributes: Attributes, inline: bool = False) -> bool:
    """Whether the markup says that an image is an icon, an avatar, a logo, a spacer or a counter. `inline`: it stands in
    the midst of text, where the small may belong to it."""
    for name in ("width", "height"):
        match = _NUMBER.match(attributes.get(name) or "")
        if match and int(match[1]) < (MIN_INLINE if inline else MIN_SIDE):
            return True
    if "hidden" in attributes:
        return True
    own = " ".join((attributes.get(name) or "")[:300] for name in ("class", "id")).lower()
    src = (attributes.get("src") or attributes.get("data-src") or "")[:2000].lower()
    name = src.partition("#")[0].partition("?")[0].rpartition("/")[2]
    told = f"{own}\n{name}"
    if any(hint in told for hint in _HINTS) and _NO_CONTENT.search(told):
        return True
    return _COUNTER.search(src) is not None
