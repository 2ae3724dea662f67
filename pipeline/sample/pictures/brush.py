"""Sizes, colours and points in; smooth shapes, gradients and noise on an array of pixels out."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Size: TypeAlias = tuple[int, int]  # width, height in pixels
Field: TypeAlias = NDArray[np.floating[Any]]  # (height, width)
Pixels: TypeAlias = NDArray[np.floating[Any]]  # (height, width, 3), red, green and blue in 0..1
Colour: TypeAlias = str | Sequence[float] | NDArray[np.floating[Any]]  # "#rrggbb" or three floats in 0..1
Points: TypeAlias = Sequence[tuple[float, float]] | NDArray[np.floating[Any]]  # x to the right, y downwards
Random: TypeAlias = np.random.Generator
T = TypeVar("T")


def rgb(colour: Colour) -> NDArray[np.floating[Any]]:
    if isinstance(colour, str):
        return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], np.float32)
    return np.asarray(colour, np.float32)


def blend(a: Colour, b: Colour, t: float) -> NDArray[np.floating[Any]]:
    return rgb(a) * np.float32(1 - t) + rgb(b) * np.float32(t)


def pick(rng: Random, choices: Sequence[T]) -> T:
    return choices[int(rng.integers(len(choices)))]


def jitter(rng: Random, colour: Colour, amount: float = 0.06) -> NDArray[np.floating[Any]]:
    return np.clip(rgb(colour) + rng.uniform(-amount, amount) + rng.uniform(-amount / 3, amount / 3, 3), 0, 1).astype(
        np.float32
    )


def ramp(field: Field, *stops: Colour) -> Pixels:
    """Colours of a field in 0..1, along evenly spaced stops."""
    table = np.stack([rgb(stop) for stop in stops])
    places = np.linspace(0, 1, len(stops))
    fine = np.stack([np.interp(np.linspace(0, 1, 1024), places, table[:, i]) for i in range(3)], -1).astype(np.float32)
    return fine[np.clip(field * 1023, 0, 1023).astype(np.int16)]


def grid(size: Size) -> tuple[Field, Field]:
    """Column and row of every pixel: arrays (1, width) and (height, 1) that broadcast."""
    return np.arange(size[0], dtype=np.float32)[None, :], np.arange(size[1], dtype=np.float32)[:, None]


def gradient(size: Size, *stops: Colour) -> Pixels:
    """From the first colour at the top to the last at the bottom."""
    column = ramp(np.linspace(0, 1, size[1], dtype=np.float32)[:, None], *stops)
    return np.repeat(column, size[0], axis=1)


def noise(rng: Random, size: Size, cells: float = 4, octaves: int = 4, fade: float = 0.5, stretch: float = 1) -> Field:
    """Fractal value noise in 0..1 with about `cells` bumps over the height; `stretch` > 1 draws them out sideways."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        down = min(height, max(2, round(cells * 2**octave) + 1))
        across = min(width, max(2, round(cells * 2**octave * width / height / stretch) + 1))
        bumps = Image.fromarray(rng.random((down, across), np.float32))
        total += np.float32(fade**octave) * np.asarray(bumps.resize(size, Image.Resampling.BICUBIC))
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(max(high - low, 1e-6))


def curve(rng: Random, width: int, bumps: float, octaves: int = 4, fade: float = 0.5, smooth: bool = False) -> Field:
    """A fractal line of `width` values in about -1..1; `smooth` gives hills instead of peaks."""
    x = np.linspace(0, 1, width)
    total = np.zeros(width)
    for octave in range(octaves):
        knots = max(2, round(bumps * 2**octave) + 1)
        at = x * (knots - 1) + rng.random() * 0.5
        left = np.floor(at).astype(int)
        part = at - left
        if smooth:
            part = part * part * (3 - 2 * part)
        values = rng.uniform(-1, 1, knots + 2)
        total += fade**octave * (values[left] * (1 - part) + values[left + 1] * part)
    return total.astype(np.float32)


def cover(pixels: Pixels, mask: Field, colour: Colour | Pixels) -> None:
    """Lays a colour, or a picture of the same size, over the pixels where the mask is 1."""
    paint = rgb(colour) if isinstance(colour, str) else np.asarray(colour, np.float32)
    pixels += (paint - pixels) * mask[..., None]


def ground(pixels: Pixels, top: Field, upper: Colour, lower: Colour, texture: Field | None = None) -> None:
    """Everything below the line `top` (a row for every column), shaded from `upper` at the line to `lower` below."""
    height = len(pixels)
    first = max(0, math.floor(float(top.min())) - 1)
    if first >= height:
        return
    rows = np.arange(first, height, dtype=np.float32)[:, None]
    mask = np.clip(rows - top + 0.5, 0, 1)
    depth = np.clip((rows - top) / np.float32(max(height - float(top.min()), 1)), 0, 1)
    paint = ramp(depth, upper, lower)
    if texture is not None:
        paint = paint * texture[first:, :, None]
    cover(pixels[first:], mask, paint)


def window(pixels: Pixels, x: float, y: float, reach: float) -> tuple[Pixels, Field, Field]:
    """The part of the pixels within `reach` of a point, and there the offsets from the point."""
    height, width = pixels.shape[:2]
    x0, x1 = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach) + 1)
    y0, y1 = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach) + 1)
    columns = np.arange(x0, max(x0, x1), dtype=np.float32)[None, :] - np.float32(x)
    rows = np.arange(y0, max(y0, y1), dtype=np.float32)[:, None] - np.float32(y)
    return pixels[y0 : max(y0, y1), x0 : max(x0, x1)], columns, rows


def glow(pixels: Pixels, x: float, y: float, radius: float, colour: Colour, strength: float = 1) -> None:
    """Adds light that fades away from a point."""
    part, dx, dy = window(pixels, x, y, radius * 2.6)
    light = np.exp(-(dx * dx + dy * dy) / np.float32(radius * radius)) * np.float32(strength)
    part += (1 - part) * np.clip(rgb(colour) * light[..., None], 0, 1)


def disc(pixels: Pixels, x: float, y: float, radius: float, colour: Colour, alpha: float = 1, flat: float = 1) -> None:
    """A disc, or with `flat` < 1 an ellipse lying down."""
    part, dx, dy = window(pixels, x, y, radius + 1)
    distance = np.sqrt(dx * dx + (dy / np.float32(flat)) ** 2)
    cover(part, np.clip(radius - distance + 0.5, 0, 1) * np.float32(alpha), colour)


def ball(
    pixels: Pixels,
    x: float,
    y: float,
    radius: float,
    colour: Colour,
    light: tuple[float, float] = (-0.5, -0.6),
    shine: float = 0.5,
    bump: Callable[[Field, Field], Field] | None = None,
) -> None:
    """A lit sphere; `light` points from its centre to the lamp; `bump` multiplies the colour by place (-1..1)."""
    part, dx, dy = window(pixels, x, y, radius + 1)
    u, v = dx / np.float32(radius), dy / np.float32(radius)
    distance = u * u + v * v
    z = np.sqrt(np.clip(1 - distance, 0, 1))
    lz = math.sqrt(max(0.05, 1 - light[0] ** 2 - light[1] ** 2))
    lit = np.clip(u * light[0] + v * light[1] + z * lz, 0, 1)
    paint = rgb(colour) * (0.28 + 0.8 * lit)[..., None]
    if bump is not None:
        paint = paint * bump(u + 0 * v, v + 0 * u)[..., None]
    paint = paint + (lit**24 * np.float32(shine))[..., None]
    cover(part, np.clip((1 - np.sqrt(distance)) * radius + 0.5, 0, 1), np.clip(paint, 0, 1))


def fill(
    pixels: Pixels,
    points: Points,
    colour: Colour,
    to: Colour | None = None,
    angle: float = 90,
    alpha: float = 1,
    grain: Field | None = None,
) -> None:
    """A polygon, plain or shaded to the colour `to` along `angle` (degrees: 0 rightwards, 90 downwards)."""
    outline = np.asarray(points, np.float64)
    height, width = pixels.shape[:2]
    low = np.maximum(np.floor(outline.min(0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(outline.max(0)).astype(int) + 2, (width, height))
    across, down = int(high[0] - low[0]), int(high[1] - low[1])
    if across <= 0 or down <= 0:
        return
    stencil = Image.new("L", (across * 4, down * 4))
    ImageDraw.Draw(stencil).polygon([(float(px), float(py)) for px, py in (outline - low + 0.5) * 4], fill=255)
    mask = np.asarray(stencil.reduce(4), np.float32) * np.float32(alpha / 255)
    part = pixels[low[1] : high[1], low[0] : high[0]]
    paint: Pixels = np.broadcast_to(rgb(colour), part.shape)
    if to is not None:
        turn = np.array([math.cos(math.radians(angle)), math.sin(math.radians(angle))])
        along = outline @ turn
        x, y = np.arange(low[0], high[0])[None, :], np.arange(low[1], high[1])[:, None]
        place = (x * turn[0] + y * turn[1] - along.min()) / max(float(np.ptp(along)), 1e-6)
        paint = ramp(place.astype(np.float32), colour, to)
    if grain is not None:
        paint = np.clip(paint * grain[low[1] : high[1], low[0] : high[0], None], 0, 1)
    cover(part, mask, paint)


def ring(
    x: float, y: float, rx: float, ry: float | None = None, start: float = 0, end: float = 360, n: int = 48
) -> Points:
    """Points of an ellipse or of its arc, angles in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, end, n))
    return np.stack([x + rx * np.cos(angles), y + (rx if ry is None else ry) * np.sin(angles)], -1)


def stars(rng: Random, pixels: Pixels, count: int, below: float = 1) -> None:
    """Single stars over the upper `below` of the picture, few bright and many faint."""
    height, width = pixels.shape[:2]
    xs, ys = rng.uniform(0, width, count), rng.uniform(0, height * below, count)
    bright = rng.random(count) ** 4
    for x, y, light, tint in zip(xs, ys, bright, rng.random(count), strict=True):
        glow(pixels, x, y, 0.55 + light * height / 420, blend("#ffd9b8", "#cfe0ff", tint), 0.35 + 0.65 * light)


def image_of(pixels: Pixels) -> Image.Image:
    return Image.fromarray(np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8))


def clouds(rng: Random, pixels: Pixels, colour: Colour, under: Colour, amount: float, low: float = 0.6) -> None:
    height, width = pixels.shape[:2]
    bumps = noise(rng, (width, height), 3.5, 5, 0.55, stretch=2.6)
    _, rows = grid((width, height))
    mask = np.clip((bumps - 1 + amount) * 3.5, 0, 1) * np.clip((low - rows / height) * 4, 0, 1)
    lower = np.roll(bumps, -max(2, height // 40), axis=0)
    paint = ramp(np.clip(0.5 + (lower - bumps) * 4, 0, 1), under, colour)
    cover(pixels, mask * 0.9, paint)
