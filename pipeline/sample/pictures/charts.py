"""A generator of random numbers and a size in; a chart with a title, axes and labels out."""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Random, Size, blend, pick
from pipeline.sample.pictures.pen import Pen

SHEET = (400, 300)


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class Theme:
    paper: Colour
    panel: Colour
    ink: Colour
    rule: Colour
    hues: tuple[Colour, ...]


THEMES = (
    Theme(
        "#ffffff",
        "#f2f5f9",
        "#2a3440",
        "#d5dce4",
        ("#2f6db3", "#e07b39", "#3f9a6b", "#b8487a", "#7a62b8", "#c9a227", "#4aa8b8"),
    ),
    Theme(
        "#fbf6ea",
        "#f5ecd6",
        "#4a3a28",
        "#dfd2b4",
        ("#a4432f", "#3c6e71", "#d19a3a", "#6b7f3f", "#7b4b6b", "#c7714f", "#4d5a7d"),
    ),
    Theme(
        "#172029",
        "#1f2b37",
        "#dfe7ee",
        "#34424f",
        ("#5cc8ff", "#ffb454", "#7ee0a2", "#ff7d93", "#b89cff", "#ffe17a", "#6ae0d8"),
    ),
    Theme(
        "#f3f8f4",
        "#e6f0e9",
        "#20382c",
        "#c9dccf",
        ("#1f7a5c", "#94b447", "#e0a63c", "#cf6040", "#3d6f9e", "#7a4f7c", "#5fae9a"),
    ),
)


def chart_sheet(rng: Random, size: Size, title: str) -> tuple[Pen, Theme, list[Colour]]:
    theme = pick(rng, THEMES)
    pen = Pen(brush.gradient(size, theme.paper, blend(theme.paper, theme.panel, 0.7)), size, SHEET)
    pen.text(24, 20, title, 15, theme.ink, "lm")
    turn = int(rng.integers(len(theme.hues)))
    return pen, theme, [*theme.hues[turn:], *theme.hues[:turn]]


def axes(
    pen: Pen, theme: Theme, top: float, step: float, unit: str, across: str = "", low: float = 0
) -> tuple[float, float, float, float]:
    """The panel, its horizontal rules and their figures; returns left, top, width and height of the panel."""
    left, head, width, height = 50.0, 42.0, 330.0, 208.0
    pen.box(left, head, width, height, theme.panel)
    for value in np.arange(low, top + step / 2, step):
        y = head + height * (1 - (value - low) / (top - low))
        pen.line([(left, y), (left + width, y)], theme.rule, 0.8)
        pen.text(left - 5, y, f"{value:g}", 9, theme.ink, "rm")
    pen.line([(left, head), (left, head + height), (left + width, head + height)], theme.ink, 1.3)
    pen.text(left, head - 8, unit, 9, blend(theme.ink, theme.paper, 0.3), "lm")
    pen.text(left + width / 2, 287, across, 10, theme.ink)
    return left, head, width, height


def legend(pen: Pen, theme: Theme, names: tuple[str, ...], hues: list[Colour], x: float, y: float) -> None:
    for row, (name, hue) in enumerate(zip(names, hues, strict=False)):
        pen.box(x, y + row * 14 - 4.5, 9, 9, hue, corner=2)
        pen.text(x + 14, y + row * 14, name, 9.5, theme.ink, "lm")


def bar_chart(rng: Random, size: Size) -> Image.Image:
    place = pick(rng, ["the harbour", "the pass", "the mill", "the upper valley"])
    pen, theme, hues = chart_sheet(rng, size, f"Rainfall at {place}")
    season = 75 + 55 * np.cos(2 * np.pi * (np.arange(12) - rng.uniform(0, 12)) / 12) + rng.uniform(-14, 14, 12)
    left, top, width, height = axes(pen, theme, 160, 40, "millimetres")
    slot = width / 12
    for month, value in enumerate(np.clip(season, 8, 158)):
        tall, x = height * value / 160, left + slot * (month + 0.16)
        for strip in range(12):  # a vertical gradient, dark foot to light top
            pen.box(
                x,
                top + height - tall * (strip + 1) / 12,
                slot * 0.68,
                tall / 12 + 0.5,
                blend(blend(hues[0], theme.ink, 0.25), hues[0], strip / 11),
            )
        pen.text(x + slot * 0.34, top + height - tall - 7, f"{value:.0f}", 8, theme.ink)
        pen.text(x + slot * 0.34, top + height + 10, MONTHS[month], 9, theme.ink)
    mean = top + height * (1 - float(season.mean()) / 160)
    pen.dashes([(left, mean), (left + width, mean)], hues[1], 1.4)
    pen.text(left + width - 4, mean - 7, "mean", 9, hues[1], "rm", halo=theme.panel)
    return pen.done()


def line_chart(rng: Random, size: Size) -> Image.Image:
    pen, theme, hues = chart_sheet(rng, size, "Temperature on one day")
    left, top, width, height = axes(pen, theme, 24, 6, "degrees Celsius", "hour of the day", -6)
    for hour in range(0, 25, 4):
        x = left + width * hour / 24
        pen.line([(x, top), (x, top + height)], theme.rule, 0.6)
        pen.text(x, top + height + 10, f"{hour:02d}", 9, theme.ink)
    hours = np.linspace(0, 24, 49)
    for index, base in enumerate((13, 7, 1)):
        values = (
            base + rng.uniform(-1.5, 1.5) + rng.uniform(3.5, 6) * np.cos((hours - rng.uniform(13.5, 16)) * np.pi / 12)
        )
        values += brush.curve(rng, 49, 8, 3) * 0.9
        points = [
            (left + width * hour / 24, top + height * (1 - (value + 6) / 30))
            for hour, value in zip(hours, values, strict=True)
        ]
        pen.polygon([*points, (left + width, top + height), (left, top + height)], hues[index], 0.13)
        pen.line(points, hues[index], 2.2)
        for x, y in points[::6]:
            pen.disc(x, y, 2.6, theme.panel, edge=hues[index], width=1.4)
    pen.box(left + 8, top + 6, 74, 48, theme.paper, 0.8, 3)
    legend(pen, theme, ("Valley", "Pass", "Summit"), hues, left + 14, top + 16)
    return pen.done()


def pie_chart(rng: Random, size: Size) -> Image.Image:
    loaf = pick(rng, ["country loaf", "rye loaf", "seed loaf", "white loaf"])
    pen, theme, hues = chart_sheet(rng, size, f"What goes into a {loaf}")
    names = ("Wheat flour", "Water", "Rye flour", "Sourdough", "Seeds", "Salt")
    shares = np.array([40, 33, 12, 10, 6, 2]) * rng.uniform(0.6, 1.6, 6)
    shares /= shares.sum()
    x, y, radius = 150.0, 166.0, 104.0
    pen.disc(x + 4, y + 6, radius, theme.ink, 0.18)
    start = rng.uniform(-120, -60)
    for index, share in enumerate(shares):
        end, middle = start + 360 * share, math.radians(start + 180 * share)
        out = 9 if index == 2 else 0
        ox, oy = x + out * math.cos(middle), y + out * math.sin(middle)
        edge = brush.ring(ox, oy, radius, None, start, end, 60)
        pen.polygon([(ox, oy), *edge], hues[index], edge=theme.paper, width=1.6)
        inner = brush.ring(ox, oy, radius * 0.97, None, start, end, 60)
        pen.polygon([*inner, *brush.ring(ox, oy, radius * 0.86, None, end, start, 60)], "#ffffff", 0.14)
        if share > 0.05:
            pen.text(
                ox + radius * 0.66 * math.cos(middle),
                oy + radius * 0.66 * math.sin(middle),
                f"{share:.0%}",
                11,
                "#ffffff",
                halo=blend(hues[index], "#000000", 0.35),
            )
        start = end
    if rng.random() < 0.5:
        pen.disc(x, y, radius * 0.42, theme.paper)
    legend(pen, theme, names, hues, 285, 118)
    return pen.done()


def scatter_plot(rng: Random, size: Size) -> Image.Image:
    pen, theme, _ = chart_sheet(
        rng, size, pick(rng, ["Stars of the cluster", "Stars near the sun", "Stars by colour and light"])
    )
    left, top, width, height = axes(pen, theme, 16, 4, "brightness", "colour, from blue to red", -4)
    main = rng.random(230) ** 0.8
    giants = rng.random(45)
    xs = np.concatenate([main, 0.6 + 0.35 * giants, rng.uniform(0.1, 0.35, 14)])
    ys = np.concatenate(
        [
            0.93 - 0.86 * main + rng.normal(0, 0.035, 230),
            0.68 + 0.18 * giants + rng.normal(0, 0.05, 45),
            rng.uniform(0.08, 0.2, 14),
        ]
    )
    hue = brush.ramp(xs.astype(np.float32)[None, :], "#5a8cff", "#a8c8ff", "#fff3c4", "#ffc06a", "#ef5a3a")[0]
    for x, y, colour, big in zip(xs, np.clip(ys, 0.02, 0.98), hue, rng.random(len(xs)) ** 3, strict=True):
        pen.disc(
            left + width * (0.03 + 0.94 * x),
            top + height * (1 - y),
            1.8 + 3.4 * big,
            colour,
            0.88,
            edge=blend(colour, "#202020", 0.45),
            width=0.5,
        )
    for words, x, y in (("main sequence", 0.3, 0.38), ("giants", 0.86, 0.95), ("white dwarfs", 0.24, 0.03)):
        pen.text(left + width * x, top + height * (1 - y), words, 10, theme.ink, halo=theme.panel)
    return pen.done()


def area_chart(rng: Random, size: Size) -> Image.Image:
    pen, theme, hues = chart_sheet(rng, size, "Harvest from the garden")
    left, top, width, height = axes(pen, theme, 60, 15, "kilograms a week", "week of the year")
    weeks = np.linspace(14, 46, 65)
    for week in range(14, 47, 4):
        pen.text(left + width * (week - 14) / 32, top + height + 10, str(week), 9, theme.ink)
    names = ("Lettuce", "Peas", "Tomatoes", "Beans", "Squash")
    below = np.zeros(65)
    xs = left + width * (weeks - 14) / 32
    for index, peak in enumerate((20, 25, 32, 34, 41)):
        grown = (
            rng.uniform(13, 24) * np.exp(-(((weeks - peak - rng.uniform(-2, 2)) / rng.uniform(4, 7)) ** 2))
            + 0.8
            + 0.6 * (1 + brush.curve(rng, 65, 5, 3, smooth=True))
        )
        above = below + grown
        upper = [(x, top + height * (1 - value / 60)) for x, value in zip(xs, np.minimum(above, 59), strict=True)]
        lower = [(x, top + height * (1 - value / 60)) for x, value in zip(xs, np.minimum(below, 59), strict=True)]
        pen.polygon([*upper, *lower[::-1]], hues[index], 0.9)
        pen.line(upper, blend(hues[index], "#ffffff", 0.4), 1.2)
        below = above
    pen.box(left + 6, top + 4, 78, 76, theme.paper, 0.75, 3)
    legend(pen, theme, names[::-1], hues[:5][::-1], left + 12, top + 14)
    return pen.done()


PAINTINGS = (
    bar_chart,
    line_chart,
    pie_chart,
    scatter_plot,
    area_chart,
)
