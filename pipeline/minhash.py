"""Texts in; MinHash signatures, the keys of their bands and estimates of similarity out (Broder, 1997)."""

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from filters.ngrams import INVERSE, ODD, Hashes, powers

if TYPE_CHECKING:
    from pipeline.config import NearDuplicate, Shingle

Signature = NDArray[np.uint32]  # one value a permutation

_PIECE = 1024  # shingles that are permuted at once: what fits into a core's cache


def signature(text: str, settings: "NearDuplicate") -> Signature | None:
    """The least hash of the text's shingles under each permutation; none for a text without words.

    The permutations and what they make of a hash are those of datasketch (its scheme "affine32"); the hashes of shingles
    are made of those of their words, each word hashed once.
    """
    hashes = shingles(text, settings.shingle)
    if not len(hashes):
        return None
    a, b = _permutations(settings.permutations, settings.seed)
    least: Signature = np.full(settings.permutations, 2**32 - 1, np.uint32)
    mixed = _mix32(hashes)
    for start in range(0, len(mixed), _PIECE):
        permuted = a * mixed[start : start + _PIECE]
        permuted += b
        np.minimum(least, permuted.min(axis=1), out=least)
    return least


def shingles(text: str, shingle: "Shingle") -> NDArray[np.uint32]:
    """A 32-bit hash of each run of words or characters, in lower case; of all there is where that is fewer."""
    units = _words(text) if shingle.words else _characters(text)
    if not len(units):
        return np.empty(0, np.uint32)
    n = min(shingle.words or shingle.characters or 1, len(units))
    count = len(units) - n + 1
    return (_combined([units[i : i + count] for i in range(n)]) >> np.uint64(32)).astype(np.uint32)


def band_keys(values: Signature, settings: "NearDuplicate") -> list[int]:
    """A signed 64-bit key of each band: its number and its rows."""
    bands = values[: settings.bands * settings.rows].reshape(settings.bands, settings.rows).T.astype(np.uint64)
    return _signed(_combined([np.arange(settings.bands, dtype=np.uint64), *bands]))


def order_keys(values: Signature, settings: "NearDuplicate") -> list[int]:
    """For each band a number made of the four values that follow it: in its order, like signatures stand together."""
    after = (np.arange(1, settings.bands + 1)[:, None] * settings.rows + np.arange(4)) % len(values)
    return _signed((values[after] & 0xFFFF).astype(">u2").view(">u8").ravel().astype(np.uint64))


def signature_key(values: Signature, also: bytes = b"") -> int:
    """A signed 64-bit key of the whole signature, and of `also`."""
    rest = np.frombuffer(also.ljust(-(-len(also) // 8) * 8, b"\0"), "<u8")
    parts = np.concatenate([values.astype(np.uint64), rest])
    return _signed(_mix64(np.array([(parts * powers(ODD, len(parts))).sum()], np.uint64)))[0]


def stored(values: Signature) -> bytes:
    """Sixteen bits a permutation: two values that differ look alike once in 65,536 (b-bit MinHash, Li and König, 2010)."""
    return (values & 0xFFFF).astype("<u2").tobytes()


def similarity(one: NDArray[np.uint16], other: NDArray[np.uint16]) -> NDArray[np.float64]:
    """The Jaccard similarity of shingles, row by row, estimated from stored signatures of shape (pairs, permutations)."""
    return np.asarray((one == other).mean(axis=-1), np.float64)


def caught(jaccard: float, bands: int, rows: int) -> float:
    """The probability that two texts of this similarity share a band: 1 - (1 - s^r)^b."""
    return float(1 - (1 - jaccard**rows) ** bands)


def curve(settings: "NearDuplicate") -> Iterator[str]:
    """What the configured bands catch and what the comparison then keeps, by the true similarity of two texts."""
    n, most = settings.permutations, math.ceil(settings.similarity * settings.permutations)
    yield f"{settings.bands} bands of {settings.rows} rows, then at least {settings.similarity:g} of {n} permutations alike"
    yield f"{'similarity':<12}{'share a band':>14}{'found alike':>14}"
    for percent in (30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95):
        s = percent / 100
        alike = sum(math.comb(n, k) * s**k * (1 - s) ** (n - k) for k in range(most, n + 1))
        yield f"{s:<12.2f}{caught(s, settings.bands, settings.rows):>14.4f}{alike:>14.4f}"


def _words(text: str) -> Hashes:
    """A hash of each word, wherever it stands: prefix sums of a polynomial, cut at spaces."""
    data = np.frombuffer(f" {text.lower()} ".replace("\xa0", " ").encode("utf-8", "surrogatepass"), np.uint8)
    spaces = data <= 32  # the space and all control characters
    edges = np.flatnonzero(spaces[1:] != spaces[:-1])
    before, last = edges[::2], edges[1::2]  # of each word the space before it and its last byte
    sums = data.astype(np.uint64)
    sums *= powers(ODD, len(data))
    np.cumsum(sums, out=sums)
    return _mix64((sums[last] - sums[before]) * powers(INVERSE, len(data))[before])


def _characters(text: str) -> Hashes:
    words = " ".join(text.lower().split())
    points = np.frombuffer(words.encode("utf-32-le", "surrogatepass"), "<u4")
    return _mix64(points + np.uint64(ODD))


def _combined(columns: list[Any]) -> Hashes:
    """One hash of several values, in their order, for each row."""
    total: Hashes = columns[0].astype(np.uint64)
    for column in columns[1:]:
        total *= np.uint64(ODD)
        total += column
    return _mix64(total)


def _mix64(values: Hashes) -> Hashes:
    """The finalizer of MurmurHash3 for 64 bits."""
    values = values ^ (values >> np.uint64(33))
    values *= np.uint64(0xFF51AFD7ED558CCD)
    values ^= values >> np.uint64(33)
    values *= np.uint64(0xC4CEB9FE1A85EC53)
    values ^= values >> np.uint64(33)
    return values


def _mix32(values: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The finalizer of MurmurHash3 for 32 bits, as datasketch has it before its permutations."""
    values = values ^ (values >> np.uint32(16))
    values *= np.uint32(0x85EBCA6B)
    values ^= values >> np.uint32(13)
    values *= np.uint32(0xC2B2AE35)
    values ^= values >> np.uint32(16)
    return values


def _signed(values: Hashes) -> list[int]:
    signed: list[int] = values.view(np.int64).tolist()
    return signed


@cache
def _permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    from datasketch import MinHash

    a, b = MinHash(num_perm=count, seed=seed, scheme="affine32").permutations
    return np.ascontiguousarray(a)[:, None], np.ascontiguousarray(b)[:, None]
