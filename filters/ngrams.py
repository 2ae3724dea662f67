"""Numbers in a row in; hashes of stretches of them out, and how often each n-gram that repeats occurs.

All is linear in time. Stretches are told apart by 64 bits, and two different ones could fall together: once in some
million texts of a million n-grams.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Indices = np.ndarray[Any, np.dtype[np.int64]]
Numbers = np.ndarray[Any, np.dtype[Any]]

# 2**64 over the golden ratio, Knuth's multiplier for hashing; odd, and so has an inverse modulo 2**64.
ODD = 0x9E3779B97F4A7C15
INVERSE = pow(ODD, -1, 1 << 64)
_KEPT = 1 << 18  # powers that stay in memory


class Stretches:
    """Hashes of stretches of `values`, each at the cost of a subtraction and a product.

    The hash of v0, v1, v2, … is ODD * (v0 + v1 * ODD + v2 * ODD**2 + …) modulo 2**64: its upper bits depend on all.
    """

    def __init__(self, values: Numbers) -> None:
        size = len(values)
        self._inverse = powers(INVERSE, size + 1, first=ODD)
        self._sums = np.empty(size + 1, np.uint64)
        self._sums[0] = 0
        np.cumsum(values * powers(ODD, size), out=self._sums[1:])

    def of(self, starts: Indices, ends: Indices) -> Hashes:
        """The hashes of the values from each start to before the end beside it."""
        return (self._sums[ends] - self._sums[starts]) * self._inverse[starts]

    def ngrams(self, n: int) -> Hashes:
        """The hashes of each n values in a row."""
        hashes = self._sums[n:] - self._sums[:-n]
        hashes *= self._inverse[: len(hashes)]
        return hashes


def powers(base: int, count: int, first: int = 1) -> Hashes:
    """first, first * base, first * base**2, … modulo 2**64. Those of ODD and INVERSE make a hash of each stretch of a running
    sum."""
    return _kept(base, first)[:count] if count <= _KEPT else _made(base, count, first)


def _made(base: int, count: int, first: int) -> Hashes:
    made = np.full(count, base, np.uint64)
    made[0] = first
    return np.multiply.accumulate(made)


@cache
def _kept(base: int, first: int) -> Hashes:
    made = _made(base, _KEPT, first)
    made.flags.writeable = False
    return made


class Repeats(NamedTuple):
    """For each n-gram that occurs more than once within a text, in the order of the texts: of which text, how often."""

    of: Indices
    counts: Indices


def repeats(values: Numbers, lengths: Indices, gap: int, n: int) -> Repeats:
    """The n-grams that repeat within a text. `values` are those of all texts, each with `gap` further ones behind it that
    are no part of it; `lengths` are with the gap."""
    if len(values) <= n:
        return _NONE
    hashes = Stretches(values).ngrams(n)
    if len(lengths) == 1:
        keys, bits = hashes[: len(hashes) - gap], np.uint64(0)
        keys = keys[_sharing(keys)]
    else:
        texts = np.repeat(np.arange(len(lengths)), lengths)[: len(hashes)]
        hashes += texts.view(np.uint64) * np.uint64(ODD)
        at = _sharing(hashes)
        of = texts[at]
        inside = at + (n + gap) <= np.cumsum(lengths)[of]
        # The lowest bits of a hash, the least mixed ones, make room for the number of its text.
        bits = np.uint64((len(lengths) - 1).bit_length())
        keys = hashes[at[inside]] >> bits | of[inside].view(np.uint64) << (np.uint64(64) - bits)
    keys.sort()
    again = np.flatnonzero(keys[1:] == keys[:-1])
    if not len(again):
        return _NONE
    ends = np.append(np.flatnonzero(again[1:] != again[:-1] + 1), len(again) - 1) + 1  # of those that are equal
    of = (keys[again[ends - 1]] >> (np.uint64(64) - bits)).view(np.int64) if bits else np.zeros(len(ends), np.int64)
    return Repeats(of, steps(ends) + 1)


def steps(ends: Indices) -> Indices:
    """How far each end is from the one before it, the first from 0."""
    lengths = ends.copy()
    lengths[1:] -= ends[:-1]
    return lengths


_NONE = Repeats(np.empty(0, np.int64), np.empty(0, np.int64))


def _sharing(hashes: Hashes) -> Indices:
    """The indices of the hashes that share a slot of a table with another: all that are equal, and a few more. Saves
    sorting the others."""
    bits = min(len(hashes).bit_length() + 3, 22)
    slots = (hashes >> np.uint64(64 - bits)).view(np.int64)
    order = np.arange(len(hashes), dtype=np.int32)
    table = np.empty(1 << bits, np.int32)  # only slots that were written are read
    table[slots] = order
    table[slots[table.take(slots) != order]] = -1
    return np.flatnonzero(table.take(slots) == -1)
