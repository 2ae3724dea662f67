"""A generator of random numbers and a size in; a chart or map of tide, wind or weather out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Random, Size, blend, pick
from pipeline.sample.pictures.charts import MONTHS, axes, chart_sheet, legend
from pipeline.sample.pictures.maps import level_lines, slope_of
from pipeline.sample.pictures.pen import Pen


def tide_chart(rng: Random, size: Size) -> Image.Image:
    pen, theme, hues = chart_sheet(
        rng, size, pick(rng, ["Tides at the harbour", "Spring tides in the bay", "Tides at the river mouth"])
    )
    left, top, width, height = axes(pen, theme, 6, 1, "metres", "hours from midnight")
    hours = np.linspace(0, 48, 241)
    start, range_, drift = rng.uniform(0, 12), rng.uniform(1.6, 2.5), rng.uniform(-0.25, 0.25)
    level = (
        2.9
        + (range_ + drift * np.sin(hours / 8)) * np.cos(2 * np.pi * (hours - start) / 12.42)
        + 0.2 * np.cos(2 * np.pi * hours / 24.8)
    )
    points = [
        (left + width * hour / 48, top + height * (1 - value / 6)) for hour, value in zip(hours, level, strict=True)
    ]
    for first, last in ((0, 6), (20, 30), (44, 48)):
        pen.box(left + width * first / 48, top, width * (last - first) / 48, height, "#102040", 0.12)
    for layer in range(5):
        lowered = [(x, y + (top + height - y) * layer / 6) for x, y in points]
        pen.polygon([*lowered, (left + width, top + height), (left, top + height)], hues[0], 0.22)
    pen.line(points, hues[0], 2.2)
    for hour in range(0, 49, 6):
        pen.text(left + width * hour / 48, top + height + 10, str(hour), 9, theme.ink)
    turns = [i for i in range(1, 240) if (level[i] - level[i - 1]) * (level[i + 1] - level[i]) < 0]
    for i in turns:
        x, y = points[i]
        high = level[i] > 2.9
        pen.disc(x, y, 3, hues[1] if high else hues[2])
        pen.text(x, y + (-10 if high else 10), f"{level[i]:.1f} m", 9, theme.ink, halo=theme.panel)
    return pen.done()


def heat_map(rng: Random, size: Size) -> Image.Image:
    pen, theme, _ = chart_sheet(rng, size, "Temperature by month and hour")
    stops = pick(
        rng,
        [
            ("#2b3f8c", "#5fa8d3", "#f4f1c9", "#f0a04b", "#b3282d"),
            ("#1f1147", "#6b2d7c", "#c9516a", "#f99a5c", "#fdf0b0"),
            ("#0c4a4e", "#3f9c8c", "#dff0c2", "#e8c24a", "#a8481f"),
        ],
    )
    hours, months = np.meshgrid(np.arange(24), np.arange(12))
    value = (
        0.5
        - 0.33 * np.cos(2 * np.pi * (months - rng.uniform(0, 1)) / 12)
        - 0.15 * np.cos(2 * np.pi * (hours - rng.uniform(2, 4)) / 24)
        + rng.normal(0, 0.03, (12, 24))
    )
    colours = brush.ramp(np.clip(value, 0, 1).astype(np.float32), *stops)
    left, top, cell, deep = 46.0, 42.0, 12.6, 18.2
    for month in range(12):
        pen.text(left - 6, top + deep * (month + 0.5), MONTHS[month], 9, theme.ink, "rm")
        for hour in range(24):
            pen.box(left + cell * hour, top + deep * month, cell - 0.8, deep - 0.8, colours[month, hour], corner=1.2)
    for hour in range(0, 24, 3):
        pen.text(left + cell * (hour + 0.5), top + deep * 12 + 9, f"{hour:02d}", 9, theme.ink)
    pen.text(left + cell * 12, 288, "hour of the day", 10, theme.ink)
    scale = brush.ramp(np.linspace(1, 0, 44, dtype=np.float32)[None, :], *stops)[0]
    for row, colour in enumerate(scale):
        pen.box(358, top + row * 4.95, 12, 5.2, colour)
    for row, words in enumerate(("28", "14", "0")):
        pen.text(375, top + 4 + row * 105, words, 9, theme.ink, "lm")
    return pen.done()


def wind_rose(rng: Random, size: Size) -> Image.Image:
    pen, theme, _ = chart_sheet(
        rng, size, pick(rng, ["Wind at the summit", "Wind at the lighthouse", "Wind over the fields"])
    )
    stops = pick(rng, [("#cfe8f4", "#2a5c9c"), ("#fde2a8", "#b8402c"), ("#dcefc0", "#1f6a4c"), ("#ecd8f4", "#5c2c8c")])
    x, y, radius = 160.0, 164.0, 108.0
    for share in (0.25, 0.5, 0.75, 1):
        pen.disc(x, y, radius * share, None if share < 1 else theme.panel, edge=theme.rule, width=0.8)
    for share in (0.25, 0.5, 0.75):
        pen.disc(x, y, radius * share, None, edge=theme.rule, width=0.8)
    main = rng.integers(16)
    for sector in range(16):
        away = min((sector - main) % 16, (main - sector) % 16)
        total = radius * min(
            1,
            (0.2 + 0.75 * math.exp(-away * away / 9) + 0.35 * math.exp(-((away - 8) ** 2) / 6))
            * rng.uniform(0.7, 1.05),
        )
        angle, inner = sector * 22.5 - 90, 6.0
        for level, share in enumerate((0.3, 0.58, 0.82, 1)):
            outer = max(inner + 0.5, total * share)
            wedge = [
                *brush.ring(x, y, outer, None, angle - 9, angle + 9, 10),
                *brush.ring(x, y, inner, None, angle + 9, angle - 9, 10),
            ]
            pen.polygon(wedge, blend(*stops, level / 3), edge=theme.paper, width=0.6)
            inner = outer
    for words, angle in (("N", -90), ("E", 0), ("S", 90), ("W", 180)):
        pen.text(
            x + (radius + 10) * math.cos(math.radians(angle)),
            y + (radius + 10) * math.sin(math.radians(angle)),
            words,
            12,
            theme.ink,
        )
    pen.text(292, 118, "Wind speed", 10.5, theme.ink, "lm")
    legend(
        pen,
        theme,
        ("calm to light", "moderate", "fresh", "strong"),
        [blend(*stops, level / 3) for level in range(4)],
        292,
        138,
    )
    return pen.done()


def weather_map(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sea, land, line = pick(
        rng, [("#cfe2f0", "#dbe8c4", "#4a5c74"), ("#e4eef2", "#f2ead2", "#6c5a4c"), ("#1f3a52", "#3c5c50", "#cfe0ec")]
    )
    ground = brush.noise(rng, size, 2.2, 5, 0.5)
    unit = height / 300
    steep = np.hypot(*slope_of(ground)) + 1e-5
    pixels = brush.gradient(size, sea, sea)
    brush.cover(pixels, np.clip((ground - 0.52) / steep + 0.5, 0, 1), land)
    brush.cover(pixels, np.clip(1 - np.abs(ground - 0.52) / steep, 0, 1) * 0.6, blend(land, "#304030", 0.6))
    columns, rows = brush.grid(size)
    flip = pick(rng, [0.0, 1.0])
    lows = [(abs(flip - rng.uniform(0.62, 0.76)), rng.uniform(0.25, 0.4))]
    highs = [(abs(flip - rng.uniform(0.18, 0.32)), rng.uniform(0.55, 0.75))]
    field = (brush.noise(rng, size, 1.2, 2, 0.3) - 0.5) * 14 + 1012
    for (x, y), depth, reach in ((lows[0], -36.0, 0.42), (highs[0], 26.0, 0.5)):
        field = field + depth * np.exp(
            -((columns - x * width) ** 2 + ((rows - y * height) * 1.2) ** 2) / (height * reach) ** 2
        )
    field = field.astype(np.float32)
    slope = slope_of(field)
    brush.cover(pixels, level_lines(field, slope, 4, 1.3 * unit) * 0.9, line)
    pen = Pen(pixels, size)
    for _ in range(200):
        x, y = int(rng.uniform(0.06, 0.94) * width), int(rng.uniform(0.08, 0.92) * height)
        if abs(field[y, x] - round(float(field[y, x]) / 4) * 4) < 0.04:
            pen.text(x, y, f"{round(float(field[y, x]) / 4) * 4}", 8 * unit, line, halo=blend(sea, land, 0.5))
    for (x, y), letter, colour in ((lows[0], "L", "#d0342c"), (highs[0], "H", "#1f5fb8")):
        pen.text(x * width, y * height, letter, 30 * unit, colour, halo="#ffffff")
        pen.text(
            x * width,
            y * height + 22 * unit,
            f"{field[int(y * height), int(x * width)]:.0f}",
            9 * unit,
            colour,
            halo="#ffffff",
        )
    for start, bow, colour, warm in ((80, 0.24, "#1f5fb8", False), (20, -0.2, "#d0342c", True)):
        t = np.linspace(0.12, 1, 46)
        angle = math.radians(start if flip < 0.5 else 180 - start)
        across = bow * np.sin(t * 2.4) * (1 if flip < 0.5 else -1)
        fx = lows[0][0] * width + height * 0.62 * (t * math.cos(angle) - across * math.sin(angle))
        fy = lows[0][1] * height + height * 0.62 * (t * math.sin(angle) + across * math.cos(angle))
        pen.line(np.stack([fx, fy], -1), colour, 2.4 * unit)
        for i in range(3, 43, 6):
            dx, dy = fx[i + 3] - fx[i], fy[i + 3] - fy[i]
            side = (1 if flip < 0.5 else -1) * (1 if not warm else -1) * -1
            if warm:
                heading = math.degrees(math.atan2(dy, dx))
                pen.polygon(
                    brush.ring(
                        (fx[i] + fx[i + 3]) / 2,
                        (fy[i] + fy[i + 3]) / 2,
                        5.5 * unit,
                        None,
                        heading,
                        heading + 180 * side,
                        16,
                    ),
                    colour,
                )
            else:
                pen.polygon(
                    [
                        (fx[i], fy[i]),
                        (fx[i + 3], fy[i + 3]),
                        ((fx[i] + fx[i + 3]) / 2 - dy * side * 0.75, (fy[i] + fy[i + 3]) / 2 + dx * side * 0.75),
                    ],
                    colour,
                )
    return pen.done()


PAINTINGS = (
    tide_chart,
    heat_map,
    wind_rose,
    weather_map,
)
