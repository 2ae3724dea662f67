"""A generator of random numbers and a size in; tiles or an ornament that fill the picture out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Random, Size, blend, jitter, pick
from pipeline.sample.pictures.pen import Pen

PALETTES: tuple[tuple[Colour, ...], ...] = (
    ("#f4e8d0", "#1f4e79", "#c8553d", "#e9b44c", "#588157"),
    ("#f8f1e5", "#7a1f3d", "#d98324", "#2f6690", "#3a7d44"),
    ("#eef3f0", "#12355b", "#42a5b3", "#f2c14e", "#d1495b"),
    ("#fbf3f0", "#5b2a6f", "#e07a9b", "#f0b67f", "#3d8361"),
    ("#f0ede4", "#2d3a3a", "#a44a3f", "#d4a24c", "#6b8f9c"),
    ("#fff8e7", "#0b3c49", "#e05a33", "#8fb339", "#f2a541"),
)


def star_tiling(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(
        rng,
        [
            ("#f4ead0", "#0f5c7c", "#d8a030", "#1f8c8c", "#8c2f2f"),
            ("#e8f0f0", "#123c6c", "#2c9cc0", "#e0b040", "#f4f0e0"),
            ("#f0e4cc", "#7c2c28", "#2c6c5c", "#d89c3c", "#203858"),
            ("#f4efe6", "#2c4c3c", "#78a860", "#c87838", "#8c3c4c"),
        ],
    )
    pen, step = Pen(hues[0], size), height / pick(rng, [3, 4, 5])
    reach = step * 0.5
    for row in range(-1, math.ceil(height / step) + 2):
        for column in range(-1, math.ceil(width / step) + 2):
            x, y = column * step, row * step
            cross = [
                (x + step / 2 + px * reach, y + step / 2 + py * reach)
                for px, py in (
                    (-0.42, -0.58),
                    (0, -1),
                    (0.42, -0.58),
                    (0.58, -0.42),
                    (1, 0),
                    (0.58, 0.42),
                    (0.42, 0.58),
                    (0, 1),
                    (-0.42, 0.58),
                    (-0.58, 0.42),
                    (-1, 0),
                    (-0.58, -0.42),
                )
            ]
            pen.polygon(cross, jitter(rng, hues[3], 0.05), edge=hues[0], width=step * 0.02)
            pen.disc(x + step / 2, y + step / 2, reach * 0.25, hues[2], edge=hues[0], width=step * 0.015)
    for row in range(-1, math.ceil(height / step) + 2):
        for column in range(-1, math.ceil(width / step) + 2):
            x, y = column * step, row * step
            for outer, inner, colour in (
                (1.0, 0.765, hues[1]),
                (0.78, 0.6, hues[0]),
                (0.72, 0.55, hues[4] if (row + column) % 2 else hues[2]),
                (0.4, 0.22, hues[0]),
                (0.2, 0.2, hues[1]),
            ):
                spikes = [((outer if i % 2 == 0 else inner) * reach, i * math.pi / 8) for i in range(16)]
                star = [(x + r * math.cos(a), y + r * math.sin(a)) for r, a in spikes]
                pen.polygon(star, jitter(rng, colour, 0.04), edge=hues[0] if outer == 1 else None, width=step * 0.025)
    pixels = np.asarray(pen.done(), np.float32) / 255
    glaze = 0.86 + 0.3 * brush.noise(rng, size, 5, 4, 0.6)
    return brush.image_of(pixels * glaze[..., None])


def truchet_tiles(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, PALETTES)
    tile = height / pick(rng, [6, 8, 10])
    columns, rows = brush.grid(size)
    u, v = (columns / tile) % 1, (rows / tile) % 1
    turned = rng.random((math.ceil(height / tile) + 1, math.ceil(width / tile) + 1)) < 0.5
    flip = turned[(rows / tile).astype(int), (columns / tile).astype(int)]
    a = np.where(flip, 1 - u, u + 0 * v)
    away = np.minimum(np.abs(np.hypot(a, v) - 0.5), np.abs(np.hypot(1 - a, 1 - v) - 0.5)).astype(np.float32)
    checks = ((columns / tile).astype(int) + (rows / tile).astype(int)) % 2
    inside = np.minimum(np.hypot(a, v), np.hypot(1 - a, 1 - v)) < 0.5
    pixels = np.where(
        (inside ^ (checks == 1) ^ flip)[..., None], brush.rgb(hues[0]), blend(hues[0], hues[4], 0.45)
    ).astype(np.float32)
    warm = brush.noise(rng, size, 2, 2)
    for half, colour in (
        (0.2, blend(hues[1], "#000000", 0.25)),
        (0.165, brush.ramp(warm, hues[1], hues[2], hues[3])),
        (0.05, hues[0]),
    ):
        brush.cover(pixels, np.clip((half - away) * tile + 0.5, 0, 1), colour)
    return brush.image_of(pixels)


def mosaic(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, PALETTES)
    cell = height / pick(rng, [20, 26, 30])
    across, down = math.ceil(width / cell) + 2, math.ceil(height / cell) + 2
    cx, cy = np.meshgrid(np.arange(across) * cell - width / 2, np.arange(down) * cell - height / 2)
    reach, angle = np.hypot(cx, cy) / height, np.arctan2(cy, cx)
    petals, phase = int(rng.integers(5, 11)), rng.uniform(0, 6)
    if rng.random() < 0.5:
        pattern = np.where(
            reach < 0.06, 0, np.floor(reach * 11 + 0.9 * np.sin(angle * petals + phase)).astype(int) % 4 + 1
        )
    else:
        pattern = np.floor((cy / height) * 9 + 1.2 * np.sin(cx / height * petals + phase) + 40).astype(int) % 4 + 1
    table = (
        np.stack([brush.rgb(hue) for hue in hues])[pattern]
        + rng.uniform(-0.1, 0.1, (down, across, 1))
        + rng.uniform(-0.03, 0.03, (down, across, 3))
    )
    pen = Pen(blend(hues[0], "#a09888", 0.45), size)
    corners = np.stack(np.meshgrid(np.arange(across + 1) - 0.5, np.arange(down + 1) - 0.5), -1) * cell
    corners += rng.uniform(-0.24, 0.24, corners.shape) * cell
    for row in range(down):
        for column in range(across):
            stone = corners[[row, row, row + 1, row + 1], [column, column + 1, column + 1, column]]
            stone = stone + (stone.mean(0) - stone) * 0.14
            colour = table[row, column].astype(np.float32)
            pen.polygon(stone, blend(colour, "#ffffff", 0.18))
            pen.polygon(stone + (stone.mean(0) - stone) * 0.16 + cell * 0.03, colour)
    return pen.done()


def mandala(rng: Random, size: Size) -> Image.Image:
    _width, _height = size
    hues = list(pick(rng, PALETTES))
    back = pick(rng, [hues[0], blend(hues[1], "#000000", 0.5)])
    pen = Pen(brush.gradient(size, back, blend(back, hues[1], 0.2)), size, (300, 300))
    fold, reach = int(rng.integers(4, 8)) * 2, 142.0
    for layer in range(9):
        radius = reach * (1 - layer / 9.5)
        count = fold * (2 if layer in (0, 3) else 1)
        wide, deep = math.pi / count * 0.98, reach * pick(rng, [0.16, 0.22, 0.28])
        colour, edge = hues[1 + (layer + fold) % 4], blend(hues[0], "#ffffff", 0.3)
        shape = int(rng.integers(4))
        for petal in range(count):
            turn = 2 * math.pi * (petal + 0.5 * (layer % 2)) / count
            for grow, tone in ((1.0, colour), (0.62, blend(colour, hues[1 + (layer + 1) % 4], 0.6)), (0.3, hues[0])):
                t = np.linspace(0, math.pi, 18)
                bow = (np.sin(t), np.sin(t) ** 0.6, np.sin(t) * (1 + 0.4 * np.cos(t)), 1 - np.abs(1 - 2 * t / math.pi))[
                    shape
                ]
                out = radius - deep + deep * (1 - np.cos(t)) / 2 * grow + deep * (1 - grow) * 0.35
                both = [
                    *zip(out, turn + wide * bow * grow, strict=True),
                    *zip(out[::-1], turn - wide * bow[::-1] * grow, strict=True),
                ]
                pen.polygon(
                    [(150 + r * math.cos(a), 150 + r * math.sin(a)) for r, a in both],
                    tone,
                    edge=edge if grow == 1 else None,
                    width=0.8,
                )
            if layer % 3 == 1:
                pen.disc(150 + radius * math.cos(turn), 150 + radius * math.sin(turn), 2.6, edge)
        if layer % 3 == 2 and radius > deep:
            pen.disc(150, 150, radius - deep, blend(colour, "#000000", 0.3), edge=edge, width=1.2)
    for radius, colour in ((15, hues[2]), (10, hues[0]), (6, hues[3])):
        pen.disc(150, 150, radius, colour)
    return pen.done()


def wave_pattern(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(
        rng,
        [
            ("#f4f8fa", "#1f4c84", "#5c9cc8"),
            ("#fbf4e4", "#8c2c34", "#d88c6c"),
            ("#f0f6ec", "#1f5c4c", "#84b48c"),
            ("#fff6e0", "#2c2c54", "#c89c3c"),
            ("#f8eef4", "#5c2c6c", "#c880b0"),
        ],
    )
    radius = height / pick(rng, [4.5, 6, 7.5])
    pen, rings = Pen(hues[0], size), int(rng.integers(4, 7))
    tint = brush.noise(rng, (64, 64), 3, 2)
    for row in range(-1, math.ceil(height / (radius * 0.5)) + 2):
        for column in range(-1, math.ceil(width / (radius * 2)) + 2):
            x, y = column * radius * 2 + (radius if row % 2 else 0), row * radius * 0.5
            place = tint[int(np.clip(y / height, 0, 0.99) * 64), int(np.clip(x / width, 0, 0.99) * 64)]
            for ring in range(rings):
                part = 1 - ring / rings
                pen.disc(
                    x,
                    y + radius * 0.5,
                    radius * part,
                    hues[0] if ring % 2 else blend(hues[1], hues[2], float(place)),
                    edge=hues[1],
                    width=height / 400,
                )
            pen.disc(x, y + radius * 0.5, radius * 0.1, hues[2])
    return pen.done()


PAINTINGS = (
    star_tiling,
    truchet_tiles,
    mosaic,
    mandala,
    wave_pattern,
)
