"""Text in; its normalised words, and a 64-bit key for each n-gram of them, out; sorted keys that lie in files, searched."""

import re
import unicodedata
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Self

import numpy as np

from filters.ngrams import ODD

Keys = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.uint32]]

# Runs of letters and digits; each character of a script without spaces (kana, Han) is a word of its own.
_SOLID = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SOLID}]|[^\W_{_SOLID}]+")
_FACTOR = np.uint64(ODD)  # odd, so that no bit of a word is lost


def words(text: str) -> list[str]:
    """Words as they are compared: compatibility forms and case folded (Unicode NFKC), without marks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


class _Known(dict[str, int]):
    """The key of each word, kept for the next time; bounded."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 20:
            self.clear()
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        key = self[word] = int.from_bytes(digest, "little")
        return key


_known = _Known()


def word_keys(spelled: list[str]) -> Keys:
    return np.fromiter(map(_known.__getitem__, spelled), np.uint64, len(spelled))


def ngram_keys(of_words: Keys, n: int) -> Keys:
    """The key of the n-gram that begins at each word; none where there are fewer words than `n`."""
    count = max(len(of_words) - n + 1, 0)
    keys = np.full(count, n, np.uint64)
    for offset in range(n):
        keys *= _FACTOR
        keys += of_words[offset : offset + count]
    return keys


@dataclass(frozen=True)
class Sorted:
    """Keys in their order, the number that belongs to each, and bits that tell most absent keys at one look. Written as
    three numpy files and opened by memory map, so that all workers of a machine share them."""

    keys: Keys
    numbers: Numbers
    present: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]

    @classmethod
    def of(cls, keys: Keys, numbers: Numbers) -> Self:
        """Of equal keys the first keeps its number."""
        unique, first = np.unique(keys, return_index=True)
        size = max(10, (16 * len(unique)).bit_length())  # 2^size bits: one in 16 to 32 is set
        flags = np.zeros(1 << size, bool)
        flags[unique >> np.uint64(64 - size)] = True
        return cls(unique, numbers[first], np.packbits(flags, bitorder="little"))

    def save(self, folder: Path, name: str) -> None:
        for part in ("keys", "numbers", "present"):
            np.save(folder / f"{name}.{part}.npy", getattr(self, part))

    @classmethod
    def open(cls, folder: Path, name: str) -> Self:
        return cls(*(np.load(folder / f"{name}.{part}.npy", mmap_mode="r") for part in ("keys", "numbers", "present")))

    def find(self, asked: Keys) -> tuple[list[int], list[int]]:
        """The places in `asked` of those that are there, and the number of each."""
        size = (8 * len(self.present)).bit_length() - 1
        top = asked >> np.uint64(64 - size)
        maybe = np.flatnonzero(self.present[top >> np.uint64(3)] >> (top & np.uint64(7)).astype(np.uint8) & 1)
        if not len(maybe):
            return [], []
        at = np.minimum(np.searchsorted(self.keys, asked[maybe]), len(self.keys) - 1)
        there = self.keys[at] == asked[maybe]
        return maybe[there].tolist(), self.numbers[at[there]].tolist()
