"""A generator of random numbers and a size in; a windmill, a city at night or a church window out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Random, Size, blend, clouds, fill, jitter, pick
from pipeline.sample.pictures.countryside import fields
from pipeline.sample.pictures.pen import Pen


def windmill(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, crops = pick(
        rng,
        [
            (("#3f8ad0", "#b0d8f0", "#f4f4e6"), ["#88b448", "#d4c050"]),
            (("#3c3c78", "#d87c74", "#ffd490"), ["#7c6c38", "#a07c38"]),
            (("#6fa0bc", "#d0e0e0", "#f6f0de"), ["#c84848", "#d8a040", "#8c5cac", "#70a050"]),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[2])
    clouds(rng, pixels, "#ffffff", sky[1], 0.52)
    fields(rng, pixels, 0.66, 4, list(crops), sky[1])
    x, foot, tall = width * rng.uniform(0.36, 0.64), height * 0.8, height * 0.42
    wall = pick(rng, ["#f2ead8", "#c88a60", "#d8d4cc"])
    fill(pixels, brush.ring(x + tall * 0.5, foot + tall * 0.02, tall * 0.8, tall * 0.07), "#10180c", alpha=0.35)
    fill(
        pixels,
        [
            (x - tall * 0.24, foot),
            (x + tall * 0.24, foot),
            (x + tall * 0.15, foot - tall),
            (x - tall * 0.15, foot - tall),
        ],
        blend(wall, "#ffffff", 0.2),
        blend(wall, "#201418", 0.6),
        angle=0,
    )
    fill(pixels, brush.ring(x, foot - tall, tall * 0.17, tall * 0.17, 180, 360), "#5c4438", "#241a18", angle=0)
    for up, wide in ((0.32, 0.05), (0.68, 0.04)):
        fill(
            pixels,
            [
                (x - wide * tall, foot - tall * (up + 0.08)),
                (x + wide * tall, foot - tall * (up + 0.08)),
                (x + wide * tall, foot - tall * (up - 0.06)),
                (x - wide * tall, foot - tall * (up - 0.06)),
            ],
            "#2c2a30",
        )
    fill(
        pixels,
        [
            (x - tall * 0.055, foot),
            (x + tall * 0.055, foot),
            (x + tall * 0.055, foot - tall * 0.17),
            (x - tall * 0.055, foot - tall * 0.17),
        ],
        "#4a3020",
    )
    pen = Pen(pixels, size)
    turn, hub, reach = rng.uniform(0, math.pi / 2), foot - tall * 0.98, tall * 0.82
    for sail in range(4):
        along = np.array([math.cos(turn + sail * math.pi / 2), math.sin(turn + sail * math.pi / 2)])
        side = np.array([-along[1], along[0]]) * tall * 0.15
        root, tip = np.array([x, hub]) + along * reach * 0.2, np.array([x, hub]) + along * reach
        pen.polygon([tuple(root), tuple(tip), tuple(tip + side), tuple(root + side)], "#fbf6e8", 0.85)
        for rung in np.linspace(0, 1, 8):
            place = root + (tip - root) * rung
            pen.line([tuple(place), tuple(place + side)], "#6a4c34", height / 260)
        pen.line([tuple(root + side * 0.5), tuple(tip + side * 0.5)], "#6a4c34", height / 300)
        pen.line([(x, hub), tuple(tip)], "#3f2a1c", height / 90)
    pen.disc(x, hub, tall * 0.045, "#2c1e16")
    return pen.done()


def skyline(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, lamp = pick(
        rng,
        [
            (("#0c1440", "#4c3474", "#e0687c", "#ffc48c"), "#ffe08c"),
            (("#081828", "#1c4460", "#5c94a0", "#e8d4a4"), "#fff0b0"),
            (("#180c2c", "#4c1c4c", "#b83c5c", "#ff9c5c"), "#ffd07c"),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[3])
    brush.stars(rng, pixels, 80, 0.35)
    shore = round(height * 0.8)
    for layer in range(3):
        near, x = layer / 2, -height * 0.05 * float(rng.random())
        tone = blend(blend(sky[1], sky[2], 0.5), "#0a0c1c", 0.3 + 0.33 * layer)
        while x < width:
            wide, tall = height * rng.uniform(0.06, 0.13), height * rng.uniform(0.14, 0.36) * (1.25 - 0.3 * near)
            centre = math.exp(-(((x + wide / 2) / width - 0.5) ** 2) / 0.06)
            tall *= 0.75 + 0.75 * centre
            top, kind = shore - tall, int(rng.integers(5))
            body = jitter(rng, tone, 0.02)
            if kind == 0:
                fill(pixels, [(x + wide * 0.2, top), (x + wide * 0.5, top - wide * 0.7), (x + wide * 0.8, top)], body)
                fill(
                    pixels,
                    [
                        (x + wide * 0.48, top - wide * 0.6),
                        (x + wide * 0.52, top - wide * 0.6),
                        (x + wide * 0.505, top - wide * 1.3),
                    ],
                    body,
                )
            elif kind == 1:
                fill(pixels, brush.ring(x + wide / 2, top, wide * 0.42, None, 180, 360), body)
            elif kind == 2:
                fill(
                    pixels,
                    [
                        (x + wide * 0.2, top),
                        (x + wide * 0.2, top - wide * 0.3),
                        (x + wide * 0.8, top - wide * 0.3),
                        (x + wide * 0.8, top),
                    ],
                    body,
                )
            fill(pixels, [(x, shore), (x, top), (x + wide, top), (x + wide, shore)], body, blend(body, sky[2], 0.16))
            x0, x1, y0 = max(0, int(x + wide * 0.1)), min(width, int(x + wide * 0.92)), max(0, int(top + wide * 0.12))
            pane = max(2.0, height * (0.012 + 0.004 * near))
            if x1 > x0 and shore > y0:
                across, down = np.arange(x1 - x0)[None, :] / pane, np.arange(shore - y0)[:, None] / pane / 1.3
                lit = (rng.random((int(down.max()) + 1, int(across.max()) + 1)) < 0.26 + 0.14 * near).astype(np.float32)
                lit *= rng.uniform(0.5, 1, lit.shape).astype(np.float32)
                frame = ((across % 1) > 0.3) & ((down % 1) > 0.38)
                brush.cover(
                    pixels[y0:shore, x0:x1],
                    (lit[down.astype(int), across.astype(int)] * frame * (0.35 + 0.3 * layer)).astype(np.float32),
                    lamp,
                )
            x += wide * rng.uniform(0.9, 1.25)
    deep = height - shore
    source = np.clip(shore - 1 - np.arange(deep) * 2.6, 0, shore - 1).astype(int)
    ripple = brush.noise(rng, (width, deep), 14, 3, stretch=6)
    columns = np.clip(np.arange(width)[None, :] + (ripple - 0.5) * height * 0.035, 0, width - 1).astype(int)
    pixels[shore:] = (pixels[source[:, None], columns] * 0.62 + brush.rgb(sky[0]) * 0.22) * (0.75 + 0.5 * ripple)[
        ..., None
    ]
    return brush.image_of(pixels)


def rose_window(rng: Random, size: Size) -> Image.Image:
    hues = pick(
        rng,
        [
            ("#1c3c9c", "#b81c34", "#e8b02c", "#1c7c5c", "#6c2c8c"),
            ("#0c5c8c", "#d8542c", "#f0d050", "#8c1c4c", "#3c8c7c"),
            ("#3c2c8c", "#9c1c2c", "#48a0d8", "#e0982c", "#2c6c3c"),
        ],
    )
    stone, lead = pick(rng, [("#3c3834", "#14120f"), ("#2c3038", "#0c0e14"), ("#4c4238", "#1a140e")])
    width, height = size
    wall = (
        brush.gradient(size, blend(stone, "#ffffff", 0.12), stone)
        * (0.7 + 0.6 * brush.noise(rng, size, 12, 4, 0.7))[..., None]
    )
    pen = Pen(wall, size, (300, 300))
    fold, x, y = pick(rng, [8, 10, 12, 16]), 150.0, 150.0
    pen.disc(x, y, 145, blend(stone, "#ffffff", 0.3), edge=lead, width=2)
    pen.disc(x, y, 136, lead)

    def glass(points: brush.Points, hue: int) -> None:
        pen.polygon(points, jitter(rng, hues[hue % 5], 0.07), edge=lead, width=1.6)

    def ring_of(count: int, inner: float, outer: float, cuts: int, first: int) -> None:
        for sector in range(count):
            for cut in range(cuts):
                a, b = (360 * (sector + (cut + k) / cuts) / count - 90 for k in (0, 1))
                for depth in range(3):
                    r0, r1 = inner + (outer - inner) * depth / 3, inner + (outer - inner) * (depth + 1) / 3
                    glass(
                        [*brush.ring(x, y, r1, None, a, b, 8), *brush.ring(x, y, r0, None, b, a, 8)],
                        first + (sector + depth + cut) % 3,
                    )

    ring_of(fold, 98, 133, 3, 0)
    ring_of(fold, 36, 96, 2, 1)
    for sector in range(fold):
        a = math.radians(360 * (sector + 0.5) / fold - 90)
        cx, cy, big = x + 114 * math.cos(a), y + 114 * math.sin(a), 15.0 * min(1, 10 / fold) + 3
        pen.disc(cx, cy, big + 2.5, blend(stone, "#ffffff", 0.2), edge=lead, width=1)
        for part in range(6):
            glass([(cx, cy), *brush.ring(cx, cy, big, None, part * 60, part * 60 + 60, 7)], part + sector)
        pen.disc(cx, cy, big * 0.35, hues[2], edge=lead, width=1)
        petal = [
            (x + r * math.cos(a + w * math.pi / fold), y + r * math.sin(a + w * math.pi / fold))
            for r, w in ((42, 0), (58, 0.4), (74, 0.62), (86, 0.5), (94, 0), (86, -0.5), (74, -0.62), (58, -0.4))
        ]
        pen.polygon(petal, jitter(rng, hues[(sector % 2) * 2], 0.05), edge=blend(stone, "#ffffff", 0.25), width=3)
        pen.polygon(
            [
                (x + r * math.cos(a + w * math.pi / fold), y + r * math.sin(a + w * math.pi / fold))
                for r, w in ((56, 0), (74, 0.34), (86, 0), (74, -0.34))
            ],
            jitter(rng, hues[1 + sector % 2 * 2], 0.05),
            edge=lead,
            width=1.4,
        )
        edge = math.radians(360 * sector / fold - 90)
        pen.line(
            [(x + 34 * math.cos(edge), y + 34 * math.sin(edge)), (x + 134 * math.cos(edge), y + 134 * math.sin(edge))],
            blend(stone, "#ffffff", 0.25),
            3.6,
        )
    for radius, thick in ((135, 5), (97, 5), (36, 5)):
        pen.disc(x, y, radius, None, edge=blend(stone, "#ffffff", 0.25), width=thick)
    for part in range(fold):
        glass([(x, y), *brush.ring(x, y, 32, None, part * 360 / fold, (part + 1) * 360 / fold, 8)], part % 2 * 2)
    pen.disc(x, y, 12, hues[1], edge=lead, width=2)
    pixels = np.asarray(pen.done(), np.float32) / 255
    columns, rows = brush.grid(size)
    away = np.hypot(
        columns - np.float32(width * rng.uniform(0.4, 0.6)), rows - np.float32(height * rng.uniform(0.35, 0.55))
    ) / min(width, height)
    pane = brush.noise(rng, size, 26, 3, 0.7)
    light = (0.72 + 0.75 * np.exp(-((away / 0.34) ** 2))) * (0.86 + 0.28 * pane)
    return brush.image_of(pixels * light[..., None])


PAINTINGS = (
    windmill,
    skyline,
    rose_window,
)
