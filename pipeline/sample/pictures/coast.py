"""A generator of random numbers and a size in; the sea, its lighthouse or its shells out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pixels, Random, Size, blend, clouds, fill, jitter, pick
from pipeline.sample.pictures.pen import Pen


def _sea(
    rng: Random, pixels: Pixels, horizon: int, upper: Colour, lower: Colour, light: Colour, x: float, spread: float
) -> None:
    """Water below the row `horizon` with a path of light below the column `x`."""
    height, width = pixels.shape[:2]
    size = (width, height - horizon)
    water = brush.gradient(size, upper, lower)
    columns, rows = brush.grid(size)
    near = rows / size[1]
    # Waves are longer near the viewer: two noises, the fine one for the far half.
    swell = brush.noise(rng, size, 22, 3, 0.6, stretch=7) * near + brush.noise(rng, size, 60, 2, 0.7, stretch=9) * (
        1 - near
    )
    water *= (0.82 + 0.36 * swell)[..., None]
    path = np.exp(-(((columns - x) / (width * (0.035 + spread * near))) ** 2))
    brush.cover(water, np.clip((swell - 0.62 + 0.28 * path) * 7, 0, 1) * path * 0.92, light)
    pixels[horizon:] = water


def sunset_sea(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, sea = pick(
        rng,
        [
            (("#1d2a5c", "#b4506e", "#ff9d4d", "#ffe08a"), ("#c8705a", "#141a38")),
            (("#35508c", "#e28a7a", "#ffc07a", "#fff0b0"), ("#d09a80", "#1c3556")),
            (("#120f38", "#5c2a72", "#d8506a", "#ffb05c"), ("#9a4468", "#0c0a24")),
        ],
    )
    horizon, sun = round(height * rng.uniform(0.52, 0.62)), width * rng.uniform(0.25, 0.75)
    pixels = brush.gradient(size, sky[0], sky[1], sky[2], sky[3], sky[3])
    pixels[:horizon] = brush.gradient((width, horizon), *sky)
    y = horizon - height * rng.uniform(0.02, 0.1)
    brush.glow(pixels, sun, y, height * 0.42, "#fff2c0", 0.6)
    clouds(rng, pixels, blend(sky[1], sky[0], 0.4), blend(sky[3], sky[2], 0.5), 0.46)
    brush.glow(pixels, sun, y, height * 0.12, "#fff8d8", 0.8)
    brush.disc(pixels, sun, y, height * 0.055, "#fffbe6")
    _sea(rng, pixels, horizon, *sea, "#ffe9b0", sun, 0.13)
    x, foot, mast = (
        width * (0.22 if sun > width / 2 else 0.78),
        horizon + height * 0.09,
        height * rng.uniform(0.13, 0.2),
    )
    hull = blend(sea[1], "#000000", 0.4)
    fill(
        pixels,
        [
            (x - mast * 0.42, foot - mast * 0.1),
            (x + mast * 0.45, foot - mast * 0.12),
            (x + mast * 0.3, foot),
            (x - mast * 0.3, foot),
        ],
        hull,
    )
    fill(
        pixels,
        [(x, foot - mast), (x + mast * 0.4, foot - mast * 0.16), (x, foot - mast * 0.16)],
        blend(hull, sky[2], 0.35),
        hull,
        angle=0,
    )
    fill(
        pixels,
        [
            (x - mast * 0.03, foot - mast * 0.92),
            (x - mast * 0.03, foot - mast * 0.16),
            (x - mast * 0.32, foot - mast * 0.16),
        ],
        blend(hull, sky[2], 0.2),
    )
    fill(
        pixels,
        [
            (x - mast * 0.3, foot),
            (x + mast * 0.3, foot),
            (x + mast * 0.1, foot + mast * 0.5),
            (x - mast * 0.05, foot + mast * 0.6),
        ],
        hull,
        alpha=0.3,
    )
    return brush.image_of(pixels)


def lighthouse(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, sea, night = pick(
        rng,
        [
            (("#2f6fae", "#8fc1e0", "#f4e6c8"), ("#4f8fae", "#123a5a"), 0.25),
            (("#0c1230", "#2d3f74", "#c08a8a"), ("#4a5480", "#0a1026"), 0.8),
            (("#3c4a66", "#8796a6", "#d8d8cc"), ("#6c8490", "#22343e"), 0.5),
        ],
    )
    flip = rng.random() < 0.5
    horizon = round(height * 0.6)
    pixels = brush.gradient(size, *sky, sky[2])
    clouds(rng, pixels, blend(sky[1], "#ffffff", 0.7 - 0.6 * night), blend(sky[0], sky[1], 0.6), 0.5)
    _sea(rng, pixels, horizon, *sea, blend(sky[2], "#ffffff", 0.3), width * 0.3, 0.3)
    x, foot, tall = width * rng.uniform(0.64, 0.74), height * 0.58, height * rng.uniform(0.36, 0.42)
    lamp = foot - tall * 0.93
    for end, spread in ((-0.2, 0.1), (1.25, 0.08)):
        far = width * end
        fill(
            pixels,
            [(x, lamp), (far, lamp - height * (spread + 0.03)), (far, lamp + height * spread)],
            "#fff4c0",
            alpha=0.12 + 0.22 * night,
        )
    brush.glow(pixels, x, lamp, height * 0.12, "#fff2b8", 0.4 + 0.5 * night)
    columns = np.arange(width, dtype=np.float32)
    cliff = foot + height * (
        0.62 * np.clip((width * 0.56 - columns) / (width * 0.3), 0, 1) ** 1.4
        - 0.02
        + 0.02 * brush.curve(rng, width, 9, 4)
    )
    grain = 0.6 + 0.75 * brush.noise(rng, size, 9, 5, 0.7)
    brush.ground(pixels, cliff, "#8c8272", "#2c2a2c", grain)
    grass = cliff + height * (0.03 + 0.02 * brush.curve(rng, width, 14, 3))
    turf = np.where(
        columns[None, :] > width * 0.4,
        np.clip(grass - np.arange(height)[:, None] + 0.5, 0, 1)
        * np.clip(np.arange(height)[:, None] - cliff + 0.5, 0, 1),
        0,
    )
    brush.cover(pixels, turf.astype(np.float32), blend("#5e8a44", sea[1], night * 0.6))
    foam = brush.noise(rng, size, 30, 3, stretch=2)
    shore = np.exp(
        -(
            (
                (
                    columns[None, :]
                    - np.interp(
                        np.arange(height), cliff[::-1][np.argsort(cliff[::-1])], columns[::-1][np.argsort(cliff[::-1])]
                    )[:, None]
                )
                / (width * 0.03)
            )
            ** 2
        )
    )
    shore[: horizon + 2] = 0
    brush.cover(pixels, (np.clip(foam * 3 - 1.1, 0, 1) * shore * 0.85).astype(np.float32), "#ffffff")
    base, top = tall * 0.13, tall * 0.085
    stripe = pick(rng, ["#c8342c", "#1f3f6e", "#2d2d33"])
    for band in range(7):
        low, high = band / 7 * 0.82, (band + 1) / 7 * 0.82
        w0, w1 = base + (top - base) * low / 0.82, base + (top - base) * high / 0.82
        edge = [
            (x - w0, foot - tall * low + 2),
            (x + w0, foot - tall * low + 2),
            (x + w1, foot - tall * high),
            (x - w1, foot - tall * high),
        ]
        colour = blend(stripe if band % 2 else "#f6f2ea", sky[0], night * 0.3)
        fill(pixels, edge, blend(colour, "#ffffff", 0.15), blend(colour, "#101020", 0.5), angle=0)
    fill(
        pixels,
        [
            (x - top * 1.4, foot - tall * 0.82),
            (x + top * 1.4, foot - tall * 0.82),
            (x + top * 1.3, foot - tall * 0.86),
            (x - top * 1.3, foot - tall * 0.86),
        ],
        "#26262c",
    )
    fill(
        pixels,
        [
            (x - top * 0.75, foot - tall * 0.86),
            (x + top * 0.75, foot - tall * 0.86),
            (x + top * 0.75, foot - tall * 0.97),
            (x - top * 0.75, foot - tall * 0.97),
        ],
        "#fff3b4",
        "#e0b860",
        angle=0,
    )
    fill(
        pixels,
        [(x - top, foot - tall * 0.97), (x + top, foot - tall * 0.97), (x, foot - tall * 1.08)],
        stripe,
        blend(stripe, "#000000", 0.5),
        angle=0,
    )
    return brush.image_of(np.ascontiguousarray(pixels[:, ::-1]) if flip else pixels)


def seashells(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sand = pick(rng, [("#c8a878", "#f0dcb4"), ("#b8a48c", "#e8dccc"), ("#d8b48c", "#fbe8cc")])
    ripple = brush.noise(rng, size, 3, 3, stretch=2)
    columns, rows = brush.grid(size)
    waves = 0.5 + 0.5 * np.sin(rows / height * 44 + ripple * 14 + columns / height * 3)
    grain = rng.random((height, width), np.float32)
    pixels = brush.ramp(
        np.clip(0.25 + 0.45 * waves + 0.3 * ripple + 0.22 * (grain - 0.5), 0, 1).astype(np.float32), *sand
    )
    pen, unit = Pen(pixels, size), height / 300
    places: list[tuple[float, float, float]] = []
    for _ in range(300):
        radius = rng.uniform(24, 50) * unit
        x, y = rng.uniform(0.08, 0.92) * width, rng.uniform(0.12, 0.88) * height
        if len(places) < 9 and all(math.hypot(x - a, y - b) > (radius + c) * 1.06 for a, b, c in places):
            places.append((x, y, radius))
    for index, (x, y, radius) in enumerate(places):
        hue = pick(rng, ["#e89c8c", "#f0c8a0", "#c88ca8", "#e8d8c0", "#d8a05c", "#b0a4c4"])
        turn, kind = rng.uniform(0, 2 * math.pi), index % 3

        def spot(r: float, a: float, x: float = x, y: float = y, turn: float = turn) -> tuple[float, float]:
            return x + r * math.cos(a + turn), y + r * math.sin(a + turn)

        if kind < 2:
            pen.disc(x + 5 * unit, y + 6 * unit, radius * 0.88, "#3c2814", 0.28, flat=0.92)
        else:
            pen.polygon(
                [
                    (px + 5 * unit, py + 7 * unit)
                    for px, py in (
                        spot(radius, math.pi - 0.42),
                        spot(radius * 1.05, math.pi),
                        spot(radius, math.pi + 0.42),
                        spot(radius * 1.0, 0),
                    )
                ],
                "#3c2814",
                0.28,
            )
        if kind == 0:
            ribs = 13
            hinge = spot(radius * 0.85, math.pi / 2)
            for rib in range(ribs):
                a, b = math.pi * (1.02 + 0.96 * rib / ribs) - 0.0, math.pi * (1.02 + 0.96 * (rib + 1) / ribs)
                a, b = (math.pi * 0.86 + (t - math.pi) * 1.28 for t in (a, b))
                middle = (a + b) / 2
                tone = jitter(rng, hue, 0.02)
                pen.polygon(
                    [hinge, spot(radius * 0.94, a), spot(radius * 1.02, middle), spot(radius * 0.94, b)],
                    blend(tone, "#ffffff", 0.3),
                )
                pen.polygon([hinge, spot(radius * 1.02, middle), spot(radius * 0.94, b)], blend(tone, "#4c2414", 0.25))
            for ring in (0.35, 0.55, 0.75):
                arc = [
                    (hinge[0] + (px - hinge[0]) * ring, hinge[1] + (py - hinge[1]) * ring)
                    for px, py in (spot(radius, math.pi * 0.86 + t) for t in np.linspace(0.1, 3.85, 30))
                ]
                pen.line(arc, blend(hue, "#6c3018", 0.4), radius * 0.045, 0.7)
            pen.polygon(
                [
                    spot(radius * 0.75, math.pi / 2 - 0.5),
                    spot(radius * 0.98, math.pi / 2 - 0.3),
                    spot(radius * 0.98, math.pi / 2 + 0.3),
                    spot(radius * 0.75, math.pi / 2 + 0.5),
                ],
                blend(hue, "#4c2414", 0.2),
            )
        elif kind == 1:
            for t in np.linspace(0, 1, 150):
                a = 2 + t * 14.5
                r, wide = radius * 0.68 * (t**1.25), radius * (0.05 + 0.34 * t**1.3)
                stripe = blend(hue, "#7c4424", 0.5 if int(a * 2.6) % 3 == 0 else 0.12)
                cx, cy = spot(r, a)
                pen.disc(cx, cy, wide, blend(stripe, "#2c1408", 0.35))
                pen.disc(cx - wide * 0.12, cy - wide * 0.14, wide * 0.84, stripe)
                pen.disc(cx - wide * 0.3, cy - wide * 0.34, wide * 0.34, blend(stripe, "#ffffff", 0.45))
            cx, cy = spot(radius * 0.7, 16.62)
            pen.disc(cx, cy, radius * 0.27, blend(hue, "#3c1810", 0.65), flat=0.9)
        else:
            whorls = 8
            for whorl in range(whorls):
                part = whorl / whorls
                along = radius * (1.05 - 2.0 * part**0.8)
                wide = radius * 0.46 * (1 - part) ** 0.9 + radius * 0.03
                cx, cy = spot(-along * 0.92, 0)
                for grow, tone in (
                    (1.0, blend(hue, "#2c1408", 0.45)),
                    (0.86, blend(hue, "#ffffff", 0.12)),
                    (0.4, blend(hue, "#ffffff", 0.55)),
                ):
                    shape = brush.ring(0, 0, radius * 0.19 * (1.2 - part), wide * grow)
                    lean = turn + 0.25
                    pen.polygon(
                        [
                            (
                                cx + px * math.cos(lean) - (py - wide * (1 - grow) * 0.3) * math.sin(lean),
                                cy + px * math.sin(lean) + (py - wide * (1 - grow) * 0.3) * math.cos(lean),
                            )
                            for px, py in shape
                        ],
                        tone,
                    )
    return pen.done()


PAINTINGS = (
    sunset_sea,
    lighthouse,
    seashells,
)
