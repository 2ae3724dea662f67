"""A generator of random numbers and a size in; cloth, tiles or an ornament that fill the picture out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pen, Random, Size, blend, jitter, pick

PALETTES: tuple[tuple[Colour, ...], ...] = (
    ("#f4e8d0", "#1f4e79", "#c8553d", "#e9b44c", "#588157"),
    ("#f8f1e5", "#7a1f3d", "#d98324", "#2f6690", "#3a7d44"),
    ("#eef3f0", "#12355b", "#42a5b3", "#f2c14e", "#d1495b"),
    ("#fbf3f0", "#5b2a6f", "#e07a9b", "#f0b67f", "#3d8361"),
    ("#f0ede4", "#2d3a3a", "#a44a3f", "#d4a24c", "#6b8f9c"),
    ("#fff8e7", "#0b3c49", "#e05a33", "#8fb339", "#f2a541"),
)


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
            if kind:
                for turn in range(4):
                    a, b = math.cos(turn * math.pi / 2), math.sin(turn * math.pi / 2)
                    for points, colour in ((((0, 0), (half, 0), (half, half)), dark), (((0, 0), (half, half), (0, half)), jitter(rng, hues[1 + (turn + column) % 4], 0.04) if turn % 2 else light)):
                        pen.polygon([(x + half + px * a - py * b, y + half + px * b + py * a) for px, py in points], colour)
            else:
                second = jitter(rng, hues[1 + int(rng.integers(4))])
                pen.box(x + third, y + third, third, third, second)
                for turn in range(4):
                    a, b = round(math.cos(turn * math.pi / 2)), round(math.sin(turn * math.pi / 2))
                    for points, colour in ((((-third / 2, -half), (third / 2, -half), (0, -third)), second), (((-third / 2, -half), (0, -third), (-third / 2, -third / 2)), dark), (((third / 2, -half), (0, -third), (third / 2, -third / 2)), dark)):
                        pen.polygon([(x + half + px * a - py * b, y + half + px * b + py * a) for px, py in points], colour)
            pen.line([(x, y), (x + block, y), (x + block, y + block)], blend(hues[1], hues[0], 0.3), height / 120)
            for inset in (0.04, 0.3):
                edge = [(x + block * inset, y + block * inset), (x + block * (1 - inset), y + block * inset), (x + block * (1 - inset), y + block * (1 - inset)), (x + block * inset, y + block * (1 - inset)), (x + block * inset, y + block * inset)]
                pen.dashes(edge, "#fffdf4", height / 260, height / 70)
    return _weave(pen, size, 0.05)


def tartan(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, [("#16324f", "#1f5c3a", "#0c1418", "#c8322c", "#f0d060"), ("#a01c24", "#14385c", "#0f4030", "#f4f0e4", "#e0b83c"), ("#e8dcc0", "#5c4030", "#20242c", "#b03030", "#88744c"), ("#3c5c8c", "#7c9cc0", "#182840", "#f0f0f0", "#c08c3c"), ("#5c2c5c", "#2c4c3c", "#1c1c2c", "#d8b0c8", "#e0a040")])
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
    columns, rows = (np.arange(width) / thread * 2).astype(int)[None, :], (np.arange(height) / thread * 2).astype(int)[:, None]
    over = ((columns + rows) % 4 < 2)[..., None]
    pixels = np.where(over, table[across][None], table[down][:, None]).astype(np.float32)
    shade = 0.9 + 0.2 * brush.noise(rng, size, 2, 3) + 0.06 * ((columns - rows) % 2)
    return brush.image_of(pixels * shade[..., None].astype(np.float32))


def star_tiling(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, [("#f4ead0", "#0f5c7c", "#d8a030", "#1f8c8c", "#8c2f2f"), ("#e8f0f0", "#123c6c", "#2c9cc0", "#e0b040", "#f4f0e0"), ("#f0e4cc", "#7c2c28", "#2c6c5c", "#d89c3c", "#203858"), ("#f4efe6", "#2c4c3c", "#78a860", "#c87838", "#8c3c4c")])
    pen, step = Pen(hues[0], size), height / pick(rng, [3, 4, 5])
    reach = step * 0.5
    for row in range(-1, math.ceil(height / step) + 2):
        for column in range(-1, math.ceil(width / step) + 2):
            x, y = column * step, row * step
            cross = [(x + step / 2 + px * reach, y + step / 2 + py * reach) for px, py in ((-0.42, -0.58), (0, -1), (0.42, -0.58), (0.58, -0.42), (1, 0), (0.58, 0.42), (0.42, 0.58), (0, 1), (-0.42, 0.58), (-0.58, 0.42), (-1, 0), (-0.58, -0.42))]
            pen.polygon(cross, jitter(rng, hues[3], 0.05), edge=hues[0], width=step * 0.02)
            pen.disc(x + step / 2, y + step / 2, reach * 0.25, hues[2], edge=hues[0], width=step * 0.015)
    for row in range(-1, math.ceil(height / step) + 2):
        for column in range(-1, math.ceil(width / step) + 2):
            x, y = column * step, row * step
            for outer, inner, colour in ((1.0, 0.765, hues[1]), (0.78, 0.6, hues[0]), (0.72, 0.55, hues[4] if (row + column) % 2 else hues[2]), (0.4, 0.22, hues[0]), (0.2, 0.2, hues[1])):
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
    pixels = np.where((inside ^ (checks == 1) ^ flip)[..., None], brush.rgb(hues[0]), blend(hues[0], hues[4], 0.45)).astype(np.float32)
    warm = brush.noise(rng, size, 2, 2)
    for half, colour in ((0.2, blend(hues[1], "#000000", 0.25)), (0.165, brush.ramp(warm, hues[1], hues[2], hues[3])), (0.05, hues[0])):
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
        pattern = np.where(reach < 0.06, 0, np.floor(reach * 11 + 0.9 * np.sin(angle * petals + phase)).astype(int) % 4 + 1)
    else:
        pattern = np.floor((cy / height) * 9 + 1.2 * np.sin(cx / height * petals + phase) + 40).astype(int) % 4 + 1
    table = np.stack([brush.rgb(hue) for hue in hues])[pattern] + rng.uniform(-0.1, 0.1, (down, across, 1)) + rng.uniform(-0.03, 0.03, (down, across, 3))
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
    width, height = size
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
                bow = (np.sin(t), np.sin(t) ** 0.6, np.sin(t) * (1 + 0.4 * np.cos(t)), 1 - np.abs(1 - 2 * t / math.pi))[shape]
                out = radius - deep + deep * (1 - np.cos(t)) / 2 * grow + deep * (1 - grow) * 0.35
                both = [*zip(out, turn + wide * bow * grow, strict=True), *zip(out[::-1], turn - wide * bow[::-1] * grow, strict=True)]
                pen.polygon([(150 + r * math.cos(a), 150 + r * math.sin(a)) for r, a in both], tone, edge=edge if grow == 1 else None, width=0.8)
            if layer % 3 == 1:
                pen.disc(150 + radius * math.cos(turn), 150 + radius * math.sin(turn), 2.6, edge)
        if layer % 3 == 2 and radius > deep:
            pen.disc(150, 150, radius - deep, blend(colour, "#000000", 0.3), edge=edge, width=1.2)
    for radius, colour in ((15, hues[2]), (10, hues[0]), (6, hues[3])):
        pen.disc(150, 150, radius, colour)
    return pen.done()


def wave_pattern(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, [("#f4f8fa", "#1f4c84", "#5c9cc8"), ("#fbf4e4", "#8c2c34", "#d88c6c"), ("#f0f6ec", "#1f5c4c", "#84b48c"), ("#fff6e0", "#2c2c54", "#c89c3c"), ("#f8eef4", "#5c2c6c", "#c880b0")])
    radius = height / pick(rng, [4.5, 6, 7.5])
    pen, rings = Pen(hues[0], size), int(rng.integers(4, 7))
    tint = brush.noise(rng, (64, 64), 3, 2)
    for row in range(-1, math.ceil(height / (radius * 0.5)) + 2):
        for column in range(-1, math.ceil(width / (radius * 2)) + 2):
            x, y = column * radius * 2 + (radius if row % 2 else 0), row * radius * 0.5
            place = tint[int(np.clip(y / height, 0, 0.99) * 64), int(np.clip(x / width, 0, 0.99) * 64)]
            for ring in range(rings):
                part = 1 - ring / rings
                pen.disc(x, y + radius * 0.5, radius * part, hues[0] if ring % 2 else blend(hues[1], hues[2], float(place)), edge=hues[1], width=height / 400)
            pen.disc(x, y + radius * 0.5, radius * 0.1, hues[2])
    return pen.done()


def knitting(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues = pick(rng, PALETTES)
    across = height / pick(rng, [22, 26, 30])
    tall = across * 0.8
    pen = Pen(blend(hues[1], "#000000", 0.5), size)
    period = int(pick(rng, [8, 10, 12, 16]))
    half = period // 2
    bands = [rng.random((int(rng.integers(3, 9)), half + 1)) < 0.48 for _ in range(5)]
    lines: list[tuple[np.ndarray, Colour, Colour]] = []  # type: ignore[type-arg]
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
                leg = [(x, y + tall * 0.62), (x + side * across * 0.16, y + tall * 0.12), (x + side * across * 0.42, y - tall * 0.42), (x + side * across * 0.5, y - tall * 0.3), (x + side * across * 0.46, y + tall * 0.1), (x + side * across * 0.2, y + tall * 0.55)]
                pen.polygon(leg, colour if side < 0 else blend(colour, "#000000", 0.13))
    return pen.done()


PAINTINGS = (quilt, tartan, star_tiling, truchet_tiles, mosaic, mandala, wave_pattern, knitting)
