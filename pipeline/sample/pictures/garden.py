"""A generator of random numbers and a size in; plants of the garden out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Random, Size, ball, blend, fill, jitter, pick
from pipeline.sample.pictures.pen import Pen


def sunflower(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, petal, seed = pick(
        rng,
        [
            (("#5ca4e0", "#cfe8f4"), "#f8c020", "#4c2c14"),
            (("#6c8c4c", "#c8d89c"), "#f09420", "#3c2010"),
            (("#c87c5c", "#fbe0b8"), "#f4d048", "#5c3c1c"),
            (("#2c3c5c", "#7c8cac"), "#e8862c", "#2c180c"),
        ],
    )
    pixels = brush.gradient(size, *sky)
    for _ in range(16):
        brush.glow(
            pixels,
            rng.uniform(0, width),
            rng.uniform(0, height),
            height * rng.uniform(0.04, 0.09),
            jitter(rng, blend(sky[1], "#a8c868", 0.4), 0.1),
            0.3,
        )
    pen, unit = Pen(pixels, size), min(width, height)
    x, y, disc = width * rng.uniform(0.45, 0.55), height * rng.uniform(0.45, 0.52), unit * rng.uniform(0.2, 0.24)
    pen.line([(x, y), (x + unit * 0.04, height * 0.8), (x + unit * 0.02, height * 1.1)], "#3c6c2c", unit * 0.05)
    pen.line(
        [(x - unit * 0.012, y), (x + unit * 0.028, height * 0.8), (x + unit * 0.008, height * 1.1)],
        "#6c9c44",
        unit * 0.015,
    )
    for side in (-1, 1):
        leaf = [
            (x, height * 0.96),
            (x + side * unit * 0.15, height * 0.8),
            (x + side * unit * 0.42, height * 0.8),
            (x + side * unit * 0.3, height * 0.94),
            (x + side * unit * 0.1, height * 1.0),
        ]
        pen.polygon(leaf, jitter(rng, "#4c8438"), edge="#2c5420", width=unit * 0.005)
    count = int(rng.integers(17, 24))
    for layer, (long, tone) in enumerate(((0.205, 0.3), (0.19, 0.12), (0.16, 0.0))):
        for index in range(count):
            a = 2 * math.pi * (index + layer / 3 + rng.uniform(-0.12, 0.12)) / count
            reach = disc + unit * long * rng.uniform(0.85, 1.12)
            colour = jitter(rng, blend(petal, "#a84c10", tone), 0.04)
            wide = 0.62 * math.pi / count * 1.5
            t = np.linspace(0, 1, 10)
            out, half = disc * 0.8 + (reach - disc * 0.8) * t, wide * np.sin(np.pi * t**0.75) ** 0.8 * (1 - 0.35 * t)
            left, right = (
                [(x + r * math.cos(a + h), y + r * math.sin(a + h)) for r, h in zip(out, half, strict=True)],
                [(x + r * math.cos(a - h), y + r * math.sin(a - h)) for r, h in zip(out, half, strict=True)],
            )
            middle = [(x + r * math.cos(a), y + r * math.sin(a)) for r in out]
            pen.polygon([*left, *right[::-1]], colour)
            pen.polygon([*middle, *right[::-1]], blend(colour, "#8c3c08", 0.22))
    pen.disc(x, y, disc * 1.06, blend(seed, "#000000", 0.4))
    # The golden angle sets seeds so that the eye sees Fibonacci numbers of spirals (Vogel 1979).
    for index in range(420, 0, -1):
        a, r = index * math.pi * (3 - math.sqrt(5)), disc * math.sqrt(index / 420)
        part = r / disc
        hue = blend(blend("#7c8c34", seed, min(1, part * 2.4)), "#d8942c", max(0.0, part - 0.72) * 2.6)
        px, py, big = x + r * math.cos(a), y + r * math.sin(a), disc * (0.028 + 0.022 * part)
        pen.disc(px, py, big, blend(hue, "#000000", 0.35))
        pen.disc(px - big * 0.2, py - big * 0.25, big * 0.66, blend(hue, "#fff0b0", 0.18))
    return pen.done()


def fern(rng: Random, size: Size) -> Image.Image:
    width, height = size
    back, leaf = pick(
        rng,
        [
            (("#10241a", "#2c4c34"), ("#3c8c3c", "#a8d860")),
            (("#f4f0e0", "#dcd8bc"), ("#2c5c34", "#6c9c44")),
            (("#1c2c34", "#3c5c5c"), ("#4ca080", "#b0e8b8")),
            (("#3c2818", "#6c4c2c"), ("#7c9c34", "#e0d068")),
        ],
    )
    pixels = brush.gradient(size, *back)
    brush.cover(pixels, np.clip(brush.noise(rng, size, 5, 3) * 1.6 - 0.6, 0, 1) * 0.35, blend(back[1], leaf[1], 0.35))
    pen = Pen(pixels, size)
    for frond in range(3):
        blur, main = (0.62, False) if frond < 2 else (0.0, True)
        foot = (width * (0.5 if main else rng.uniform(0.1, 0.9)), height * 1.05)
        bend, tall = pick(rng, [-1, 1]) * rng.uniform(0.15, 0.4), height * (1.02 if main else rng.uniform(0.7, 0.95))
        pairs = 24
        t = np.linspace(0, 1, pairs)
        spine_x, spine_y = foot[0] + bend * height * t**2.2, foot[1] - tall * t * (1 - 0.06 * t)
        stem = blend(blend(leaf[0], "#2c1c0c", 0.4), back[1], blur)
        pen.line(np.stack([spine_x, spine_y], -1), stem, height * 0.008)
        for i in range(2, pairs):
            heading = math.atan2(spine_y[i] - spine_y[i - 1], spine_x[i] - spine_x[i - 1])
            long = height * 0.3 * math.sin(math.pi * (0.14 + 0.86 * t[i])) ** 0.85 * (1.06 - t[i])
            for side in (-1, 1):
                way = heading + side * (1.22 - 0.35 * t[i])
                tone = blend(
                    blend(jitter(rng, leaf[0], 0.04), leaf[1], float(t[i]) * 0.6 + (0.2 if side < 0 else 0)),
                    back[1],
                    blur,
                )
                parts = max(3, int(long / height * 46))
                droop = -side * 0.3
                tips = (spine_x[i] + long * math.cos(way + droop), spine_y[i] + long * math.sin(way + droop))
                pen.line([(spine_x[i], spine_y[i]), tips], stem, height * 0.003)
                for j in range(parts):
                    s = (j + 0.5) / parts
                    bx, by = (
                        spine_x[i] + long * s * math.cos(way + droop * s),
                        spine_y[i] + long * s * math.sin(way + droop * s),
                    )
                    small = long * 0.21 * (1 - s) ** 0.65 + height * 0.004
                    for flank in (-1, 1):
                        tip = way + droop * s + flank * 1.05
                        pen.polygon(
                            [
                                (bx, by),
                                (bx + small * math.cos(tip - 0.3) * 0.6, by + small * math.sin(tip - 0.3) * 0.6),
                                (bx + small * math.cos(tip), by + small * math.sin(tip)),
                                (bx + small * math.cos(tip + 0.35) * 0.55, by + small * math.sin(tip + 0.35) * 0.55),
                            ],
                            tone if flank < 0 else blend(tone, "#000000", 0.14),
                        )
    return pen.done()


def vegetable_bed(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, soil = pick(
        rng,
        [
            (("#7cbce8", "#dceef4"), ("#7c5434", "#4c3020")),
            (("#f0c8a0", "#fbecd4"), ("#6c4838", "#3c2820")),
            (("#a8bcc8", "#e8ecec"), ("#5c4c3c", "#342c24")),
        ],
    )
    pixels = brush.gradient(size, *sky, sky[1])
    horizon = height * 0.32
    brush.ground(
        pixels,
        horizon - height * (0.06 + 0.03 * brush.curve(rng, width, 9, 3, 0.6, smooth=True)),
        "#5c8c44",
        "#2c5428",
        0.75 + 0.5 * brush.noise(rng, size, 20, 3),
    )
    for board in np.arange(0, width, height * 0.075):
        tone = jitter(rng, "#c8b08c", 0.05)
        fill(
            pixels,
            [
                (board, horizon),
                (board, horizon - height * 0.1),
                (board + height * 0.03, horizon - height * 0.125),
                (board + height * 0.06, horizon - height * 0.1),
                (board + height * 0.06, horizon),
            ],
            tone,
            blend(tone, "#000000", 0.35),
            angle=0,
        )
    grain = 0.65 + 0.7 * brush.noise(rng, size, 30, 4, 0.75, stretch=2)
    brush.ground(pixels, np.full(width, horizon, np.float32), soil[0], soil[1], grain)
    kinds = [str(k) for k in rng.permutation(["cabbage", "carrot", "lettuce", "beet", "cabbage"])]
    rows = 5
    for row in range(rows):
        near = (row + 0.6) / rows
        y, gap = horizon + (height - horizon) * near**1.35, height * (0.085 + 0.13 * near)
        fill(
            pixels,
            [(0, y - gap * 0.12), (width, y - gap * 0.12), (width, y + gap * 0.3), (0, y + gap * 0.3)],
            soil[1],
            soil[0],
            alpha=0.55,
            grain=grain,
        )
        step = gap * {"cabbage": 1.15, "lettuce": 1.0}.get(kinds[row], 0.66)
        for x in np.arange(-step * rng.random(), width + step, step):
            px, py, big = (
                x + rng.uniform(-0.08, 0.08) * step,
                y + rng.uniform(-0.05, 0.05) * gap,
                gap * rng.uniform(0.4, 0.48),
            )
            fill(pixels, brush.ring(px + big * 0.3, py + big * 0.25, big * 1.1, big * 0.3), "#0c0804", alpha=0.3)
            if kinds[row] == "cabbage":
                tone = jitter(rng, "#6ca878", 0.05)
                for a in np.linspace(0.1, 2 * math.pi, 7):
                    ball(
                        pixels,
                        px + big * 0.55 * math.cos(a),
                        py - big * 0.15 + big * 0.32 * math.sin(a),
                        big * 0.5,
                        blend(tone, "#245c40", 0.3),
                        shine=0,
                    )
                ball(
                    pixels,
                    px,
                    py - big * 0.32,
                    big * 0.56,
                    blend(tone, "#e8f4c0", 0.35),
                    shine=0.1,
                    bump=lambda u, v: 1 + 0.09 * np.sin(u * 9 + v * 4),
                )
            elif kinds[row] == "lettuce":
                for ring, count in ((1.0, 8), (0.6, 5)):
                    for a in np.linspace(0, 2 * math.pi, count):
                        ball(
                            pixels,
                            px + big * 0.55 * ring * math.cos(a),
                            py - big * 0.25 * (2 - ring) + big * 0.2 * ring * math.sin(a),
                            big * 0.3,
                            jitter(rng, blend("#b4dc54", "#4c8c2c", ring * 0.6), 0.03),
                            shine=0,
                        )
            else:
                root, top = ("#e8782c", "#5ca43c") if kinds[row] == "carrot" else ("#8c2448", "#5c7c3c")
                ball(pixels, px, py, big * (0.22 if kinds[row] == "carrot" else 0.34), root, shine=0.2)
                for a in np.linspace(-2.3, -0.85, 5):
                    tip = (
                        px + big * 1.5 * math.cos(a) * rng.uniform(0.7, 1.1),
                        py + big * 1.6 * math.sin(a) * rng.uniform(0.75, 1.1),
                    )
                    fill(
                        pixels,
                        [
                            (px - big * 0.05, py - big * 0.1),
                            (px * 0.45 + tip[0] * 0.55 - big * 0.13, py * 0.45 + tip[1] * 0.55),
                            tip,
                            (px * 0.45 + tip[0] * 0.55 + big * 0.13, py * 0.45 + tip[1] * 0.55),
                        ],
                        jitter(rng, top, 0.05),
                    )
    return brush.image_of(pixels)


PAINTINGS = (
    sunflower,
    fern,
    vegetable_bed,
)
