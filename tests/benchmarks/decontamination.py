"""Decontamination: words scanned a second, and what is found of planted items.

    python -m tests.benchmarks.decontamination [MATERIAL]  # the folder of real pages; by default ../shared/material

Against 10^7 n-grams, opened by memory map as workers do. Seconds are of the processor, the least of some passes.
"""

import gzip
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.hamming import WORDS, apart
from pipeline.lookup import Sorted
from pipeline.ngrams import ngram_keys, word_keys, words
from tests.conftest import ROOT

N = 13
NGRAMS = 10**7
PLANTED = 500
WORDS_OF_AN_ITEM = 60
PASSES = 3
IMAGES = (10**4, 10**5)


def texts(material: Path) -> list[str]:
    """The main text of a thousand pages."""
    with gzip.open(material / "pages" / "ground_truth.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [text for line in lines if (text := json.loads(line)["main_content"])]


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


def main(material: Path) -> int:
    corpus = texts(material)
    draw = np.random.default_rng(1)
    spelled = [words(text) for text in corpus]
    long = [found for found in spelled if len(found) >= 4 * WORDS_OF_AN_ITEM]
    items = [long[int(at)][:WORDS_OF_AN_ITEM] for at in draw.permutation(len(long))[:PLANTED]]
    keys = np.concatenate([ngram_keys(word_keys(item), N) for item in items])
    numbers = np.repeat(np.arange(len(items)), WORDS_OF_AN_ITEM - N + 1)
    filling = draw.integers(0, 2**64, NGRAMS - len(keys), np.uint64)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started = time.process_time()
        held = np.concatenate([keys, filling])
        Sorted.of(held, np.concatenate([numbers, np.zeros(len(filling))]).astype(np.uint32)).save(folder, "grams")
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{NGRAMS:,} n-grams: {size / 1e6:.0f} MB, sorted and written in {time.process_time() - started:.1f} s")
        grams = Sorted.open(folder, "grams")
        for line in _scanned(corpus, grams):
            print(line)
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
            print(f"  planted, {change:<24} {count / len(items):.3f} found, {len(items) - count} missed")
        print(f"  pages on which another item was found, too: {wrong} of {len(items) * len(found)}")
        others = [found for found in spelled if found[:WORDS_OF_AN_ITEM] not in items]
        strangers = sum(bool(grams.find(ngram_keys(word_keys(found), N))[0]) for found in others)
        print(f"  other pages that share an n-gram with an item: {strangers} of {len(others)}")
    for count in IMAGES:
        print(_images(count, draw))
    return 0


def _scanned(corpus: list[str], grams: Sorted) -> list[str]:
    count = sum(len(words(text)) for text in corpus)
    whole = _least(lambda: [grams.find(ngram_keys(word_keys(words(text)), N)) for text in corpus])
    splitting = _least(lambda: [words(text) for text in corpus])
    hashing = _least(lambda: [ngram_keys(word_keys(words(text)), N) for text in corpus])
    return [
        f"{count / whole / 1e6:.2f} million words/s a core over {count:,} words of {len(corpus)} pages"
        f" (splitting {splitting / whole:.0%}, hashing {(hashing - splitting) / whole:.0%}, looking up"
        f" {(whole - hashing) / whole:.0%})"
    ]


def _images(count: int, draw: np.random.Generator) -> str:
    hashes = draw.integers(0, 2**64, (count, WORDS), np.uint64)
    seconds = _least(lambda: [apart(hashes, hashes[i : i + 1]) for i in range(20)]) / 20
    return f"an image against the hashes of {count:,}: {1000 * seconds:.2f} ms"


def _least(work: Any) -> float:
    seconds = []
    for _ in range(PASSES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "material"))
