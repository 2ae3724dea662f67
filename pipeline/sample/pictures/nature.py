"""A generator of random numbers and a size in; a diagram of water, a cell, wood or rock out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.astronomy import SHEET, stage_of
from pipeline.sample.pictures.brush import Random, Size, blend, fill, jitter, pick
from pipeline.sample.pictures.pen import Pen


def water_cycle(rng: Random, size: Size) -> Image.Image:
    width, height = size
    scale, left, top = stage_of(size)
    sky, land, sea, ink = pick(
        rng,
        [
            (("#7fc0ec", "#e4f2f8"), ("#8cbc5c", "#4f7c3c"), ("#4f9cd0", "#1c5484"), "#1c3450"),
            (("#b8dce0", "#fbf3dc"), ("#b4b46c", "#7c7440"), ("#5cb0ac", "#1f6068"), "#2a3c34"),
            (("#c4b4e0", "#fce4d4"), ("#94a87c", "#4c6050"), ("#7c94d0", "#34448c"), "#2c2848"),
        ],
    )
    pixels = brush.gradient(size, *sky)
    columns = np.arange(width, dtype=np.float32)
    rise = np.clip(((columns - left) / scale - 10) / 60, 0, 1) * np.clip((215 - (columns - left) / scale) / 120, 0, 1)
    peaks = top + scale * (212 - 120 * rise - 22 * brush.curve(rng, width, 6, 5, 0.5) * (0.3 + rise))
    brush.ground(pixels, peaks, "#8c8c9c", "#5c6068")
    rows = np.arange(height, dtype=np.float32)[:, None]
    brush.cover(
        pixels,
        np.clip(rows - peaks + 0.5, 0, 1)
        * np.clip((top + scale * (128 + 10 * brush.curve(rng, width, 30, 2)) - rows) / 2, 0, 1),
        "#ffffff",
    )
    brush.ground(
        pixels,
        top
        + scale
        * (
            208
            + 8 * brush.curve(rng, width, 2, 3, smooth=True)
            + 42 * np.clip(((columns - left) / scale - 200) / 120, 0, 1)
        ),
        *land,
    )
    brush.ground(
        pixels,
        top
        + scale * (236 + 1.4 * np.sin(columns / scale / 5) + 90 * np.clip((262 - (columns - left) / scale) / 50, 0, 1)),
        *sea,
    )
    brush.glow(pixels, left + scale * 352, top + scale * 42, scale * 46, "#fff3b0", 0.7)
    brush.ball(pixels, left + scale * 352, top + scale * 42, scale * 20, "#ffd84a", (0, 0), 0)
    for x, y, dark in ((120, 62, 0.45), (238, 56, 0.0)):
        for part in range(16):
            dx, dy = rng.uniform(-40, 40), rng.uniform(-9, 9)
            brush.ball(
                pixels,
                left + scale * (x + dx),
                top + scale * (y + dy),
                scale * (22 - abs(dx) / 3),
                blend("#ffffff", "#8c98ac", dark + 0.02 * (part % 3)),
                (-0.2, -0.7),
                0,
            )
    pen = Pen(pixels, size, SHEET)
    for _ in range(46):
        fx, fy = rng.uniform(84, 158), rng.uniform(88, 150)
        pen.line([(fx, fy), (fx - 2.5, fy + 8)], "#3f7cc0", 1.1)
    river = [(164, 203), (176, 205), (190, 207), (214, 214), (240, 228), (270, 244)]
    pen.line(river, sea[0], 7)
    for x in (285, 312, 339):
        for wave in (np.linspace(0, 1, 20),):
            pen.line(np.stack([x + 3.5 * np.sin(wave * 9), 228 - wave * 72], -1), "#ffffff", 1.6)
        pen.arrow(x + 1, 162, x, 148, "#ffffff", 1.8)
    pen.arrow(205, 34, 165, 34, ink, 2)
    pen.arrow(60, 262, 230, 282, blend(sea[0], "#ffffff", 0.35), 2)
    for words, x, y in (
        ("Evaporation", 318, 138),
        ("Condensation", 262, 88),
        ("Wind", 185, 24),
        ("Rain and snow", 58, 112),
        ("River", 196, 226),
        ("Ground water", 122, 256),
        ("Sea", 344, 262),
    ):
        pen.text(x, y, words, 12, ink, halo="#ffffff")
    return pen.done()


def plant_cell(rng: Random, size: Size) -> Image.Image:
    scale, left, top = stage_of(size)
    paper, wall, sap, ink = pick(
        rng,
        [
            ("#fbfaf2", "#6fa04c", "#bfe0f0", "#2c3c24"),
            ("#f4f6fa", "#3f8c7c", "#d4dcf4", "#1c3438"),
            ("#fdf6ee", "#8c9c3c", "#e4d8f0", "#3c3820"),
        ],
    )
    pixels = brush.gradient(size, paper, blend(paper, wall, 0.15))

    def outline(grow: float) -> list[tuple[float, float]]:
        corners = np.array(
            [(78, 62), (200, 52), (292, 66), (306, 150), (288, 246), (180, 256), (72, 240), (60, 150)], float
        )
        shape = corners[np.arange(9) % 8]
        t = np.linspace(0, 8, 160, endpoint=False)
        soft = np.stack([np.interp(t, np.arange(9), shape[:, i]) for i in (0, 1)], -1)
        kernel = np.ones(9) / 9
        soft = np.stack(
            [np.convolve(np.concatenate([soft[-4:, i], soft[:, i], soft[:4, i]]), kernel, "valid") for i in (0, 1)], -1
        )
        soft = (soft - [183, 155]) * grow + [183, 155]
        return [(left + scale * a, top + scale * b) for a, b in soft]

    for grow, colour, to in (
        (1.05, blend(wall, "#1c3010", 0.35), wall),
        (1.0, blend(wall, "#ffffff", 0.35), blend(wall, "#ffffff", 0.15)),
        (0.945, blend(wall, "#f8fff0", 0.78), blend(wall, "#f0ffe0", 0.6)),
    ):
        fill(pixels, outline(grow), colour, to, 60)
    vx, vy = rng.uniform(196, 212), rng.uniform(146, 160)
    wobble = 1 + 0.07 * np.sin(np.linspace(0, 6 * np.pi, 90) + rng.uniform(0, 6))
    lake = np.stack(
        [
            left + scale * (vx + 62 * wobble * np.cos(np.linspace(0, 2 * np.pi, 90))),
            top + scale * (vy + 58 * wobble * np.sin(np.linspace(0, 2 * np.pi, 90))),
        ],
        -1,
    )
    fill(pixels, lake, blend(sap, "#4c6c9c", 0.35))
    fill(pixels, (lake - lake.mean(0)) * 0.965 + lake.mean(0), blend(sap, "#ffffff", 0.5), sap, 50)
    nx, ny = left + scale * 108, top + scale * rng.uniform(108, 180)
    brush.ball(pixels, nx, ny, 27 * scale, pick(rng, ["#b888c4", "#d09a7c", "#8c94d0"]), shine=0.2)
    brush.ball(pixels, nx + 6 * scale, ny - 4 * scale, 9 * scale, "#6c4080", shine=0.2)
    spots: list[tuple[float, float]] = []
    for _ in range(600):
        a, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 0.9)
        x, y = 183 + 112 * reach * math.cos(a) * 1.02, 155 + 92 * reach * math.sin(a)
        if (
            len(spots) < 13
            and math.hypot(x - vx, y - vy) > 74
            and math.hypot(left + x * scale - nx, top + y * scale - ny) > 44 * scale
            and all(math.hypot(x - p, y - q) > 24 for p, q in spots)
        ):
            spots.append((x, y))
    for index, (x, y) in enumerate(spots):
        turn = rng.uniform(0, math.pi)
        body = "#3f8c34" if index % 4 else "#d88c3c"
        for big, tone in ((1.0, blend(body, "#000000", 0.35)), (0.84, body)):
            shape = brush.ring(0, 0, 12 * big, 7 * big)
            spun = np.stack(
                [
                    left
                    + scale * (x + np.asarray(shape)[:, 0] * math.cos(turn) - np.asarray(shape)[:, 1] * math.sin(turn)),
                    top
                    + scale * (y + np.asarray(shape)[:, 0] * math.sin(turn) + np.asarray(shape)[:, 1] * math.cos(turn)),
                ],
                -1,
            )
            fill(pixels, spun, blend(tone, "#ffffff", 0.25), tone, 60)
        for bar in (-4, 0, 4):
            fill(
                pixels,
                brush.ring(
                    left + scale * (x + bar * math.cos(turn)),
                    top + scale * (y + bar * math.sin(turn)),
                    1.6 * scale,
                    3 * scale,
                ),
                blend(body, "#000000", 0.3),
                alpha=0.7,
            )
    pen = Pen(pixels, size, SHEET)
    green = next((spot for i, spot in enumerate(spots) if i % 4), (250.0, 220.0))
    power = next((spot for i, spot in enumerate(spots) if i % 4 == 0), (120.0, 220.0))
    for words, x, y, ty in (
        ("cell wall", 302, 100, 66),
        ("vacuole", vx + 30, vy - 10, 112),
        ("chloroplast", *green, 158),
        ("mitochondrion", *power, 204),
        ("nucleus", (nx - left) / scale, (ny - top) / scale, 250),
    ):
        pen.line([(x, y), (318, ty)], ink, 0.9)
        pen.disc(x, y, 1.8, ink)
        pen.text(321, ty, words, 10.5, ink, "lm", halo=paper)
    pen.text(183, 24, "A plant cell", 15, ink)
    return pen.done()


def tree_rings(rng: Random, size: Size) -> Image.Image:
    width, height = size
    wood, bark, back = pick(
        rng,
        [
            (("#f0d4a0", "#a8692f"), "#3c281c", ("#6c7c54", "#3c4830")),
            (("#f4dcb8", "#b4583c"), "#4c2c24", ("#8c8474", "#4c463c")),
            (("#ead8b0", "#7c5a34"), "#2c2420", ("#4c5c64", "#20282c")),
        ],
    )
    pixels = brush.gradient(size, *back) * (0.75 + 0.5 * brush.noise(rng, size, 20, 4, 0.7))[..., None]
    columns, rows = brush.grid(size)
    unit = min(width, height)
    dx = (columns - np.float32(width * rng.uniform(0.46, 0.54))) / np.float32(unit)
    dy = (rows - np.float32(height * rng.uniform(0.47, 0.53))) / np.float32(unit)
    angle, reach = np.arctan2(dy, dx), np.hypot(dx, dy)
    turns = np.linspace(-math.pi, math.pi, 721)
    lobes = np.zeros(721)
    for k in range(1, 9):
        lobes += rng.uniform(0.01, 0.03) / k * np.sin(k * turns + rng.uniform(0, 6))
    wave = np.interp(angle, turns, lobes).astype(np.float32)
    warp = brush.noise(rng, size, 7, 3)
    radius = reach / (0.43 * (1 + wave * 2 * np.clip(reach * 3, 0, 1))) + (warp - 0.5) * np.float32(0.025)
    widths = np.clip(1 + 0.7 * brush.curve(rng, 34, 7, 3, 0.6), 0.25, 2) * np.linspace(1.5, 0.8, 34)
    edges = np.concatenate([[0], np.cumsum(widths) / widths.sum()]) * 0.92
    fine = np.linspace(0, 1.6, 3000)
    year = np.interp(fine, edges, np.arange(35))
    table = (0.16 + 0.7 * (year - np.floor(year)) ** 2.2 + 0.3 * np.clip(0.4 - fine, 0, 1)).astype(np.float32)
    tone = table[np.clip(radius * (2999 / 1.6), 0, 2999).astype(np.int16)]
    tone += np.clip(np.sin(angle * 90 + warp * 9) * 6 - 5.2, 0, 1) * np.float32(0.15)
    paint = brush.ramp(tone + np.float32(0.16) * (brush.noise(rng, size, 70, 2) - 0.5), *wood)
    for _ in range(int(rng.integers(2, 5))):
        split, far = rng.uniform(-math.pi, math.pi), rng.uniform(0.35, 0.95)
        turned = angle - np.float32(split) + (warp - 0.5) * np.float32(0.08)
        away = np.abs(turned - np.round(turned / np.float32(2 * math.pi)) * np.float32(2 * math.pi)) * radius
        paint *= (1 - 0.75 * np.clip((0.012 * np.clip(1 - radius / np.float32(far), 0, 1) - away) * 200, 0, 1))[
            ..., None
        ]
    rough = brush.noise(rng, size, 34, 3, 0.7)
    coat = brush.ramp(np.clip(rough, 0, 1), blend(bark, "#000000", 0.4), blend(bark, wood[1], 0.5))
    shadow = np.exp(-((np.clip(reach - 0.4, 0, 1) / 0.09) ** 2)) * 0.6
    pixels *= (1 - shadow)[..., None].astype(np.float32)
    brush.cover(
        pixels, np.clip((1.0 + 0.03 * (rough - 0.5) - radius) * unit * 0.43 + 0.5, 0, 1).astype(np.float32), coat
    )
    brush.cover(pixels, np.clip((0.92 - radius) * unit * 0.43 + 0.5, 0, 1).astype(np.float32), paint)
    return brush.image_of(pixels)


def rock_layers(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues, sky = pick(
        rng,
        [
            (("#d8b478", "#a86c44", "#e4cc9c", "#7c5c4c", "#c48c5c", "#94a08c", "#5c5458"), ("#a8d0e8", "#eef4f4")),
            (("#c4bca4", "#8c8c84", "#d8d4bc", "#64747c", "#a49c8c", "#b4a078", "#4c4c54"), ("#c8d4e0", "#f4f0e4")),
            (("#e0a080", "#b8604c", "#f0c8a4", "#8c4840", "#d48860", "#a87c74", "#5c3c44"), ("#f4d8b4", "#fdf4e4")),
        ],
    )
    pixels = brush.gradient(size, *sky)
    columns, rows = brush.grid(size)
    fault = (width * rng.uniform(0.45, 0.65) + (rows - height * 0.5) * rng.uniform(-0.45, 0.45)).astype(np.float32)
    throw = np.float32(height * rng.uniform(0.07, 0.12) * pick(rng, [-1, 1]))
    fold = height * 0.1 * brush.curve(rng, width, 1.6, 2, 0.3, smooth=True)[None, :]
    depth = ((rows - fold - throw * (columns > fault)) / height).astype(np.float32)
    grain, fine = brush.noise(rng, size, 16, 3, stretch=5), brush.noise(rng, size, 70, 2)
    starts = 0.2 + np.concatenate([[0], np.cumsum(rng.uniform(0.07, 0.17, 6))])
    deep = np.clip((depth + (grain - 0.5) * np.float32(0.012) + 0.5) * 2000, 0, 4999).astype(np.int16)
    scale = np.arange(5000) / 2000 - 0.5
    bed = np.searchsorted(starts, scale, "right") - 1
    hue = np.stack([brush.rgb(jitter(rng, hues[max(i, 0)], 0.02)) for i in range(7)])[np.maximum(bed, 0)]
    seam = np.abs(scale[:, None] - starts).min(1) * height
    hue = (
        hue
        * np.where(bed % 3 == 1, 0.93 + 0.1 * np.sin(scale * 420), 1)[:, None]
        * (1 - 0.55 * np.clip(1.6 - seam, 0, 1))[:, None]
    )
    flecks = (brush.noise(rng, size, 46, 1) > 0.72) & (bed % 3 == 2)[deep]
    paint = hue.astype(np.float32)[deep] * (0.9 + np.float32(0.2) * fine - np.float32(0.25) * flecks)[..., None]
    brush.cover(pixels, (bed >= 0)[deep].astype(np.float32), paint)
    brush.cover(pixels, np.clip(2 - np.abs(columns - fault), 0, 1) * (depth > starts[0]) * np.float32(0.8), "#241814")
    top = np.argmax(depth > starts[0] - 0.022, axis=0).astype(np.float32)
    turf = np.clip(rows - top + 0.5, 0, 1) * (depth < starts[0] + 0.012)
    brush.cover(pixels, turf.astype(np.float32), brush.ramp(fine, "#4c7434", "#8cb058"))
    pen, unit = Pen(pixels, size), height / 300
    for _ in range(9):
        x, y, wide = rng.uniform(0.06, 0.94) * width, rng.uniform(0.5, 0.93) * height, rng.uniform(6, 12) * unit
        t = np.linspace(0, 5.2 * math.pi, 70)
        coil = wide * np.exp(-t * 0.14)
        turn = rng.uniform(0, 6)
        pen.disc(x, y, wide * 1.06, "#e8dcc4", 0.9)
        pen.line(np.stack([x + coil * np.cos(t + turn), y + coil * np.sin(t + turn)], -1), "#5c4838", 1.3 * unit)
        for rib in range(16):
            a = turn + rib * 0.39
            pen.line(
                [
                    (x + wide * 0.62 * math.cos(a), y + wide * 0.62 * math.sin(a)),
                    (x + wide * 0.98 * math.cos(a + 0.12), y + wide * 0.98 * math.sin(a + 0.12)),
                ],
                "#5c4838",
                0.7 * unit,
            )
    return pen.done()


PAINTINGS = (
    water_cycle,
    plant_cell,
    tree_rings,
    rock_layers,
)
