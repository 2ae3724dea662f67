"""A subject, a seed and a size in; a picture drawn by code out, the same bytes every time."""

import hashlib
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from pipeline.sample.pictures import (
    astronomy,
    bicycles,
    buildings,
    charts,
    coast,
    countryside,
    diagrams,
    garden,
    islands,
    maps,
    mountains,
    nature,
    patterns,
    plans,
    skies,
    stones,
    table,
    textiles,
    weather,
)
from pipeline.sample.pictures.brush import Random, Size

# A subject is drawn by the function of its name, with "_" for "-".
PAINTINGS: dict[str, Callable[[Random, Size], Image.Image]] = {
    painting.__name__.replace("_", "-"): painting
    for genre in (
        stones,
        coast,
        mountains,
        countryside,
        skies,
        charts,
        weather,
        maps,
        islands,
        plans,
        astronomy,
        nature,
        bicycles,
        diagrams,
        patterns,
        textiles,
        table,
        garden,
        buildings,
    )
    for painting in genre.PAINTINGS
}


def draw(subject: str, seed: int, size: tuple[int, int]) -> Image.Image:
    """An RGB picture of one of `PAINTINGS`, `size` pixels wide and high; another seed draws another picture of it.

    Raises KeyError for a subject that is not there.
    """
    key = hashlib.sha256(f"{subject}/{seed}".encode()).digest()
    return PAINTINGS[subject](np.random.default_rng(int.from_bytes(key[:16], "big")), size)


def encode(image: Image.Image, format: str, quality: int = 85) -> bytes:
    """The bytes of a "jpeg", "png" or "webp" file; `quality` is 1 to 100 and means nothing to PNG."""
    buffer = io.BytesIO()
    image.save(buffer, format, quality=quality)
    return buffer.getvalue()
