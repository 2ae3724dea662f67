"""A generator of random numbers and a size in; a quilt, a tartan or knitting out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Random, Size, blend, jitter, pick
from pipeline.sample.pictures.patterns import PALETTES
from pipeline.sample.pictures.pen import Pen


def _weave(pen: Pen, size: Size, strength: float = 0.1) -> Image.Image:
    """The picture with the threads of a cloth and a soft light across it."""
    pixels = np.asarray(pen.done(), np.float32) / 255
    columns, rows = brush.grid(size)
    threads = 1 - np.float32(strength) * (((columns + rows) % 3 < 1) ^ ((columns - rows) % 4 < 2))
    light = 1.06 - 0.16 * (columns / size[0] * 0.5 + rows / size[1] * 0.5)
    return brush.image_of(pixels * (threads * light)[..., None])


def quilt(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, PALETTES)
    pen, block = Pen(hues[0], size), height / pick(rng, [3, 4])
    for row in range(math.ceil(height / block)):
        for column in range(math.ceil(width / block)):
            x, y, kind = column * block, row * block, (row + column) % 2
            dark, light = jitter(rng, hues[1 + int(rng.integers(4))]), jitter(rng, hues[0], 0.03)
            pen.box(x, y, block, block, light)
            half, third = block / 2, block / 3
            second = jitter(rng, hues[1 + int(rng.integers(4))])
            for turn in range(4):
                a, b = math.cos(turn * math.pi / 2), math.sin(turn * math.pi / 2)
                vane = jitter(rng, hues[1 + (turn + column) % 4], 0.04) if turn % 2 else light
                pieces: list[tuple[list[tuple[float, float]], Colour]] = [
                    ([(0, 0), (half, 0), (half, half)], dark),
                    ([(0, 0), (half, half), (0, half)], vane),
                ]
                if not kind:
                    pieces = [
                        ([(-third / 2, -third / 2), (third / 2, -third / 2), (0, 0)], second),
                        ([(-third / 2, -half), (third / 2, -half), (0, -third)], second),
                        ([(-third / 2, -half), (0, -third), (-third / 2, -third / 2)], dark),
                        ([(third / 2, -half), (0, -third), (third / 2, -third / 2)], dark),
                    ]
                for points, colour in pieces:
                    pen.polygon([(x + half + px * a - py * b, y + half + px * b + py * a) for px, py in points], colour)
            pen.line([(x, y), (x + block, y), (x + block, y + block)], blend(hues[1], hues[0], 0.3), height / 120)
            for inset in (0.04, 0.3):
                edge = [
                    (x + block * inset, y + block * inset),
                    (x + block * (1 - inset), y + block * inset),
                    (x + block * (1 - inset), y + block * (1 - inset)),
                    (x + block * inset, y + block * (1 - inset)),
                    (x + block * inset, y + block * inset),
                ]
                pen.dashes(edge, "#fffdf4", height / 260, height / 70)
    return _weave(pen, size, 0.05)


def tartan(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(
        rng,
        [
            ("#16324f", "#1f5c3a", "#0c1418", "#c8322c", "#f0d060"),
            ("#a01c24", "#14385c", "#0f4030", "#f4f0e4", "#e0b83c"),
            ("#e8dcc0", "#5c4030", "#20242c", "#b03030", "#88744c"),
            ("#3c5c8c", "#7c9cc0", "#182840", "#f0f0f0", "#c08c3c"),
            ("#5c2c5c", "#2c4c3c", "#1c1c2c", "#d8b0c8", "#e0a040"),
        ],
    )
    count = int(rng.integers(6, 9))
    order = [int(i) for i in rng.integers(0, 3, count)]
    widths = [int(w) for w in rng.integers(6, 22, count)]
    for i in range(1, count, 2):
        order[i], widths[i] = int(rng.integers(2, 5)), int(rng.integers(1, 5))
    sett = np.repeat(order, widths)
    sett = np.concatenate([sett, sett[::-1]])
    thread = max(1.0, height / 230)
    across = sett[(np.arange(width) / thread).astype(int) % len(sett)]
    down = sett[(np.arange(height) / thread).astype(int) % len(sett)]
    table = np.stack([brush.rgb(hue) for hue in hues])
    columns, rows = (
        (np.arange(width) / thread * 2).astype(int)[None, :],
        (np.arange(height) / thread * 2).astype(int)[:, None],
    )
    over = ((columns + rows) % 4 < 2)[..., None]
    pixels = np.where(over, table[across][None], table[down][:, None]).astype(np.float32)
    shade = 0.9 + 0.2 * brush.noise(rng, size, 2, 3) + 0.06 * ((columns - rows) % 2)
    return brush.image_of(pixels * shade[..., None].astype(np.float32))


def knitting(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, PALETTES)
    across = height / pick(rng, [22, 26, 30])
    tall = across * 0.8
    pen = Pen(blend(hues[1], "#000000", 0.5), size)
    period = int(pick(rng, [8, 10, 12, 16]))
    half = period // 2
    bands = [rng.random((int(rng.integers(3, 9)), half + 1)) < 0.48 for _ in range(5)]
    lines: list[tuple[np.ndarray, Colour, Colour]] = []
    for index, band in enumerate(bands):
        ground, figure = (hues[0], hues[1 + index % 4]) if index % 2 else (hues[1 + (index + 1) % 4], hues[0])
        whole = np.concatenate([band, band[::-1]])
        lines += [(np.concatenate([row[:half], row[half:0:-1]]), ground, figure) for row in whole]
        lines += [(np.zeros(period, bool), hues[1 + (index + 2) % 4], hues[0])] * 2
    for row in range(math.ceil(height / tall) + 2):
        pattern, ground, figure = lines[row % len(lines)]
        for column in range(math.ceil(width / across) + 1):
            colour = jitter(rng, figure if pattern[column % period] else ground, 0.025)
            x, y = (column + 0.5) * across, row * tall
            for side in (-1, 1):
                leg = [
                    (x, y + tall * 0.62),
                    (x + side * across * 0.16, y + tall * 0.12),
                    (x + side * across * 0.42, y - tall * 0.42),
                    (x + side * across * 0.5, y - tall * 0.3),
                    (x + side * across * 0.46, y + tall * 0.1),
                    (x + side * across * 0.2, y + tall * 0.55),
                ]
                pen.polygon(leg, colour if side < 0 else blend(colour, "#000000", 0.13))
    return pen.done()


PAINTINGS = (
    quilt,
    tartan,
    knitting,
)
