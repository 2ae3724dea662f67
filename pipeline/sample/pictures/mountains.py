"""A generator of random numbers and a size in; mountains, a lake or a forest in snow out."""

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pixels, Random, Size, blend, clouds, fill, pick, rgb


def _fir(
    rng: Random,
    pixels: Pixels,
    x: float,
    foot: float,
    tall: float,
    colour: Colour,
    dark: Colour,
    snow: Colour | None = None,
) -> None:
    levels = 5
    for level in range(levels):
        low, high = foot - tall * (0.08 + level * 0.165), foot - tall * (0.4 + level * 0.15)
        half = tall * 0.21 * (1 - level / (levels + 0.4)) * rng.uniform(0.9, 1.1)
        branch = [
            (x, high),
            (x + half * 0.55, low - tall * 0.06),
            (x + half, low),
            (x + half * 0.4, low - tall * 0.018),
            (x, low + tall * 0.012),
            (x - half * 0.4, low - tall * 0.018),
            (x - half, low),
            (x - half * 0.55, low - tall * 0.06),
        ]
        fill(pixels, branch, colour, dark, angle=20)
        if snow is not None:
            fill(
                pixels,
                [
                    (x, high),
                    (x + half * 0.5, low - tall * 0.07),
                    (x + half * 0.9, low - tall * 0.01),
                    (x + half * 0.2, low - tall * 0.08),
                    (x - half * 0.4, low - tall * 0.03),
                    (x - half, low),
                    (x - half * 0.55, low - tall * 0.07),
                ],
                snow,
                alpha=0.9,
            )


def misty_ridges(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, far, near = pick(
        rng,
        [
            (("#7fa8d0", "#d8e4ec", "#fbe6cc"), "#c4d2e0", "#14263c"),
            (("#6a5a9a", "#e09aa0", "#ffdca8"), "#e8b0a4", "#241436"),
            (("#5f9a9a", "#cfe6d8", "#fdf6d8"), "#bcd8cc", "#0c2e2c"),
            (("#42598c", "#9db4d6", "#f0d8d8"), "#aebfdc", "#0f1838"),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    sun, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.18, 0.32)
    brush.glow(pixels, sun, y, height * 0.3, "#fff6dc", 0.75)
    brush.disc(pixels, sun, y, height * 0.04, "#fffdf2", 0.9)
    count = int(rng.integers(6, 9))
    for layer in range(count):
        part = layer / (count - 1)
        top = height * (0.36 + 0.46 * part) + height * (0.14 - 0.05 * part) * brush.curve(
            rng, width, 2.5 + 2 * part, 6, 0.46
        )
        colour = blend(far, near, part**1.25)
        brush.ground(pixels, top, colour, blend(colour, sky[2], 0.85 * (1 - part)))
    for _ in range(30):
        x, tall = rng.uniform(0, width), height * rng.uniform(0.05, 0.13)
        _fir(rng, pixels, x, height * 1.01, tall, near, blend(near, "#000000", 0.4))
    return brush.image_of(pixels)


def mountain_lake(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, rock, wood = pick(
        rng,
        [
            (("#3f7fc0", "#a8d0ec", "#e8f2f4"), ("#8c94a4", "#3c4658"), "#1f4a34"),
            (("#4a4f94", "#e09898", "#ffe0b4"), ("#a8808c", "#40304c"), "#2a2a44"),
            (("#54749c", "#c4ccd4", "#f4ecdc"), ("#7c8688", "#343c40"), "#3c5030"),
        ],
    )
    shore = round(height * 0.56)
    half = brush.gradient((width, shore), *sky)
    clouds(rng, half, "#ffffff", sky[1], 0.42, 0.9)
    columns = np.arange(width, dtype=np.float32)
    peak = width * rng.uniform(0.35, 0.65)
    cone = np.clip(1 - np.abs(columns - peak) / (height * 0.75), 0, 1)
    rough = brush.curve(rng, width, 5, 6, 0.55)
    top = shore * (0.86 - 0.72 * cone**0.9) + shore * 0.1 * rough * (0.35 + 0.65 * cone)
    for start, lift in ((0.78, 0.16), (0.86, 0.1)):
        brush.ground(
            half,
            shore * start + shore * lift * brush.curve(rng, width, 4, 5, 0.5),
            blend(rock[0], sky[1], 0.65),
            blend(rock[1], sky[2], 0.6),
        )
    relief = brush.noise(rng, (width, shore), 5, 5, 0.6)
    lit = np.clip(0.5 + (relief - np.roll(relief, max(1, width // 90), 1)) * 5 - (columns - peak) / height * 0.5, 0, 1)
    rows = np.arange(shore, dtype=np.float32)[:, None]
    mask = np.clip(rows - top + 0.5, 0, 1)
    brush.cover(half, mask, brush.ramp(lit, rock[1], rock[0]))
    snow = mask * np.clip(
        (shore * 0.52 - rows + shore * 0.34 * (relief - 0.4) + shore * 0.05 * rough) / (shore * 0.03), 0, 1
    )
    brush.cover(half, snow, brush.ramp(lit, blend(sky[0], "#ffffff", 0.55), "#ffffff"))
    brush.ground(
        half, shore * 0.92 + shore * 0.035 * brush.curve(rng, width, 22, 4, 0.8), wood, blend(wood, "#000000", 0.4)
    )
    for _ in range(width // 14):
        _fir(
            rng,
            half,
            rng.uniform(0, width),
            shore * 1.0,
            shore * rng.uniform(0.07, 0.17),
            brush.jitter(rng, wood),
            blend(wood, "#000000", 0.5),
        )
    columns, below = brush.grid((width, height - shore))
    ripple = brush.noise(rng, (width, height - shore), 40, 2, stretch=8) - 0.5
    near = below / (height - shore)
    source = np.clip(
        shore - 1 - below * (shore / (height - shore)) + ripple * near * height * 0.05, 0, shore - 1
    ).astype(int)
    across = np.clip(columns + ripple * (1 + near * width * 0.012), 0, width - 1).astype(int)
    lake = half[source, across] * 0.78 + rgb(blend(sky[0], wood, 0.4)) * 0.16
    lake += (ripple * (0.05 + 0.1 * near))[..., None]
    lake[:2] = lake[:2] * 0.5 + 0.4
    return brush.image_of(np.concatenate([half, lake]))


def snowy_forest(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, tree = pick(
        rng,
        [
            (("#a9bccf", "#dfe7ee", "#f4f0ec"), "#20423c"),
            (("#2c3a66", "#7c8cb8", "#d8c4cc"), "#182844"),
            (("#e0b8a8", "#f4dccc", "#fdf4ea"), "#2c4440"),
        ],
    )
    pixels = brush.gradient(size, *sky)
    brush.glow(pixels, width * rng.uniform(0.2, 0.8), height * 0.3, height * 0.3, "#fffaf0", 0.5)
    for layer in range(4):
        part = layer / 3
        top = height * (0.5 + 0.12 * layer) + height * 0.03 * brush.curve(rng, width, 2, 3, smooth=True)
        tone = blend(sky[1], tree, 0.25 + 0.75 * part)
        for x in np.sort(rng.uniform(-0.02, 1.02, 22 - 4 * layer)) * width:
            foot = float(top[int(np.clip(x, 0, width - 1))]) + height * 0.03
            _fir(
                rng,
                pixels,
                x,
                foot,
                height * (0.13 + 0.1 * layer) * rng.uniform(0.75, 1.25),
                brush.jitter(rng, tone, 0.03),
                blend(tone, "#081018", 0.25 + 0.2 * part),
                blend(sky[2], "#ffffff", 0.3 + 0.6 * part) if layer else None,
            )
        brush.ground(pixels, top, blend(sky[2], "#ffffff", 0.7), blend(sky[0], "#ffffff", 0.55 - 0.1 * part))
    soft = brush.noise(rng, size, 3, 4, stretch=3)
    pixels[int(height * 0.86) :] *= (0.9 + 0.14 * soft[int(height * 0.86) :])[..., None]
    for x, y, flake in zip(rng.uniform(0, width, 170), rng.uniform(0, height, 170), rng.random(170) ** 3, strict=True):
        brush.disc(pixels, x, y, height * (0.002 + 0.006 * flake), "#ffffff", 0.85)
    return brush.image_of(pixels)


PAINTINGS = (
    misty_ridges,
    mountain_lake,
    snowy_forest,
)
