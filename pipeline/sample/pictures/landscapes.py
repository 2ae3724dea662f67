"""A generator of random numbers and a size in; a landscape out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Field, Pixels, Random, Size, blend, fill, pick, rgb


def _stone(rng: Random, pixels: Pixels, x: float, foot: float, tall: float, lit: Colour, dark: Colour, side: float, grain: Field) -> None:
    """A standing stone whose foot is at (x, foot); `side` is -1 or 1, where the light comes from."""
    wide = tall * rng.uniform(0.2, 0.3)
    lean = rng.uniform(-0.08, 0.08) * tall
    up = np.array([0, 0.3, 0.62, 0.86, 0.97, 1.0, 0.9, 0.6, 0.28, 0])
    across = np.array([-1, -1.05, -0.95, -0.75, -0.4, 0.15, 0.65, 0.95, 1.06, 1]) + rng.uniform(-0.12, 0.12, 10)
    outline = np.stack([x + across * wide + lean * up, foot - up * tall * (1 + rng.uniform(-0.03, 0.03, 10))], -1)
    shade = np.array([[x - wide, foot], [x + wide, foot], [x + wide - side * tall * 1.1, foot + tall * 0.32], [x - side * tall * 1.3, foot + tall * 0.3]])
    fill(pixels, shade, "#05060c", alpha=0.4)
    fill(pixels, outline, lit if side < 0 else dark, dark if side < 0 else lit, angle=8, grain=grain)
    edge = outline[:5] if side < 0 else outline[5:9]
    inner = edge[::-1] + [-side * wide * -0.16 * -1, tall * 0.02]
    fill(pixels, np.concatenate([edge, inner]), blend(lit, "#ffffff", 0.35), alpha=0.55)


def standing_stones(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, moor, lit, dark = pick(rng, [
        (("#070b20", "#1b2850", "#4a5a8c"), ("#2a3446", "#0b0f18"), "#9fb0d0", "#1d2538"),
        (("#0d0a22", "#3a2452", "#a0607c"), ("#3d2c40", "#120d16"), "#d9b4b8", "#2c2034"),
        (("#04141f", "#0f3a4c", "#5b8f94"), ("#213b3a", "#07110f"), "#b5d2c8", "#16292b"),
    ])  # fmt: skip
    pixels = brush.gradient((width, height), *sky)
    brush.stars(rng, pixels, 130, 0.5)
    mx, my, radius = width * rng.uniform(0.18, 0.82), height * rng.uniform(0.16, 0.28), height * rng.uniform(0.065, 0.1)
    for spread, strength in ((5.5, 0.3), (2.2, 0.55)):
        brush.glow(pixels, mx, my, radius * spread, blend(sky[2], "#ffffff", 0.5), strength)
    seas = brush.noise(rng, (256, 256), 5, 3)
    brush.ball(pixels, mx, my, radius, "#fbf4dc", (0, 0), 0, lambda u, v: 0.92 + 0.2 * seas[((v + 1) * 127).astype(int).clip(0, 255), ((u + 1) * 127).astype(int).clip(0, 255)])
    clouds = brush.noise(rng, size, 3, 5, stretch=4)
    _, rows = brush.grid(size)
    brush.cover(pixels, np.clip(clouds * 2.4 - 1.3, 0, 1) * np.exp(-(((rows / height - 0.36) / 0.16) ** 2)) * 0.6, blend(sky[2], "#ffffff", 0.25))
    horizon = height * 0.53
    brush.ground(pixels, horizon - height * 0.03 * (1 + brush.curve(rng, width, 3, 3, smooth=True)), blend(moor[0], sky[2], 0.35), moor[0])
    grain = 0.75 + 0.5 * brush.noise(rng, size, 40, 3, 0.7, stretch=2.5)
    brush.ground(pixels, np.full(width, horizon, np.float32), moor[0], moor[1], grain)
    eye = width * rng.uniform(0.3, 0.7)
    side = 1.0 if mx > width / 2 else -1.0
    for depth in np.geomspace(9, 0.95, 13):
        for row in range(-5, 6):
            x = eye + (row + 0.35 + rng.uniform(-0.12, 0.12)) * height * 0.4 / depth
            foot = horizon + height * 0.4 / depth * rng.uniform(0.95, 1.05)
            if -0.1 * width < x < 1.1 * width and rng.random() > 0.16:
                far = min(1.0, (depth - 0.95) / 10)
                _stone(rng, pixels, x, foot, height * rng.uniform(0.2, 0.3) / depth, blend(lit, sky[2], far), blend(dark, sky[2], far * 0.8), side, grain)
    return brush.image_of(pixels)


def dolmen(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, moor = pick(rng, [
        (("#2b3f6b", "#a9788f", "#f7c07c"), ("#8a5a6a", "#2c2030")),
        (("#385f86", "#c9a98c", "#fde3a0"), ("#7d7a3c", "#2b2d17")),
        (("#2a2550", "#8c4a78", "#ff9a6a"), ("#6d3f62", "#1f1524")),
    ])  # fmt: skip
    pixels = brush.gradient(size, *sky, sky[2])
    sun = width * rng.uniform(0.25, 0.75)
    brush.glow(pixels, sun, height * 0.6, height * 0.5, "#fff0c0", 0.6)
    brush.disc(pixels, sun, height * 0.57, height * 0.05, "#fff7dc")
    _, rows = brush.grid(size)
    clouds = brush.noise(rng, size, 4, 5, stretch=5)
    brush.cover(pixels, np.clip(clouds * 3 - 1.7, 0, 1) * np.clip(1 - rows / height * 1.7, 0, 1), blend(sky[1], "#ffffff", 0.2))
    for layer in range(3):
        top = height * (0.6 + layer * 0.035) + height * 0.03 * brush.curve(rng, width, 2, 3, smooth=True)
        brush.ground(pixels, top, blend(sky[1], moor[0], 0.3 + 0.3 * layer), moor[0])
    grain = 0.7 + 0.6 * brush.noise(rng, size, 34, 4, 0.75, stretch=2)
    brush.ground(pixels, height * 0.7 + height * 0.015 * brush.curve(rng, width, 3, smooth=True), moor[0], moor[1], grain)
    middle, foot, unit = width * rng.uniform(0.42, 0.58), height * 0.83, height * 0.3
    away = math.copysign(1, middle - sun)
    fill(pixels, [(middle - unit, foot), (middle + unit, foot), (middle + unit + away * unit * 0.9, foot + unit * 0.45), (middle - unit + away * unit * 0.9, foot + unit * 0.45)], "#0a0810", alpha=0.4)
    dark, lit = blend(moor[1], "#3a3a44", 0.5), blend(sky[2], "#b0a8a0", 0.6)
    legs = [(-0.78, 0.34, 1.0), (-0.12, 0.2, 0.86), (0.72, 0.36, 1.04)]
    for at, wide, tall in legs:
        x, wobble = middle + at * unit, rng.uniform(-0.04, 0.04, (8, 2)) * unit
        outline = np.array([(-0.5, 0), (-0.56, -0.4), (-0.44, -0.85), (-0.3, -1), (0.3, -1.02), (0.46, -0.8), (0.55, -0.35), (0.5, 0)])
        colours = (lit, dark) if away > 0 else (dark, lit)
        fill(pixels, outline * [wide * unit, tall * unit] + [x, foot - (unit * 0.06 if wide < 0.3 else 0)] + wobble, *colours, angle=6, grain=grain)
    top = np.array([(-1.22, -0.02), (-1.3, -0.14), (-1.0, -0.3), (-0.5, -0.36), (0.1, -0.4), (0.7, -0.33), (1.15, -0.2), (1.27, -0.06), (1.05, 0.02), (0.3, 0.06), (-0.6, 0.05)])
    slab = (top + rng.uniform(-0.035, 0.035, top.shape)) * unit + [middle, foot - unit * 0.95]
    fill(pixels, slab, blend(lit, "#ffffff", 0.15), dark, angle=80, grain=grain)
    for _ in range(width // 3):
        x, y = rng.uniform(0, width), height * rng.uniform(0.82, 1.0)
        blade = height * rng.uniform(0.015, 0.05)
        fill(pixels, [(x, y), (x + height * 0.006, y), (x + rng.uniform(-0.4, 0.6) * blade, y - blade)], brush.jitter(rng, blend(moor[0], moor[1], rng.uniform(0.1, 0.8))), alpha=0.8)
    return brush.image_of(pixels)


def _sea(rng: Random, pixels: Pixels, horizon: int, upper: Colour, lower: Colour, light: Colour, x: float, spread: float) -> None:
    """Water below the row `horizon` with a path of light below the column `x`."""
    height, width = pixels.shape[:2]
    size = (width, height - horizon)
    water = brush.gradient(size, upper, lower)
    columns, rows = brush.grid(size)
    near = rows / size[1]
    # Waves are longer near the viewer: two noises, the fine one for the far half.
    swell = brush.noise(rng, size, 22, 3, 0.6, stretch=7) * near + brush.noise(rng, size, 60, 2, 0.7, stretch=9) * (1 - near)
    water *= (0.82 + 0.36 * swell)[..., None]
    path = np.exp(-(((columns - x) / (width * (0.035 + spread * near))) ** 2))
    brush.cover(water, np.clip((swell - 0.62 + 0.28 * path) * 7, 0, 1) * path * 0.92, light)
    pixels[horizon:] = water


def clouds(rng: Random, pixels: Pixels, colour: Colour, under: Colour, amount: float, low: float = 0.6) -> None:
    height, width = pixels.shape[:2]
    bumps = brush.noise(rng, (width, height), 3.5, 5, 0.55, stretch=2.6)
    _, rows = brush.grid((width, height))
    mask = np.clip((bumps - 1 + amount) * 3.5, 0, 1) * np.clip((low - rows / height) * 4, 0, 1)
    lower = np.roll(bumps, -max(2, height // 40), axis=0)
    paint = brush.ramp(np.clip(0.5 + (lower - bumps) * 4, 0, 1), under, colour)
    brush.cover(pixels, mask * 0.9, paint)


def sunset_sea(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, sea = pick(rng, [
        (("#1d2a5c", "#b4506e", "#ff9d4d", "#ffe08a"), ("#c8705a", "#141a38")),
        (("#35508c", "#e28a7a", "#ffc07a", "#fff0b0"), ("#d09a80", "#1c3556")),
        (("#120f38", "#5c2a72", "#d8506a", "#ffb05c"), ("#9a4468", "#0c0a24")),
    ])  # fmt: skip
    horizon, sun = round(height * rng.uniform(0.52, 0.62)), width * rng.uniform(0.25, 0.75)
    pixels = brush.gradient(size, sky[0], sky[1], sky[2], sky[3], sky[3])
    pixels[:horizon] = brush.gradient((width, horizon), *sky)
    y = horizon - height * rng.uniform(0.02, 0.1)
    brush.glow(pixels, sun, y, height * 0.42, "#fff2c0", 0.6)
    clouds(rng, pixels, blend(sky[1], sky[0], 0.4), blend(sky[3], sky[2], 0.5), 0.46)
    brush.glow(pixels, sun, y, height * 0.12, "#fff8d8", 0.8)
    brush.disc(pixels, sun, y, height * 0.055, "#fffbe6")
    _sea(rng, pixels, horizon, *sea, "#ffe9b0", sun, 0.13)
    x, foot, mast = width * (0.22 if sun > width / 2 else 0.78), horizon + height * 0.09, height * rng.uniform(0.13, 0.2)
    hull = blend(sea[1], "#000000", 0.4)
    fill(pixels, [(x - mast * 0.42, foot - mast * 0.1), (x + mast * 0.45, foot - mast * 0.12), (x + mast * 0.3, foot), (x - mast * 0.3, foot)], hull)
    fill(pixels, [(x, foot - mast), (x + mast * 0.4, foot - mast * 0.16), (x, foot - mast * 0.16)], blend(hull, sky[2], 0.35), hull, angle=0)
    fill(pixels, [(x - mast * 0.03, foot - mast * 0.92), (x - mast * 0.03, foot - mast * 0.16), (x - mast * 0.32, foot - mast * 0.16)], blend(hull, sky[2], 0.2))
    fill(pixels, [(x - mast * 0.3, foot), (x + mast * 0.3, foot), (x + mast * 0.1, foot + mast * 0.5), (x - mast * 0.05, foot + mast * 0.6)], hull, alpha=0.3)
    return brush.image_of(pixels)


def lighthouse(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, sea, night = pick(rng, [
        (("#2f6fae", "#8fc1e0", "#f4e6c8"), ("#4f8fae", "#123a5a"), 0.25),
        (("#0c1230", "#2d3f74", "#c08a8a"), ("#4a5480", "#0a1026"), 0.8),
        (("#3c4a66", "#8796a6", "#d8d8cc"), ("#6c8490", "#22343e"), 0.5),
    ])  # fmt: skip
    flip = rng.random() < 0.5
    horizon = round(height * 0.6)
    pixels = brush.gradient(size, *sky, sky[2])
    clouds(rng, pixels, blend(sky[1], "#ffffff", 0.7 - 0.6 * night), blend(sky[0], sky[1], 0.6), 0.5)
    _sea(rng, pixels, horizon, *sea, blend(sky[2], "#ffffff", 0.3), width * 0.3, 0.3)
    x, foot, tall = width * rng.uniform(0.64, 0.74), height * 0.58, height * rng.uniform(0.36, 0.42)
    lamp = foot - tall * 0.93
    for end, spread in ((-0.2, 0.1), (1.25, 0.08)):
        far = width * end
        fill(pixels, [(x, lamp), (far, lamp - height * (spread + 0.03)), (far, lamp + height * spread)], "#fff4c0", alpha=0.12 + 0.22 * night)
    brush.glow(pixels, x, lamp, height * 0.12, "#fff2b8", 0.4 + 0.5 * night)
    columns = np.arange(width, dtype=np.float32)
    cliff = foot + height * (0.62 * np.clip((width * 0.56 - columns) / (width * 0.3), 0, 1) ** 1.4 - 0.02 + 0.02 * brush.curve(rng, width, 9, 4))
    grain = 0.6 + 0.75 * brush.noise(rng, size, 9, 5, 0.7)
    brush.ground(pixels, cliff, "#8c8272", "#2c2a2c", grain)
    grass = cliff + height * (0.03 + 0.02 * brush.curve(rng, width, 14, 3))
    turf = np.where(columns[None, :] > width * 0.4, np.clip(grass - np.arange(height)[:, None] + 0.5, 0, 1) * np.clip(np.arange(height)[:, None] - cliff + 0.5, 0, 1), 0)
    brush.cover(pixels, turf.astype(np.float32), blend("#5e8a44", sea[1], night * 0.6))
    foam = brush.noise(rng, size, 30, 3, stretch=2)
    shore = np.exp(-(((columns[None, :] - np.interp(np.arange(height), cliff[::-1][np.argsort(cliff[::-1])], columns[::-1][np.argsort(cliff[::-1])])[:, None]) / (width * 0.03)) ** 2))
    shore[: horizon + 2] = 0
    brush.cover(pixels, (np.clip(foam * 3 - 1.1, 0, 1) * shore * 0.85).astype(np.float32), "#ffffff")
    base, top = tall * 0.13, tall * 0.085
    stripe = pick(rng, ["#c8342c", "#1f3f6e", "#2d2d33"])
    for band in range(7):
        low, high = band / 7 * 0.82, (band + 1) / 7 * 0.82
        w0, w1 = base + (top - base) * low / 0.82, base + (top - base) * high / 0.82
        edge = [(x - w0, foot - tall * low + 2), (x + w0, foot - tall * low + 2), (x + w1, foot - tall * high), (x - w1, foot - tall * high)]
        colour = blend(stripe if band % 2 else "#f6f2ea", sky[0], night * 0.3)
        fill(pixels, edge, blend(colour, "#ffffff", 0.15), blend(colour, "#101020", 0.5), angle=0)
    fill(pixels, [(x - top * 1.4, foot - tall * 0.82), (x + top * 1.4, foot - tall * 0.82), (x + top * 1.3, foot - tall * 0.86), (x - top * 1.3, foot - tall * 0.86)], "#26262c")
    fill(pixels, [(x - top * 0.75, foot - tall * 0.86), (x + top * 0.75, foot - tall * 0.86), (x + top * 0.75, foot - tall * 0.97), (x - top * 0.75, foot - tall * 0.97)], "#fff3b4", "#e0b860", angle=0)
    fill(pixels, [(x - top, foot - tall * 0.97), (x + top, foot - tall * 0.97), (x, foot - tall * 1.08)], stripe, blend(stripe, "#000000", 0.5), angle=0)
    return brush.image_of(np.ascontiguousarray(pixels[:, ::-1]) if flip else pixels)


def misty_ridges(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, far, near = pick(rng, [
        (("#7fa8d0", "#d8e4ec", "#fbe6cc"), "#c4d2e0", "#14263c"),
        (("#6a5a9a", "#e09aa0", "#ffdca8"), "#e8b0a4", "#241436"),
        (("#5f9a9a", "#cfe6d8", "#fdf6d8"), "#bcd8cc", "#0c2e2c"),
        (("#42598c", "#9db4d6", "#f0d8d8"), "#aebfdc", "#0f1838"),
    ])  # fmt: skip
    pixels = brush.gradient(size, *sky, sky[2])
    sun, y = width * rng.uniform(0.2, 0.8), height * rng.uniform(0.18, 0.32)
    brush.glow(pixels, sun, y, height * 0.3, "#fff6dc", 0.75)
    brush.disc(pixels, sun, y, height * 0.04, "#fffdf2", 0.9)
    count = int(rng.integers(6, 9))
    for layer in range(count):
        part = layer / (count - 1)
        top = height * (0.36 + 0.46 * part) + height * (0.14 - 0.05 * part) * brush.curve(rng, width, 2.5 + 2 * part, 6, 0.46)
        colour = blend(far, near, part**1.25)
        brush.ground(pixels, top, colour, blend(colour, sky[2], 0.85 * (1 - part)))
    for _ in range(30):
        x, tall = rng.uniform(0, width), height * rng.uniform(0.05, 0.13)
        _fir(rng, pixels, x, height * 1.01, tall, near, blend(near, "#000000", 0.4))
    return brush.image_of(pixels)


def _fir(rng: Random, pixels: Pixels, x: float, foot: float, tall: float, colour: Colour, dark: Colour, snow: Colour | None = None) -> None:
    levels = 5
    for level in range(levels):
        low, high = foot - tall * (0.08 + level * 0.165), foot - tall * (0.4 + level * 0.15)
        half = tall * 0.21 * (1 - level / (levels + 0.4)) * rng.uniform(0.9, 1.1)
        branch = [(x, high), (x + half * 0.55, low - tall * 0.06), (x + half, low), (x + half * 0.4, low - tall * 0.018), (x, low + tall * 0.012), (x - half * 0.4, low - tall * 0.018), (x - half, low), (x - half * 0.55, low - tall * 0.06)]
        fill(pixels, branch, colour, dark, angle=20)
        if snow is not None:
            fill(pixels, [(x, high), (x + half * 0.5, low - tall * 0.07), (x + half * 0.9, low - tall * 0.01), (x + half * 0.2, low - tall * 0.08), (x - half * 0.4, low - tall * 0.03), (x - half, low), (x - half * 0.55, low - tall * 0.07)], snow, alpha=0.9)


def mountain_lake(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, rock, wood = pick(rng, [
        (("#3f7fc0", "#a8d0ec", "#e8f2f4"), ("#8c94a4", "#3c4658"), "#1f4a34"),
        (("#4a4f94", "#e09898", "#ffe0b4"), ("#a8808c", "#40304c"), "#2a2a44"),
        (("#54749c", "#c4ccd4", "#f4ecdc"), ("#7c8688", "#343c40"), "#3c5030"),
    ])  # fmt: skip
    shore = round(height * 0.56)
    half = brush.gradient((width, shore), *sky)
    clouds(rng, half, "#ffffff", sky[1], 0.42, 0.9)
    columns = np.arange(width, dtype=np.float32)
    peak = width * rng.uniform(0.35, 0.65)
    cone = np.clip(1 - np.abs(columns - peak) / (height * 0.75), 0, 1)
    rough = brush.curve(rng, width, 5, 6, 0.55)
    top = shore * (0.86 - 0.72 * cone**0.9) + shore * 0.1 * rough * (0.35 + 0.65 * cone)
    for start, lift in ((0.78, 0.16), (0.86, 0.1)):
        brush.ground(half, shore * start + shore * lift * brush.curve(rng, width, 4, 5, 0.5), blend(rock[0], sky[1], 0.65), blend(rock[1], sky[2], 0.6))
    relief = brush.noise(rng, (width, shore), 5, 5, 0.6)
    lit = np.clip(0.5 + (relief - np.roll(relief, max(1, width // 90), 1)) * 5 - (columns - peak) / height * 0.5, 0, 1)
    rows = np.arange(shore, dtype=np.float32)[:, None]
    mask = np.clip(rows - top + 0.5, 0, 1)
    brush.cover(half, mask, brush.ramp(lit, rock[1], rock[0]))
    snow = mask * np.clip((shore * 0.52 - rows + shore * 0.34 * (relief - 0.4) + shore * 0.05 * rough) / (shore * 0.03), 0, 1)
    brush.cover(half, snow, brush.ramp(lit, blend(sky[0], "#ffffff", 0.55), "#ffffff"))
    brush.ground(half, shore * 0.92 + shore * 0.035 * brush.curve(rng, width, 22, 4, 0.8), wood, blend(wood, "#000000", 0.4))
    for _ in range(width // 14):
        _fir(rng, half, rng.uniform(0, width), shore * 1.0, shore * rng.uniform(0.07, 0.17), brush.jitter(rng, wood), blend(wood, "#000000", 0.5))
    columns, below = brush.grid((width, height - shore))
    ripple = brush.noise(rng, (width, height - shore), 40, 2, stretch=8) - 0.5
    near = below / (height - shore)
    source = np.clip(shore - 1 - below * (shore / (height - shore)) + ripple * near * height * 0.05, 0, shore - 1).astype(int)
    across = np.clip(columns + ripple * (1 + near * width * 0.012), 0, width - 1).astype(int)
    lake = half[source, across] * 0.78 + rgb(blend(sky[0], wood, 0.4)) * 0.16
    lake += (ripple * (0.05 + 0.1 * near))[..., None]
    lake[:2] = lake[:2] * 0.5 + 0.4
    return brush.image_of(np.concatenate([half, lake]))


def snowy_forest(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, tree = pick(rng, [
        (("#a9bccf", "#dfe7ee", "#f4f0ec"), "#20423c"),
        (("#2c3a66", "#7c8cb8", "#d8c4cc"), "#182844"),
        (("#e0b8a8", "#f4dccc", "#fdf4ea"), "#2c4440"),
    ])  # fmt: skip
    pixels = brush.gradient(size, *sky)
    brush.glow(pixels, width * rng.uniform(0.2, 0.8), height * 0.3, height * 0.3, "#fffaf0", 0.5)
    for layer in range(4):
        part = layer / 3
        top = height * (0.5 + 0.12 * layer) + height * 0.03 * brush.curve(rng, width, 2, 3, smooth=True)
        tone = blend(sky[1], tree, 0.25 + 0.75 * part)
        for x in np.sort(rng.uniform(-0.02, 1.02, 22 - 4 * layer)) * width:
            foot = float(top[int(np.clip(x, 0, width - 1))]) + height * 0.03
            _fir(rng, pixels, x, foot, height * (0.13 + 0.1 * layer) * rng.uniform(0.75, 1.25), brush.jitter(rng, tone, 0.03), blend(tone, "#081018", 0.25 + 0.2 * part), blend(sky[2], "#ffffff", 0.3 + 0.6 * part) if layer else None)
        brush.ground(pixels, top, blend(sky[2], "#ffffff", 0.7), blend(sky[0], "#ffffff", 0.55 - 0.1 * part))
    soft = brush.noise(rng, size, 3, 4, stretch=3)
    pixels[int(height * 0.86) :] *= (0.9 + 0.14 * soft[int(height * 0.86) :])[..., None]
    for x, y, flake in zip(rng.uniform(0, width, 170), rng.uniform(0, height, 170), rng.random(170) ** 3, strict=True):
        brush.disc(pixels, x, y, height * (0.002 + 0.006 * flake), "#ffffff", 0.85)
    return brush.image_of(pixels)


PAINTINGS = (standing_stones, dolmen, lighthouse, sunset_sea, misty_ridges, mountain_lake, snowy_forest)
