"""The folder of real pages with their main text in; the pages as blocks, with the share of each that is main text, out."""

import gzip
import json
import re
import zlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from pipeline import warc
from pipeline.html import blocks as parsing
from pipeline.html.blocks import Blocks
from pipeline.html.bounds import bounded
from pipeline.html.choose import REPEATED
from pipeline.html.decode import decode

FOLDS = 5
_WORD = re.compile(r"\w+")
_MARKUP = re.compile(rb"<[^>]*+>")

Array = NDArray[np.float64]


@dataclass(slots=True)
class Example:
    """A page to learn from. `share` (B,) of each block's words that the ground truth has at the same place; `target` is the
    same, but what a page says twice counts both times; `words` (B,) their number, `truth` that of the ground truth."""

    url: str
    kind: str
    fold: int
    blocks: Blocks
    texts: list[list[str]]
    share: Array
    target: Array
    words: Array
    truth: list[str]


def site(url: str) -> str:
    """The registered domain, as nearly as its shape tells: what must not be on both sides of a split."""
    parts = (urlsplit(url).hostname or "").split(".")
    return ".".join(parts[-3:] if len(parts) > 2 and len(parts[-2]) <= 3 and len(parts[-1]) == 2 else parts[-2:])


def fold_of(url: str) -> int:
    return zlib.crc32(site(url).encode()) % FOLDS


def examples(material: Path) -> list[Example]:
    with gzip.open(material / "pages/ground_truth.jsonl.gz", "rt", encoding="utf-8") as file:
        truths = {row["url"]: row for row in map(json.loads, file)}
    found = []
    for path in sorted(material.glob("pages/wcxb-*.warc.gz")):
        for record in warc.read(str(path)):
            if isinstance(record, warc.Record) and record.url in truths:
                truth = truths[record.url]
                parsed = parsing.blocks(LexborHTMLParser(bounded(decode(record.body, record.content_type))))
                if parsed is None:
                    continue
                texts = [_WORD.findall(text.lower()) for text in plain(parsed)]
                gold = _WORD.findall((truth["main_content"] or "").lower())
                share = aligned(texts, gold)
                words = np.array([len(text) for text in texts], np.float64)
                target = repeated(texts, share)
                found.append(
                    Example(
                        record.url, truth["page_type"], fold_of(record.url), parsed, texts, share, target, words, gold
                    )
                )
    return found


def plain(blocks: Blocks) -> list[str]:
    """The text of each block, its tags dropped."""
    html, ends, starts = blocks.html, blocks.ends, blocks.starts
    stretches = zip(ends[blocks.first].tolist(), starts[blocks.last].tolist(), strict=True)
    return [
        unescape(_MARKUP.sub(b"", html[begin:end].replace(b"<br>", b"\n")).decode("utf-8", "replace"))
        for begin, end in stretches
    ]


def aligned(texts: list[list[str]], gold: list[str]) -> Array:
    """The share of each block's words on one longest common subsequence of page and ground truth (Hyyrö 2004, "Bit-parallel
    LCS-length computation revisited", with the rows kept for the way back)."""
    page = [word for text in texts for word in text]
    owner = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    at: dict[str, int] = defaultdict(int)
    for place, word in enumerate(page):
        at[word] |= 1 << place
    full = (1 << len(page)) - 1
    row, rows = full, []
    for word in gold:
        rows.append(row)
        same = row & at.get(word, 0)
        row = ((row + same) | (row - same)) & full
    rows.append(row)
    on = np.zeros(len(page))
    place = len(page) - 1
    for step in range(len(gold), 0, -1):
        matched = ~rows[step] & ((1 << (place + 1)) - 1)
        if not matched:
            break
        highest = matched.bit_length() - 1
        if rows[step - 1] >> highest & 1:
            on[highest] = 1
            place = highest - 1
    return np.bincount(owner, on, len(texts)) / np.maximum([len(text) for text in texts], 1)


def repeated(texts: list[list[str]], share: Array) -> Array:
    """`share`, where blocks with the same words, `REPEATED` or more, get the greatest of theirs."""
    most: dict[tuple[str, ...], float] = {}
    for text, value in zip(texts, share.tolist(), strict=True):
        most[tuple(text)] = max(value, most.get(tuple(text), 0.0))
    return np.array([most[tuple(t)] if len(t) >= REPEATED else v for t, v in zip(texts, share.tolist(), strict=True)])


def f1(example: Example, kept: NDArray[np.bool_]) -> float:
    found = Counter(word for text, keep in zip(example.texts, kept, strict=True) if keep for word in text)
    total = found.total() + len(example.truth)
    return 2 * (found & Counter(example.truth)).total() / total if total else 1.0
