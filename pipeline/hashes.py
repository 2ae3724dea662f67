"""A decoded picture in; two hashes out that survive rescaling and recompression: the 64-bit phash and the 256-bit PDQ.

Copies are found by counting the bits that differ: PDQ at most 31 of 256, or phash at most 6 of 64. A crop of 5 % is
beyond either.
"""

import math
from functools import lru_cache

import numpy as np
from PIL import Image as Pillow

Matrix = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

# A side of what is hashed is this many pixels to twice as many, or what the picture has. Either hash looks at 64 x 64
# at most; with less than this to choose from, they leave those of the picture in full.
SIDE = 256
# Quality below which PDQ's authors advise against comparing: pictures with hardly an edge.
PDQ_QUALITY = 50


def hashes(picture: Pillow.Image) -> tuple[str, str | None]:
    """phash (16 hexadecimal digits) and PDQ (64, or None) of a picture, which is shrunk once for both."""
    grey = picture.convert("L")
    factors = max(grey.width // SIDE, 1), max(grey.height // SIDE, 1)
    if factors != (1, 1):
        grey = grey.reduce(factors)
    return phash(grey), pdq(grey)


def phash(picture: Pillow.Image) -> str:
    """The DCT hash of the package imagehash: which of the 8 x 8 lowest frequencies of 32 x 32 pixels pass the median."""
    pixels = np.asarray(picture.convert("L").resize((32, 32), Pillow.Resampling.LANCZOS), np.float64)
    # Frequencies that are nothing but rounding would make random bits of a plain picture.
    low = np.round(_cosines(32, range(8)) @ pixels @ _cosines(32, range(8)).T, 6)
    return np.packbits(low > np.median(low)).tobytes().hex()


def pdq(picture: Pillow.Image) -> str | None:
    """Meta's PDQ (ThreatExchange, `pdqhashing.cpp`), most significant bit first; None for a picture without edges.

    Blurred and brought to 64 x 64 pixels, then which of the frequencies (1-16) x (1-16) pass the median. Takes memory
    with the square of the longer side: `hashes` shrinks first.
    """
    if min(picture.size) < 5:  # PDQ's MIN_HASHABLE_DIM
        return None
    grey = np.asarray(picture.convert("L"), np.float64)
    rows, columns = grey.shape
    small = _blur_and_pick(rows) @ grey @ _blur_and_pick(columns).T
    if _quality(small) < PDQ_QUALITY:
        return None
    frequencies = _cosines(64, range(1, 17)) @ small @ _cosines(64, range(1, 17)).T
    median = np.sort(frequencies, axis=None)[127]  # the lower of the two in the middle, as in `torben.cpp`
    return np.packbits((frequencies > median).ravel()[::-1]).tobytes().hex()


@lru_cache(maxsize=8)
def _cosines(size: int, frequencies: range) -> Matrix:
    """The rows `frequencies` of the DCT-II of `size` samples, unnormalised."""
    angles = np.outer(list(frequencies), 2 * np.arange(size) + 1) * (math.pi / 2 / size)
    return np.cos(angles)


@lru_cache(maxsize=64)
def _blur_and_pick(size: int) -> Matrix:
    """64 x `size`: PDQ's two passes of a box filter over `size` pixels, of which 64 are then picked."""
    window = (size + 127) // 128
    half = (window + 2) // 2
    picked = ((np.arange(64) + 0.5) * size / 64).astype(int)
    if size == 64:
        return np.eye(64)
    positions = np.arange(size)
    # Near the ends, the mean of what there is.
    inside = (positions >= positions[:, None] - (window - half)) & (positions < positions[:, None] + half)
    box = inside / inside.sum(1, keepdims=True)
    chosen: Matrix = box[picked] @ box
    return chosen


def _quality(small: Matrix) -> float:
    """0 to 100: PDQ's sum of the gradients that count, each in whole per cent of the range."""
    steps = sum(float(np.abs(np.trunc(np.diff(small, axis=axis) * (100 / 255))).sum()) for axis in (0, 1))
    return min(steps // 90, 100)
