"""Decontamination: words scanned a second of a core against 10⁷ n-grams, and what is found of planted items.

The n-grams are opened by memory map, as workers do.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline.hamming import WORDS, apart
from pipeline.lookup import Sorted
from pipeline.ngrams import ngram_keys, word_keys, words
from tests.benchmarks.figure import Figure, Given, fastest, json_rows

N = 13
NGRAMS = 10**7
PLANTED = 500
WORDS_OF_AN_ITEM = 60
IMAGES = (10**4, 10**5)


def texts(material: Path) -> list[str]:
    """The main text of a thousand pages."""
    rows = json_rows(material / "pages" / "ground_truth.jsonl.gz")
    return [text for row in rows if (text := row["main_content"])]


def changes(item: list[str], draw: np.random.Generator) -> dict[str, str]:
    """An item as it may stand on a page."""
    marks = [f"«{word}»," if number % 7 == 0 else word for number, word in enumerate(item)]
    every = {
        count: [f"other{number}" if number % count == count // 2 else word for number, word in enumerate(item)]
        for count in (20, 12)
    }
    return {
        "exact": " ".join(item),
        "other case and marks": "\n".join(marks).upper(),
        "one word changed in 20": " ".join(every[20]),
        "one word changed in 12": " ".join(every[12]),
        "half of it": " ".join(item[: len(item) // 2]),
    }


def figures(given: Given) -> Iterator[Figure]:
    corpus = texts(given.material)
    draw = np.random.default_rng(1)
    spelled = [words(text) for text in corpus]
    long = [found for found in spelled if len(found) >= 4 * WORDS_OF_AN_ITEM]
    items = [long[int(at)][:WORDS_OF_AN_ITEM] for at in draw.permutation(len(long))[:PLANTED]]
    keys = np.concatenate([ngram_keys(word_keys(item), N) for item in items])
    numbers = np.repeat(np.arange(len(items)), WORDS_OF_AN_ITEM - N + 1)
    filling = draw.integers(0, 2**64, (NGRAMS // 10 if given.quick else NGRAMS) - len(keys), np.uint64)
    held = np.concatenate([keys, filling])
    Sorted.of(held, np.concatenate([numbers, np.zeros(len(filling))]).astype(np.uint32)).save(given.folder, "grams")
    size = sum(file.stat().st_size for file in given.folder.iterdir())
    yield Figure(f"{len(held):,} n-grams on the disk", size / 1e6, "MB")
    grams = Sorted.open(given.folder, "grams")
    yield scanned(corpus, grams)
    found: dict[str, int] = {}
    wrong = 0
    for number, item in enumerate(items):
        around = [f"before{i}" for i in range(30)], [f"after{i}" for i in range(30)]
        for change, text in changes(item, draw).items():
            page = " ".join([*around[0], text, *around[1]])
            _, hit = grams.find(ngram_keys(word_keys(words(page)), N))
            found[change] = found.get(change, 0) + (number in hit)
            wrong += bool(set(hit) - {number})
    for change, count in found.items():
        yield Figure(f"of {len(items)} planted items found, {change}", count)
    yield Figure(f"of {len(items) * len(found)} pages, taken for another item, too", wrong)
    others = [found for found in spelled if found[:WORDS_OF_AN_ITEM] not in items]
    strangers = sum(bool(grams.find(ngram_keys(word_keys(found), N))[0]) for found in others)
    yield Figure(f"of {len(others)} other pages share an n-gram with an item", strangers)
    for number in IMAGES:
        hashes = draw.integers(0, 2**64, (number, WORDS), np.uint64)
        seconds = fastest(lambda hashes=hashes: [apart(hashes, hashes[i : i + 1]) for i in range(20)], 3) / 20  # type: ignore[misc]
        yield Figure(f"an image against the hashes of {number:,}", 1000 * seconds, "ms")


def scanned(corpus: list[str], grams: Sorted) -> Figure:
    """Million words a second; prints where the time goes."""
    count = sum(len(words(text)) for text in corpus)
    whole = fastest(lambda: [grams.find(ngram_keys(word_keys(words(text)), N)) for text in corpus], 3)
    splitting = fastest(lambda: [words(text) for text in corpus], 3)
    hashing = fastest(lambda: [ngram_keys(word_keys(words(text)), N) for text in corpus], 3)
    print(
        f"  splitting {splitting / whole:.0%}, hashing {(hashing - splitting) / whole:.0%}, "
        f"looking up {(whole - hashing) / whole:.0%}"
    )
    return Figure(f"scanning {count:,} words of {len(corpus)} pages", count / whole / 1e6, "million words/s")
