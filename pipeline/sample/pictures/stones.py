"""A generator of random numbers and a size in; standing stones or a dolmen out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Field, Pixels, Random, Size, blend, fill, pick


def _stone(
    rng: Random,
    pixels: Pixels,
    x: float,
    foot: float,
    tall: float,
    lit: Colour,
    dark: Colour,
    side: float,
    grain: Field,
) -> None:
    """A standing stone whose foot is at (x, foot); `side` is -1 or 1, where the light comes from."""
    wide = tall * rng.uniform(0.2, 0.3)
    lean = rng.uniform(-0.08, 0.08) * tall
    up = np.array([0, 0.3, 0.62, 0.86, 0.97, 1.0, 0.9, 0.6, 0.28, 0])
    across = np.array([-1, -1.05, -0.95, -0.75, -0.4, 0.15, 0.65, 0.95, 1.06, 1]) + rng.uniform(-0.12, 0.12, 10)
    outline = np.stack([x + across * wide + lean * up, foot - up * tall * (1 + rng.uniform(-0.03, 0.03, 10))], -1)
    shade = np.array(
        [
            [x - wide, foot],
            [x + wide, foot],
            [x + wide - side * tall * 1.1, foot + tall * 0.32],
            [x - side * tall * 1.3, foot + tall * 0.3],
        ]
    )
    fill(pixels, shade, "#05060c", alpha=0.4)
    fill(pixels, outline, lit if side < 0 else dark, dark if side < 0 else lit, angle=8, grain=grain)
    edge = outline[:5] if side < 0 else outline[5:9]
    inner = edge[::-1] + np.array([-side * wide * 0.16, tall * 0.02])
    fill(pixels, np.concatenate([edge, inner]), blend(lit, "#ffffff", 0.35), alpha=0.55)


def standing_stones(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, moor, lit, dark = pick(
        rng,
        [
            (("#070b20", "#1b2850", "#4a5a8c"), ("#2a3446", "#0b0f18"), "#9fb0d0", "#1d2538"),
            (("#0d0a22", "#3a2452", "#a0607c"), ("#3d2c40", "#120d16"), "#d9b4b8", "#2c2034"),
            (("#04141f", "#0f3a4c", "#5b8f94"), ("#213b3a", "#07110f"), "#b5d2c8", "#16292b"),
        ],
    )
    pixels = brush.gradient((width, height), *sky)
    brush.stars(rng, pixels, 130, 0.5)
    mx, my, radius = width * rng.uniform(0.18, 0.82), height * rng.uniform(0.16, 0.28), height * rng.uniform(0.065, 0.1)
    for spread, strength in ((5.5, 0.3), (2.2, 0.55)):
        brush.glow(pixels, mx, my, radius * spread, blend(sky[2], "#ffffff", 0.5), strength)
    seas = brush.noise(rng, (256, 256), 5, 3)
    brush.ball(
        pixels,
        mx,
        my,
        radius,
        "#fbf4dc",
        (0, 0),
        0,
        lambda u, v: (
            0.92 + 0.2 * seas[((v + 1) * 127).astype(int).clip(0, 255), ((u + 1) * 127).astype(int).clip(0, 255)]
        ),
    )
    clouds = brush.noise(rng, size, 3, 5, stretch=4)
    _, rows = brush.grid(size)
    brush.cover(
        pixels,
        np.clip(clouds * 2.4 - 1.3, 0, 1) * np.exp(-(((rows / height - 0.36) / 0.16) ** 2)) * 0.6,
        blend(sky[2], "#ffffff", 0.25),
    )
    horizon = height * 0.53
    brush.ground(
        pixels,
        horizon - height * 0.03 * (1 + brush.curve(rng, width, 3, 3, smooth=True)),
        blend(moor[0], sky[2], 0.35),
        moor[0],
    )
    grain = 0.75 + 0.5 * brush.noise(rng, size, 40, 3, 0.7, stretch=2.5)
    brush.ground(pixels, np.full(width, horizon, np.float32), moor[0], moor[1], grain)
    eye = width * rng.uniform(0.3, 0.7)
    side = 1.0 if mx > width / 2 else -1.0
    for depth in np.geomspace(9, 0.95, 13):
        for row in range(-5, 6):
            x = eye + (row + 0.35 + rng.uniform(-0.12, 0.12)) * height * 0.4 / depth
            foot = horizon + height * 0.4 / depth * rng.uniform(0.95, 1.05)
            if -0.1 * width < x < 1.1 * width and rng.random() > 0.16:
                far = min(1.0, (depth - 0.95) / 10)
                _stone(
                    rng,
                    pixels,
                    x,
                    foot,
                    height * rng.uniform(0.2, 0.3) / depth,
                    blend(lit, sky[2], far),
                    blend(dark, sky[2], far * 0.8),
                    side,
                    grain,
                )
    return brush.image_of(pixels)


def dolmen(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, moor = pick(
        rng,
        [
            (("#2b3f6b", "#a9788f", "#f7c07c"), ("#8a5a6a", "#2c2030")),
            (("#385f86", "#c9a98c", "#fde3a0"), ("#7d7a3c", "#2b2d17")),
            (("#2a2550", "#8c4a78", "#ff9a6a"), ("#6d3f62", "#1f1524")),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    sun = width * rng.uniform(0.25, 0.75)
    brush.glow(pixels, sun, height * 0.6, height * 0.5, "#fff0c0", 0.6)
    brush.disc(pixels, sun, height * 0.57, height * 0.05, "#fff7dc")
    _, rows = brush.grid(size)
    clouds = brush.noise(rng, size, 4, 5, stretch=5)
    brush.cover(
        pixels, np.clip(clouds * 3 - 1.7, 0, 1) * np.clip(1 - rows / height * 1.7, 0, 1), blend(sky[1], "#ffffff", 0.2)
    )
    for layer in range(3):
        top = height * (0.6 + layer * 0.035) + height * 0.03 * brush.curve(rng, width, 2, 3, smooth=True)
        brush.ground(pixels, top, blend(sky[1], moor[0], 0.3 + 0.3 * layer), moor[0])
    grain = 0.7 + 0.6 * brush.noise(rng, size, 34, 4, 0.75, stretch=2)
    brush.ground(
        pixels, height * 0.7 + height * 0.015 * brush.curve(rng, width, 3, smooth=True), moor[0], moor[1], grain
    )
    middle, foot, unit = width * rng.uniform(0.42, 0.58), height * 0.83, height * 0.3
    away = math.copysign(1, middle - sun)
    fill(
        pixels,
        [
            (middle - unit, foot),
            (middle + unit, foot),
            (middle + unit + away * unit * 0.9, foot + unit * 0.45),
            (middle - unit + away * unit * 0.9, foot + unit * 0.45),
        ],
        "#0a0810",
        alpha=0.4,
    )
    dark, lit = blend(moor[1], "#3a3a44", 0.5), blend(sky[2], "#b0a8a0", 0.6)
    legs = [(-0.78, 0.34, 1.0), (-0.12, 0.2, 0.86), (0.72, 0.36, 1.04)]
    for at, wide, tall in legs:
        x, wobble = middle + at * unit, rng.uniform(-0.04, 0.04, (8, 2)) * unit
        outline = np.array(
            [(-0.5, 0), (-0.56, -0.4), (-0.44, -0.85), (-0.3, -1), (0.3, -1.02), (0.46, -0.8), (0.55, -0.35), (0.5, 0)]
        )
        colours = (lit, dark) if away > 0 else (dark, lit)
        fill(
            pixels,
            outline * [wide * unit, tall * unit] + [x, foot - (unit * 0.06 if wide < 0.3 else 0)] + wobble,
            *colours,
            angle=6,
            grain=grain,
        )
    top = np.array(
        [
            (-1.22, -0.02),
            (-1.3, -0.14),
            (-1.0, -0.3),
            (-0.5, -0.36),
            (0.1, -0.4),
            (0.7, -0.33),
            (1.15, -0.2),
            (1.27, -0.06),
            (1.05, 0.02),
            (0.3, 0.06),
            (-0.6, 0.05),
        ]
    )
    slab = (top + rng.uniform(-0.035, 0.035, top.shape)) * unit + [middle, foot - unit * 0.95]
    fill(pixels, slab, blend(lit, "#ffffff", 0.15), dark, angle=80, grain=grain)
    for _ in range(width // 3):
        x, y = rng.uniform(0, width), height * rng.uniform(0.82, 1.0)
        blade = height * rng.uniform(0.015, 0.05)
        fill(
            pixels,
            [(x, y), (x + height * 0.006, y), (x + rng.uniform(-0.4, 0.6) * blade, y - blade)],
            brush.jitter(rng, blend(moor[0], moor[1], rng.uniform(0.1, 0.8))),
            alpha=0.8,
        )
    return brush.image_of(pixels)


PAINTINGS = (
    standing_stones,
    dolmen,
)
