"""NSFW scores a second of a core, decoding photographs of a megapixel included, and how far they lie from the reference.

The model is 0.6 GFLOP a picture: beside it stands how fast a core multiplies matrices, which is the most it could do.
"""

import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from pipeline.models.nsfw import Nsfw
from pipeline.pixels import HASHES, Facts, Reader, look
from tests.benchmarks.figure import Figure, Given, fastest, json_rows

LABELS = ("drawings", "hentai", "neutral", "porn", "sexy")


def figures(given: Given) -> Iterator[Figure]:
    nsfw = Nsfw()
    for shape, size in {"3:2": (1224, 816), "4:3": (1200, 900), "1:1": (1000, 1000)}.items():
        photos = _photos(given.material, size)[: 3 if given.quick else None]
        seconds = fastest(partial(_score, nsfw, photos)) / len(photos)
        yield Figure(f"NSFW scores, JPEG {size[0]} × {size[1]} ({shape}), decoded", 1 / seconds, "images/s", least=150)
        decoding = _reading(photos, [Reader("none", nsfw.reader.side, lambda picture: None)])
        both = _reading(photos, [nsfw.reader])
        ready = [_read(photo, nsfw.reader) for photo in photos]
        parts = {
            "decoding": decoding,
            "resizing": both - decoding,
            "the model": fastest(partial(nsfw.score, ready)) / len(photos),
            "hashes, not in the figure": _reading(photos, [nsfw.reader, HASHES]) - both,
        }
        for part, spent in parts.items():
            yield Figure(f"of that, {shape}: {part}", 1000 * spent, "ms")
    square = np.random.default_rng(0).random((1000, 1000), np.float32)
    least = 0.6 / 2 * fastest(lambda: square @ square)  # 2 GFLOP
    yield Figure("the least that the model could take, by products of matrices", 1000 * least, "ms")
    yield from _parity(nsfw, given.material)


def _photos(material: Path, size: tuple[int, int]) -> list[bytes]:
    """The photographs of the material that have at least 0.6 megapixels, as JPEG of one size at quality 85."""
    photos = []
    for row in json_rows(material / "images" / "index.jsonl"):
        if row["kind"] == "good" and row["format"] in ("JPEG", "AVIF", "WEBP") and row["width"] * row["height"] > 6e5:
            out = io.BytesIO()
            with Pillow.open(material / "images" / row["file"]) as image:
                image.convert("RGB").resize(size, Pillow.Resampling.LANCZOS).save(out, "JPEG", quality=85)
            photos.append(out.getvalue())
    return photos


def _score(nsfw: Nsfw, photos: list[bytes]) -> None:
    for photo in photos:
        nsfw.score([_read(photo, nsfw.reader)])


def _read(photo: bytes, reader: Reader) -> Any:
    facts = look(photo, max_bytes=10**8, max_pixels=10**8, seconds=60, readers=[reader])
    assert isinstance(facts, Facts)
    return facts.read[reader.name]


def _reading(photos: list[bytes], readers: list[Reader]) -> float:
    """Seconds a photograph."""

    def all_photos() -> None:
        for photo in photos:
            look(photo, max_bytes=10**8, max_pixels=10**8, seconds=60, readers=readers)

    return fastest(all_photos) / len(photos)


def _parity(nsfw: Nsfw, material: Path) -> Iterator[Figure]:
    farthest, crossed, count = 0.0, 0, 0
    for row in json_rows(material / "reference" / "nsfw-scores.jsonl"):
        scores = nsfw.score([_read((material / "images" / row["file"]).read_bytes(), nsfw.reader)])[0]
        farthest = max(farthest, *(abs(scores[f"nsfw_{label}"] - row[label]) for label in LABELS))
        ours = scores["nsfw_hentai"] > 0.9 or scores["nsfw_porn"] > 0.85
        crossed += ours != (row["hentai"] > 0.9 or row["porn"] > 0.85)
        count += 1
    yield Figure(f"NSFW scores of {count} images: farthest from the reference", farthest, most=0.02)
    yield Figure(f"NSFW scores of {count} images: verdicts that differ", crossed, most=0)
