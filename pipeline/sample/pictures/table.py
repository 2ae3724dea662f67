"""A generator of random numbers and a size in; fruit, bread or a teapot on a table out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pixels, Random, Size, ball, blend, fill, jitter, pick
from pipeline.sample.pictures.pen import Pen


def _room(rng: Random, size: Size, edge: float) -> Pixels:
    """A wall with soft light and a wooden table whose far edge is at `edge` (0 to 1 from the top)."""
    width, height = size
    wall, wood = pick(
        rng,
        [
            (("#3c4c5c", "#8c9cac"), ("#a8703c", "#5c3418")),
            (("#c8b490", "#ecdfc4"), ("#8c5a34", "#4c2c18")),
            (("#3f3430", "#7c6454"), ("#b07c4c", "#6c4424")),
            (("#6c8478", "#b8c8b4"), ("#c0905c", "#7c5430")),
        ],
    )
    pixels = brush.gradient(size, *wall)
    brush.glow(pixels, width * 0.2, height * 0.1, height * 0.7, "#fff4dc", 0.4)
    top = np.full(width, height * edge, np.float32)
    grain = brush.noise(rng, size, 34, 3, 0.6, stretch=14)
    brush.ground(pixels, top, blend(wood[0], "#ffffff", 0.12), wood[1], 0.82 + 0.34 * grain)
    return pixels


def _shadow(pixels: Pixels, x: float, y: float, wide: float, flat: float = 0.22) -> None:
    for grow, alpha in ((1.12, 0.12), (1.0, 0.16), (0.85, 0.2)):
        fill(pixels, brush.ring(x, y, wide * grow, wide * flat * grow), "#0c0604", alpha=alpha)


def _bowed(u: brush.Field, v: brush.Field) -> brush.Field:
    return np.asarray(1 + 0.06 * np.sin(u * 21 + np.sin(v * 13) * 2) * np.cos(v * 17), np.float32)


def fruit_bowl(rng: Random, size: Size) -> Image.Image:
    width, height = size
    pixels = _room(rng, size, 0.56)
    unit, x, rim = min(height, width * 0.75), width / 2, height * 0.58
    _shadow(pixels, x + unit * 0.06, height * 0.86, unit * 0.36)
    bowl = pick(rng, ["#e8e4dc", "#3f6c9c", "#b85c3c", "#5c7c64"])
    fill(pixels, brush.ring(x, rim, unit * 0.42, unit * 0.09), blend(bowl, "#000000", 0.55))
    kinds = [
        ("#c8282c", 0.115),
        ("#f0902c", 0.11),
        ("#8cb43c", 0.11),
        ("#f4d03c", 0.1),
        ("#a83c4c", 0.105),
        ("#e8b43c", 0.105),
    ]
    spots = [
        (-0.2, -0.04),
        (0.02, -0.06),
        (0.22, -0.04),
        (-0.1, -0.2),
        (0.12, -0.21),
        (-0.3, 0.0),
        (0.31, 0.0),
        (0.0, -0.34),
    ]
    order = sorted(range(len(spots)), key=lambda i: spots[i][1])
    for i in order:
        dx, dy = spots[i]
        hue, radius = kinds[int(rng.integers(len(kinds)))]
        radius *= unit * rng.uniform(0.95, 1.12)
        px, py = x + dx * unit, rim + dy * unit
        _shadow(pixels, px + radius * 0.15, py + radius * 0.55, radius, 0.6)
        if hue in ("#f4d03c", "#8cb43c") and rng.random() < 0.75:
            ball(pixels, px + radius * 0.08, py - radius * 0.75, radius * 0.56, jitter(rng, hue, 0.03), shine=0.25)
        ball(
            pixels,
            px,
            py,
            radius,
            jitter(rng, hue, 0.03),
            shine=0.5 if hue[1] != "f" else 0.35,
            bump=_bowed if hue == "#f0902c" else None,
        )
        stalk = py - radius * (1.28 if hue in ("#f4d03c", "#8cb43c") else 0.86)
        fill(
            pixels,
            [
                (px - 1, stalk + radius * 0.12),
                (px + radius * 0.1, stalk - radius * 0.26),
                (px + radius * 0.17, stalk - radius * 0.24),
                (px + radius * 0.07, stalk + radius * 0.12),
            ],
            "#4c3018",
        )
        if rng.random() < 0.4:
            leaf = np.asarray(brush.ring(0, 0, radius * 0.4, radius * 0.15))
            fill(
                pixels,
                leaf @ np.array([[0.85, -0.5], [0.5, 0.85]]) + [px + radius * 0.42, stalk - radius * 0.2],
                "#6ca044",
                "#2c5c24",
                angle=60,
            )
    front = np.concatenate(
        [
            brush.ring(x, rim, unit * 0.42, unit * 0.09, 180, 0),
            np.asarray(brush.ring(x, rim, unit * 0.42, unit * 0.285, 0, 180)),
        ]
    )
    fill(
        pixels,
        [
            (x - unit * 0.15, height * 0.83),
            (x + unit * 0.15, height * 0.83),
            (x + unit * 0.17, height * 0.87),
            (x - unit * 0.17, height * 0.87),
        ],
        blend(bowl, "#ffffff", 0.1),
        blend(bowl, "#000000", 0.6),
        angle=0,
    )
    fill(pixels, front, blend(bowl, "#ffffff", 0.35), blend(bowl, "#100808", 0.6), angle=25)
    for band in (0.36, 0.5):
        low, high = (
            brush.ring(x, rim + unit * 0.01, unit * 0.42 * (1.02 - band * 0.3), unit * (0.09 + 0.2 * band), 12, 168),
            brush.ring(x, rim + unit * 0.01, unit * 0.42 * (1.0 - band * 0.3), unit * (0.105 + 0.2 * band), 168, 12),
        )
        fill(
            pixels,
            np.concatenate([low, high]),
            blend(bowl, "#ffffff" if sum(brush.rgb(bowl)) < 2 else "#2c4c8c", 0.6),
            alpha=0.75,
        )
    return brush.image_of(pixels)


def _turned(pixels: Pixels, x: float, profile: list[tuple[float, float]], colour: Colour) -> None:
    """A body of rotation around the column `x`, from its outline (row, half width), lit from the left."""
    places = np.array(profile)
    rows = np.linspace(places[0, 0], places[-1, 0], 60)
    half = np.interp(rows, places[:, 0], places[:, 1])
    kernel = np.ones(5) / 5
    half = np.convolve(np.pad(half, 2, mode="edge"), kernel, "valid")
    for left, right, tone in (
        (-1.0, 1.0, blend(colour, "#000000", 0.45)),
        (-1.0, 0.82, blend(colour, "#000000", 0.25)),
        (-0.98, 0.55, blend(colour, "#000000", 0.08)),
        (-0.9, 0.25, colour),
        (-0.75, -0.1, blend(colour, "#ffffff", 0.2)),
        (-0.58, -0.34, blend(colour, "#ffffff", 0.5)),
    ):
        edge = np.concatenate([np.stack([x + half * left, rows], -1), np.stack([x + half * right, rows], -1)[::-1]])
        fill(
            pixels,
            edge,
            blend(tone, colour, 0.25),
            tone,
            angle=0 if left == -1.0 else 90,
            alpha=0.75 if left > -1.0 else 1,
        )


def teapot(rng: Random, size: Size) -> Image.Image:
    width, height = size
    pixels = _room(rng, size, 0.5)
    unit, foot = min(height, width * 0.75), height * 0.82
    hue, cloth = pick(
        rng, [("#3c6ca8", "#c8403c"), ("#c86c44", "#3c6c5c"), ("#6c8c5c", "#d8a03c"), ("#8c4c6c", "#4c6c9c")]
    )
    columns, rows = brush.grid(size)
    near = np.clip((rows - height * 0.6) / (height * 0.4), 0, 1)
    mask = np.clip((rows - height * 0.6) / 1.5, 0, 1)
    across = (columns - width / 2) / (height * (0.06 + 0.05 * near))
    stripes = np.clip(np.abs((across % 2) - 1) * 8 - 2.5, 0, 1)
    weave = 0.86 + 0.2 * brush.noise(rng, size, 60, 2)
    brush.cover(
        pixels,
        mask + 0 * columns,
        brush.ramp((stripes + 0 * rows).astype(np.float32), "#f4ecdc", cloth) * weave[..., None],
    )
    flip = rng.random() < 0.5
    x = width / 2 - unit * 0.16
    _shadow(pixels, x + unit * 0.08, foot, unit * 0.33, 0.16)
    pen = Pen(pixels, size)
    spout = [
        (x + unit * 0.2, foot - unit * 0.17),
        (x + unit * 0.34, foot - unit * 0.22),
        (x + unit * 0.39, foot - unit * 0.36),
        (x + unit * 0.47, foot - unit * 0.42),
    ]
    for wide, tone in ((0.085, blend(hue, "#000000", 0.4)), (0.06, hue), (0.02, blend(hue, "#ffffff", 0.4))):
        pen.line(spout, tone, unit * wide)
    for wide, tone in ((0.055, blend(hue, "#000000", 0.4)), (0.034, hue), (0.01, blend(hue, "#ffffff", 0.4))):
        pen.line(
            brush.ring(x - unit * 0.27, foot - unit * 0.23, unit * 0.12, unit * 0.13, 80, 285, 30), tone, unit * wide
        )
    pixels = np.asarray(pen.done(), np.float32) / 255
    _turned(
        pixels,
        x,
        [
            (foot - unit * 0.41, unit * 0.1),
            (foot - unit * 0.37, unit * 0.15),
            (foot - unit * 0.28, unit * 0.255),
            (foot - unit * 0.19, unit * 0.28),
            (foot - unit * 0.09, unit * 0.24),
            (foot - unit * 0.02, unit * 0.15),
            (foot, unit * 0.16),
        ],
        hue,
    )
    _turned(
        pixels,
        x,
        [
            (foot - unit * 0.48, unit * 0.01),
            (foot - unit * 0.46, unit * 0.06),
            (foot - unit * 0.42, unit * 0.115),
            (foot - unit * 0.4, unit * 0.12),
        ],
        blend(hue, "#ffffff", 0.1),
    )
    ball(pixels, x, foot - unit * 0.5, unit * 0.03, blend(hue, "#ffffff", 0.2))
    for dot in range(9):
        u = -0.8 + dot * 0.2
        ball(pixels, x + u * unit * 0.27, foot - unit * (0.2 - 0.03 * (1 - u * u)), unit * 0.015, "#f4ecd8", shine=0)
    cup = x + unit * 0.52
    _shadow(pixels, cup + unit * 0.03, foot + unit * 0.045, unit * 0.2, 0.2)
    for wide, tone in ((0.19, "#e8e2d6"), (0.15, "#d4ccbc")):
        fill(pixels, brush.ring(cup, foot + unit * 0.03, unit * wide, unit * wide * 0.24), "#fbf8f0", tone, angle=30)
    _turned(
        pixels,
        cup,
        [
            (foot - unit * 0.12, unit * 0.125),
            (foot - unit * 0.08, unit * 0.12),
            (foot - unit * 0.02, unit * 0.09),
            (foot + unit * 0.025, unit * 0.05),
        ],
        "#f4efe4",
    )
    fill(pixels, brush.ring(cup, foot - unit * 0.12, unit * 0.127, unit * 0.032), "#fffdf6", "#d8d0c0", angle=0)
    fill(pixels, brush.ring(cup, foot - unit * 0.117, unit * 0.112, unit * 0.025), "#a8602c", "#6c3414", angle=0)
    steam = brush.noise(rng, size, 9, 3, stretch=0.6)
    away = (
        np.exp(-(((columns - cup - unit * 0.03 * np.sin(rows / unit * 14)) / (unit * 0.06)) ** 2))
        * np.clip((foot - unit * 0.14 - rows) / (unit * 0.1), 0, 1)
        * np.clip((rows - foot + unit * 0.52) / (unit * 0.35), 0, 1)
    )
    brush.cover(pixels, (away * np.clip(steam * 1.6 - 0.5, 0, 1) * 0.6).astype(np.float32), "#ffffff")
    return brush.image_of(np.ascontiguousarray(pixels[:, ::-1]) if flip else pixels)


def bread_loaf(rng: Random, size: Size) -> Image.Image:
    width, height = size
    pixels = _room(rng, size, 0.42)
    unit, x, y = min(height, width * 0.75), width / 2, height * 0.58
    board = pick(rng, ["#c8a068", "#8c6440", "#d8bc8c"])
    grain = 0.82 + 0.34 * brush.noise(rng, size, 24, 4, 0.7, stretch=10)
    fill(pixels, brush.ring(x + unit * 0.02, y + unit * 0.24, unit * 0.56, unit * 0.17), "#0c0604", alpha=0.4)
    fill(pixels, brush.ring(x, y + unit * 0.21, unit * 0.56, unit * 0.17), blend(board, "#000000", 0.4))
    fill(
        pixels,
        brush.ring(x, y + unit * 0.185, unit * 0.56, unit * 0.17),
        blend(board, "#ffffff", 0.15),
        board,
        angle=20,
        grain=grain,
    )
    _shadow(pixels, x + unit * 0.04, y + unit * 0.2, unit * 0.43, 0.27)
    columns, rows = brush.grid(size)
    u, v = (columns - np.float32(x)) / np.float32(unit * 0.42), (rows - np.float32(y)) / np.float32(unit * 0.29)
    reach = u * u + np.where(v > 0, v * 1.22, v) ** 2
    z = np.sqrt(np.clip(1 - reach, 0, 1))
    crust = brush.noise(rng, size, 9, 5, 0.65)
    bake = np.clip(0.25 + 0.5 * z - 0.25 * v - 0.2 * u + 0.3 * (crust - 0.5), 0, 1)
    hues = pick(
        rng,
        [
            ("#3c1c0c", "#8c4c1c", "#c8843c", "#ecc078"),
            ("#2c180c", "#6c3c1c", "#a8682c", "#d8a060"),
            ("#4c240c", "#a8601c", "#e09c44", "#f8d490"),
        ],
    )
    paint = brush.ramp(bake.astype(np.float32), *hues)
    turn, kind = rng.uniform(-0.35, 0.35), int(rng.integers(3))
    a, b = u * math.cos(turn) + v * math.sin(turn), -u * math.sin(turn) + v * math.cos(turn) + 0.12
    if kind == 0:
        cut = np.minimum(np.abs(np.abs(a) - 0.3), np.abs(np.abs(b) - 0.3)) - 0.045 * np.clip(
            1.1 - np.maximum(np.abs(a), np.abs(b)) * 1.3, 0, 1
        )
    elif kind == 1:
        cut = np.abs(((a + 0.25 * b + 1) % 0.36) - 0.18) - 0.05 * np.clip(0.9 - np.abs(b) * 1.25, 0, 1)
    else:
        cut = np.minimum(
            np.abs(b + 0.25 * a * a),
            np.abs(np.abs(np.abs(a) - 0.22 - np.abs(b) * 0.5) + 0 * b) + 0.6 * (np.abs(b) > 0.4),
        ) - 0.05 * np.clip(1 - np.hypot(a, b) * 1.1, 0, 1)
    open_ = np.clip(-cut * 42 + 0.3, 0, 1) * (reach < 0.8)
    rough = 0.86 + 0.28 * crust
    crumb = brush.rgb(blend(hues[3], "#fff4dc", 0.45)) * (rough * (0.62 + 0.45 * z))[..., None]
    brush.cover(paint, open_.astype(np.float32), crumb.astype(np.float32))
    brush.cover(paint, (np.clip(1 - np.abs(cut) * 55, 0, 1) * (reach < 0.8) * 0.5).astype(np.float32), hues[0])
    flour = (
        np.clip((brush.noise(rng, size, 22, 4, 0.8) - 0.5) * 4, 0, 1) * np.clip(0.7 - reach, 0, 1) * (1 - open_) * 0.8
    )
    brush.cover(paint, flour.astype(np.float32), "#fbf4e4")
    brush.cover(pixels, np.clip((1 - np.sqrt(reach)) * unit * 0.33 + 0.5, 0, 1).astype(np.float32), paint)
    for side in range(40):
        px, py = x + rng.uniform(-0.62, 0.62) * unit, y + rng.uniform(0.2, 0.36) * unit
        ball(pixels, px, py, unit * rng.uniform(0.003, 0.009), hues[1 + side % 3], shine=0)
    return brush.image_of(pixels)


PAINTINGS = (
    fruit_bowl,
    teapot,
    bread_loaf,
)
