"""A generator of random numbers and a size in; a map of country that does not exist out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Field, Pen, Random, Size, blend, pick

HILLS = ("Grey Fell", "Raven Crag", "High Seat", "Broad Law", "Long Top", "Stone Rigg", "Wether Hill", "Black Knott")
TOWNS = ("Aldmouth", "Brae", "Corran", "Dunmere", "Elsford", "Farholm", "Gorsley", "Hexby", "Inverlea", "Kelbridge", "Lanmoor", "Merrow", "Nethby", "Orwick", "Penmor", "Quarley")


def _some(rng: Random, names: tuple[str, ...], count: int) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))[:count]]


def _slope(field: Field) -> tuple[Field, Field]:
    """Change a pixel to the right and downwards; a field one pixel wide has none."""
    down = np.gradient(field, axis=0) if field.shape[0] > 1 else np.zeros_like(field)
    across = np.gradient(field, axis=1) if field.shape[1] > 1 else np.zeros_like(field)
    return across.astype(np.float32), down.astype(np.float32)


def _level_lines(field: Field, slope: tuple[Field, Field], step: float, thick: float) -> Field:
    """A mask of the lines on which the field is a multiple of `step`, `thick` pixels wide."""
    steep = np.hypot(*slope) / np.float32(step) + 1e-5
    part = field / np.float32(step)
    away = np.abs(part - np.round(part)) / steep
    return np.clip(thick / 2 + 0.5 - away, 0, 1).astype(np.float32)


def _hill_shade(slope: tuple[Field, Field], height: int, strength: float) -> Field:
    return np.clip(1 + (slope[0] + slope[1]) * np.float32(height * strength), 0.45, 1.4).astype(np.float32)


def _compass(pen: Pen, x: float, y: float, radius: float, ink: Colour, paper: Colour) -> None:
    pen.disc(x, y, radius, None, edge=ink, width=0.8)
    pen.disc(x, y, radius * 0.8, None, edge=ink, width=0.5)
    for point in range(72):
        angle = math.radians(point * 5)
        pen.line([(x + radius * a * math.cos(angle), y + radius * a * math.sin(angle)) for a in (0.94 if point % 2 else 0.88, 1)], ink, 0.4)
    for turn, reach in ((45, 0.62), (0, 0.98)):
        for point in range(4):
            angle, wing = math.radians(turn + point * 90), radius * 0.16
            tip = (x + radius * reach * math.cos(angle), y + radius * reach * math.sin(angle))
            for side, colour in ((1, ink), (-1, paper)):
                root = (x + wing * math.cos(angle + side * math.pi / 4), y + wing * math.sin(angle + side * math.pi / 4))
                pen.polygon([(x, y), root, tip], colour, edge=ink, width=0.4)
    pen.text(x, y - radius - 7, "N", 11, ink)


def _scale_bar(pen: Pen, x: float, y: float, unit: float, words: str) -> None:
    for part in range(4):
        pen.box(x + part * 15 * unit, y, 15 * unit, 4 * unit, "#3a2c24" if part % 2 == 0 else "#ffffff", edge="#3a2c24", line=0.6 * unit)
    pen.text(x + 66 * unit, y + 2 * unit, words, 8.5 * unit, "#3a2c24", "lm")


def contour_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    low, high = pick(rng, [(("#cfe3b0", "#e6e4b8", "#ecd9ac", "#e2c49c"), "#f4ece0"), (("#dfeccf", "#f3efcf", "#f2e0bc", "#e6cda8"), "#ffffff"), (("#bcd8b8", "#d4dca8", "#e4cf98", "#cfa880"), "#efe2d2")])
    field = brush.noise(rng, size, 1.7, 4, 0.36)
    slope = _slope(field)
    pixels = brush.ramp(field, *low, high) * _hill_shade(slope, height, 0.16)[..., None]
    wood = brush.noise(rng, size, 5, 3)
    brush.cover(pixels, np.clip((wood - 0.58) * 30, 0, 1) * np.clip((0.6 - field) * 20, 0, 1) * 0.6, "#9cc48c")
    brush.cover(pixels, np.clip((0.13 - field) * height / 6, 0, 1), "#9cc8e8")
    unit = height / 300
    brush.cover(pixels, _level_lines(field, slope, 1 / 24, 0.75 * unit) * (field > 0.13) * 0.75, "#b07a4c")
    brush.cover(pixels, _level_lines(field, slope, 5 / 24, 1.6 * unit) * (field > 0.13) * 0.9, "#96602f")
    pen = Pen(pixels, size)
    for _ in range(16):
        x, y = rng.uniform(0.1, 0.9) * width, rng.uniform(0.1, 0.9) * height
        stream = [(x, y)]
        for _ in range(220):
            column, row = int(np.clip(x, 0, width - 1)), int(np.clip(y, 0, height - 1))
            dx, dy = float(slope[0][row, column]), float(slope[1][row, column])
            length = math.hypot(dx, dy)
            if length < 1e-4 or field[row, column] < 0.12 or not (0 < x < width and 0 < y < height):
                break
            x, y = x - dx / length * 2 * unit, y - dy / length * 2 * unit
            stream.append((x, y))
        if len(stream) > 36:
            pen.line(stream, "#4c8fc4", 1.5 * unit)
    ys = height * (0.5 + 0.28 * brush.curve(rng, 60, 2, 3, 0.4, smooth=True))
    pen.dashes(np.stack([np.linspace(0, width, 60), ys], -1).astype(np.float64), "#b8303c", 1.8 * unit, 5 * unit)
    across, down = brush.grid(size)
    inside = np.minimum(np.minimum(across, width - across) / width, np.minimum(down, height - down) / height)
    soft = field - np.float32(1.5) * (inside < 0.1)
    for name in _some(rng, HILLS, 3):
        row, column = (int(i) for i in np.unravel_index(int(soft.argmax()), soft.shape))
        x, y = float(np.clip(column, width * 0.16, width * 0.84)), float(np.clip(row, height * 0.08, height * 0.9))
        pen.polygon([(column, row - 5 * unit), (column + 4.5 * unit, row + 3 * unit), (column - 4.5 * unit, row + 3 * unit)], "#3c2a1c")
        pen.text(x, y + 11 * unit, f"{name}  {int(240 + field[row, column] * 640)}", 10 * unit, "#3c2a1c", halo="#fbf6ea")
        soft = soft - 0.9 * np.exp(-((across - column) ** 2 + (down - row) ** 2) / (height * 0.3) ** 2)
    _scale_bar(pen, 12 * unit, height - 16 * unit, unit, "1 km")
    return pen.done()


def island_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sea, land = pick(rng, [
        (("#1c4f8a", "#4b93c4", "#a8dce4"), ("#e8d8a0", "#8fb860", "#5c8f48", "#8c7850", "#d8d0c4", "#ffffff")),
        (("#5f97b0", "#9cc6cf", "#d4ece4"), ("#f2e6c0", "#c4cf94", "#a4b478", "#b89a6c", "#8c6c50", "#e8e0d4")),
        (("#0c2c4c", "#1f6484", "#58b4b4"), ("#f0dca8", "#b8c070", "#74904c", "#6c5c44", "#94897c", "#f0f0f0")),
    ])  # fmt: skip
    columns, rows = brush.grid(size)
    away = np.hypot((columns - width / 2) / (width * 0.46), (rows - height / 2) / (height * 0.46))
    field = brush.noise(rng, size, 2.6, 6, 0.5) * 1.15 - 0.78 * away**1.6 - 0.02
    field = (field / max(float(field.max()), 1e-3)).astype(np.float32)
    shore = 0.06
    pixels = brush.ramp(np.clip(1 + (field - shore) * 1.2, 0, 1), *sea)
    slope = _slope(field)
    ground = brush.ramp(np.clip((field - shore) / (1 - shore), 0, 1) ** 0.8, *land) * _hill_shade(slope, height, 0.22)[..., None]
    unit = height / 300
    brush.cover(pixels, _level_lines(field, slope, 0.12, 0.8 * unit) * (field < shore) * 0.35, "#ffffff")
    coast = np.clip((field - shore) / (np.hypot(*slope) + 1e-5) + 0.5, 0, 1)
    brush.cover(pixels, coast, ground)
    brush.cover(pixels, np.clip(1.2 * unit - np.abs(field - shore) / (np.hypot(*slope) + 1e-5), 0, 1) * 0.7, "#4a3c2c")
    pen = Pen(pixels, size)
    ink = "#1c2c3c"
    for share in np.linspace(0.125, 0.875, 4):
        pen.line([(width * share, 0), (width * share, height)], "#ffffff", 0.5 * unit, 0.35)
        pen.line([(0, height * share), (width, height * share)], "#ffffff", 0.5 * unit, 0.35)
    row, column = (int(i) for i in np.unravel_index(int(field.argmax()), field.shape))
    pen.polygon([(column, row - 5 * unit), (column + 4 * unit, row + 3 * unit), (column - 4 * unit, row + 3 * unit)], ink)
    pen.text(float(np.clip(column, width * 0.2, width * 0.8)), row + 12 * unit, pick(rng, HILLS), 10 * unit, ink, halo="#ffffff")
    for name, x, y in zip(_some(rng, ("North Bay", "Seal Point", "Gull Sound", "West Haven", "The Skerries", "Kelp Reach"), 3), (0.17, 0.84, 0.22), (0.2, 0.62, 0.9), strict=True):
        pen.text(width * x, height * y, name, 12 * unit, ink, halo=sea[2])
    _compass(pen, width - 34 * unit, 42 * unit, 22 * unit, ink, "#ffffff")
    return pen.done()


def river_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    land, sea = pick(rng, [(("#f4efdc", "#dfe8c4", "#c6d8a4", "#b4b088"), "#a4cfe4"), (("#fbf3e2", "#f0dfc0", "#dcc498", "#b89c74"), "#8fbccc"), (("#eef2e4", "#cfe0c4", "#a8c8a0", "#8ca880"), "#7fb2d8")])
    field = brush.noise(rng, size, 2.4, 4)
    columns, rows = brush.grid(size)
    field = np.clip(field * 0.75 + 0.35 * (1 - columns / width), 0, 1).astype(np.float32)
    pixels = brush.ramp(field, *land) * _hill_shade(_slope(field), height, 0.06)[..., None]
    shore = width * (0.87 + 0.07 * brush.curve(rng, height, 3, 5, 0.5))[:, None]
    unit = height / 300
    for ring in range(4):
        brush.cover(pixels, np.clip((columns - shore - ring * 5 * unit) / 1.5, 0, 1).astype(np.float32) * (0.95 if ring == 0 else 0.25), sea if ring == 0 else blend(sea, "#1c5080", 0.5))
    pen = Pen(pixels, size)
    deep = blend(sea, "#1c5c9c", 0.65)
    steps = 90
    along = np.linspace(0, 1, steps)
    trunk_x = width * (0.04 + 0.85 * along)
    trunk_y = height * (0.5 + 0.13 * brush.curve(rng, steps, 4, 3, 0.5, smooth=True) + 0.03 * np.sin(along * 40))
    names = _some(rng, TOWNS, 9)
    spots = []
    for branch in range(11):
        at = int(steps * (0.1 + 0.072 * branch))
        side = 1 if branch % 2 else -1
        t = np.linspace(0, 1, 50)
        reach = height * rng.uniform(0.24, 0.46)
        bend = np.cumsum(np.concatenate([[0], np.diff(brush.curve(rng, 50, 4, 3, 0.5, smooth=True))])) * height * 0.05
        x = trunk_x[at] - t * width * rng.uniform(0.05, 0.18) + bend * t
        y = trunk_y[at] + side * t * reach + np.sin(t * 16 + branch) * height * 0.012 * t
        for first in range(0, 49, 7):
            pen.line(np.stack([x, y], -1)[first : first + 8].astype(np.float64), deep, unit * (2.2 - 1.6 * t[first]))
        for twig in (18, 32):
            turn = rng.uniform(-1, 1)
            u = np.linspace(0, 1, 16)
            pen.line(np.stack([x[twig] + turn * u * height * 0.12 + np.sin(u * 9) * unit * 2, y[twig] + side * u * height * 0.1], -1).astype(np.float64), deep, unit * 0.9)
        if branch % 2 == 0 or branch == 9:
            spots.append((float(x[30]), float(y[30])))
    for first in range(0, steps - 1, 6):
        pen.line(np.stack([trunk_x, trunk_y], -1)[first : first + 8].astype(np.float64), deep, unit * (1.5 + 6 * along[first]))
    spots += [(float(trunk_x[i]), float(trunk_y[i])) for i in (18, 50, 78)]
    placed: list[tuple[float, float]] = []
    for name, (x, y) in zip(names, spots, strict=False):
        free = all(abs(x - a) > 56 * unit or abs(y - b) > 16 * unit for a, b in placed)
        if free and 0.05 * width < x < 0.86 * width and 0.05 * height < y < 0.93 * height:
            placed.append((x, y))
            pen.disc(x, y, 3.4 * unit, "#ffffff", edge="#3a2c24", width=1.3 * unit)
            pen.text(x + 7 * unit, y - 6 * unit, name, 10 * unit, "#3a2c24", "lm", halo=land[0])
    _scale_bar(pen, 14 * unit, height - 18 * unit, unit, "10 km")
    return pen.done()


def sea_chart(rng: Random, size: Size) -> Image.Image:
    width, height = size
    paper, shallow, land, ink = pick(rng, [("#fdfcf6", "#b8dcec", "#f0dca0", "#2a3850"), ("#f6efdc", "#cfdcc4", "#dcc08c", "#4a3424"), ("#eef6fa", "#94c8e0", "#e4d8b0", "#183450")])
    columns, rows = brush.grid(size)
    tilt = rng.uniform(0, 2 * math.pi)
    slant = (columns / width - 0.5) * math.cos(tilt) + (rows / height - 0.5) * math.sin(tilt)
    field = (brush.noise(rng, size, 2.2, 5, 0.45) * 0.8 + slant * 0.9 - 0.12).astype(np.float32)
    shore = float(np.quantile(field, 0.72))
    slope = _slope(field)
    steep = np.hypot(*slope) + 1e-5
    pixels = brush.gradient(size, paper, paper)
    for depth, strength in ((0.24, 0.45), (0.1, 0.75)):
        brush.cover(pixels, np.clip((field - shore + depth) / steep + 0.5, 0, 1) * strength, shallow)
    unit = height / 300
    brush.cover(pixels, _level_lines(field - shore, slope, 0.12, 0.7 * unit) * 0.6, blend(ink, shallow, 0.4))
    brush.cover(pixels, np.clip((field - shore) / steep + 0.5, 0, 1), land)
    brush.cover(pixels, np.clip(1.3 * unit - np.abs(field - shore) / steep, 0, 1), ink)
    pen = Pen(pixels, size)
    for share in np.linspace(0.2, 0.8, 4):
        pen.line([(width * share, 0), (width * share, height)], ink, 0.5 * unit, 0.3)
        pen.line([(0, height * share), (width, height * share)], ink, 0.5 * unit, 0.3)
    for y in np.arange(18, 295, 21.0):
        for x in np.arange(16 + (y % 2) * 12, 300 * width / height - 10, 25.0):
            px, py = (x + rng.uniform(-6, 6)) * unit, (y + rng.uniform(-5, 5)) * unit
            value = shore - float(field[int(np.clip(py, 0, height - 1)), int(np.clip(px, 0, width - 1))])
            if value > 0.03:
                pen.text(px, py, f"{value * 90:.0f}", 8 * unit, blend(ink, paper, 0.25))
    row, column = (int(i) for i in np.unravel_index(int(field.argmin()), field.shape))
    x, y = float(np.clip(column, width * 0.2, width * 0.8)), float(np.clip(row, height * 0.27, height * 0.75))
    pen.disc(x, y, 44 * unit, paper, 0.75)
    _compass(pen, x, y, 38 * unit, pick(rng, ["#8a2f4c", "#2c5c8a", ink]), paper)
    t = np.linspace(0, 1, 40)
    route = np.stack([width * (0.05 + 0.9 * t), height * (0.5 + 0.4 * (0.5 - t) * math.cos(tilt) + 0.09 * np.sin(t * 6 + tilt))], -1)
    runs: list[list[int]] = [[]]
    for i, (a, b) in enumerate(route):
        if field[int(np.clip(b, 0, height - 1)), int(np.clip(a, 0, width - 1))] < shore - 0.05:
            runs[-1].append(i)
        else:
            runs.append([])
    course = max(runs, key=len)
    if len(course) > 3:
        pen.dashes(route[course], "#c22c5c", 1.7 * unit, 4 * unit)
    for band in range(24):
        pen.box(width * band / 24, 0, width / 24, 4 * unit, ink if band % 2 else "#ffffff")
        pen.box(width * band / 24, height - 4 * unit, width / 24, 4 * unit, ink if band % 2 == 0 else "#ffffff")
    return pen.done()


def weather_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sea, land, line = pick(rng, [("#cfe2f0", "#dbe8c4", "#4a5c74"), ("#e4eef2", "#f2ead2", "#6c5a4c"), ("#1f3a52", "#3c5c50", "#cfe0ec")])
    ground = brush.noise(rng, size, 2.2, 5, 0.5)
    unit = height / 300
    steep = np.hypot(*_slope(ground)) + 1e-5
    pixels = brush.gradient(size, sea, sea)
    brush.cover(pixels, np.clip((ground - 0.52) / steep + 0.5, 0, 1), land)
    brush.cover(pixels, np.clip(1 - np.abs(ground - 0.52) / steep, 0, 1) * 0.6, blend(land, "#304030", 0.6))
    columns, rows = brush.grid(size)
    flip = pick(rng, [0.0, 1.0])
    lows = [(abs(flip - rng.uniform(0.62, 0.76)), rng.uniform(0.25, 0.4))]
    highs = [(abs(flip - rng.uniform(0.18, 0.32)), rng.uniform(0.55, 0.75))]
    field = (brush.noise(rng, size, 1.2, 2, 0.3) - 0.5) * 14 + 1012
    for (x, y), depth, reach in ((lows[0], -36.0, 0.42), (highs[0], 26.0, 0.5)):
        field = field + depth * np.exp(-((columns - x * width) ** 2 + ((rows - y * height) * 1.2) ** 2) / (height * reach) ** 2)
    field = field.astype(np.float32)
    slope = _slope(field)
    brush.cover(pixels, _level_lines(field, slope, 4, 1.3 * unit) * 0.9, line)
    pen = Pen(pixels, size)
    for _ in range(200):
        x, y = int(rng.uniform(0.06, 0.94) * width), int(rng.uniform(0.08, 0.92) * height)
        if abs(field[y, x] - round(float(field[y, x]) / 4) * 4) < 0.04:
            pen.text(x, y, f"{round(float(field[y, x]) / 4) * 4}", 8 * unit, line, halo=blend(sea, land, 0.5))
    for (x, y), letter, colour in ((lows[0], "L", "#d0342c"), (highs[0], "H", "#1f5fb8")):
        pen.text(x * width, y * height, letter, 30 * unit, colour, halo="#ffffff")
        pen.text(x * width, y * height + 22 * unit, f"{field[int(y * height), int(x * width)]:.0f}", 9 * unit, colour, halo="#ffffff")
    for start, bow, colour, warm in ((80, 0.24, "#1f5fb8", False), (20, -0.2, "#d0342c", True)):
        t = np.linspace(0.12, 1, 46)
        angle = math.radians(start if flip < 0.5 else 180 - start)
        across = bow * np.sin(t * 2.4) * (1 if flip < 0.5 else -1)
        x = lows[0][0] * width + height * 0.62 * (t * math.cos(angle) - across * math.sin(angle))
        y = lows[0][1] * height + height * 0.62 * (t * math.sin(angle) + across * math.cos(angle))
        pen.line(np.stack([x, y], -1), colour, 2.4 * unit)
        for i in range(3, 43, 6):
            dx, dy = x[i + 3] - x[i], y[i + 3] - y[i]
            side = (1 if flip < 0.5 else -1) * (1 if not warm else -1) * -1
            if warm:
                heading = math.degrees(math.atan2(dy, dx))
                pen.polygon(brush.ring((x[i] + x[i + 3]) / 2, (y[i] + y[i + 3]) / 2, 5.5 * unit, None, heading, heading + 180 * side, 16), colour)
            else:
                pen.polygon([(x[i], y[i]), (x[i + 3], y[i + 3]), ((x[i] + x[i + 3]) / 2 - dy * side * 0.75, (y[i] + y[i + 3]) / 2 + dx * side * 0.75)], colour)
    return pen.done()


PAINTINGS = (contour_map, island_map, river_map, sea_chart, weather_map)
