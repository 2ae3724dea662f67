"""A generator of random numbers and a size in; a diagram of a bridge, a circuit or a recipe out."""

import math
from itertools import pairwise

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.bicycles import SHEET, squared_sheet
from pipeline.sample.pictures.brush import Random, Size, blend, pick
from pipeline.sample.pictures.pen import Pen


def arch_bridge(rng: Random, size: Size) -> Image.Image:
    sky, stone, water, ink = pick(
        rng,
        [
            (("#cfe4f2", "#f8f4e8"), "#c8b494", "#6ca4c8", "#2c2c34"),
            (("#f4d8bc", "#fdf6e8"), "#b09a90", "#5c94a0", "#34282c"),
            (("#d4e0d4", "#f8faf0"), "#a8a89c", "#5c8c8c", "#202c28"),
        ],
    )
    pen = Pen(brush.gradient(size, *sky), size, SHEET)
    blocks, span, crown = int(rng.integers(7, 11)) * 2 + 1, rng.uniform(112, 128), rng.uniform(96, 116)
    base = 226.0
    pen.box(-400, 236, 1200, 400, water)
    for row in range(8):
        for x in range(-380 + row * 13, 780, 46):
            pen.line([(x, 242 + row * 8), (x + 16, 242 + row * 8)], blend(water, "#ffffff", 0.4), 0.9)
    bank = blend(stone, "#4c6c3c", 0.55)
    pen.polygon([(-400, 160), (36, 160), (74, 250), (60, 400), (-400, 400)], bank)
    pen.polygon([(800, 160), (364, 160), (326, 250), (340, 400), (800, 400)], bank)
    deck = base - crown - 34
    for row in range(20):
        y = deck + 8 + row * 9
        for column in range(30):
            x = 40 + column * 16 + (8 if row % 2 else 0) - 40
            inside = ((x + 8 - 200) / (span + 16)) ** 2 + ((min(y, base) - base) / (crown + 18)) ** 2
            if inside > 1 and 30 < x < 356 and y < base + 22:
                pen.box(x, y, 15.3, 8.3, brush.jitter(rng, stone, 0.05), corner=1)
    angles = np.linspace(math.pi, 2 * math.pi, blocks + 1)
    for i, (a, b) in enumerate(pairwise(angles)):
        corners = [
            (200 + (span + out) * math.cos(t), base + (crown + out) * math.sin(t))
            for t, out in ((a, 0), (b, 0), (b, 22), (a, 22))
        ]
        key = i == blocks // 2
        pen.polygon(
            corners,
            blend("#d0603c", stone, 0.25) if key else brush.jitter(rng, blend(stone, "#ffffff", 0.3), 0.05),
            edge=blend(stone, "#20140c", 0.6),
            width=1,
        )
    pen.box(20, deck - 6, 360, 12, blend(stone, "#20140c", 0.3), corner=2)
    red, blue = "#c42c2c", "#1f58b0"
    for x in range(60, 345, 40):
        pen.arrow(x, deck - 38, x, deck - 9, red, 2)
    points = [
        (200 + (span + 11) * math.cos(t), base + (crown + 11) * math.sin(t))
        for t in np.linspace(1.5 * math.pi, 2 * math.pi - 0.04, 5)
    ]
    for (xa, ya), (xb, yb) in pairwise(points):
        pen.arrow(xa + (xb - xa) * 0.15, ya + (yb - ya) * 0.15, xa + (xb - xa) * 0.9, ya + (yb - ya) * 0.9, blue, 2.4)
        pen.arrow(
            400 - xa - (xb - xa) * 0.15,
            ya + (yb - ya) * 0.15,
            400 - xa - (xb - xa) * 0.9,
            ya + (yb - ya) * 0.9,
            blue,
            2.4,
        )
    pen.arrow(200 + span + 11, base + 40, 200 + span + 11, base + 6, red, 2.4)
    pen.arrow(200 - span - 11, base + 40, 200 - span - 11, base + 6, red, 2.4)
    for words, tx, ty in (
        ("load", 200, deck - 48),
        ("keystone", 200, base - crown + 13),
        ("thrust", 200 + span * 0.42, base - crown * 0.62),
        ("abutment", 44, 268),
        ("abutment", 356, 268),
    ):
        pen.text(tx, ty, words, 12, ink, halo="#fbf8f0")
    return pen.done()


def circuit(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = squared_sheet(rng, size)
    wire = (
        pick(rng, ["#b8402c", "#1f6c9c", "#2c8c5c", "#a87c1c"])
        if brush.rgb(paper).sum() > 1.5
        else pick(rng, ["#ffb454", "#7ee0a2", "#5cc8ff"])
    )
    left, right, top, low = 70.0, 330.0, 80.0, 232.0
    closed, middle = rng.random() < 0.6, rng.uniform(180, 225)
    pen.line([(left, top), (right, top), (right, low), (left, low), (left, top)], wire, 2.6)
    pen.line([(middle, top), (middle, low)], wire, 2.6)
    for x, y in ((middle, top), (middle, low)):
        pen.disc(x, y, 4, wire)
    pen.box(left - 8, 138, 16, 32, paper)
    for y, half, thick in ((140, 20, 2.4), (149, 10, 5), (158, 20, 2.4), (167, 10, 5)):
        pen.line([(left - half, y), (left + half, y)], ink, thick)
    pen.text(left - 30, 134, "+", 16, ink)
    pen.box(110, top - 14, 44, 24, paper)
    pen.line([(112, top), (150, top if closed else top - 20)], ink, 2.6)
    for x in (112, 152):
        pen.disc(x, top, 3.6, paper, edge=ink, width=1.8)
    pen.box(middle - 8, 126, 16, 64, paper)
    zigzag = [(middle, 124), *[(middle + (9 if i % 2 else -9), 130 + i * 8) for i in range(7)], (middle, 190)]
    pen.line(zigzag, ink, 2.4)
    if closed:
        for wide in (42, 34, 27):
            pen.disc(right, 156, wide, "#ffd84a", 0.16)
    pen.disc(right, 156, 20, "#fff0a0" if closed else paper, edge=ink, width=2.4)
    for side in (1, -1):
        pen.line([(right - 14, 156 - 14 * side), (right + 14, 156 + 14 * side)], ink, 2)
    if closed:
        for x0, y0, x1, y1 in ((240, top - 12, 280, top - 12), (280, low + 12, 240, low + 12)):
            pen.arrow(x0, y0, x1, y1, wire, 2)
        pen.text(260, top - 25, "current", 10.5, ink)
    pen.text(200, 30, "A lamp and a resistor side by side", 14, ink)
    volts, ohms = pick(rng, [1.5, 3, 4.5, 6, 9, 12]), pick(rng, [10, 22, 47, 100, 220])
    for words, x, y in (
        (f"battery, {volts:g} V", left - 4, 192),
        ("switch", 132, top + 22),
        (f"{ohms} ohm", middle + 42, 158),
        ("lamp", right, 190),
    ):
        pen.text(x, y, words, 11, ink, halo=paper)
    pen.text(200, 274, f"With the switch closed: {volts:g} V / {ohms} ohm = {1000 * volts / ohms:.0f} mA", 11, ink)
    return pen.done()


def bread_steps(rng: Random, size: Size) -> Image.Image:
    paper, ink, hues = pick(
        rng,
        [
            ("#fdf8ec", "#4c3420", ("#f0c878", "#e4a45c", "#d88c4c", "#c47440", "#b06038", "#94502c")),
            ("#f2f6f2", "#24402f", ("#cfe4b8", "#b0d4a4", "#e8d890", "#e4b870", "#d49058", "#b06c48")),
            ("#f6f2f8", "#382c4c", ("#d8cce8", "#c4b4dc", "#e8c4cc", "#e8a89c", "#d88c78", "#b46c60")),
        ],
    )
    pen = Pen(brush.gradient(size, paper, blend(paper, hues[1], 0.18)), size, SHEET)
    pen.text(200, 28, pick(rng, ["From flour to loaf", "A day of baking", "Six steps to a loaf"]), 16, ink)
    steps = (
        ("Mix", "10 minutes"),
        ("Rise", f"{pick(rng, [3, 4, 5])} hours"),
        ("Shape", "15 minutes"),
        ("Prove", pick(rng, ["1 hour", "2 hours"])),
        ("Bake", f"{pick(rng, [35, 40, 45])} minutes"),
        ("Cool", "1 hour"),
    )
    around = [(28, 58), (150, 58), (272, 58), (272, 176), (150, 176), (28, 176)]
    start, way = int(rng.integers(6)), pick(rng, [1, -1])
    places = [around[(start + way * index) % 6] for index in range(6)]
    for index, (name, long) in enumerate(steps):
        x, y = places[index]
        pen.box(x + 3, y + 4, 100, 86, ink, 0.16, 10)
        pen.box(x, y, 100, 86, blend(hues[index], "#ffffff", 0.35), corner=10, edge=hues[index], line=2)
        cx, cy = x + 50, y + 32
        if index in (0, 1):
            pen.disc(cx, cy, 20 if index else 16, blend("#f4e4c0", ink, 0.05), flat=0.8 if index else 0.6)
            pen.polygon(brush.ring(cx, cy, 27, 22, 0, 180), blend("#6c9cc4", ink, 0.15))
            pen.line([(cx - 27, cy), (cx + 27, cy)], ink, 2)
            if index == 0:
                pen.line([(cx + 4, cy - 2), (cx + 20, cy - 24)], "#8c5c34", 4)
        elif index in (2, 3):
            pen.disc(
                cx, cy + 2, 24, "#ecd4a4", edge=blend(ink, "#ecd4a4", 0.4), width=1.2, flat=0.62 if index == 2 else 0.8
            )
            if index == 3:
                pen.line([(cx - 30, cy + 20), (cx + 30, cy + 20)], ink, 2)
                pen.line(brush.ring(cx, cy + 18, 30, 36, 180, 360), blend(ink, "#ffffff", 0.5), 1)
        else:
            pen.disc(cx, cy + 2, 27, "#b87838", edge="#7c4820", width=1.4, flat=0.72)
            for cut in (-11, 0, 11):
                pen.line([(cx + cut - 5, cy + 9), (cx + cut + 5, cy - 8)], "#f4dca8", 3)
            for wisp in (-10, 0, 10) if index == 4 else ():
                t = np.linspace(0, 1, 14)
                pen.line(
                    np.stack([cx + wisp + 2 * np.sin(t * 8), cy - 20 - 10 * t], -1), blend(ink, "#ffffff", 0.5), 1.2
                )
        pen.text(cx, y + 63, f"{index + 1}. {name}", 12, ink)
        pen.text(cx, y + 77, long, 9.5, blend(ink, "#ffffff", 0.25))
    for (x0, y0), (x1, y1) in pairwise(places):
        # From the edge of one box to the edge of the next.
        across, down = np.sign(x1 - x0), np.sign(y1 - y0)
        pen.arrow(
            x0 + 50 + across * 53,
            y0 + 43 + down * 48,
            x1 + 50 - across * 52,
            y1 + 43 - down * 45,
            ink,
            2.2,
        )
    return pen.done()


PAINTINGS = (
    arch_bridge,
    circuit,
    bread_steps,
)
