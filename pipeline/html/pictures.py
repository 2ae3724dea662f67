"""The blocks of a page and how likely each is main content in; which of its images belong to that content, out."""

import re
from html import unescape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import Blocks, Floats, Ints
from pipeline.html.features import Elements
from pipeline.html.lexicon import BITS

MIN_SIDE = 40  # pixels: of less on either stated side an image is an icon, a spacer or a counter
ENOUGH = 12  # words: what an element around an image holds at least for its kept share to say something
SHARE = 0.5
CLIMBED = 8  # elements
LEAD = 60  # words that are not kept between a lead image and the first kept block

_ATTRIBUTE = re.compile(r' ([^\s="]++)="([^"]*+)"')
_NUMBER = re.compile(r"\s*+(\d{1,5})(?:\.\d*+)?\s*+(?:px)?\s*+$")
# The words of an image's own class, id, alt or address, that say it is no content.
_NO_CONTENT = re.compile(
    r"(?<![a-z])(?:avatars?|gravatar|icons?|sprites?|emojis?|smil(?:ey|ies)|spacer|pixel|tracking|beacon|logos?|badges?|"
    r"wp-smiley|favicon|profile-?(?:pic|image|photo)|author-?(?:pic|image|photo|img)|userpic|headshot|transparent|flags?)(?![a-z])"
)
_COUNTER = re.compile(
    r"doubleclick|/pixel|scorecardresearch|facebook\.com/tr|google-analytics|quantserve|/beacon|feedburner|/track"
)
_OUTSIDE = sum(
    1 << BITS.index(name)
    for name in (
        "nav",
        "footer",
        "aside",
        "button",
        "related",
        "share",
        "advert",
        "consent",
        "signup",
        "account",
        "paging",
    )
)


def attributes_of(blocks: Blocks, tag: int) -> dict[str, str | None]:
    """The attributes of one tag, by name in lower case."""
    written = blocks.html[blocks.starts[tag] : blocks.ends[tag]].decode("utf-8", "replace")
    return {name.lower(): unescape(value) for name, value in _ATTRIBUTE.findall(written)}


def kept_images(blocks: Blocks, around: Elements, probability: Floats, kept: NDArray[np.bool_]) -> Ints:
    """The tags of the images that belong to the kept blocks, in DOM order."""
    images = blocks.images
    if not len(images) or not kept.any():
        return images[:0]
    scores = features(blocks, around, probability, kept)
    wanted = judge(scores)
    return np.array([int(tag) for tag in images[wanted] if not no_content(attributes_of(blocks, int(tag)))], np.int64)


def features(blocks: Blocks, around: Elements, probability: Floats, kept: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
    """What `judge` asks of the I images."""
    images = blocks.images
    count, total = len(blocks.starts), len(blocks.first)
    words = blocks.counts[:, 0].astype(np.float64)
    held = np.concatenate([[0.0], np.cumsum(words)])
    good = np.concatenate([[0.0], np.cumsum(words * kept)])
    likely = np.concatenate([[0.0], np.cumsum(words * probability)])
    before = np.searchsorted(blocks.first, np.arange(count + 1))
    closes = np.append(blocks.match, count)
    at = np.searchsorted(blocks.first, images)  # the block after each image
    share, chance = np.full(len(images), -1.0), np.full(len(images), -1.0)
    level = np.full(len(images), CLIMBED)
    element = images.copy()
    for step in range(CLIMBED):
        element = around.up[element]
        inside = element < count
        low = np.where(inside, before[element], 0)
        high = np.where(inside, before[closes[element]], total)
        size = held[high] - held[low]
        new = (share < 0) & ((size >= ENOUGH) | ~inside)
        share[new] = ((good[high] - good[low]) / np.maximum(size, 1))[new]
        chance[new] = ((likely[high] - likely[low]) / np.maximum(size, 1))[new]
        level[new] = step
    index = np.arange(total)
    previous = np.maximum.accumulate(np.where(kept, index, -1))
    following = np.minimum.accumulate(np.where(kept, index, total)[::-1])[::-1]
    last = np.where(at > 0, previous[np.maximum(at - 1, 0)], -1)
    next_ = np.where(at < total, following[np.minimum(at, total - 1)], total)
    since = np.where(last >= 0, held[at] - held[last + 1], 1e6)
    until = np.where(next_ < total, held[np.minimum(next_, total)] - held[at], 1e6)
    padded = np.concatenate([[0.0], probability, [0.0]])
    return {
        "share": share,
        "chance": chance,
        "level": level,
        "since": since,
        "until": until,
        "before": padded[at],
        "after": padded[at + 1],
        "bits": around.bits[images],
        "weight": around.around[images],
        "kept_before": good[at] / max(good[-1], 1),
        "figure": _in(around, images, "figure"),
    }


def _in(around: Elements, images: Ints, name: str) -> NDArray[np.bool_]:
    return (around.bits[images] >> BITS.index(name) & 1) > 0


def judge(of: dict[str, NDArray[Any]]) -> NDArray[np.bool_]:
    """An image is content where most words of what is close around it are kept, or kept text stands on both sides; and the
    lead image above the text."""
    outside = (of["bits"] & _OUTSIDE) != 0
    within = of["share"] >= SHARE
    between = (of["since"] <= 30) & (of["until"] <= 30)
    lead = (of["kept_before"] < 0.02) & (of["until"] <= LEAD) & (of["share"] >= 0.1)
    wanted: NDArray[np.bool_] = (within | between | lead) & ~outside
    return wanted


def no_content(attributes: dict[str, str | None]) -> bool:
    """Whether the markup says that an image is an icon, an avatar, a logo, a spacer or a counter."""
    for name in ("width", "height"):
        match = _NUMBER.match(attributes.get(name) or "")
        if match and int(match[1]) < MIN_SIDE:
            return True
    if "hidden" in attributes:
        return True
    own = " ".join((attributes.get(name) or "")[:300] for name in ("class", "id")).lower()
    src = (attributes.get("src") or attributes.get("data-src") or "")[:2000].lower()
    name = re.split(r"[?#]", src, maxsplit=1)[0].rpartition("/")[2]
    return bool(_NO_CONTENT.search(own) or _NO_CONTENT.search(name) or _COUNTER.search(src))
