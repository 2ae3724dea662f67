"""A generator of random numbers and a size in; a map of country that does not exist out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Field, Random, Size, blend, pick
from pipeline.sample.pictures.pen import Pen

HILLS = ("Grey Fell", "Raven Crag", "High Seat", "Broad Law", "Long Top", "Stone Rigg", "Wether Hill", "Black Knott")


TOWNS = (
    "Aldmouth",
    "Brae",
    "Corran",
    "Dunmere",
    "Elsford",
    "Farholm",
    "Gorsley",
    "Hexby",
    "Inverlea",
    "Kelbridge",
    "Lanmoor",
    "Merrow",
    "Nethby",
    "Orwick",
    "Penmor",
    "Quarley",
)


def some(rng: Random, names: tuple[str, ...], count: int) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))[:count]]


def slope_of(field: Field) -> tuple[Field, Field]:
    """Change a pixel to the right and downwards; a field one pixel wide has none."""
    down = np.gradient(field, axis=0) if field.shape[0] > 1 else np.zeros_like(field)
    across = np.gradient(field, axis=1) if field.shape[1] > 1 else np.zeros_like(field)
    return np.asarray(across, np.float32), np.asarray(down, np.float32)


def level_lines(field: Field, slope: tuple[Field, Field], step: float, thick: float) -> Field:
    """A mask of the lines on which the field is a multiple of `step`, `thick` pixels wide."""
    steep = np.hypot(*slope) / np.float32(step) + 1e-5
    part = field / np.float32(step)
    away = np.abs(part - np.round(part)) / steep
    return np.asarray(np.clip(thick / 2 + 0.5 - away, 0, 1), np.float32)


def hill_shade(slope: tuple[Field, Field], height: int, strength: float) -> Field:
    return np.clip(1 + (slope[0] + slope[1]) * np.float32(height * strength), 0.45, 1.4).astype(np.float32)


def _scale_bar(pen: Pen, x: float, y: float, unit: float, words: str) -> None:
    for part in range(4):
        pen.box(
            x + part * 15 * unit,
            y,
            15 * unit,
            4 * unit,
            "#3a2c24" if part % 2 == 0 else "#ffffff",
            edge="#3a2c24",
            line=0.6 * unit,
        )
    pen.text(x + 66 * unit, y + 2 * unit, words, 8.5 * unit, "#3a2c24", "lm")


def contour_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    low, high = pick(
        rng,
        [
            (("#cfe3b0", "#e6e4b8", "#ecd9ac", "#e2c49c"), "#f4ece0"),
            (("#dfeccf", "#f3efcf", "#f2e0bc", "#e6cda8"), "#ffffff"),
            (("#bcd8b8", "#d4dca8", "#e4cf98", "#cfa880"), "#efe2d2"),
        ],
    )
    field = brush.noise(rng, size, 1.7, 4, 0.36)
    slope = slope_of(field)
    pixels = brush.ramp(field, *low, high) * hill_shade(slope, height, 0.16)[..., None]
    wood = brush.noise(rng, size, 5, 3)
    brush.cover(pixels, np.clip((wood - 0.58) * 30, 0, 1) * np.clip((0.6 - field) * 20, 0, 1) * 0.6, "#9cc48c")
    brush.cover(pixels, np.clip((0.13 - field) * height / 6, 0, 1), "#9cc8e8")
    unit = height / 300
    brush.cover(pixels, level_lines(field, slope, 1 / 24, 0.75 * unit) * (field > 0.13) * 0.75, "#b07a4c")
    brush.cover(pixels, level_lines(field, slope, 5 / 24, 1.6 * unit) * (field > 0.13) * 0.9, "#96602f")
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
    for name in some(rng, HILLS, 3):
        row, column = (int(i) for i in np.unravel_index(int(soft.argmax()), soft.shape))
        x, y = float(np.clip(column, width * 0.16, width * 0.84)), float(np.clip(row, height * 0.08, height * 0.9))
        pen.polygon(
            [(column, row - 5 * unit), (column + 4.5 * unit, row + 3 * unit), (column - 4.5 * unit, row + 3 * unit)],
            "#3c2a1c",
        )
        pen.text(
            x, y + 11 * unit, f"{name}  {int(240 + field[row, column] * 640)}", 10 * unit, "#3c2a1c", halo="#fbf6ea"
        )
        soft = soft - 0.9 * np.exp(-((across - column) ** 2 + (down - row) ** 2) / (height * 0.3) ** 2)
    _scale_bar(pen, 12 * unit, height - 16 * unit, unit, "1 km")
    return pen.done()


def river_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    land, sea = pick(
        rng,
        [
            (("#f4efdc", "#dfe8c4", "#c6d8a4", "#b4b088"), "#a4cfe4"),
            (("#fbf3e2", "#f0dfc0", "#dcc498", "#b89c74"), "#8fbccc"),
            (("#eef2e4", "#cfe0c4", "#a8c8a0", "#8ca880"), "#7fb2d8"),
        ],
    )
    field = brush.noise(rng, size, 2.4, 4)
    columns, _rows = brush.grid(size)
    field = np.clip(field * 0.75 + 0.35 * (1 - columns / width), 0, 1).astype(np.float32)
    pixels = brush.ramp(field, *land) * hill_shade(slope_of(field), height, 0.06)[..., None]
    shore = width * (0.87 + 0.07 * brush.curve(rng, height, 3, 5, 0.5))[:, None]
    unit = height / 300
    for ring in range(4):
        brush.cover(
            pixels,
            np.clip((columns - shore - ring * 5 * unit) / 1.5, 0, 1).astype(np.float32) * (0.95 if ring == 0 else 0.25),
            sea if ring == 0 else blend(sea, "#1c5080", 0.5),
        )
    pen = Pen(pixels, size)
    deep = blend(sea, "#1c5c9c", 0.65)
    steps = 90
    along = np.linspace(0, 1, steps)
    trunk_x = width * (0.04 + 0.85 * along)
    trunk_y = height * (0.5 + 0.13 * brush.curve(rng, steps, 4, 3, 0.5, smooth=True) + 0.03 * np.sin(along * 40))
    names = some(rng, TOWNS, 9)
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
            pen.line(
                np.stack(
                    [x[twig] + turn * u * height * 0.12 + np.sin(u * 9) * unit * 2, y[twig] + side * u * height * 0.1],
                    -1,
                ).astype(np.float64),
                deep,
                unit * 0.9,
            )
        if branch % 2 == 0 or branch == 9:
            spots.append((float(x[30]), float(y[30])))
    for first in range(0, steps - 1, 6):
        pen.line(
            np.stack([trunk_x, trunk_y], -1)[first : first + 8].astype(np.float64),
            deep,
            unit * (1.5 + 6 * along[first]),
        )
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


PAINTINGS = (
    contour_map,
    river_map,
)
