"""A generator of random numbers and a size in; dunes, fields, a valley or a shower out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pixels, Random, Size, blend, clouds, fill, jitter, pick


def desert_dunes(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, sand = pick(
        rng,
        [
            (("#3f78b8", "#a8cbe0", "#f6e8cc"), ("#f0c078", "#8a4a24")),
            (("#5a3f7c", "#d88a7c", "#ffd9a0"), ("#e89a5c", "#5c2436")),
            (("#7ca4b8", "#d6dcd0", "#fbf0d4"), ("#e6d0a0", "#8c6c48")),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    brush.glow(pixels, width * 0.12, height * 0.25, height * 0.35, "#fff4d4", 0.7)
    columns, rows = brush.grid(size)
    soft = brush.noise(rng, size, 5, 3, stretch=3)
    for layer in range(5):
        near = layer / 4
        top = height * (0.42 + 0.11 * layer) + height * (0.05 + 0.07 * near) * brush.curve(
            rng, width, 1.2 + rng.random(), 2, 0.3, smooth=True
        )
        lit, dark = blend(sand[0], sky[2], 0.5 * (1 - near)), blend(sand[1], sky[1], 0.55 * (1 - near))
        ripples = np.sin((rows - top) * (260 / height) / (0.5 + near) + soft * 30) * 0.035 * near
        brush.ground(pixels, top, blend(lit, "#ffffff", 0.2), blend(lit, dark, 0.3), (1 + ripples).astype(np.float32))
        peaks = np.flatnonzero((top[1:-1] < top[:-2]) & (top[1:-1] <= top[2:]))
        for peak in [*peaks, width * rng.uniform(0.2, 0.8)][:3]:
            crest = float(top[int(peak)])
            fall = np.clip((rows - crest) / (height * 0.3), 0, 2)
            edge = float(peak) + height * (0.5 * fall**0.8 + 0.06 * np.sin(fall * 5 + layer))
            shade = np.clip((columns - edge) / 1.5, 0, 1) * np.clip(rows - top + 0.5, 0, 1)
            reach = np.exp(-(((columns - edge) / (height * (0.25 + 0.3 * near))) ** 2)) * np.clip(1.25 - fall, 0, 1)
            brush.cover(pixels, (shade * reach * 0.85).astype(np.float32), dark)
    return brush.image_of(pixels)


def _tree(rng: Random, pixels: Pixels, x: float, foot: float, tall: float, leaf: Colour) -> None:
    fill(pixels, brush.ring(x + tall * 0.3, foot + tall * 0.02, tall * 0.55, tall * 0.07), "#101a08", alpha=0.3)
    fill(
        pixels,
        [
            (x - tall * 0.05, foot),
            (x + tall * 0.05, foot),
            (x + tall * 0.03, foot - tall * 0.5),
            (x - tall * 0.03, foot - tall * 0.5),
        ],
        "#4a3624",
    )
    for _ in range(22):
        angle, reach = rng.uniform(0, 2 * math.pi), rng.random() ** 0.5 * tall * 0.3
        dx, dy = math.cos(angle) * reach * 1.1, math.sin(angle) * reach
        light = 0.5 - 0.5 * (dx + dy) / (tall * 0.45)
        brush.disc(
            pixels,
            x + dx,
            foot - tall * 0.68 + dy,
            tall * rng.uniform(0.08, 0.15),
            blend(blend(leaf, "#08160c", 0.6), blend(leaf, "#f4f0a0", 0.25), min(1, max(0, light))),
        )


def _house(pixels: Pixels, x: float, foot: float, unit: float, roof: Colour) -> None:
    fill(
        pixels,
        [(x, foot), (x + unit * 1.6, foot), (x + unit * 1.6, foot - unit * 0.62), (x, foot - unit * 0.62)],
        "#f3e8d2",
        "#c9b898",
        angle=0,
    )
    fill(
        pixels,
        [
            (x - unit * 0.12, foot - unit * 0.58),
            (x + unit * 1.72, foot - unit * 0.58),
            (x + unit * 1.4, foot - unit * 1.12),
            (x + unit * 0.2, foot - unit * 1.12),
        ],
        roof,
        blend(roof, "#000000", 0.3),
    )
    for place in (0.25, 0.75, 1.2):
        fill(pixels, brush.ring(x + unit * place, foot - unit * 0.3, unit * 0.12, unit * 0.16, 45, 405, 5), "#3a3430")
    fill(
        pixels,
        [
            (x + unit * 0.4, foot - unit),
            (x + unit * 0.58, foot - unit),
            (x + unit * 0.58, foot - unit * 1.4),
            (x + unit * 0.4, foot - unit * 1.4),
        ],
        "#8a5a48",
    )


def fields(
    rng: Random, pixels: Pixels, start: float, count: int, crops: list[Colour], haze: Colour
) -> list[tuple[float, float]]:
    """Hills with furrows from the row `start` (0..1) down; returns places on their tops, far ones first."""
    height, width = pixels.shape[:2]
    columns, rows = brush.grid((width, height))
    places = []
    for layer in range(count):
        near = layer / max(1, count - 1)
        top = height * (start + (0.86 - start) * near**1.3) + height * 0.045 * brush.curve(
            rng, width, 1.5, 2, 0.4, smooth=True
        )
        eye, lines = width * rng.uniform(0.1, 0.9), rng.uniform(30, 60)
        depth = np.maximum(rows - top, 0) + height * 0.06
        across = (columns - eye) / depth
        furrows = 1 + 0.1 * np.sin(across * lines) * np.clip(depth / height * 6 - 0.3, 0, 1)
        patch = np.floor(across * rng.uniform(0.6, 1.2) + 100).astype(int) % len(crops)
        table = np.stack([blend(jitter(rng, crop, 0.03), haze, 0.55 * (1 - near)) for crop in crops])
        shade = (1.08 - 0.35 * np.clip((rows - top) / (height * 0.35), 0, 1)) * furrows
        brush.cover(pixels, np.clip(rows - top + 0.5, 0, 1), table[patch] * shade[..., None].astype(np.float32))
        for _ in range(4):
            x = rng.uniform(0.03, 0.97) * width
            places.append((x, float(top[int(x)]) + height * 0.012))
    return places


def rolling_fields(rng: Random, size: Size) -> Image.Image:
    _width, height = size
    sky, crops = pick(
        rng,
        [
            (("#4a90d0", "#b4d8ee", "#eef4ee"), ["#7fb04a", "#d8b84c", "#5a9440", "#a8c05c", "#c89a44"]),
            (("#6a7cb0", "#e8b8a0", "#ffe6c0"), ["#b8963c", "#8a7a34", "#d0a850", "#6c7a38", "#a4682c"]),
            (("#5aa0c8", "#c8e4e8", "#f8f6e4"), ["#8c6cb8", "#9a7cc4", "#7fa85c", "#7458a4", "#b4b860"]),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    clouds(rng, pixels, "#ffffff", blend(sky[0], "#ffffff", 0.5), 0.5)
    places = fields(rng, pixels, 0.42, 5, list(crops), sky[1])
    for index, (x, foot) in enumerate(places):
        unit = height * (0.035 + 0.007 * index)
        if index in (6, 9):
            _house(pixels, x, foot, unit * 0.7, pick(rng, ["#b4442c", "#7a4a3a", "#565c68"]))
        elif index < 18:
            _tree(rng, pixels, x, foot, unit * rng.uniform(0.9, 1.3), jitter(rng, "#4f8238"))
    return brush.image_of(pixels)


def river_valley(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, green = pick(
        rng,
        [
            (("#4f94d4", "#bcdcee", "#f4f2e0"), ("#7fae50", "#28502c")),
            (("#7a5c98", "#f0a890", "#ffe2b0"), ("#8c8448", "#33301f")),
            (("#6f8ca4", "#c4d0d4", "#eef0ea"), ("#6f9a70", "#1f4038")),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    clouds(rng, pixels, "#ffffff", sky[1], 0.45)
    for layer in range(3):
        top = height * (0.34 + 0.06 * layer) + height * 0.08 * brush.curve(rng, width, 3, 5, 0.45)
        tone = blend(sky[1], green[1], 0.3 + 0.2 * layer)
        brush.ground(pixels, top, tone, blend(tone, sky[2], 0.6))
    horizon = height * 0.52
    columns, rows = brush.grid(size)
    grain = 0.82 + 0.36 * brush.noise(rng, size, 14, 4, 0.7, stretch=2.5)
    brush.ground(
        pixels,
        horizon + height * 0.012 * brush.curve(rng, width, 3, smooth=True),
        blend(green[0], sky[1], 0.35),
        green[1],
        grain,
    )
    near = np.clip((rows - horizon) / (height - horizon), 1e-3, 1)
    phase, swing = rng.uniform(0, 2 * math.pi), pick(rng, [-1, 1]) * rng.uniform(0.2, 0.28)
    middle = width * (0.5 + swing * np.sin(phase + 5.2 * near**0.45) * (0.25 + near**0.6))
    half = height * (0.004 + 0.2 * near**1.5)
    edge = np.clip(half - np.abs(columns - middle) + 0.5, 0, 1) * (rows > horizon)
    bank = np.clip(half * 1.12 + 1 - np.abs(columns - middle) + 0.5, 0, 1) * (rows > horizon)
    brush.cover(pixels, bank.astype(np.float32), blend(green[1], "#c8b088", 0.55))
    water = brush.gradient(size, sky[2], sky[2], sky[2], blend(sky[1], sky[0], 0.3), blend(sky[0], "#0c2030", 0.35))
    water *= (0.92 + 0.16 * brush.noise(rng, size, 40, 2, stretch=6))[..., None]
    brush.cover(pixels, edge.astype(np.float32), water)
    for place in np.sort(rng.uniform(0.02, 0.9, 34)):
        row = min(height - 1, int(horizon + place * (height - horizon)))
        x = float(
            middle[row, 0]
            + pick(rng, [-1, 1]) * (half[row, 0] * 1.15 + height * rng.uniform(0.03, 0.5) * (0.3 + place))
        )
        _tree(rng, pixels, x, row, height * (0.03 + 0.2 * place), jitter(rng, blend(green[0], green[1], 0.3)))
    return brush.image_of(pixels)


def rain_shower(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, land = pick(
        rng,
        [
            (("#4a5668", "#8c9aa8", "#e4dcc4"), ["#7f9a4c", "#a8a04c", "#5f8444"]),
            (("#3c4460", "#8c88a4", "#f0cfae"), ["#8c8c44", "#6c7840", "#b09048"]),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    columns, rows = brush.grid(size)
    x, spread = width * rng.uniform(0.28, 0.72), height * rng.uniform(0.28, 0.38)
    bow, centre = height * 0.62, (x + math.copysign(height * 0.75, width / 2 - x), height * 0.95)
    away = (np.hypot(columns - centre[0], rows - centre[1]) - bow) / (height * 0.085)
    colours = brush.ramp(np.clip(1 - away, 0, 1), "#e04040", "#f0a040", "#f4ec60", "#58c060", "#4080e0", "#7040b0")
    brush.cover(
        pixels,
        (
            np.clip(away * 4, 0, 1) * np.clip((1 - away) * 4, 0, 1) * 0.5 * np.clip(rows / height * 1.6 - 0.1, 0, 1)
        ).astype(np.float32),
        colours,
    )
    bumps = brush.noise(rng, size, 4, 5, 0.55, stretch=2)
    lower = height * 0.38 + height * 0.16 * (bumps - 0.5) + np.clip(np.abs(columns - x) - spread, 0, None) * -0.35
    cloud = np.clip((lower - rows) / (height * 0.03), 0, 1)
    shade = np.clip(bumps * 1.3 - 0.15 + (0.1 - rows / height) * 1.1, 0, 1)
    brush.cover(
        pixels, cloud.astype(np.float32) * 0.95, brush.ramp(shade.astype(np.float32), "#242a38", "#626c7c", "#c8ccd0")
    )
    slant = columns - x + (rows - height * 0.4) * 0.25
    fine = np.interp(slant, np.arange(-2 * width, 2 * width, 2), rng.random(2 * width) ** 1.5)
    rain = (
        np.exp(-((slant / spread) ** 4))
        * np.clip((rows - height * 0.3) / (height * 0.1), 0, 1)
        * np.clip(1.4 - rows / height, 0, 1)
    )
    fields(rng, pixels, 0.66, 4, list(land), sky[1])
    brush.cover(pixels, (rain * (0.15 + 0.6 * fine)).astype(np.float32), blend(sky[0], "#d8dce4", 0.45))
    return brush.image_of(pixels)


PAINTINGS = (
    desert_dunes,
    rolling_fields,
    river_valley,
    rain_shower,
)
