"""A generator of random numbers and a size in; a labelled diagram of sun, moon, planets or a telescope out."""

import math
from functools import partial

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Field, Random, Size, blend, pick
from pipeline.sample.pictures.pen import Pen

SHEET = (400, 300)


def stage_of(size: Size) -> tuple[float, float, float]:
    """Scale, left and top of a sheet of 400 by 300 centred in the picture, as the Pen lays it."""
    scale = min(size[0] / 400, size[1] / 300)
    return scale, (size[0] - 400 * scale) / 2, (size[1] - 300 * scale) / 2


def _bands(count: int, u: Field, v: Field) -> Field:
    return np.asarray(1 + 0.16 * np.sin(v * count + u), np.float32)


def solar_system(rng: Random, size: Size) -> Image.Image:
    width, _height = size
    scale, left, top = stage_of(size)
    pixels = brush.gradient(size, *pick(rng, [("#060a1c", "#101c3c"), ("#0c0618", "#281438"), ("#04121a", "#0c2c3a")]))
    brush.stars(rng, pixels, 150)
    x, y, flat = left + scale * 46, top + scale * 165, rng.uniform(0.4, 0.55)
    worlds = (
        ("Mercury", 40, 3.4, "#b8a490"),
        ("Venus", 68, 5.6, "#ecc87c"),
        ("Earth", 100, 6, "#4c8ce0"),
        ("Mars", 132, 4.6, "#d8643c"),
        ("Jupiter", 186, 15, "#d8a878"),
        ("Saturn", 240, 12, "#e8cf94"),
        ("Uranus", 288, 8.6, "#8cd8dc"),
        ("Neptune", 330, 8.4, "#4c70e0"),
    )
    columns, rows = brush.grid(size)
    span = np.hypot(columns - x, (rows - y) / np.float32(flat))
    reaches = np.array([world[1] for world in worlds]) * scale
    fine = np.linspace(0, reaches[-1] + 20, 4000)
    nearest = np.abs(fine[:, None] - reaches).min(1)
    orbit = np.clip(0.9 * scale - np.interp(span, fine, nearest), 0, 1).astype(np.float32)
    brush.cover(
        pixels, orbit * 0.6, brush.ramp(np.clip(span / reaches[-1], 0, 1), "#e0b870", "#b87858", "#80a8d8", "#6080e0")
    )
    brush.glow(pixels, x, y, 50 * scale, "#ffcf5c", 0.75)
    brush.ball(pixels, x, y, 23 * scale, "#ffc63c", (0, 0), 0.3)
    places = []
    for index, (name, reach, radius, hue) in enumerate(worlds):
        angle = math.radians(rng.uniform(14, 48) * (1 if index % 2 else -1) * (1 if index < 4 else 0.75))
        px, py = x + reach * scale * math.cos(angle), y + reach * scale * flat * math.sin(angle)
        if name == "Saturn":
            for gap in (2.2, 1.9, 1.6):
                brush.disc(pixels, px, py, radius * scale * gap, blend(hue, "#6c5c40", gap - 1.5), 0.7, 0.3)
        brush.ball(
            pixels,
            px,
            py,
            radius * scale,
            hue,
            (-0.75, -0.1),
            0.1,
            partial(_bands, 4 + 2 * index),
        )
        places.append((name, px, py + (radius + 9) * scale * (1 if index % 2 else -1)))
    pen = Pen(pixels, size)
    for name, px, py in places:
        pen.text(px, py, name, 9.5 * scale, "#e8ecf4", halo="#0a1024")
    pen.text(left + 46 * scale, top + 205 * scale, "Sun", 11 * scale, "#ffe49c")
    pen.text(width / 2, top + 22 * scale, "The planets and their orbits", 14 * scale, "#f4f4fa")
    return pen.done()


def moon_phases(rng: Random, size: Size) -> Image.Image:
    scale, left, top = stage_of(size)
    back, moon, ink = pick(
        rng,
        [
            (("#081028", "#1c2c50"), "#f4ecd0", "#dfe6f4"),
            (("#140c24", "#3c2450"), "#fbe4d0", "#f0e0f0"),
            (("#e8e4d8", "#d4ccb8"), "#fbf6e4", "#3c3428"),
        ],
    )
    pixels = brush.gradient(size, *back)
    light = sum(brush.rgb(back[0])) > 1.5
    if not light:
        brush.stars(rng, pixels, 90)
    names = (
        "New moon",
        "Waxing crescent",
        "First quarter",
        "Waxing gibbous",
        "Full moon",
        "Waning gibbous",
        "Last quarter",
        "Waning crescent",
    )
    face = brush.noise(rng, (160, 160), 4, 4)
    turn, east = rng.uniform(0, 1) < 0.5, math.radians(rng.uniform(-8, 8))
    centres = []
    for phase in range(8):
        angle = math.radians(180 - phase * 45 if turn else phase * 45) + east * 0
        cx, cy = (left + scale * (200 + 134 * math.cos(angle)), top + scale * (158 - 96 * math.sin(angle)))
        radius = 25 * scale
        part, dx, dy = brush.window(pixels, cx, cy, radius + 1)
        u, v = dx / radius, dy / radius
        z = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
        along = math.radians(phase * 45)
        lit = np.clip((u * math.sin(along) - z * math.cos(along)) * 5 + 0.12, 0, 1)
        spots = 1 - 0.4 * np.clip(
            (face[((v + 1) * 79).clip(0, 159).astype(int), ((u + 1) * 79).clip(0, 159).astype(int)] - 0.5) * 4, 0, 1
        )
        paint = brush.rgb(moon) * (0.14 + 0.86 * lit * spots * (0.8 + 0.2 * z))[..., None]
        brush.cover(
            part, np.clip((1 - np.hypot(u, v)) * radius + 0.5, 0, 1).astype(np.float32), paint.astype(np.float32)
        )
        centres.append((cx, cy))
    brush.ball(
        pixels,
        left + 200 * scale,
        top + 158 * scale,
        30 * scale,
        "#4a8ad8",
        (-0.6, -0.2),
        0.2,
        lambda u, v: 0.85 + 0.5 * (np.sin(u * 5 + v * 3) * np.cos(v * 4) > 0.25),
    )
    pen = Pen(pixels, size, SHEET)
    pen.line(brush.ring(200, 158, 134, 96, n=120), ink, 0.5, 0.35)
    for name, (cx, cy) in zip(names, centres, strict=True):
        pen.text((cx - left) / scale, (cy - top) / scale + 34, name, 9.5, ink)
    pen.text(200, 200, "Earth", 10.5, ink)
    pen.text(200, 18, "The phases of the moon", 15, ink)
    return pen.done()


def telescope(rng: Random, size: Size) -> Image.Image:
    paper, ink, tube, ray = pick(
        rng,
        [
            ("#f7f5ee", "#2c3440", "#3c5c84", "#e0982c"),
            ("#10202e", "#dce8f0", "#8cb0c8", "#ffd45c"),
            ("#f0f4f0", "#24382c", "#4c7c60", "#d0562c"),
        ],
    )
    pen = Pen(brush.gradient(size, paper, blend(paper, tube, 0.12)), size, SHEET)
    pen.text(
        200,
        284,
        pick(rng, ["A reflecting telescope", "How a reflector gathers light", "The path of light in a telescope"]),
        15,
        ink,
    )
    mirror_x, side = 330.0, rng.uniform(118, 165)
    pen.box(60, 90, 300, 9, tube, corner=2)
    pen.box(60, 201, 300, 9, tube, corner=2)
    pen.box(60, 99, 300, 102, blend(tube, paper, 0.82))
    pen.box(352, 90, 10, 120, tube, corner=3)
    arc = [(mirror_x + 16 - 15 * ((y - 150) / 48) ** 2, y) for y in np.linspace(102, 198, 30)]
    pen.polygon([*arc, (350, 198), (350, 102)], blend("#b4d4ec", tube, 0.2), edge=ink, width=1)
    pen.polygon(
        [(side - 3, 133), (side + 30, 166), (side + 33, 162), (side + 1, 130)],
        blend("#b4d4ec", ink, 0.3),
        edge=ink,
        width=0.8,
    )
    pen.box(side - 2, 60, 34, 32, tube, corner=2)
    pen.box(side + 3, 46, 24, 16, blend(tube, ink, 0.4), corner=2)
    focus = (side + 15, 70)
    for y in (110, 124, 176, 190):
        hit = (mirror_x + 16 - 15 * ((y - 150) / 48) ** 2, y)
        bounce = (side + 15 + (y - 150) * 0.2, 148 + (y - 150) * 0.2)
        pen.line([(20, y), hit, bounce], ray, 1.3)
        pen.arrow(20, y, 96, y, ray, 1.3)
        pen.line([bounce, focus], ray, 1.3)
    pen.line([focus, (focus[0], 44)], ray, 1.5)
    pen.disc(focus[0], 31, 9, "#ffffff", edge=ink, width=1, flat=0.62)
    pen.disc(focus[0], 31, 3.5, ink)
    for words, x, y, tx, ty in (
        ("primary mirror", 344, 200, 325, 236),
        ("flat mirror", side + 22, 160, side + 60, 236),
        ("eyepiece", side + 28, 56, side + 85, 62),
        ("light from a star", 40, 190, 62, 236),
        ("tube", 250, 206, 250, 258),
    ):
        pen.line([(x, y), (tx, ty - 7 if ty > 100 else ty)], ink, 0.8)
        pen.text(tx, ty, words, 11, ink, halo=paper)
    return pen.done()


def sundial(rng: Random, size: Size) -> Image.Image:
    _width, _height = size
    scale, left, top = stage_of(size)
    grass, stone, dark = pick(
        rng, [("#7ca050", "#dcd4c0", "#5c5448"), ("#b49c74", "#e4dccc", "#54483c"), ("#6c8c6c", "#c8ccc8", "#3c4448")]
    )
    pixels = (
        brush.gradient(size, grass, blend(grass, "#1c2c14", 0.2))
        * (0.7 + 0.6 * brush.noise(rng, size, 40, 3, 0.8))[..., None]
    )
    x, y, radius = left + 200 * scale, top + 152 * scale, 130 * scale
    brush.disc(pixels, x + 7 * scale, y + 9 * scale, radius * 1.03, "#0c1408", 0.45)
    grain = 0.86 + 0.28 * brush.noise(rng, size, 24, 4, 0.7)
    for reach, colour in (
        (1.0, blend(stone, dark, 0.25)),
        (0.97, stone),
        (0.76, blend(stone, dark, 0.12)),
        (0.745, blend(stone, "#ffffff", 0.2)),
    ):
        part, dx, dy = brush.window(pixels, x, y, radius * reach + 1)
        x0, y0 = max(0, math.floor(x - radius * reach - 1)), max(0, math.floor(y - radius * reach - 1))
        paint = brush.rgb(colour) * grain[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1], None]
        brush.cover(part, np.clip(radius * reach - np.hypot(dx, dy) + 0.5, 0, 1), paint)
    pen = Pen(pixels, size, SHEET)
    hour, latitude = rng.uniform(7.5, 16.5), math.radians(48)
    lines = {h: math.atan(math.sin(latitude) * math.tan(math.radians((h - 12) * 15))) for h in range(7, 18)}
    numerals = ("VII", "VIII", "IX", "X", "XI", "XII", "I", "II", "III", "IIII", "V")
    cx, cy = 200.0, 196.0
    for (_, angle), words in zip(lines.items(), numerals, strict=True):
        turn = angle - math.pi / 2
        reach = 0.0
        while math.hypot(cx + reach * math.cos(turn) - 200, cy + reach * math.sin(turn) - 152) < 96:
            reach += 2
        pen.line(
            [
                (cx + 14 * math.cos(turn), cy + 14 * math.sin(turn)),
                (cx + reach * math.cos(turn), cy + reach * math.sin(turn)),
            ],
            dark,
            1,
        )
        pen.text(cx + (reach + 15) * math.cos(turn), cy + (reach + 15) * math.sin(turn), words, 13, dark)
    turn = math.atan(math.sin(latitude) * math.tan(math.radians((hour - 12) * 15))) - math.pi / 2
    tip = (cx + 108 * math.cos(turn), cy + 108 * math.sin(turn))
    pen.polygon([(cx, cy), (200, 104), tip], "#101418", 0.42)
    pen.polygon([(cx, cy + 3), (197.5, 100), (202.5, 100)], "#b08c3c", edge="#6c4c1c", width=0.8)
    for point in range(36):
        a = math.radians(point * 10)
        pen.line(
            [(200 + 120 * math.cos(a), 152 + 120 * math.sin(a)), (200 + 125 * math.cos(a), 152 + 125 * math.sin(a))],
            dark,
            0.8,
        )
    pen.text(
        200,
        250,
        pick(rng, ["I count the sunny hours", "The hours go, the light stays", "Noon comes to all"]),
        10.5,
        dark,
    )
    return pen.done()


PAINTINGS = (
    solar_system,
    moon_phases,
    telescope,
    sundial,
)
