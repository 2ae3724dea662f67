"""The blocks of a page in; what the model judges them by, as one row of numbers a block, out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import TAG, TAGS, UNKNOWN, Blocks, Floats, Ints

MAX_SIGNATURE = 300  # bytes of class and id that are read of one element
MAX_CACHED = 100_000
SHORT = 12  # words: a block up to that is judged by its words, too
LEVELS = 6  # of elements around a block
MAX_WEIGHED = 60  # bytes of a word

# Words of class, id and role that say what an element is for. Each is a bit.
PURPOSES = {
    "comment": "comments? disqus respond commentlist replies",
    "navigation": "nav navbar navigation menu submenu megamenu breadcrumbs? crumbs? toc tabs?",
    "footer": "footer foot colophon copyright legal",
    "header": "header masthead topbar banner toolbar",
    "sidebar": "sidebar side aside rail widgets? complementary",
    "related": "related recommended recommendations? more recirc popular trending similar also suggest(?:ed|ions?) upsell next prev",
    "share": "share sharing social follow facebook twitter",
    "advert": "ad ads advert(?:isement)? sponsor(?:ed)? promo(?:tion)? banner",
    "consent": "cookies? consent gdpr privacy onetrust notice alert",
    "byline": "meta byline author date dateline timestamp published time posted avatar bio",
    "tagged": "tags? categor(?:y|ies) labels? topics?",
    "body": "article articlebody post entry story content body text main richtext rte prose markdown wysiwyg copy",
    "product": "product products pdp item sku price prices? buy variants? swatch(?:es)? specs?",
    "review": "reviews? ratings? stars? testimonials? quote",
    "forum": "thread threads topic reply message msg postbody question answer answers? forum discussion",
    "listing": "list items? cards? grid tiles? results? row rows feed loop",
    "overlay": "modal popup dialog overlay lightbox drawer dropdown tooltip offcanvas flyout",
    "paging": "pagination pager pages paging loadmore",
    "signup": "newsletter subscribe subscription signup optin form",
    "filter": "search filters? facets? sort refine autocomplete",
    "caption": "captions? credits? figcaption gallery slides? slider carousel swiper",
    "hidden": "hidden hide invisible sr-only visuallyhidden screen offscreen none collapsed collapse",
    "question": "faqs? accordion",
    "account": "login account cart basket checkout wishlist user signin register",
    "hero": "hero jumbotron headline title subtitle intro lead lede",
    "action": "cta button btn action actions",
    "print": "ignore noprint skip skiplink accessibility",
}
_PURPOSE = [re.compile(rf"(?:{'|'.join(words.split())})") for words in PURPOSES.values()]
AROUND = (
    "nav header footer aside main article section form table ul ol dl li td th p blockquote pre figure figcaption button label "
    "details a h1 h2 h3 h4 select address"
).split()
BITS = [*AROUND, *PURPOSES]
_TAG_BIT = np.zeros(len(TAGS) + 1, np.int64)
for _number, _name in enumerate(AROUND):
    _TAG_BIT[TAG[_name]] = 1 << _number
_SHIFTS = np.arange(len(BITS))

_SIGNED = re.compile(rb' (class|id|role|itemprop|aria-hidden|hidden|style)="([^"]*+)"')
_PART = re.compile(r"[a-z]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_MARKUP = re.compile(rb"<[^>]*+>")
_LETTERS = re.compile(rb"[a-z\x80-\xff]++")


def words_of(signature: bytes) -> tuple[str, ...]:
    """The words of an element's class, id, role and itemprop: each name whole and in its parts, once."""
    found: dict[str, None] = {}
    for name, value in _SIGNED.findall(signature):
        text = value[:MAX_SIGNATURE].decode("utf-8", "replace")
        if name in (b"aria-hidden", b"hidden", b"style"):
            if name == b"hidden" or text == "true" or re.search(r"display:\s{0,3}none", text):
                found["hidden!"] = None
        elif name in (b"role", b"itemprop"):
            found[f"{name.decode()}={text.lower()}"] = None
        else:
            for token in text.split():
                found[token.lower()[:40]] = None
                for part in _PART.findall(_CAMEL.sub("-", token).lower()):
                    if 1 < len(part) < 20:
                        found[part] = None
    return tuple(found)


def purposes_of(words: tuple[str, ...]) -> int:
    """The bits of PURPOSES, shifted past those of AROUND."""
    bits = 0
    for number, pattern in enumerate(_PURPOSE):
        if any(pattern.fullmatch(word.rpartition("=")[2] if "=" in word else word) for word in words):
            bits |= 1 << number
    if "hidden!" in words:
        bits |= 1 << list(PURPOSES).index("hidden")
    return bits << len(AROUND)


@dataclass(slots=True)
class Signs:
    """What an element's attributes say: its bits, and the weight of its words around a block and as a block's own."""

    bits: int
    around: float
    own: float
    number: int


def text_words(text: bytes) -> list[bytes]:
    """What a short block's text is judged by: its words, the text whole, its first and its last two words."""
    found = _LETTERS.findall(text)[: SHORT + 1]
    return [*dict.fromkeys(found), b" ".join([b"=", *found])[:MAX_WEIGHED], b" ".join([b"^", *found[:2]])[:MAX_WEIGHED]]


class Lexicon:
    """The learned weights of words, and the elements' attributes that were seen, with what they amount to."""

    def __init__(self, around: Mapping[str, float], own: Mapping[str, float], text: Mapping[bytes, float]) -> None:
        self.around, self.own, self.text = around, own, text
        self.seen: dict[bytes, Signs] = {}

    def signs(self, attributes: bytes) -> Signs:
        key = b"".join(b' %b="%b"' % pair for pair in _SIGNED.findall(attributes))
        signs = self.seen.get(key)
        if signs is None:
            if len(self.seen) >= MAX_CACHED:
                self.seen.clear()
            words = words_of(key)
            signs = self.seen[key] = Signs(
                purposes_of(words),
                sum(self.around.get(word, 0.0) for word in words),
                sum(self.own.get(word, 0.0) for word in words),
                len(self.seen) + 1,
            )
        return signs

    def judge(self, texts: list[bytes]) -> Floats:
        weight = self.text.get
        return np.array([sum([weight(word, 0.0) for word in text_words(text)]) for text in texts], np.float32)


@dataclass(slots=True)
class Table:
    """`rows` (B, F) of features; `chain` (LEVELS, B) the elements around each block from its own on, -1 beyond the root;
    `group` (B,) the number of blocks' kind: those whose elements and their parents look alike; `words` (B,)."""

    rows: Floats
    chain: Ints
    group: Ints
    words: Floats


def table(blocks: Blocks, url: str, lexicon: Lexicon) -> Table:
    count = len(blocks.starts)
    tag, parent, match = blocks.tag, blocks.parent, blocks.match
    # Elements: their own signs, then what is open around them by doubling the step up each time.
    bits = _TAG_BIT[tag]
    around = np.zeros(count, np.float32)
    own = np.zeros(count, np.float32)
    sign = np.zeros(count, np.int64)
    at, signs = [], []
    seen: dict[bytes, Signs] = {}
    for index, attributes in zip(blocks.opening.tolist(), blocks.attributes, strict=True):
        if attributes:
            found = seen.get(attributes)
            if found is None:
                found = seen[attributes] = lexicon.signs(attributes)
            at.append(index)
            signs.append(found)
    if at:
        bits[at] |= np.array([s.bits for s in signs])
        around[at] = [s.around for s in signs]
        own[at] = [s.own for s in signs]
        sign[at] = [s.number for s in signs]
    root = count  # one past the end stands above the root
    up = np.append(np.where(parent < 0, root, parent), root)
    total_bits = np.append(bits, 0)
    total_around = np.append(around, 0).astype(np.float32)
    lowest, highest = total_around.copy(), total_around.copy()
    step = up
    while (step != root).any():
        total_bits |= total_bits[step]
        total_around = total_around + total_around[step]
        lowest = np.minimum(lowest, lowest[step])
        highest = np.maximum(highest, highest[step])
        step = step[step]

    blocks_count = len(blocks.first)
    element = np.where(blocks.element < 0, root, blocks.element)
    chain = np.empty((LEVELS, blocks_count), np.int64)
    chain[0] = element
    for level in range(1, LEVELS):
        chain[level] = up[chain[level - 1]]

    counts = blocks.counts
    words, linked = counts[:, 0], counts[:, 1]
    texts = []
    short = np.flatnonzero(words <= SHORT)
    html, ends, starts = blocks.html, blocks.ends, blocks.starts
    for begin, end in zip(ends[blocks.first[short]].tolist(), starts[blocks.last[short]].tolist(), strict=True):
        text = html[begin:end].lower()
        texts.append(_MARKUP.sub(b"", text) if b"<" in text else text)
    spoken = np.zeros(blocks_count, np.float32)
    spoken[short] = lexicon.judge(texts)

    total = max(float(words.sum()), 1.0)
    share = linked / words
    # Sums over the blocks before each tag, so that an element's are a difference.
    before = np.searchsorted(blocks.first, np.arange(count + 1))
    summed = np.zeros((blocks_count + 1, 5), np.float32)
    np.cumsum(
        np.stack([words, linked, counts[:, 5], np.ones(blocks_count), words * (words > 15)], 1), axis=0, out=summed[1:]
    )
    is_image = np.zeros(count + 1)
    is_image[blocks.images] = 1
    images = np.cumsum(is_image) - is_image
    closes = np.append(match, count)
    image_before = np.append(images, images[-1])
    columns: list[NDArray[np.generic]] = []
    add = columns.append

    log_words = np.log1p(words)
    ends_at = counts[:, 5]
    tags = np.append(tag, UNKNOWN + 1)
    for column in range(16):
        add(counts[:, column] if column in (0, 14, 15) else np.minimum(counts[:, column], 1000))
    add(share)
    for column in (2, 5, 6, 7, 8, 9, 10, 11):
        add(counts[:, column] / words)
    add(counts[:, 4] / words)
    add(spoken)
    text_up = total_around[tag_of_text := blocks.text_tag]
    del text_up, tag_of_text
    add(total_around[element])
    add(lowest[element])
    add(highest[element])
    owned = np.append(own, 0)
    weighed = np.append(around, 0)
    inline = np.where(blocks.closing[blocks.text_tag], parent[blocks.text_tag], blocks.text_tag)
    add(owned[inline])
    depth_of = _depths(up, root)
    add(depth_of[element])
    siblings, place, alike = _siblings(parent, tag, sign, blocks)
    page = np.array([total], np.float32)
    for level in range(LEVELS):
        around_it = chain[level]
        end = closes[around_it]
        low, high = before[around_it], before[end]
        inside = summed[high] - summed[low]
        inside = np.where((around_it == root)[:, None], summed[-1], inside)
        add(inside[:, 0])
        add(inside[:, 1] / np.maximum(inside[:, 0], 1))
        add(inside[:, 2] / np.maximum(inside[:, 0], 1))
        add(inside[:, 3])
        add(inside[:, 4] / np.maximum(inside[:, 0], 1))
        add(inside[:, 0] / page)
        add(image_before[end] - image_before[around_it])
        add(tags[around_it])
        add(weighed[around_it])
        if level < 5:
            add(siblings[around_it])
            add(place[around_it])
            add(alike[around_it])
        if level < 3:
            add(owned[around_it])
    index = np.arange(blocks_count)
    add(index / blocks_count)
    add(np.minimum(index, 500))
    add(np.minimum(blocks_count - index, 500))
    cumulative = summed[:-1, 0]
    add(cumulative / total)
    add(np.minimum(cumulative, 5000))
    add(np.minimum(total - cumulative, 5000))
    heading = (tag[np.minimum(element, count - 1)] >= TAG["h1"]) & (tag[np.minimum(element, count - 1)] <= TAG["h6"])
    heading &= element < root
    h1 = np.flatnonzero(tags[element] == TAG["h1"])
    start = h1[0] if len(h1) else 0
    add(np.clip(index - start, -500, 500) if len(h1) else np.full(blocks_count, -1000))
    add(np.clip(cumulative - cumulative[start], -5000, 5000) if len(h1) else np.full(blocks_count, -9999))
    last_heading = np.maximum.accumulate(np.where(heading, index, -1))
    add(np.where(last_heading >= 0, np.minimum(index - last_heading, 200), 300))
    add(np.where(last_heading >= 0, tags[element[last_heading]], -1))
    add(np.where(last_heading >= 0, spoken[last_heading], 0))
    add(np.where(last_heading >= 0, depth_of[element] - depth_of[element[last_heading]], 0))
    big = words > 25
    last_big = np.maximum.accumulate(np.where(big, index, -300))
    next_big = np.minimum.accumulate(np.where(big, index, blocks_count + 300)[::-1])[::-1]
    add(np.minimum(index - last_big, 300))
    add(np.minimum(next_big - index, 300))

    padded = _padded
    for offset in (-3, -2, -1, 1, 2, 3):
        add(padded(log_words, offset))
        add(padded(share, offset))
        add(padded(tags[element], offset))
        if abs(offset) < 3:
            add(padded(spoken, offset))
            add(padded(ends_at, offset))
            add(padded(depth_of[element], offset) - depth_of[element])
            add(padded(element, offset) == element)
            add(padded(chain[1], offset) == chain[1])
            add(padded(total_around[element], offset) - total_around[element])
    for reach in (3, 8, 25):
        low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, blocks_count)
        inside = summed[high] - summed[low]
        add(inside[:, 0] / (high - low))
        add(inside[:, 1] / np.maximum(inside[:, 0], 1))
        add(inside[:, 2] / np.maximum(inside[:, 0], 1))
        after = summed[high] - summed[index]
        add(after[:, 0] / (high - index))
        add(after[:, 1] / np.maximum(after[:, 0], 1))
    one = tags[chain[0]] * 1_000_003 + np.append(sign, 0)[chain[0]]
    two = tags[chain[1]] * 1_000_003 + np.append(sign, 0)[chain[1]]
    _, group, of_group = np.unique(one * 7_919 + two, return_inverse=True, return_counts=True)
    add(of_group[group])
    add((np.bincount(group, words) / of_group)[group])
    add((np.bincount(group, linked) / np.bincount(group, words))[group])

    held = (total_bits[element][:, None] >> _SHIFTS) & 1
    own_bits = (np.append(bits, 0)[element][:, None] >> _SHIFTS[len(AROUND) :]) & 1
    of_page = (held * words[:, None]).sum(0) / total
    page_features = [
        total,
        blocks_count,
        float(linked.sum()) / total,
        float(words[big].sum()) / total,
        float(np.median(words)),
        float(heading.sum()) / blocks_count,
        float(len(h1)),
        len(blocks.images),
        len(blocks.images) / blocks_count,
        float(of_group.max()) / blocks_count,
        float(counts[:, 10].sum()),
        float(counts[:, 10].sum()) / blocks_count,
        float(counts[:, 5].sum()) / total,
        float((total_around[element] * words).sum()) / total,
        *of_page.tolist(),
        *_address(url),
    ]
    rows = np.empty((blocks_count, len(columns) + held.shape[1] + own_bits.shape[1] + len(page_features)), np.float32)
    for number, column in enumerate(columns):
        rows[:, number] = column
    at_bits = len(columns)
    rows[:, at_bits : at_bits + held.shape[1]] = held
    at_own = at_bits + held.shape[1]
    rows[:, at_own : at_own + own_bits.shape[1]] = own_bits
    rows[:, at_own + own_bits.shape[1] :] = page_features
    return Table(rows, chain, group, words)


def _padded(values: NDArray[np.generic], offset: int) -> NDArray[np.generic]:
    """The value `offset` places on, -1 beyond either end."""
    result = np.full(len(values), -1, values.dtype)
    if offset < 0:
        result[-offset:] = values[:offset]
    else:
        result[:-offset] = values[offset:]
    return result


def _depths(up: Ints, root: int) -> Ints:
    depth = (np.arange(len(up)) != root).astype(np.int64)
    step = up
    while (step != root).any():
        depth = depth + depth[step]
        step = step[step]
    return depth


def _siblings(parent: Ints, tag: Ints, sign: Ints, blocks: Blocks) -> tuple[Floats, Floats, Floats]:
    """For every element: how many siblings of its tag and signs it has, its place among them, and how many elements of
    the page are so."""
    count = len(tag)
    siblings, place, alike = (np.zeros(count + 1, np.float32) for _ in range(3))
    opening = blocks.opening
    kind = tag[opening] * 1_000_003 + sign[opening]
    key = kind * np.int64(1_000_003) + parent[opening]
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    new = np.flatnonzero(np.diff(ordered, prepend=ordered[0] - 1))
    size = np.diff(np.append(new, len(ordered)))
    siblings[opening[order]] = np.repeat(size, size)
    place[opening[order]] = np.arange(len(ordered)) - np.repeat(new, size)
    _, inverse, number = np.unique(kind, return_inverse=True, return_counts=True)
    alike[opening] = number[inverse]
    return siblings, place, alike


_HINTS = [
    re.compile(pattern)
    for pattern in (
        r"forum|thread|topic|community|discussion|questions|viewtopic|board|/t/",
        r"product|/p/|/dp/|item|shop|store",
        r"collection|categor|/c/|browse|shop",
        r"docs?\b|documentation|reference|manual|guide|wiki|api|tutorial|learn",
        r"blog|news|article|post|stor(?:y|ies)|20[012]\d",
        r"service|solution|consult|pric|feature|about",
        r"list|best|top|directory|chart|search|tag|jobs",
    )
]


def _address(url: str) -> list[float]:
    """What the address of a page hints at: its kind by words, and how its path looks."""
    path = url.split("//", 1)[-1][:500].lower()
    host, _, path = path.partition("/")
    last = path.split("?")[0].rstrip("/").rpartition("/")[2]
    return [
        *(float(pattern.search(f"{host}/{path}") is not None) for pattern in _HINTS),
        float(path.count("/")),
        float(len(path)),
        float(last.count("-") + last.count("_")),
        float(sum(map(str.isdigit, path))),
        float("?" in path),
    ]
