"""A generator of random numbers and a size in; a labelled diagram of sky, earth or life out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pen, Pixels, Random, Size, blend, fill, jitter, pick

SHEET = (400, 300)


def _stage(size: Size) -> tuple[float, float, float]:
    """Scale, left and top of a sheet of 400 by 300 centred in the picture, as the Pen lays it."""
    scale = min(size[0] / 400, size[1] / 300)
    return scale, (size[0] - 400 * scale) / 2, (size[1] - 300 * scale) / 2


def water_cycle(rng: Random, size: Size) -> Image.Image:
    width, height = size
    scale, left, top = _stage(size)
    sky, land, sea, ink = pick(rng, [(("#7fc0ec", "#e4f2f8"), ("#8cbc5c", "#4f7c3c"), ("#4f9cd0", "#1c5484"), "#1c3450"), (("#b8dce0", "#fbf3dc"), ("#b4b46c", "#7c7440"), ("#5cb0ac", "#1f6068"), "#2a3c34"), (("#c4b4e0", "#fce4d4"), ("#94a87c", "#4c6050"), ("#7c94d0", "#34448c"), "#2c2848")])
    pixels = brush.gradient(size, *sky)
    columns = np.arange(width, dtype=np.float32)
    rise = np.clip(((columns - left) / scale - 10) / 60, 0, 1) * np.clip((215 - (columns - left) / scale) / 120, 0, 1)
    peaks = top + scale * (212 - 120 * rise - 22 * brush.curve(rng, width, 6, 5, 0.5) * (0.3 + rise))
    brush.ground(pixels, peaks, "#8c8c9c", "#5c6068")
    rows = np.arange(height, dtype=np.float32)[:, None]
    brush.cover(pixels, np.clip(rows - peaks + 0.5, 0, 1) * np.clip((top + scale * (128 + 10 * brush.curve(rng, width, 30, 2)) - rows) / 2, 0, 1), "#ffffff")
    brush.ground(pixels, top + scale * (208 + 8 * brush.curve(rng, width, 2, 3, smooth=True) + 42 * np.clip(((columns - left) / scale - 200) / 120, 0, 1)), *land)
    brush.ground(pixels, top + scale * (236 + 1.4 * np.sin(columns / scale / 5) + 90 * np.clip((262 - (columns - left) / scale) / 50, 0, 1)), *sea)
    brush.glow(pixels, left + scale * 352, top + scale * 42, scale * 46, "#fff3b0", 0.7)
    brush.ball(pixels, left + scale * 352, top + scale * 42, scale * 20, "#ffd84a", (0, 0), 0)
    for x, y, dark in ((120, 62, 0.45), (238, 56, 0.0)):
        for part in range(16):
            dx, dy = rng.uniform(-40, 40), rng.uniform(-9, 9)
            brush.ball(pixels, left + scale * (x + dx), top + scale * (y + dy), scale * (22 - abs(dx) / 3), blend("#ffffff", "#8c98ac", dark + 0.02 * (part % 3)), (-0.2, -0.7), 0)
    pen = Pen(pixels, size, SHEET)
    for _ in range(46):
        x, y = rng.uniform(84, 158), rng.uniform(88, 150)
        pen.line([(x, y), (x - 2.5, y + 8)], "#3f7cc0", 1.1)
    river = [(150, 178), (172, 196), (190, 205), (214, 214), (240, 228), (270, 244)]
    pen.line(river, sea[0], 7)
    for x in (285, 312, 339):
        for wave in (np.linspace(0, 1, 20),):
            pen.line(np.stack([x + 3.5 * np.sin(wave * 9), 228 - wave * 72], -1), "#ffffff", 1.6)
        pen.arrow(x + 1, 162, x, 148, "#ffffff", 1.8)
    pen.arrow(205, 34, 165, 34, ink, 2)
    pen.arrow(60, 262, 230, 282, blend(sea[0], "#ffffff", 0.35), 2)
    for words, x, y in (("Evaporation", 318, 138), ("Condensation", 262, 88), ("Wind", 185, 24), ("Rain and snow", 58, 112), ("River", 196, 226), ("Ground water", 122, 256), ("Sea", 344, 262)):
        pen.text(x, y, words, 12, ink, halo="#ffffff")
    return pen.done()


def solar_system(rng: Random, size: Size) -> Image.Image:
    width, height = size
    scale, left, top = _stage(size)
    pixels = brush.gradient(size, *pick(rng, [("#060a1c", "#101c3c"), ("#0c0618", "#281438"), ("#04121a", "#0c2c3a")]))
    brush.stars(rng, pixels, 150)
    x, y, flat = left + scale * 46, top + scale * 165, rng.uniform(0.4, 0.55)
    worlds = (("Mercury", 40, 3.4, "#b8a490"), ("Venus", 68, 5.6, "#ecc87c"), ("Earth", 100, 6, "#4c8ce0"), ("Mars", 132, 4.6, "#d8643c"), ("Jupiter", 186, 15, "#d8a878"), ("Saturn", 240, 12, "#e8cf94"), ("Uranus", 288, 8.6, "#8cd8dc"), ("Neptune", 330, 8.4, "#4c70e0"))
    columns, rows = brush.grid(size)
    span = np.hypot(columns - x, (rows - y) / np.float32(flat))
    reaches = np.array([world[1] for world in worlds]) * scale
    fine = np.linspace(0, reaches[-1] + 20, 4000)
    nearest = np.abs(fine[:, None] - reaches).min(1)
    orbit = np.clip(0.9 * scale - np.interp(span, fine, nearest), 0, 1).astype(np.float32)
    brush.cover(pixels, orbit * 0.6, brush.ramp(np.clip(span / reaches[-1], 0, 1), "#e0b870", "#b87858", "#80a8d8", "#6080e0"))
    brush.glow(pixels, x, y, 50 * scale, "#ffcf5c", 0.75)
    brush.ball(pixels, x, y, 23 * scale, "#ffc63c", (0, 0), 0.3)
    places = []
    for index, (name, reach, radius, hue) in enumerate(worlds):
        angle = math.radians(rng.uniform(14, 48) * (1 if index % 2 else -1) * (1 if index < 4 else 0.75))
        px, py = x + reach * scale * math.cos(angle), y + reach * scale * flat * math.sin(angle)
        if name == "Saturn":
            for gap in (2.2, 1.9, 1.6):
                brush.disc(pixels, px, py, radius * scale * gap, blend(hue, "#6c5c40", gap - 1.5), 0.7, 0.3)
        brush.ball(pixels, px, py, radius * scale, hue, (-0.75, -0.1), 0.1, lambda u, v, k=index: 1 + 0.16 * np.sin(v * (4 + 2 * k) + u))
        places.append((name, px, py + (radius + 9) * scale * (1 if index % 2 else -1)))
    pen = Pen(pixels, size)
    for name, px, py in places:
        pen.text(px, py, name, 9.5 * scale, "#e8ecf4", halo="#0a1024")
    pen.text(left + 46 * scale, top + 205 * scale, "Sun", 11 * scale, "#ffe49c")
    pen.text(width / 2, top + 22 * scale, "The planets and their orbits", 14 * scale, "#f4f4fa")
    return pen.done()


def moon_phases(rng: Random, size: Size) -> Image.Image:
    scale, left, top = _stage(size)
    back, moon, ink = pick(rng, [(("#081028", "#1c2c50"), "#f4ecd0", "#dfe6f4"), (("#140c24", "#3c2450"), "#fbe4d0", "#f0e0f0"), (("#e8e4d8", "#d4ccb8"), "#fbf6e4", "#3c3428")])
    pixels = brush.gradient(size, *back)
    light = sum(brush.rgb(back[0])) > 1.5
    if not light:
        brush.stars(rng, pixels, 90)
    names = ("New moon", "Waxing crescent", "First quarter", "Waxing gibbous", "Full moon", "Waning gibbous", "Last quarter", "Waning crescent")
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
        spots = 1 - 0.4 * np.clip((face[((v + 1) * 79).clip(0, 159).astype(int), ((u + 1) * 79).clip(0, 159).astype(int)] - 0.5) * 4, 0, 1)
        paint = brush.rgb(moon) * (0.14 + 0.86 * lit * spots * (0.8 + 0.2 * z))[..., None]
        brush.cover(part, np.clip((1 - np.hypot(u, v)) * radius + 0.5, 0, 1).astype(np.float32), paint.astype(np.float32))
        centres.append((cx, cy))
    brush.ball(pixels, left + 200 * scale, top + 158 * scale, 30 * scale, "#4a8ad8", (-0.6, -0.2), 0.2, lambda u, v: 0.85 + 0.5 * (np.sin(u * 5 + v * 3) * np.cos(v * 4) > 0.25))
    pen = Pen(pixels, size, SHEET)
    pen.line(brush.ring(200, 158, 134, 96, n=120), ink, 0.5, 0.35)
    for name, (cx, cy) in zip(names, centres, strict=True):
        pen.text((cx - left) / scale, (cy - top) / scale + 34, name, 9.5, ink)
    pen.text(200, 200, "Earth", 10.5, ink)
    pen.text(200, 18, "The phases of the moon", 15, ink)
    return pen.done()


def telescope(rng: Random, size: Size) -> Image.Image:
    paper, ink, tube, ray = pick(rng, [("#f7f5ee", "#2c3440", "#3c5c84", "#e0982c"), ("#10202e", "#dce8f0", "#8cb0c8", "#ffd45c"), ("#f0f4f0", "#24382c", "#4c7c60", "#d0562c")])
    pen = Pen(brush.gradient(size, paper, blend(paper, tube, 0.12)), size, SHEET)
    pen.text(200, 284, pick(rng, ["A reflecting telescope", "How a reflector gathers light", "The path of light in a telescope"]), 15, ink)
    mirror_x, side = 330.0, rng.uniform(118, 165)
    pen.box(60, 90, 300, 9, tube, corner=2)
    pen.box(60, 201, 300, 9, tube, corner=2)
    pen.box(60, 99, 300, 102, blend(tube, paper, 0.82))
    pen.box(352, 90, 10, 120, tube, corner=3)
    arc = [(mirror_x + 16 - 15 * ((y - 150) / 48) ** 2, y) for y in np.linspace(102, 198, 30)]
    pen.polygon([*arc, (350, 198), (350, 102)], blend("#b4d4ec", tube, 0.2), edge=ink, width=1)
    pen.polygon([(side - 3, 133), (side + 30, 166), (side + 33, 162), (side + 1, 130)], blend("#b4d4ec", ink, 0.3), edge=ink, width=0.8)
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
    for words, x, y, tx, ty in (("primary mirror", 344, 200, 325, 236), ("flat mirror", side + 22, 160, side + 60, 236), ("eyepiece", side + 28, 56, side + 85, 62), ("light from a star", 40, 190, 62, 236), ("tube", 250, 206, 250, 258)):
        pen.line([(x, y), (tx, ty - 7 if ty > 100 else ty)], ink, 0.8)
        pen.text(tx, ty, words, 11, ink, halo=paper)
    return pen.done()


def sundial(rng: Random, size: Size) -> Image.Image:
    width, height = size
    scale, left, top = _stage(size)
    grass, stone, dark = pick(rng, [("#7ca050", "#dcd4c0", "#5c5448"), ("#b49c74", "#e4dccc", "#54483c"), ("#6c8c6c", "#c8ccc8", "#3c4448")])
    pixels = brush.gradient(size, grass, blend(grass, "#1c2c14", 0.2)) * (0.7 + 0.6 * brush.noise(rng, size, 40, 3, 0.8))[..., None]
    x, y, radius = left + 200 * scale, top + 152 * scale, 130 * scale
    brush.disc(pixels, x + 7 * scale, y + 9 * scale, radius * 1.03, "#0c1408", 0.45)
    grain = 0.86 + 0.28 * brush.noise(rng, size, 24, 4, 0.7)
    for reach, colour in ((1.0, blend(stone, dark, 0.25)), (0.97, stone), (0.76, blend(stone, dark, 0.12)), (0.745, blend(stone, "#ffffff", 0.2))):
        part, dx, dy = brush.window(pixels, x, y, radius * reach + 1)
        x0, y0 = max(0, math.floor(x - radius * reach - 1)), max(0, math.floor(y - radius * reach - 1))
        paint = brush.rgb(colour) * grain[y0 : y0 + part.shape[0], x0 : x0 + part.shape[1], None]
        brush.cover(part, np.clip(radius * reach - np.hypot(dx, dy) + 0.5, 0, 1), paint)
    pen = Pen(pixels, size, SHEET)
    hour, latitude = rng.uniform(7.5, 16.5), math.radians(48)
    lines = {h: math.atan(math.sin(latitude) * math.tan(math.radians((h - 12) * 15))) + (0 if 6 < h < 18 else 0) for h in range(7, 18)}
    numerals = ("VII", "VIII", "IX", "X", "XI", "XII", "I", "II", "III", "IIII", "V")
    cx, cy = 200.0, 196.0
    for (_, angle), words in zip(lines.items(), numerals, strict=True):
        turn = angle - math.pi / 2
        reach = 0.0
        while math.hypot(cx + reach * math.cos(turn) - 200, cy + reach * math.sin(turn) - 152) < 96:
            reach += 2
        pen.line([(cx + 14 * math.cos(turn), cy + 14 * math.sin(turn)), (cx + reach * math.cos(turn), cy + reach * math.sin(turn))], dark, 1)
        pen.text(cx + (reach + 15) * math.cos(turn), cy + (reach + 15) * math.sin(turn), words, 13, dark)
    turn = math.atan(math.sin(latitude) * math.tan(math.radians((hour - 12) * 15))) - math.pi / 2
    tip = (cx + 108 * math.cos(turn), cy + 108 * math.sin(turn))
    pen.polygon([(cx, cy), (200, 104), tip], "#101418", 0.42)
    pen.polygon([(cx, cy + 3), (197.5, 100), (202.5, 100)], "#b08c3c", edge="#6c4c1c", width=0.8)
    for point in range(36):
        a = math.radians(point * 10)
        pen.line([(200 + 120 * math.cos(a), 152 + 120 * math.sin(a)), (200 + 125 * math.cos(a), 152 + 125 * math.sin(a))], dark, 0.8)
    pen.text(200, 250, pick(rng, ["I count the sunny hours", "The hours go, the light stays", "Noon comes to all"]), 10.5, dark)
    return pen.done()


def plant_cell(rng: Random, size: Size) -> Image.Image:
    scale, left, top = _stage(size)
    paper, wall, sap, ink = pick(rng, [("#fbfaf2", "#6fa04c", "#bfe0f0", "#2c3c24"), ("#f4f6fa", "#3f8c7c", "#d4dcf4", "#1c3438"), ("#fdf6ee", "#8c9c3c", "#e4d8f0", "#3c3820")])
    pixels = brush.gradient(size, paper, blend(paper, wall, 0.15))

    def outline(grow: float) -> list[tuple[float, float]]:
        corners = np.array([(78, 62), (200, 52), (292, 66), (306, 150), (288, 246), (180, 256), (72, 240), (60, 150)], float)
        shape = corners[np.arange(9) % 8]
        t = np.linspace(0, 8, 160, endpoint=False)
        soft = np.stack([np.interp(t, np.arange(9), shape[:, i]) for i in (0, 1)], -1)
        kernel = np.ones(9) / 9
        soft = np.stack([np.convolve(np.concatenate([soft[-4:, i], soft[:, i], soft[:4, i]]), kernel, "valid") for i in (0, 1)], -1)
        soft = (soft - [183, 155]) * grow + [183, 155]
        return [(left + scale * a, top + scale * b) for a, b in soft]

    for grow, colour, to in ((1.05, blend(wall, "#1c3010", 0.35), wall), (1.0, blend(wall, "#ffffff", 0.35), blend(wall, "#ffffff", 0.15)), (0.945, blend(wall, "#f8fff0", 0.78), blend(wall, "#f0ffe0", 0.6))):
        fill(pixels, outline(grow), colour, to, 60)
    vx, vy = rng.uniform(196, 212), rng.uniform(146, 160)
    wobble = 1 + 0.07 * np.sin(np.linspace(0, 6 * np.pi, 90) + rng.uniform(0, 6))
    lake = np.stack([left + scale * (vx + 62 * wobble * np.cos(np.linspace(0, 2 * np.pi, 90))), top + scale * (vy + 58 * wobble * np.sin(np.linspace(0, 2 * np.pi, 90)))], -1)
    fill(pixels, lake, blend(sap, "#4c6c9c", 0.35))
    fill(pixels, (lake - lake.mean(0)) * 0.965 + lake.mean(0), blend(sap, "#ffffff", 0.5), sap, 50)
    nx, ny = left + scale * 108, top + scale * rng.uniform(108, 180)
    brush.ball(pixels, nx, ny, 27 * scale, pick(rng, ["#b888c4", "#d09a7c", "#8c94d0"]), shine=0.2)
    brush.ball(pixels, nx + 6 * scale, ny - 4 * scale, 9 * scale, "#6c4080", shine=0.2)
    spots: list[tuple[float, float]] = []
    for _ in range(600):
        a, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0.7, 0.9)
        x, y = 183 + 112 * reach * math.cos(a) * 1.02, 155 + 92 * reach * math.sin(a)
        if len(spots) < 13 and math.hypot(x - vx, y - vy) > 74 and math.hypot(left + x * scale - nx, top + y * scale - ny) > 44 * scale and all(math.hypot(x - p, y - q) > 24 for p, q in spots):
            spots.append((x, y))
    for index, (x, y) in enumerate(spots):
        turn = rng.uniform(0, math.pi)
        colour: Colour = "#3f8c34" if index % 4 else "#d88c3c"
        for big, tone in ((1.0, blend(colour, "#000000", 0.35)), (0.84, colour)):
            shape = brush.ring(0, 0, 12 * big, 7 * big)
            spun = np.stack([left + scale * (x + np.asarray(shape)[:, 0] * math.cos(turn) - np.asarray(shape)[:, 1] * math.sin(turn)), top + scale * (y + np.asarray(shape)[:, 0] * math.sin(turn) + np.asarray(shape)[:, 1] * math.cos(turn))], -1)
            fill(pixels, spun, blend(tone, "#ffffff", 0.25), tone, 60)
        for bar in (-4, 0, 4):
            fill(pixels, brush.ring(left + scale * (x + bar * math.cos(turn)), top + scale * (y + bar * math.sin(turn)), 1.6 * scale, 3 * scale), blend(colour, "#000000", 0.3), alpha=0.7)
    pen = Pen(pixels, size, SHEET)
    green = next((spot for i, spot in enumerate(spots) if i % 4), (250.0, 220.0))
    power = next((spot for i, spot in enumerate(spots) if i % 4 == 0), (120.0, 220.0))
    for words, x, y, ty in (("cell wall", 302, 100, 66), ("vacuole", vx + 30, vy - 10, 112), ("chloroplast", *green, 158), ("mitochondrion", *power, 204), ("nucleus", (nx - left) / scale, (ny - top) / scale, 250)):
        pen.line([(x, y), (318, ty)], ink, 0.9)
        pen.disc(x, y, 1.8, ink)
        pen.text(321, ty, words, 10.5, ink, "lm", halo=paper)
    pen.text(183, 24, "A plant cell", 15, ink)
    return pen.done()


def tree_rings(rng: Random, size: Size) -> Image.Image:
    width, height = size
    wood, bark, back = pick(rng, [(("#f0d4a0", "#a8692f"), "#3c281c", ("#6c7c54", "#3c4830")), (("#f4dcb8", "#b4583c"), "#4c2c24", ("#8c8474", "#4c463c")), (("#ead8b0", "#7c5a34"), "#2c2420", ("#4c5c64", "#20282c"))])
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
        paint *= (1 - 0.75 * np.clip((0.012 * np.clip(1 - radius / np.float32(far), 0, 1) - away) * 200, 0, 1))[..., None]
    rough = brush.noise(rng, size, 34, 3, 0.7)
    coat = brush.ramp(np.clip(rough, 0, 1), blend(bark, "#000000", 0.4), blend(bark, wood[1], 0.5))
    shadow = np.exp(-((np.clip(reach - 0.4, 0, 1) / 0.09) ** 2)) * 0.6
    pixels *= (1 - shadow)[..., None].astype(np.float32)
    brush.cover(pixels, np.clip((1.0 + 0.03 * (rough - 0.5) - radius) * unit * 0.43 + 0.5, 0, 1).astype(np.float32), coat)
    brush.cover(pixels, np.clip((0.92 - radius) * unit * 0.43 + 0.5, 0, 1).astype(np.float32), paint)
    return brush.image_of(pixels)


def rock_layers(rng: Random, size: Size) -> Image.Image:
    width, height = size
    hues, sky = pick(rng, [
        (("#d8b478", "#a86c44", "#e4cc9c", "#7c5c4c", "#c48c5c", "#94a08c", "#5c5458"), ("#a8d0e8", "#eef4f4")),
        (("#c4bca4", "#8c8c84", "#d8d4bc", "#64747c", "#a49c8c", "#b4a078", "#4c4c54"), ("#c8d4e0", "#f4f0e4")),
        (("#e0a080", "#b8604c", "#f0c8a4", "#8c4840", "#d48860", "#a87c74", "#5c3c44"), ("#f4d8b4", "#fdf4e4")),
    ])  # fmt: skip
    pixels: Pixels = brush.gradient(size, *sky)
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
    hue = hue * np.where(bed % 3 == 1, 0.93 + 0.1 * np.sin(scale * 420), 1)[:, None] * (1 - 0.55 * np.clip(1.6 - seam, 0, 1))[:, None]
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
            pen.line([(x + wide * 0.62 * math.cos(a), y + wide * 0.62 * math.sin(a)), (x + wide * 0.98 * math.cos(a + 0.12), y + wide * 0.98 * math.sin(a + 0.12))], "#5c4838", 0.7 * unit)
    return pen.done()


PAINTINGS = (water_cycle, solar_system, moon_phases, telescope, sundial, plant_cell, tree_rings, rock_layers)
