"""NSFW scores a second on one core, decoding photographs of a megapixel included; where the time goes.

    python -m tests.benchmarks.nsfw [MATERIAL]        # the folder of real images; by default ../shared/material

Seconds are this process's on the processor, the least of some passes, so that neighbours on the machine count little.
The model is 0.6 GFLOP a picture: beside it stands how fast a core multiplies matrices, which is the most it could do.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from pipeline.models.nsfw import Nsfw
from pipeline.pixels import HASHES, Facts, Reader, look
from tests.conftest import ROOT

IMAGES_A_SECOND = 150
PASSES = 5
LABELS = ("drawings", "hentai", "neutral", "porn", "sexy")


def nsfw_figures(material: Path) -> list[str]:
    """Lines of text: the figure with its limit, its parts, and how far scores lie from the reference."""
    nsfw = Nsfw()
    lines = []
    for shape, size in {"3:2": (1224, 816), "4:3": (1200, 900), "1:1": (1000, 1000)}.items():
        photos = _photos(material, size)
        seconds = _least(lambda photos=photos: _score(nsfw, photos)) / len(photos)  # type: ignore[misc]
        decoding = _reading(photos, [Reader("none", nsfw.reader.side, lambda picture: None)])
        ready = [_read(photo, nsfw.reader) for photo in photos]
        both = _reading(photos, [nsfw.reader])
        parts = {
            "decode": decoding,
            "resize": both - decoding,
            "model": _least(lambda ready=ready: nsfw.score(ready)) / len(photos),  # type: ignore[misc]
            "hashes, not in the figure": _reading(photos, [nsfw.reader, HASHES]) - both,
        }
        told = ", ".join(f"{name} {1000 * part:.1f} ms" for name, part in parts.items())
        held = "held" if 1 / seconds >= IMAGES_A_SECOND else "NOT HELD"
        lines.append(
            f"NSFW images/s, JPEG {size[0]} x {size[1]} ({shape}) {1 / seconds:6.0f}   limit {IMAGES_A_SECOND}   {held}"
            f"   ({told}; without the model {1 / both:.0f} images/s, the model alone {1 / parts['model']:.0f})"
        )
    speed = _core()
    lines.append(
        f"one core multiplies float32 matrices at {speed:.0f} GFLOP/s: {0.6 / speed * 1000:.1f} ms for the model"
    )
    lines.append(_parity(nsfw, material))
    return lines


def _photos(material: Path, size: tuple[int, int]) -> list[bytes]:
    """The photographs of the material that have at least 0.6 megapixels, as JPEG of one size at quality 85."""
    photos = []
    for line in (material / "images" / "index.jsonl").read_text().splitlines():
        row = json.loads(line)
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

    return _least(all_photos) / len(photos)


def _least(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(PASSES):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def _core() -> float:
    """GFLOP a second of the processor's time."""
    square = np.random.default_rng(0).random((1000, 1000), np.float32)
    return 2 / _least(lambda: square @ square)


def _parity(nsfw: Nsfw, material: Path) -> str:
    farthest, crossed, count = 0.0, 0, 0
    for line in (material / "reference" / "nsfw-scores.jsonl").read_text().splitlines():
        row = json.loads(line)
        scores = nsfw.score([_read((material / "images" / row["file"]).read_bytes(), nsfw.reader)])[0]
        farthest = max(farthest, *(abs(scores[f"nsfw_{label}"] - row[label]) for label in LABELS))
        ours = scores["nsfw_hentai"] > 0.9 or scores["nsfw_porn"] > 0.85
        crossed += ours != (row["hentai"] > 0.9 or row["porn"] > 0.85)
        count += 1
    held = "held" if farthest <= 0.02 and not crossed else "NOT HELD"
    return (
        f"NSFW scores of {count} images, farthest from the reference {farthest:.4f}   limit 0.02   {held}"
        f"   ({crossed} verdicts differ)"
    )


if __name__ == "__main__":
    print(*nsfw_figures(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "material"), sep="\n")
