"""The bytes of an image in; its facts out, or why it is broken. All is decoded, within bytes, pixels and seconds."""

import contextlib
import hashlib
import io
import os
import threading
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from PIL import ExifTags, ImageFile, UnidentifiedImageError
from PIL import Image as Pillow

from pipeline.deadline import Late, deadline

Reason = Literal["not_an_image", "truncated", "too_many_bytes", "too_many_pixels", "timed_out", "undecodable"]

# A decoder walks a progressive JPEG's whole picture once a scan, in C, where no alarm interrupts it. Encoders write
# about 10 scans; ITU-T T.81 allows far more, and a kilobyte can ask for hundreds.
MAX_SCANS = 100

# Pillow's decoders keep state of the process (the pixel limit, the warning filters), so one image is looked at at once.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Facts:
    """What an image is. `width` and `height` are pixels of its first frame after EXIF rotation; `size` is bytes."""

    format: str  # "jpeg", "png", "webp", "gif", "bmp", "tiff" or "avif"
    width: int
    height: int
    size: int
    sha256: str  # of the bytes, hexadecimal
    frames: int  # pages for a TIFF; 1 for a still image

    @property
    def animated(self) -> bool:
        return self.frames > 1 and self.format != "tiff"


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


def look(data: bytes, *, max_bytes: int, max_pixels: int, seconds: float) -> Facts | Broken:
    """Decodes `data` to its end and says what it is.

    The format is taken from the content, never from a header or a name. `max_pixels` bounds width times height, summed
    over frames, and is held against the header before anything is decoded. `seconds` is kept by SIGALRM, which
    works in a main thread only: elsewhere the clock is read between frames, and a single slow frame runs to its end.
    An alarm cannot stop a decoder inside one call into C either; the bounds on pixels and scans keep those calls short.
    """
    if len(data) > max_bytes:
        return Broken("too_many_bytes", f"{len(data)} bytes, at most {max_bytes}")
    format = sniff(data)
    if format is None:
        return Broken("not_an_image", f"begins with {data[:16]!r}")
    if format == "jpeg" and data.count(b"\xff\xda") > MAX_SCANS:
        return Broken("undecodable", f"more than {MAX_SCANS} scans")
    try:
        with _one_at_a_time, _quiet(max_pixels), _mute_libtiff(format == "tiff"), deadline(seconds):
            width, height, frames = _decode(data, format, max_pixels, time.monotonic() + seconds)
    except Late:
        return Broken("timed_out", f"not decoded in {seconds:g} s")
    except (Pillow.DecompressionBombError, MemoryError) as error:
        return Broken("too_many_pixels", str(error))
    except Exception as error:  # Pillow's plugins raise about everything on hostile bytes
        if isinstance(error, UnidentifiedImageError):
            return Broken("undecodable", "no decoder accepts its header")  # Pillow's message holds a memory address
        short = isinstance(error, EOFError) or "truncated" in str(error).lower()
        return Broken("truncated" if short else "undecodable", f"{type(error).__name__}: {error}"[:200])
    return Facts(format, width, height, len(data), hashlib.sha256(data).hexdigest(), frames)


def _decode(data: bytes, format: str, max_pixels: int, end: float) -> tuple[int, int, int]:
    """Width and height in pixels after rotation, and the number of frames, all of them decoded."""
    with Pillow.open(io.BytesIO(data), formats=[format.upper()]) as image:
        width, height = image.size
        # The further pictures of a multi-picture JPEG are previews or depth maps, not frames.
        frames = 1 if format == "jpeg" else getattr(image, "n_frames", 1)
        if width * height * frames > max_pixels:
            raise Pillow.DecompressionBombError(f"{width} x {height}, {frames} frames: at most {max_pixels} pixels")
        if format == "jpeg":
            # An eighth of the size is decoded from the same bits, all of them, at half the time.
            image.draft(None, (1, 1))
        image.load()
        # After `load`, because Pillow turns a TIFF by itself and then takes the tag away.
        if format != "jpeg":
            width, height = image.size
        turned = _orientation(image) in (5, 6, 7, 8)
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
    return (height, width, frames) if turned else (width, height, frames)


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
