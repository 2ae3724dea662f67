"""A generator of random numbers and a size in; a sky, the moon, a planet or a galaxy out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Random, Size, blend, pick, rgb


def starry_sky(rng: Random, size: Size) -> Image.Image:
    width, height = size
    sky, tint = pick(
        rng,
        [
            (("#03061a", "#0c1a44", "#2c4a7c"), "#b8c8ff"),
            (("#08041c", "#241246", "#6a3c74"), "#f0c8e8"),
            (("#02100f", "#0a2c3a", "#2f6a70"), "#c8f0e4"),
        ],
    )
    pixels = brush.gradient(size, *sky)
    columns, rows = brush.grid(size)
    turn = math.radians(pick(rng, [-1, 1]) * rng.uniform(35, 70))
    across = (columns - width * rng.uniform(0.4, 0.6)) * math.cos(turn) + (rows - height * 0.35) * math.sin(turn)
    dust = brush.noise(rng, size, 4, 6, 0.62)
    band = np.exp(-((across / (height * (0.13 + 0.12 * dust))) ** 2))
    lane = np.exp(-(((across - height * 0.06 * (dust - 0.5)) / (height * 0.045)) ** 2))
    light = np.clip(band * (0.2 + 0.75 * dust) - lane * 0.4 * brush.noise(rng, size, 6, 4), 0, 1)
    brush.cover(
        pixels,
        light.astype(np.float32) * 0.75,
        brush.ramp(light.astype(np.float32), blend(sky[1], tint, 0.5), tint, "#ffffff"),
    )
    grains = rng.random((height, width), np.float32)
    brush.cover(pixels, np.clip((grains - 0.985 + 0.02 * light.astype(np.float32)) * 60, 0, 1) * 0.7, "#ffffff")
    brush.stars(rng, pixels, 240, 0.95)
    for layer in range(3):
        top = height * (0.76 + 0.06 * layer) + height * 0.07 * brush.curve(rng, width, 2.5, 5, 0.45)
        brush.ground(pixels, top, blend(sky[2], "#02040a", 0.55 + 0.2 * layer), "#02040a")
    return brush.image_of(pixels)


def aurora(rng: Random, size: Size) -> Image.Image:
    width, height = size
    low, high = pick(rng, [("#4cf09a", "#7a4cc8"), ("#5cf0c8", "#3c6ce0"), ("#a0f060", "#e04c90")])
    pixels = brush.gradient(size, "#02061a", "#081c3a", "#123c50")
    brush.stars(rng, pixels, 220, 0.85)
    _columns, rows = brush.grid(size)
    for curtain in range(3):
        hem = height * (0.36 + 0.13 * curtain) + height * 0.13 * brush.curve(rng, width, 1.6, 3, 0.5, smooth=True)
        rays = 0.3 + 0.7 * np.clip(0.5 + 0.6 * brush.curve(rng, width, 26, 3, 0.7, smooth=True), 0, 1)
        tall = height * (0.2 + 0.18 * rays)
        above = (hem - rows) / tall
        light = np.where(above > 0, np.exp(-above * 2.1), np.exp(above * 14)) * rays * (0.95 - 0.2 * curtain)
        paint = brush.ramp(np.clip(above / 1.8, 0, 1), low, low, blend(low, high, 0.5), high)
        brush.cover(pixels, np.clip(light, 0, 0.92).astype(np.float32), paint)
    top = height * 0.78 + height * 0.09 * brush.curve(rng, width, 3, 5, 0.45)
    brush.ground(pixels, top, "#0c2230", "#081420")
    if rng.random() < 0.6:
        first = round(height * 0.86)
        deep = height - first
        mirror = pixels[first - deep * 3 : first : 3][::-1][:deep] * 0.6
        pixels[first : first + len(mirror)] = mirror + rgb(low) * 0.08
    return brush.image_of(pixels)


def full_moon(rng: Random, size: Size) -> Image.Image:
    width, height = size
    pixels = brush.gradient(size, *pick(rng, [("#04060e", "#0a1020"), ("#0a0a1c", "#241c3c"), ("#06121c", "#10303c")]))
    brush.stars(rng, pixels, 110)
    x, y, radius = (
        width * rng.uniform(0.42, 0.58),
        height * rng.uniform(0.46, 0.54),
        min(width, height) * rng.uniform(0.36, 0.43),
    )
    brush.glow(pixels, x, y, radius * 1.3, "#8090b8", 0.35)
    face = brush.noise(rng, (420, 420), 2.4, 5, 0.5)
    fine = brush.noise(rng, (420, 420), 26, 3, 0.7)
    paint = 0.86 - 0.36 * np.clip((face - 0.48) * 6, 0, 1) + 0.16 * (fine - 0.5)
    for crater in range(80):
        cx, cy, wide = *rng.uniform(20, 400, 2), 2.5 + 20 * rng.random() ** 4
        part, dx, dy = brush.window(paint[..., None], cx, cy, wide * 1.6)
        away = np.hypot(dx, dy) / wide
        slope = (dx * 0.6 + dy * 0.5) / wide
        part[..., 0] += np.where(away < 1, slope * 0.2 - 0.03, 0) + np.exp(-(((away - 1.05) / 0.18) ** 2)) * 0.08
        if crater < 3:
            part, dx, dy = brush.window(paint[..., None], cx, cy, 150)
            angle, away = np.arctan2(dy, dx), np.hypot(dx, dy)
            spokes = np.clip(np.sin(angle * 9 + cx) * 0.5 + np.sin(angle * 17) * 0.5, 0, 1)
            part[..., 0] += spokes * np.exp(-away / 50) * 0.14 * (away > wide)

    def surface(across: brush.Field, down: brush.Field) -> brush.Field:
        rows, columns = ((down + 1) * 209.5).clip(0, 419).astype(int), ((across + 1) * 209.5).clip(0, 419).astype(int)
        return np.asarray(paint[rows, columns], np.float32)

    brush.ball(
        pixels,
        x,
        y,
        radius,
        pick(rng, ["#f4f0e2", "#e8ecf4", "#f8e6c4"]),
        (rng.uniform(-0.45, 0.45), -0.15),
        0,
        surface,
    )
    return brush.image_of(pixels)


def ringed_planet(rng: Random, size: Size) -> Image.Image:
    width, height = size
    back, bands, ring = pick(
        rng,
        [
            (("#05060f", "#141432"), ("#f0d8a8", "#c89a60", "#fff0d0", "#a87848", "#e8c890"), "#e8d8b8"),
            (("#040c14", "#0c2a3c"), ("#9ad0e0", "#5a9cc0", "#d4f0f4", "#407aa8", "#84bcd4"), "#cfe4ec"),
            (("#10060e", "#3a1430"), ("#f0a890", "#c06a70", "#ffd8b8", "#94485c", "#e09080"), "#f0cbb4"),
        ],
    )
    pixels = brush.gradient(size, *back)
    cloud = brush.noise(rng, size, 2.5, 5)
    brush.cover(pixels, np.clip(cloud * 2 - 1.1, 0, 1) * 0.4, blend(back[1], bands[1], 0.4))
    brush.stars(rng, pixels, 200)
    x, y, radius = width * 0.5, height * 0.5, min(width / 2, height) * rng.uniform(0.34, 0.42)
    turn, flat = math.radians(rng.uniform(-28, 28)), rng.uniform(0.2, 0.36)
    columns, rows = brush.grid(size)
    across = (columns - x) * math.cos(turn) + (rows - y) * math.sin(turn)
    down = -(columns - x) * math.sin(turn) + (rows - y) * math.cos(turn)
    span = np.hypot(across, down / flat) / radius
    grooves = np.interp(span, np.linspace(1.25, 2.3, 60), 0.35 + 0.65 * rng.random(60))
    gap = 1 - 0.9 * np.exp(-(((span - 1.93) / 0.035) ** 2))
    ringed = np.clip((span - 1.28) * 30, 0, 1) * np.clip((2.25 - span) * 30, 0, 1) * gap * grooves
    shadow = 1 - 0.85 * np.clip(-down / 6, 0, 1) * ((np.abs(down - across * 0.12) < radius * 0.9) & (across > 0))
    light = (rgb(ring) * (0.75 + 0.25 * grooves)[..., None] * shadow[..., None]).astype(np.float32)
    brush.cover(pixels, (ringed * (down < 0)).astype(np.float32), light)
    wobble = brush.noise(rng, (200, 200), 3, 3, stretch=5)
    table = np.stack([rgb(band) for band in bands])
    stops, order = np.sort(rng.random(13)), rng.integers(0, len(bands), 13)
    tint = np.stack([np.interp(np.linspace(0, 1, 200), stops, table[order, i]) for i in range(3)], -1)

    part, dx, dy = brush.window(pixels, x, y, radius + 1)
    u, v = (dx * math.cos(turn) + dy * math.sin(turn)) / radius, (-dx * math.sin(turn) + dy * math.cos(turn)) / radius
    index = ((v + 0.22 * (1 - u * u) * flat + 1) * 99.5).clip(0, 199).astype(int)
    swirl = wobble[index, ((u + 1) * 99.5).clip(0, 199).astype(int)]
    paint = tint[(index + (swirl - 0.5) * 12).clip(0, 199).astype(int)]
    z = np.sqrt(np.clip(1 - u * u - v * v, 0, 1))
    lit = np.clip(-0.6 * dx / radius - 0.25 * dy / radius + 0.75 * z, 0, 1) * 1.05 + 0.06
    band = 1 - 0.35 * np.exp(-(((v - 0.22) / 0.07) ** 2))
    brush.cover(
        part,
        np.clip((1 - np.hypot(u, v)) * radius + 0.5, 0, 1).astype(np.float32),
        np.clip(paint * (lit * band)[..., None], 0, 1).astype(np.float32),
    )
    brush.cover(pixels, (ringed * (down >= 0)).astype(np.float32), light)
    return brush.image_of(pixels)


def spiral_galaxy(rng: Random, size: Size) -> Image.Image:
    width, height = size
    core, arm, back = pick(
        rng, [("#fff0c8", "#88a8ff", "#04050e"), ("#ffdcb0", "#f090c0", "#0a0410"), ("#fff8e4", "#70d8d8", "#020a0e")]
    )
    pixels = brush.gradient(size, back, blend(back, arm, 0.06))
    brush.stars(rng, pixels, 160)
    turn, flat, spin = rng.uniform(0, math.pi), rng.uniform(0.5, 0.9), pick(rng, [-1.0, 1.0])
    columns, rows = brush.grid(size)
    dx, dy = columns - width / 2, rows - height / 2
    u = (dx * math.cos(turn) + dy * math.sin(turn)) / (min(width, height) * 0.62)
    v = (-dx * math.sin(turn) + dy * math.cos(turn)) / (min(width, height) * 0.62 * flat)
    reach = np.hypot(u, v) + 1e-3
    bumps = brush.noise(rng, size, 8, 5, 0.65)
    phase = 2 * (np.arctan2(v, u) * spin + np.log(reach) * rng.uniform(2.4, 3.2)) + (bumps - 0.5) * 1.6
    arms = np.clip(0.5 + 0.5 * np.cos(phase), 0, 1) ** 2.2
    fade = np.exp(-((reach / 0.8) ** 2.4))
    light = fade * (0.2 + 0.8 * arms) * (0.35 + 0.9 * bumps)
    lane = np.clip(0.5 + 0.5 * np.cos(phase + 1.1), 0, 1) ** 8 * fade * 0.45
    centre = np.exp(-((reach / 0.16) ** 1.3))
    brush.cover(
        pixels,
        np.clip(light, 0, 0.95).astype(np.float32),
        brush.ramp(
            np.clip(light - lane, 0, 1).astype(np.float32), blend(arm, back, 0.5), arm, blend(arm, "#ffffff", 0.7)
        ),
    )
    grains = rng.random((height, width), np.float32)
    brush.cover(pixels, (np.clip((grains - 0.985) * 70, 0, 1) * np.clip(light * 2, 0, 1)).astype(np.float32), "#ffe8f0")
    brush.cover(pixels, np.clip(centre * 1.15, 0, 1).astype(np.float32), core)
    return brush.image_of(pixels)


PAINTINGS = (
    starry_sky,
    aurora,
    full_moon,
    ringed_planet,
    spiral_galaxy,
)
