"""Many 64-bit keys, with a number each, in; which of others are among them, and their numbers, out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

Keys = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[np.uint32]]


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
