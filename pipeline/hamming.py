"""Hashes of pictures in; how many bits they are apart, and bands in which close ones meet, out."""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pipeline.document import Image

Words = np.ndarray[tuple[int, ...], np.dtype[np.uint64]]
Keys = np.ndarray[tuple[int, ...], np.dtype[np.int64]]

BITS = {"phash": 64, "pdq": 256}
WORDS = 4  # of 64 bits, which hold either hash
_SEED = 1  # of the draw of the bands' bits


def telling(image: "Image", kind: str) -> str | None:
    """The image's hash `kind`, hexadecimal, or none where it says too little to compare by.

    Either hash asks of each frequency whether it passes the median, so half of the bits are set; where many fewer are,
    the frequencies tie at nothing: stripes, frames, a table's rule. Of 584 files such hashes, and those of pictures with
    hardly an edge (no PDQ), are all that took strangers for one (`tests/benchmarks/image_duplicates.py`).
    """
    digits = {"pdq": image.pdq, "phash": image.phash}.get(kind)  # the SHA-256 says nothing of what is near
    if digits is None or not _balanced(image.pdq):
        return None
    return digits if _balanced(digits) else None


def _balanced(digits: str | None) -> bool:
    return digits is not None and int(digits, 16).bit_count() >= 4 * len(digits) * 7 // 16  # of 4 bits a digit


def words(hashes: Sequence[str]) -> Words:
    """A row of four words for each hash in hexadecimal; those of a phash are nothing but for the first."""
    width = len(hashes[0]) // 16 if hashes else WORDS
    read = np.frombuffer(bytes.fromhex("".join(hashes)), ">u8").astype(np.uint64).reshape(-1, width)
    return np.pad(read, ((0, 0), (0, WORDS - width)))


def apart(one: Words, other: Words) -> Keys:
    """The number of bits that differ, row by row of four words."""
    counts = np.bitwise_count(one ^ other)
    differ: Keys = counts[..., 0].astype(np.int64)
    for word in range(1, WORDS):
        differ += counts[..., word]  # twice as fast as numpy's sum over so short an axis
    return differ


def band_keys(hashes: Words, kind: str, bands: int, bits: int) -> Keys:
    """A key for each hash (rows) and band (columns): the values of the `bits` bits of that band, and its number.

    The bits are drawn at random, always the same, and no two bands share one before each bit was drawn. Two hashes of b
    bits that differ in d of them meet in a band with the chance (1 - d/b)^bits, or somewhat less.
    """
    size = BITS[kind]
    unpacked = np.unpackbits(hashes.astype(">u8").view(np.uint8), axis=1)
    keys = np.empty((len(hashes), bands), np.int64)
    for band, drawn in enumerate(_draw(size, bands, bits)):
        value = np.zeros(len(hashes), np.int64)
        for bit in drawn:
            value = value << 1 | unpacked[:, bit]
        keys[:, band] = value | band << 48
    return keys


def _draw(size: int, bands: int, bits: int) -> list[list[int]]:
    order = np.random.default_rng(_SEED)
    drawn: list[list[int]] = []
    while len(drawn) < bands:
        shuffled = order.permutation(size).tolist()
        drawn += [shuffled[i : i + bits] for i in range(0, size - bits + 1, bits)]
    return drawn[:bands]


def close_pairs(keys: Keys, hashes: Words, distance: int, window: int) -> tuple[Keys, int]:
    """Rows that share a key and are at most `distance` bits apart, as pairs of row numbers; and how many were compared.

    Each row is compared with the `window` that follow it under its key, in the order of their hashes, so that a key of very
    many costs no more than so many comparisons for each; under all other keys that is all of them.
    """
    order = _ordered(keys, hashes, window)
    keys, hashes = keys[order], hashes[order]
    found: list[Keys] = []
    compared = 0
    here = np.arange(len(keys) - 1)
    for step in range(1, window + 1):
        here = here[: np.searchsorted(here, len(keys) - step)]
        here = here[keys[here] == keys[here + step]]
        if not len(here):
            break
        compared += len(here)
        found.append(_close(here, step, hashes, distance))
    pairs = np.concatenate(found) if found else np.empty((0, 2), np.int64)
    return order[pairs], compared


def _ordered(keys: Keys, hashes: Words, window: int) -> Keys:
    """The rows by key; under a key of more rows than all of which are compared, by hash."""
    order = np.argsort(keys, kind="stable")
    by_key = keys[order]
    bounds = np.flatnonzero(np.diff(by_key, prepend=-1, append=-1))  # no key is negative
    for start, end in pairwise(bounds.tolist()):
        if end - start > window + 1:
            crowd = order[start:end]
            order[start:end] = crowd[np.lexsort([hashes[crowd, word] for word in reversed(range(WORDS))])]
    return order


_AT_ONCE = 1 << 20  # comparisons that are held in memory


def _close(here: Keys, step: int, hashes: Words, distance: int) -> Keys:
    kept = []
    for start in range(0, len(here), _AT_ONCE):
        some = here[start : start + _AT_ONCE]
        # Strangers differ in about half of the first two words already, and are most of what is compared.
        some = some[np.bitwise_count(hashes[some, :2] ^ hashes[some + step, :2]).sum(axis=1) <= distance]
        some = some[apart(hashes[some], hashes[some + step]) <= distance]
        kept.append(np.stack([some, some + step], axis=1))
    return np.concatenate(kept)
