"""An image of a document in, a verdict out: the rules that judge an image by what its page states and what it is.

The same rules run twice: before any download, on what the markup states, and after it, on what the bytes are. A fact
that is not known yet keeps the image, with the value "unknown".
"""

import re

from filters.verdict import Verdict, within
from pipeline.document import Image

UNKNOWN = "unknown"
# The HTML Standard's dimension values: a number, a fraction, a per-cent sign. Other units ("em", "vw") state no pixels.
_DIMENSION = re.compile(r"[ \t\n\f\r]*([0-9]{1,9}(?:\.[0-9]{0,9})?)[ \t\n\f\r]*(px|%|)[ \t\n\f\r]*", re.IGNORECASE)
_SAME_FORMAT = {"jpg": "jpeg", "jpe": "jpeg", "jfif": "jpeg", "tif": "tiff"}


def image_format(image: Image, *, formats: list[str]) -> Verdict:
    """Keeps an image whose decoded format is one of `formats` ("jpg" and "jpeg" are one)."""
    wanted = list(dict.fromkeys(_format_name(name) for name in formats))
    bound = f"one of {', '.join(wanted)}"
    if image.format is None:
        return Verdict(True, UNKNOWN, bound)
    found = _format_name(image.format)
    return Verdict(found in wanted, found, bound)


def image_size(image: Image, *, min: int, max: int) -> Verdict:
    """Keeps an image whose width and height, pixels after EXIF rotation, each lie in [`min`, `max`]."""
    return _each_within(image.width, image.height, min, max)


def rendered_size(image: Image, *, min: int, max: int) -> Verdict:
    """Keeps an image whose width and height as the page shows it, where stated, each lie in [`min`, `max`] pixels.

    A side is stated in pixels or in per cent; OBELICS takes per cent of the original's side, so that it stays unknown
    until the original is known. What is no number of pixels or per cent ("auto", "10em") counts as not stated.
    """
    width = rendered_pixels(image.rendered_width, image.width)
    height = rendered_pixels(image.rendered_height, image.height)
    return _each_within(width, height, min, max)


def aspect_ratio(image: Image, *, min: float, max: float) -> Verdict:
    """Keeps an image whose width / height, after EXIF rotation, lies in [`min`, `max`]."""
    if not image.width or not image.height:
        return Verdict(True, UNKNOWN, within(min, min=min, max=max).bound)
    return within(image.width / image.height, min=min, max=max)


def rendered_pixels(stated: str, original: int | None) -> float | None:
    """The pixels of a side that the page states as `stated`; None where it states none, or the original is needed."""
    match = _DIMENSION.fullmatch(stated)
    if match is None:
        return None
    number, unit = float(match[1]), match[2]
    if unit != "%":
        return number
    return None if original is None else number * original / 100


def _format_name(name: str) -> str:
    name = name.lower()
    return _SAME_FORMAT.get(name, name)


def _each_within(width: float | None, height: float | None, min: int, max: int) -> Verdict:
    """The first known side that breaks a bound decides; the value names both sides: "120 x 90"."""
    sides = [side for side in (width, height) if side is not None]
    verdicts = [within(side, min=min, max=max) for side in sides] or [within(min, min=min, max=max)]
    decisive = next((verdict for verdict in verdicts if not verdict.keep), verdicts[0])
    value = " x ".join(UNKNOWN if side is None else f"{side:.10g}" for side in (width, height)) if sides else UNKNOWN
    return Verdict(decisive.keep, value, decisive.bound)
