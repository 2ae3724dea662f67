"""The blocks of a page in; what the network judges them by, as rows of numbers, out."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import Blocks, Floats
from pipeline.html.lexicon import BITS, Lexicon, attribute_values, tag_bits, text_words
from pipeline.html.tags import TAG, UNKNOWN, Ints

LEVELS = 6  # of elements around a block
LONG = 15  # words: a block of more is likely a sentence
REACHES = (3, 8, 25)  # blocks to either side that are looked at together
_REACHES = np.array(REACHES)[:, None]
_ENDINGS, _OPENINGS = (np.arange(1, kinds, dtype=np.float32)[:, None] for kinds in (6, 5))  # of kinds of characters


@dataclass(slots=True)
class Elements:
    """What holds at each of the N tags of a page, and, one further, outside of all: the bits of all elements around it, the
    sum, least and greatest of their weights, its own two, and its depth."""

    up: Ints  # (N + 1,) the element around; N is the outside
    bits: Ints
    around: Floats
    lowest: Floats
    highest: Floats
    weight: Floats
    own: Floats
    depth: Floats
    form: Ints  # what tag it is
    siblings: Floats  # elements of its kind, which are its siblings,
    place: Floats  # its place among them,
    alike: Floats  # and elements of its kind on the page
    kind: Ints  # the same number for elements of one tag and class


@dataclass(slots=True)
class Table:
    """`rows` (B, F) and `page` (P,) of features; `forms` (3, B) the tags of each block's own element and the two around it."""

    rows: Floats
    page: Floats
    forms: Ints


def elements(blocks: Blocks, lexicon: Lexicon) -> Elements:
    count = len(blocks.starts)
    tag, match, parent = blocks.tag, blocks.match, blocks.parent
    found = attribute_values(blocks)
    known = lexicon.find(found.words)
    values = len(found.value) and int(found.value.max()) + 1
    weight, own = (
        np.bincount(
            found.owner, np.bincount(found.of_value, lexicon.weights[known, kind], values)[found.value], count + 1
        ).astype(np.float32)
        for kind in (0, 1)
    )
    purposes = np.zeros(values, np.int64)
    np.bitwise_or.at(purposes, found.of_value, lexicon.bits[known])
    bits = np.append(tag_bits(tag), 0)
    purposeful = np.flatnonzero(purposes[found.value])
    np.bitwise_or.at(bits, found.owner[purposeful], purposes[found.value[purposeful]])

    root = count
    up = np.append(np.where(parent < 0, root, parent), root)
    start = ~blocks.closing
    void = match == np.arange(count)
    around, depth = np.zeros(count + 1, np.float32), np.zeros(count + 1, np.float32)
    around[:count] = np.cumsum(weight[:count] - weight[match], dtype=np.float64) + weight[:count] * void
    depth[:count] = np.cumsum(np.where(void, 0, np.where(start, 1, -1))) + void
    # Of all elements around each, by doubling the reach of the step until all have left the page.
    ends = np.stack([weight, -weight])
    step = up
    for _ in range(int(depth.max()).bit_length()):
        bits |= bits.take(step)
        np.maximum(ends, ends.take(step, axis=1), out=ends)
        step = step.take(step)

    kind = np.append(tag * np.int64(1 << 41) + found.number, -1)
    opening = blocks.opening
    siblings, place, alike = (np.zeros(count + 1, np.float32) for _ in range(3))
    order, new, size = _groups(found.number[opening], tag[opening])
    alike[opening[order]] = np.repeat(size, size)
    same = np.empty(len(opening), np.int64)
    same[order] = np.repeat(np.arange(len(new)), size)
    order, new, size = _groups(same, parent[opening] + 1)
    siblings[opening[order]] = np.repeat(size, size)
    place[opening[order]] = np.arange(len(order)) - np.repeat(new, size)
    return Elements(
        up,
        bits,
        around,
        -ends[1],
        ends[0],
        weight,
        own,
        depth,
        np.append(tag, UNKNOWN + 1),
        siblings,
        place,
        alike,
        kind,
    )


def _groups(minor: Ints, major: Ints) -> tuple[Ints, Ints, Ints]:
    """The order that sorts by two keys from 0, where in it each run of equal ones begins, and its length."""
    if len(major) and max(int(minor.max()), int(major.max())) < 1 << 16:  # sorted by radix
        minor, major = minor.astype(np.uint16), major.astype(np.uint16)
    order = np.lexsort((minor, major))
    minor, major = minor[order], major[order]
    new = np.flatnonzero(np.append(True, (minor[1:] != minor[:-1]) | (major[1:] != major[:-1])))
    return order, new, np.diff(np.append(new, len(order)))


def table(blocks: Blocks, around: Elements, lexicon: Lexicon, url: str) -> Table:
    """Counts are in logarithms throughout; what is missing is 0."""
    count, total_blocks = len(blocks.starts), len(blocks.first)
    counts = blocks.counts.T
    words, linked, sentences = counts[0], counts[1], counts[5]
    index = np.arange(total_blocks, dtype=np.float32)
    chain = np.empty((LEVELS, total_blocks), np.int64)
    chain[0] = np.where(blocks.element < 0, count, blocks.element)
    for level in range(1, LEVELS):
        chain[level] = around.up[chain[level - 1]]

    owner, hashes = text_words(blocks)
    spoken = np.bincount(owner, lexicon.weights[lexicon.find(hashes), 2], total_blocks).astype(np.float32)

    summed = np.zeros((5, total_blocks + 1), np.float32)  # whole numbers, which are exact up to 2^24
    np.cumsum([words, linked, sentences, np.ones_like(words), words * (words > LONG)], axis=1, out=summed[:, 1:])
    total = summed[0, -1]
    before = blocks.before
    images = np.zeros(count + 2, np.float32)
    images[1:-1] = np.cumsum(np.bincount(blocks.images, minlength=count))
    images[-1] = images[-2]
    closes = np.append(blocks.match, count)

    logged: list[NDArray[np.generic]] = []  # counts; each of (B,) or of several (…, B)
    plain: list[NDArray[np.generic]] = []
    share = linked / words
    logged += [counts[:2], counts[3:6], counts[10], counts[12:14]]
    plain += [share, counts[2] / words, np.minimum(counts[4] / words, 30) / 5, np.minimum(counts[11] / words, 1)]
    plain += [np.minimum(counts[5:11] / words, 5)]
    plain += [counts[14] == _ENDINGS, counts[15] == _OPENINGS]
    element = chain[0]
    outer = around.around[element]
    inline = np.where(blocks.closing[blocks.text_tag], blocks.parent[blocks.text_tag], blocks.text_tag)
    plain += [spoken, outer, around.lowest[element], around.highest[element], around.own[inline]]
    plain += [around.around[inline] - outer]
    depth = around.depth[element]
    logged += [depth]

    close = closes[chain]
    outside = chain == count
    low, high = before[chain], before[close]
    low[outside], high[outside] = 0, total_blocks
    inside = summed.take(high, axis=1) - summed.take(low, axis=1)  # (5, LEVELS, B)
    held = np.maximum(inside[0], 1)
    siblings = around.siblings[chain]
    logged += [inside[0], inside[3], images[close] - images[chain], siblings, around.alike[chain]]
    plain += [inside[1] / held, 10 * inside[2] / held, inside[4] / held, inside[0] / total]
    plain += [around.weight[chain], around.own[chain[:3]], around.place[chain] / np.maximum(siblings, 1)]

    cumulative = summed[0, :-1]
    form = around.form[element]
    heading = (form >= TAG["h1"]) & (form <= TAG["h6"])
    h1 = np.flatnonzero(form == TAG["h1"])
    at_h1 = int(h1[0]) if len(h1) else 0
    far = np.float32(300)
    last_heading = np.maximum.accumulate(np.where(heading, index, -1)).astype(np.int64)
    has_heading = last_heading >= 0
    big = words > LONG
    logged += [index, total_blocks - index, cumulative, total - cumulative]
    logged += [np.maximum(index - at_h1, 0), np.maximum(at_h1 - index, 0), np.abs(cumulative - cumulative[at_h1])]
    logged += [np.where(has_heading, index - last_heading, far)]
    logged += [index - np.maximum.accumulate(np.where(big, index, -far))]
    logged += [np.minimum.accumulate(np.where(big, index, total_blocks + far)[::-1])[::-1] - index]
    plain += [index / total_blocks, cumulative / total, np.full(total_blocks, float(len(h1) > 0))]
    plain += [np.where(has_heading, spoken[last_heading], 0)]
    plain += [np.where(has_heading, form[last_heading] / 3, 0)]
    plain += [np.where(has_heading, depth - depth[last_heading], 0) / 3]

    place = np.arange(total_blocks)
    low, high = np.maximum(place - _REACHES, 0), np.minimum(place + _REACHES + 1, total_blocks)  # (REACHES, B)
    reached = summed[:3].take(high, axis=1)
    near, after = reached - summed[:3].take(low, axis=1), reached[:2] - summed[:2, None, :-1]
    near_held, after_held = np.maximum(near[0], 1), np.maximum(after[0], 1)
    logged += [np.stack([near[0] / (high - low), after[0] / (high - place)], 1)]
    plain += [np.stack([near[1] / near_held, after[1] / after_held, 10 * near[2] / near_held], 1)]
    alike = around.kind[chain[0]] * np.int64(31) + around.kind[chain[1]]
    _, group, of_group = np.unique(alike, return_inverse=True, return_counts=True)
    in_group = np.bincount(group, words)
    logged += [of_group[group], (in_group / of_group)[group]]
    plain += [(np.bincount(group, linked) / in_group)[group]]

    bits = np.unpackbits(around.bits[element].astype("<i8").view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    features = [array.reshape(-1, total_blocks) for array in (*logged, *plain, bits[:, : len(BITS)].T)]
    of_logged = sum(map(len, features[: len(logged)]))
    rows = np.empty((sum(map(len, features)), total_blocks), np.float32)
    np.concatenate(features, out=rows, casting="unsafe")
    np.log1p(rows[:of_logged], out=rows[:of_logged])
    ordered = np.sort(words)  # the median by hand: NumPy's takes as long as all else here
    median = float(ordered[(total_blocks - 1) // 2] + ordered[total_blocks // 2]) / 2
    greatest = of_group.max()
    sizes = [total, total_blocks, median, len(h1), len(blocks.images), greatest, counts[10].sum()]
    shares = [
        summed[1, -1] / total,
        summed[4, -1] / total,
        10 * summed[2, -1] / total,
        np.count_nonzero(heading) / total_blocks,
        len(blocks.images) / total_blocks,
        greatest / total_blocks,
        (outer @ words) / total,
    ]
    of_page = rows[-len(BITS) :] @ words / total
    page = np.concatenate([np.log1p(sizes), shares, of_page, _address(url)]).astype(np.float32)
    return Table(rows.T, page, around.form[chain[:3]])


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
    host, _, path = url.split("//", 1)[-1][:500].lower().partition("/")
    last = path.split("?")[0].rstrip("/").rpartition("/")[2]
    return [
        *(float(pattern.search(f"{host}/{path}") is not None) for pattern in _HINTS),
        float(path.count("/")) / 3,
        float(np.log1p(len(path))),
        float(np.log1p(last.count("-") + last.count("_"))),
        float(np.log1p(sum(map(str.isdigit, path)))),
        float("?" in path),
    ]
