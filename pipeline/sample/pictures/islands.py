"""A generator of random numbers and a size in; a map of an island or a sea chart out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Random, Size, blend, pick
from pipeline.sample.pictures.maps import HILLS, hill_shade, level_lines, slope_of, some
from pipeline.sample.pictures.pen import Pen


def _compass(pen: Pen, x: float, y: float, radius: float, ink: Colour, paper: Colour) -> None:
    pen.disc(x, y, radius, None, edge=ink, width=0.8)
    pen.disc(x, y, radius * 0.8, None, edge=ink, width=0.5)
    for point in range(72):
        angle = math.radians(point * 5)
        pen.line(
            [
                (x + radius * a * math.cos(angle), y + radius * a * math.sin(angle))
                for a in (0.94 if point % 2 else 0.88, 1)
            ],
            ink,
            0.4,
        )
    for turn, reach in ((45, 0.62), (0, 0.98)):
        for point in range(4):
            angle, wing = math.radians(turn + point * 90), radius * 0.16
            tip = (x + radius * reach * math.cos(angle), y + radius * reach * math.sin(angle))
            for side, colour in ((1, ink), (-1, paper)):
                root = (
                    x + wing * math.cos(angle + side * math.pi / 4),
                    y + wing * math.sin(angle + side * math.pi / 4),
                )
                pen.polygon([(x, y), root, tip], colour, edge=ink, width=0.4)
    pen.text(x, y - radius - 7, "N", 11, ink)


def island_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sea, land = pick(
        rng,
        [
            (("#1c4f8a", "#4b93c4", "#a8dce4"), ("#e8d8a0", "#8fb860", "#5c8f48", "#8c7850", "#d8d0c4", "#ffffff")),
            (("#5f97b0", "#9cc6cf", "#d4ece4"), ("#f2e6c0", "#c4cf94", "#a4b478", "#b89a6c", "#8c6c50", "#e8e0d4")),
            (("#0c2c4c", "#1f6484", "#58b4b4"), ("#f0dca8", "#b8c070", "#74904c", "#6c5c44", "#94897c", "#f0f0f0")),
        ],
    )
    columns, rows = brush.grid(size)
    away = np.hypot((columns - width / 2) / (width * 0.46), (rows - height / 2) / (height * 0.46))
    field = brush.noise(rng, size, 2.6, 6, 0.5) * 1.15 - 0.78 * away**1.6 - 0.02
    field = (field / max(float(field.max()), 1e-3)).astype(np.float32)
    shore = 0.06
    pixels = brush.ramp(np.clip(1 + (field - shore) * 1.2, 0, 1), *sea)
    slope = slope_of(field)
    ground = (
        brush.ramp(np.clip((field - shore) / (1 - shore), 0, 1) ** 0.8, *land)
        * hill_shade(slope, height, 0.22)[..., None]
    )
    unit = height / 300
    brush.cover(pixels, level_lines(field, slope, 0.12, 0.8 * unit) * (field < shore) * 0.35, "#ffffff")
    coast = np.clip((field - shore) / (np.hypot(*slope) + 1e-5) + 0.5, 0, 1)
    brush.cover(pixels, coast, ground)
    brush.cover(pixels, np.clip(1.2 * unit - np.abs(field - shore) / (np.hypot(*slope) + 1e-5), 0, 1) * 0.7, "#4a3c2c")
    pen = Pen(pixels, size)
    ink = "#1c2c3c"
    for share in np.linspace(0.125, 0.875, 4):
        pen.line([(width * share, 0), (width * share, height)], "#ffffff", 0.5 * unit, 0.35)
        pen.line([(0, height * share), (width, height * share)], "#ffffff", 0.5 * unit, 0.35)
    row, column = (int(i) for i in np.unravel_index(int(field.argmax()), field.shape))
    pen.polygon(
        [(column, row - 5 * unit), (column + 4 * unit, row + 3 * unit), (column - 4 * unit, row + 3 * unit)], ink
    )
    pen.text(
        float(np.clip(column, width * 0.2, width * 0.8)),
        row + 12 * unit,
        pick(rng, HILLS),
        10 * unit,
        ink,
        halo="#ffffff",
    )
    for name, x, y in zip(
        some(rng, ("North Bay", "Seal Point", "Gull Sound", "West Haven", "The Skerries", "Kelp Reach"), 3),
        (0.17, 0.84, 0.22),
        (0.2, 0.62, 0.9),
        strict=True,
    ):
        pen.text(width * x, height * y, name, 12 * unit, ink, halo=sea[2])
    _compass(pen, width - 34 * unit, 42 * unit, 22 * unit, ink, "#ffffff")
    return pen.done()


def sea_chart(rng: Random, size: Size) -> Image.Image:
    width, height = size
    paper, shallow, land, ink = pick(
        rng,
        [
            ("#fdfcf6", "#b8dcec", "#f0dca0", "#2a3850"),
            ("#f6efdc", "#cfdcc4", "#dcc08c", "#4a3424"),
            ("#eef6fa", "#94c8e0", "#e4d8b0", "#183450"),
        ],
    )
    columns, rows = brush.grid(size)
    tilt = rng.uniform(0, 2 * math.pi)
    slant = (columns / width - 0.5) * math.cos(tilt) + (rows / height - 0.5) * math.sin(tilt)
    field = (brush.noise(rng, size, 2.2, 5, 0.45) * 0.8 + slant * 0.9 - 0.12).astype(np.float32)
    shore = float(np.quantile(field, 0.72))
    slope = slope_of(field)
    steep = np.hypot(*slope) + 1e-5
    pixels = brush.gradient(size, paper, paper)
    for depth, strength in ((0.24, 0.45), (0.1, 0.75)):
        brush.cover(pixels, np.clip((field - shore + depth) / steep + 0.5, 0, 1) * strength, shallow)
    unit = height / 300
    brush.cover(pixels, level_lines(field - shore, slope, 0.12, 0.7 * unit) * 0.6, blend(ink, shallow, 0.4))
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
    route = np.stack(
        [width * (0.05 + 0.9 * t), height * (0.5 + 0.4 * (0.5 - t) * math.cos(tilt) + 0.09 * np.sin(t * 6 + tilt))], -1
    )
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


PAINTINGS = (
    island_map,
    sea_chart,
)
