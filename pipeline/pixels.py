"""The bytes of an image in; its facts out, or why it is broken. All is decoded once, within bytes, pixels and seconds.

Whoever needs the picture itself (hashes, scorers) is a reader of that one decode.
"""

import contextlib
import hashlib
import io
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import ExifTags, ImageFile, UnidentifiedImageError
from PIL import Image as Pillow

from pipeline.deadline import Late, deadline
from pipeline.hashes import hashes

Reason = Literal["not_an_image", "svg", "truncated", "too_many_bytes", "too_many_pixels", "timed_out", "undecodable"]

# A decoder walks a progressive JPEG's whole picture once a scan, in C, where no alarm interrupts it. Encoders write
# about 10 scans; ITU-T T.81 allows far more, and a kilobyte can ask for hundreds.
MAX_SCANS = 100

# Pillow's decoders keep state of the process (the pixel limit, the warning filters), so one image is looked at at once.
_one_at_a_time = threading.Lock()


class Reader(NamedTuple):
    """Someone who needs the picture of an image: its first frame in RGB, not to be changed.

    It comes as a page shows it, turned as EXIF says and on white where it is transparent; unless `shown`, as it is
    stored: unturned, with the colour beneath what is transparent, which nobody sees and is often black.

    It may come smaller than the image, but with neither side below `side` pixels (where the image has so many); None
    asks for all of it. An error in `read` is the reader's own and is not taken for a broken image.
    """

    name: str
    side: int | None
    read: Callable[[Pillow.Image], Any]
    shown: bool = True


# Hashed at half the size or less only where that has more pixels than the hashes look at.
HASHES = Reader("hashes", 256, hashes)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image is. `width` and `height` are pixels of its first frame after EXIF rotation; `size` is bytes."""

    format: str  # "jpeg", "png", "webp", "gif", "bmp", "tiff" or "avif"
    width: int
    height: int
    size: int
    sha256: str  # of the bytes, hexadecimal
    frames: int  # pages for a TIFF; 1 for a still image
    phash: str | None = None  # 16 hexadecimal digits; None where `HASHES` was no reader
    pdq: str | None = None  # 64 hexadecimal digits; None for a picture without edges, too
    read: dict[str, Any] = field(default_factory=dict, compare=False)  # what the other readers made, by their names


@dataclass(frozen=True, slots=True)
class Broken:
    """Why the bytes give no image; `detail` is for a reader, not for counting."""

    reason: Reason
    detail: str = ""


def sniff(data: bytes) -> str | None:
    """The format that the first bytes announce ("jpeg", …), or None for what is none of ours: SVG, HTML, video."""
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    if data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):  # the last two: BigTIFF
        return "tiff"
    if data.startswith(b"BM"):
        return "bmp"
    if data[4:8] == b"ftyp":
        brands = data[8 : min(int.from_bytes(data[:4], "big"), 256)]
        if any(brands[i : i + 4] in (b"avif", b"avis") for i in range(0, len(brands), 4)):
            return "avif"
    return None


# What may stand before an SVG's root element: a declaration, comments, a document type (with its own declarations).
_SVG = re.compile(rb"\A(?:\xef\xbb\xbf)?(?:<!--.*?-->|[^<]|<(?![A-Za-z]))*+<(?:\w{1,32}:)?svg[\s>/]", re.DOTALL)


def is_svg(start: bytes) -> bool:
    """Whether the first kilobytes are those of an SVG. It is told apart from what is no image and drawn by nobody: a
    renderer of hostile drawings, that follows no reference in them, is more than this pipeline wants to answer for."""
    return bool(_SVG.match(start[:4096]))


def look(
    data: bytes, *, max_bytes: int, max_pixels: int, seconds: float, readers: Sequence[Reader] = ()
) -> Facts | Broken:
    """Decodes `data` to its end, says what it is and hands the picture to each of `readers`, within the same seconds.

    A JPEG is decoded at the smallest of 1/1, 1/2, 1/4 and 1/8 of its size that is enough for all readers.

    The format is taken from the content, never from a header or a name. `max_pixels` bounds width times height, summed
    over frames, and is held against the header before anything is decoded. `seconds` is kept by SIGALRM, which
    works in a main thread only: elsewhere the clock is read between frames, and a single slow frame runs to its end.
    An alarm cannot stop a decoder inside one call into C either; the bounds on pixels and scans keep those calls short.
    """
    if len(data) > max_bytes:
        return Broken("too_many_bytes", f"{len(data)} bytes, at most {max_bytes}")
    format = sniff(data)
    if format is None:
        return Broken("svg" if is_svg(data) else "not_an_image", f"begins with {data[:16]!r}")
    if format == "jpeg" and data.count(b"\xff\xda") > MAX_SCANS:
        return Broken("undecodable", f"more than {MAX_SCANS} scans")
    sides = [reader.side for reader in readers]
    side = None if None in sides else max([side for side in sides if side is not None], default=0)
    end = time.monotonic() + seconds
    try:
        with _one_at_a_time, _quiet(max_pixels), _mute_libtiff(format == "tiff"), deadline(seconds):
            width, height, frames, orientation, picture = _decode(data, format, max_pixels, end, side)
    except Late:
        return Broken("timed_out", f"not decoded in {seconds:g} s")
    except (Pillow.DecompressionBombError, MemoryError) as error:
        return Broken("too_many_pixels", str(error))
    except Exception as error:  # Pillow's plugins raise about everything on hostile bytes
        if isinstance(error, UnidentifiedImageError):
            return Broken("undecodable", "no decoder accepts its header")  # Pillow's message holds a memory address
        short = isinstance(error, EOFError) or "truncated" in str(error).lower()
        return Broken("truncated" if short else "undecodable", f"{type(error).__name__}: {error}"[:200])
    try:
        # At least a millisecond: no time at all would mean no deadline.
        with deadline(max(end - time.monotonic(), 0.001)):
            seen = _read(picture, orientation, readers) if picture is not None else {}
    except Late:
        return Broken("timed_out", f"not read in {seconds:g} s")
    except MemoryError as error:
        return Broken("too_many_pixels", str(error))
    phash, pdq = seen.pop(HASHES.name, (None, None))
    return Facts(format, width, height, len(data), hashlib.sha256(data).hexdigest(), frames, phash, pdq, seen)


def _decode(
    data: bytes, format: str, max_pixels: int, end: float, side: int | None
) -> tuple[int, int, int, int, Pillow.Image | None]:
    """Width and height in pixels after rotation, the number of frames, all of them decoded, how EXIF turns them, and
    the first one, unturned.

    `side` is what the readers need of it: None all, 0 that there are none, and no picture is made.
    """
    with Pillow.open(io.BytesIO(data), formats=[format.upper()]) as image:
        width, height = image.size
        # The further pictures of a multi-picture JPEG are previews or depth maps, not frames.
        frames = 1 if format == "jpeg" else getattr(image, "n_frames", 1)
        if width * height * frames > max_pixels:
            raise Pillow.DecompressionBombError(f"{width} x {height}, {frames} frames: at most {max_pixels} pixels")
        if format == "jpeg" and side is not None:
            # An eighth of the size is decoded from the same bits, all of them, at half the time.
            image.draft(None, (max(side, 1), max(side, 1)))
        image.load()
        # After `load`, because Pillow turns a TIFF by itself and then takes the tag away.
        if format != "jpeg":
            width, height = image.size
        orientation = _orientation(image)
        picture = None if side == 0 else _picture(image, frames)
        for frame in range(1, frames):
            if time.monotonic() > end:
                raise Late
            try:
                image.seek(frame)
                image.load()
            except Exception:
                if format != "png":
                    raise
                # PNG, third edition: a viewer falls back to the static picture where the animation is damaged.
                frames = 1
                break
    if orientation in (5, 6, 7, 8):
        width, height = height, width
    return width, height, frames, orientation, picture


# EXIF 2.32, tag 0x0112: how the stored picture is turned to be shown.
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}


def _picture(image: Pillow.Image, frames: int) -> Pillow.Image:
    """The present frame of `image`; RGBA where something is transparent, else RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    # A copy where a further frame is decoded in the place of this one.
    return image if image.mode == mode and frames == 1 else image.convert(mode)


def _eight_bits(image: Pillow.Image) -> Pillow.Image:
    """A grey picture of more bits in 8. Pillow would clip it at 255, and make white of nearly all of it."""
    values = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    low, high = 0.0, 65535.0
    if image.mode == "F" or values.min() < low or values.max() > high:  # where nothing says what white is
        low, high = float(values.min()), float(values.max())
    return Pillow.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))


def _read(picture: Pillow.Image, orientation: int, readers: Sequence[Reader]) -> dict[str, Any]:
    """What each reader makes of the picture, as it is stored or as it is shown."""
    stored = shown = picture
    if picture.mode == "RGBA":
        stored = picture.convert("RGB")
        white = Pillow.new("RGBA", picture.size, "white")
        white.alpha_composite(picture)
        shown = white.convert("RGB")
    if orientation in _TURNS:
        shown = shown.transpose(_TURNS[orientation])
    by_name = {reader.name: reader for reader in readers}  # two of one name are one
    return {name: reader.read(shown if reader.shown else stored) for name, reader in by_name.items()}


def _orientation(image: Pillow.Image) -> int:
    """EXIF's orientation, 1 to 8; a damaged EXIF block says nothing, and does not make the picture unreadable."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1
    return value if isinstance(value, int) else 1


@contextlib.contextmanager
def _quiet(max_pixels: int) -> Iterator[None]:
    """Pillow raises above twice its limit, and only warns between; a decoder that allocates on opening asks it too."""
    before, strict = Pillow.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Pillow.MAX_IMAGE_PIXELS = max_pixels / 2  # type: ignore[assignment]
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        Pillow.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before, strict


@contextlib.contextmanager
def _mute_libtiff(needed: bool) -> Iterator[None]:
    """libtiff prints its complaints on descriptor 2 itself, past Python, once a damaged strip."""
    try:
        stderr = os.dup(2) if needed else None
    except OSError:  # no descriptor 2: nothing is printed
        stderr = None
    if stderr is None:
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
