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


def hashes(picture: Pillow.Image) -> tuple[str | None, str | None]:
    """phash (16 hexadecimal digits) and PDQ (64) of a picture, which is shrunk once for both; None where it has none."""
    grey = picture.convert("L")
    factors = max(grey.width // SIDE, 1), max(grey.height // SIDE, 1)
    if factors != (1, 1):
        grey = grey.reduce(factors)
    return phash(grey), pdq(grey)


def phash(picture: Pillow.Image) -> str | None:
    """The DCT hash of the package imagehash: which of the 8 x 8 lowest frequencies of 32 x 32 pixels pass the median.

    None for a picture of one colour: all of those would be one image.
    """
    pixels = np.asarray(picture.convert("L").resize((32, 32), Pillow.Resampling.LANCZOS), np.float64)
    low = _frequencies(pixels, range(8))
    if np.count_nonzero(low) <= 1:
        return None
    return np.packbits(low > np.median(low)).tobytes().hex()


def pdq(picture: Pillow.Image) -> str | None:
    """Meta's PDQ (ThreatExchange, `pdqhashing.cpp`), most significant bit first; None for a picture without edges.

    Blurred and brought to 64 x 64 pixels, then which of the frequencies (1-16) x (1-16) pass the median. Takes memory
    with the square of the longer side: `hashes` shrinks first.
    """
    if min(picture.size) < 5:  # PDQ's MIN_HASHABLE_DIM
        return None
    grey = np.asarray(picture.convert("L"), np.float64)
    small = _blurred(_blurred(grey).T).T
    if _quality(small) < PDQ_QUALITY:
        return None
    frequencies = _frequencies(small, range(1, 17))
    median = np.sort(frequencies, axis=None)[127]  # the lower of the two in the middle, as in `torben.cpp`
    return np.packbits((frequencies > median).ravel()[::-1]).tobytes().hex()


def _frequencies(square: Matrix, wanted: range) -> Matrix:
    """The DCT-II of a square of samples, its rows and columns `wanted`, unnormalised."""
    cosines = _cosines(len(square), wanted)
    # What is nothing but rounding, in a plain picture, would be random bits.
    return np.round(cosines @ square @ cosines.T, 6)


@lru_cache(maxsize=8)
def _cosines(size: int, frequencies: range) -> Matrix:
    """The rows `frequencies` of the DCT-II of `size` samples, unnormalised."""
    angles = np.outer(list(frequencies), 2 * np.arange(size) + 1) * (math.pi / 2 / size)
    return np.cos(angles)


def _blurred(grey: Matrix) -> Matrix:
    """64 rows for those of `grey`, after PDQ's two passes of a box filter."""
    places, weights = _windows(len(grey))
    # Not a product of matrices, which would ask all cores for what one does in no time.
    blurred: Matrix = (grey[places] * weights[:, :, None]).sum(1)
    return blurred


@lru_cache(maxsize=512)
def _windows(size: int) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], Matrix]:
    """For each of 64 rows, which of `size` rows it is made of, and their weights: both 64 x the widest window."""
    if size == 64:
        return np.arange(64)[:, None], np.ones((64, 1))
    window = (size + 127) // 128
    half = (window + 2) // 2
    rows = np.arange(size)
    # Near the ends, the mean of what there is.
    inside = (rows >= rows[:, None] - (window - half)) & (rows < rows[:, None] + half)
    box = inside / inside.sum(1, keepdims=True)
    twice = box[((np.arange(64) + 0.5) * size / 64).astype(int)] @ box
    widest = int(np.count_nonzero(twice, axis=1).max())
    places = np.minimum(np.argmax(twice > 0, axis=1), size - widest)[:, None] + np.arange(widest)
    return places, np.take_along_axis(twice, places, axis=1)


def _quality(small: Matrix) -> float:
    """0 to 100: PDQ's sum of the gradients that count, each in whole per cent of the range."""
    steps = sum(float(np.abs(np.trunc(np.diff(small, axis=axis) * (100 / 255))).sum()) for axis in (0, 1))
    return min(steps // 90, 100)
