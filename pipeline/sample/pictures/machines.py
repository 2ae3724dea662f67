"""A generator of random numbers and a size in; a drawing of a bicycle, a bridge, a circuit or a recipe out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Colour, Pen, Random, Size, blend, pick

SHEET = (400, 300)
PAPERS = (("#f8f6f0", "#2c3038"), ("#eef4f8", "#203040"), ("#153350", "#e4f0fa"), ("#f4efe0", "#40301c"))


def _sheet(rng: Random, size: Size) -> tuple[Pen, Colour, Colour]:
    """A pen on paper with a faint grid of squares, with the colours of paper and ink."""
    paper, ink = pick(rng, PAPERS)
    pen = Pen(paper, size, SHEET)
    for x in range(-400, 801, 20):
        pen.line([(x, -300), (x, 600)], blend(paper, ink, 0.07), 0.5)
        pen.line([(-400, x), (800, x)], blend(paper, ink, 0.07), 0.5)
    return pen, paper, ink


def _label(pen: Pen, words: str, place: tuple[float, float], text: tuple[float, float], ink: Colour, paper: Colour) -> None:
    pen.line([place, text], ink, 0.7)
    pen.disc(*place, 1.6, ink)
    pen.text(*text, words, 10.5, ink, halo=paper)


def _wheel(pen: Pen, x: float, y: float, radius: float, spokes: int, tyre: Colour, metal: Colour, crossed: int = 3) -> None:
    pen.disc(x, y, radius, None, edge=tyre, width=radius * 0.085)
    pen.disc(x, y, radius * 0.905, None, edge=metal, width=radius * 0.05)
    hub = radius * 0.09
    for spoke in range(spokes):
        rim = 2 * math.pi * spoke / spokes
        turn = rim + (1 if spoke % 2 else -1) * crossed * 2 * math.pi / spokes * 1.9
        pen.line([(x + hub * math.cos(turn), y + hub * math.sin(turn)), (x + radius * 0.87 * math.cos(rim), y + radius * 0.87 * math.sin(rim))], metal, radius * 0.011)
    pen.disc(x, y, hub, metal, edge=tyre, width=radius * 0.02)
    pen.disc(x, y, hub * 0.4, tyre)


def bicycle(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = _sheet(rng, size)
    frame = pick(rng, ["#c8342c", "#1f6fb4", "#2f8c5c", "#e0982c", "#7c4ca0"])
    metal = blend(ink, paper, 0.45)
    back, front, crank = (112.0, 196.0), (296.0, 196.0), (180.0, 204.0)
    drop = rng.uniform(-6, 8)
    saddle, head, fork = (158.0, 108.0 + drop), (262.0, 106.0), (270.0, 132.0)
    pen.disc(204, 258, 150, ink, 0.1, flat=0.03)
    for place in (back, front):
        _wheel(pen, *place, 60, 32, blend(ink, "#101010", 0.3), metal)
    seat_top = (163.0, 122.0 + drop)
    for a, b, thick in ((back, crank, 4), (back, seat_top, 3.4), (crank, (156, 98 + drop), 5.5), (seat_top, head, 5.5), (crank, fork, 6.5), ((258, 94), fork, 6.5)):
        pen.line([a, b], blend(frame, "#000000", 0.3), thick + 1.2)
        pen.line([a, b], frame, thick)
    pen.line([fork, (280, 162), (288, 182), front], frame, 4.5)
    pen.line([(140, 97 + drop), (152, 93 + drop), (180, 95 + drop)], blend(ink, "#3c2818", 0.6), 6)
    if rng.random() < 0.5:
        pen.line([(257, 92), (280, 88), (292, 96), (290, 110), (276, 113)], ink, 4)
    else:
        pen.line([(257, 92), (266, 84), (252, 80), (236, 84)], ink, 4)
    pen.disc(*crank, 17, None, edge=metal, width=3)
    for tooth in range(32):
        a = tooth * math.pi / 16
        pen.line([(crank[0] + 16 * math.cos(a), crank[1] + 16 * math.sin(a)), (crank[0] + 19 * math.cos(a), crank[1] + 19 * math.sin(a))], metal, 1.4)
    pen.disc(*back, 8, metal, edge=ink, width=1)
    for dy, reach in ((-18, -8), (18, 8)):
        pen.dashes([(crank[0], crank[1] + dy), (back[0], back[1] + reach)], ink, 2, 1.4)
    angle = rng.uniform(0, math.pi)
    for side in (0, math.pi):
        x, y = crank[0] + 30 * math.cos(angle + side), crank[1] + 30 * math.sin(angle + side)
        pen.line([crank, (x, y)], ink, 4)
        pen.line([(x - 9, y), (x + 9, y)], ink, 5)
    for words, place, text in (("saddle", (160, 94 + drop), (106, 62)), ("handlebar", (268, 88), (306, 58)), ("top tube", (214, 114 + drop / 2), (206, 74)), ("fork", (283, 170), (356, 150)), ("spokes", (320, 214), (362, 236)), ("chain", (146, 215), (140, 274)), ("crank", (crank[0] + 15 * math.cos(angle), crank[1] + 15 * math.sin(angle)), (216, 274)), ("tyre", (60, 172), (34, 132)), ("hub", back, (56, 274))):
        _label(pen, words, place, text, ink, paper)
    pen.text(200, 24, pick(rng, ["The parts of a bicycle", "A bicycle and its parts", "Know your bicycle"]), 15, ink)
    return pen.done()


def _sprocket(pen: Pen, x: float, y: float, radius: float, teeth: int, colour: Colour, ink: Colour, turn: float) -> None:
    angles = np.linspace(0, 2 * np.pi, teeth * 8, endpoint=False)
    edge = radius + 3.2 * np.clip(np.cos(angles * teeth) * 1.6, -1, 1)
    pen.polygon(np.stack([x + edge * np.cos(angles + turn), y + edge * np.sin(angles + turn)], -1), colour, edge=ink, width=1)
    pen.disc(x, y, radius * 0.84, blend(colour, "#ffffff", 0.12), edge=blend(colour, ink, 0.5), width=0.8)
    if radius > 30:
        for arm in range(5):
            a = turn + arm * 2 * math.pi / 5
            pen.disc(x + radius * 0.55 * math.cos(a), y + radius * 0.55 * math.sin(a), radius * 0.2, blend(ink, colour, 0.75), edge=blend(colour, ink, 0.5), width=0.8)
    pen.disc(x, y, radius * 0.22, blend(colour, ink, 0.35), edge=ink, width=1)
    pen.disc(x, y, radius * 0.09, ink)


def bicycle_gears(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = _sheet(rng, size)
    metal, accent = pick(rng, [("#b8bcc4", "#d0562c"), ("#d8b868", "#2c6ca8"), ("#8ca0b0", "#c83c5c")])
    front, rear = int(rng.integers(36, 53)), int(rng.integers(13, 29))
    big, small = front * 1.55, rear * 1.55
    x0, x1, y = 280.0, 104.0, 152.0
    _sprocket(pen, x0, y, big, front, metal, ink, rng.uniform(0, 1))
    _sprocket(pen, x1, y, small, rear, metal, ink, rng.uniform(0, 1))
    lean = math.asin((big - small) / (x0 - x1))
    run: list[tuple[float, float]] = []
    for cx, radius, start, end in ((x0, big, -math.pi / 2 - lean, math.pi / 2 + lean), (x1, small, math.pi / 2 + lean, 1.5 * math.pi - lean)):
        run += [(cx + radius * math.cos(a), y + radius * math.sin(a)) for a in np.linspace(start, end, 60)]
    run.append(run[0])
    path = np.asarray(run)
    steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    links = round(steps[-1] / 9.7 / 2) * 2
    pins = np.stack([np.interp(np.linspace(0, steps[-1], links + 1), steps, path[:, i]) for i in (0, 1)], -1)
    for i in range(links):
        pen.line([tuple(pins[i]), tuple(pins[i + 1])], ink if i % 2 else blend(ink, metal, 0.4), 5 if i % 2 else 3.4)
    for px, py in pins[:-1]:
        pen.disc(px, py, 2, metal, edge=ink, width=0.6)
    angle = rng.uniform(0.3, 1.2)
    pen.line([(x0, y), (x0 + 92 * math.cos(angle), y + 92 * math.sin(angle))], blend(metal, ink, 0.55), 11)
    pen.box(x0 + 92 * math.cos(angle) - 16, y + 92 * math.sin(angle) - 5, 32, 10, ink, corner=3)
    for cx, radius, colour in ((x0, big * 0.36, accent), (x1, small + 16, accent)):
        arc = [(cx + radius * math.cos(a), y + radius * math.sin(a)) for a in np.linspace(3.6, 5.2, 16)]
        pen.line(arc[:-1], colour, 2.2)
        pen.arrow(*arc[-2], *arc[-1], colour, 2.2)
    pen.text(200, 22, f"{front} : {rear}  =  {front / rear:.2f} turns of the wheel", 14, ink, halo=paper)
    pen.text(x0 - 20, 278, f"chainring, {front} teeth", 11, ink, halo=paper)
    pen.text(x1, 278, f"sprocket, {rear} teeth", 11, ink, halo=paper)
    return pen.done()


def spoked_wheel(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = _sheet(rng, size)
    spokes, crossed = pick(rng, [(28, 2), (32, 3), (36, 3), (36, 4)])
    x, y, radius = 165.0, 150.0, 128.0
    pen.disc(x, y, radius, None, edge=blend(ink, "#101010", 0.5), width=11)
    pen.disc(x, y, radius - 5, None, edge=blend("#a07040", ink, 0.2) if rng.random() < 0.5 else blend(ink, paper, 0.25), width=2.5)
    pen.disc(x, y, radius - 11, None, edge="#b4bcc4", width=9)
    pen.disc(x, y, radius - 11, None, edge="#e4e8ec", width=2)
    hues = pick(rng, [("#c8402c", "#2c6ca8"), ("#d08c2c", "#3c8c6c"), ("#8c4c9c", "#5c6470")])
    for spoke in range(spokes):
        rim, side = 2 * math.pi * spoke / spokes, spoke % 4 < 2
        turn = rim + (1 if spoke % 2 else -1) * crossed * 2 * math.pi * 2 / spokes * 0.95
        pen.line([(x + 15 * math.cos(turn), y + 15 * math.sin(turn)), (x + 109 * math.cos(rim), y + 109 * math.sin(rim))], hues[0] if side else hues[1], 1.5)
        pen.line([(x + 102 * math.cos(rim), y + 102 * math.sin(rim)), (x + 109 * math.cos(rim), y + 109 * math.sin(rim))], "#d8b050", 2.6)
    pen.disc(x, y, 17, "#c4cad0", edge=ink, width=1)
    for hole in range(spokes // 2):
        a = 4 * math.pi * hole / spokes
        pen.disc(x + 14 * math.cos(a), y + 14 * math.sin(a), 1.1, ink)
    pen.disc(x, y, 8, "#8c949c", edge=ink, width=1)
    pen.disc(x, y, 3.4, ink)
    pen.box(x - 1.4, y + 94, 2.8, 16, ink)
    for words, place, ty in (("rim", (x + 117, y - 20), 92), ("nipple", (x + 105, y), 128), ("spoke", (x + 66, y + 22), 164), ("hub", (x + 12, y + 8), 200), ("valve", (x, y + 100), 236)):
        pen.line([place, (328, ty)], ink, 0.8)
        pen.disc(*place, 1.8, ink)
        pen.text(331, ty, words, 11, ink, "lm", halo=paper)
    pen.text(352, 40, f"{spokes} spokes", 13, ink, halo=paper)
    pen.text(352, 57, f"crossed {crossed} times", 9.5, ink, halo=paper)
    return pen.done()


def arch_bridge(rng: Random, size: Size) -> Image.Image:
    sky, stone, water, ink = pick(rng, [(("#cfe4f2", "#f8f4e8"), "#c8b494", "#6ca4c8", "#2c2c34"), (("#f4d8bc", "#fdf6e8"), "#b09a90", "#5c94a0", "#34282c"), (("#d4e0d4", "#f8faf0"), "#a8a89c", "#5c8c8c", "#202c28")])
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
    for i, (a, b) in enumerate(zip(angles[:-1], angles[1:], strict=True)):
        corners = [(200 + (span + out) * math.cos(t), base + (crown + out) * math.sin(t)) for t, out in ((a, 0), (b, 0), (b, 22), (a, 22))]
        key = i == blocks // 2
        pen.polygon(corners, blend("#d0603c", stone, 0.25) if key else brush.jitter(rng, blend(stone, "#ffffff", 0.3), 0.05), edge=blend(stone, "#20140c", 0.6), width=1)
    pen.box(20, deck - 6, 360, 12, blend(stone, "#20140c", 0.3), corner=2)
    red, blue = "#c42c2c", "#1f58b0"
    for x in range(60, 345, 40):
        pen.arrow(x, deck - 38, x, deck - 9, red, 2)
    points = [(200 + (span + 11) * math.cos(t), base + (crown + 11) * math.sin(t)) for t in np.linspace(1.5 * math.pi, 2 * math.pi - 0.04, 5)]
    for (xa, ya), (xb, yb) in zip(points[:-1], points[1:], strict=True):
        pen.arrow(xa + (xb - xa) * 0.15, ya + (yb - ya) * 0.15, xa + (xb - xa) * 0.9, ya + (yb - ya) * 0.9, blue, 2.4)
        pen.arrow(400 - xa - (xb - xa) * 0.15, ya + (yb - ya) * 0.15, 400 - xa - (xb - xa) * 0.9, ya + (yb - ya) * 0.9, blue, 2.4)
    pen.arrow(200 + span + 11, base + 40, 200 + span + 11, base + 6, red, 2.4)
    pen.arrow(200 - span - 11, base + 40, 200 - span - 11, base + 6, red, 2.4)
    for words, x, y in (("load", 200, deck - 48), ("keystone", 200, base - crown + 13), ("thrust", 200 + span * 0.42, base - crown * 0.62), ("abutment", 44, 268), ("abutment", 356, 268)):
        pen.text(x, y, words, 12, ink, halo="#fbf8f0")
    return pen.done()


def circuit(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = _sheet(rng, size)
    wire = pick(rng, ["#b8402c", "#1f6c9c", "#2c8c5c", "#a87c1c"]) if brush.rgb(paper).sum() > 1.5 else pick(rng, ["#ffb454", "#7ee0a2", "#5cc8ff"])
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
    for words, x, y in ((f"battery, {volts:g} V", left - 4, 192), ("switch", 132, top + 22), (f"{ohms} ohm", middle + 42, 158), ("lamp", right, 190)):
        pen.text(x, y, words, 11, ink, halo=paper)
    pen.text(200, 274, f"With the switch closed: {volts:g} V / {ohms} ohm = {1000 * volts / ohms:.0f} mA", 11, ink)
    return pen.done()


def bread_steps(rng: Random, size: Size) -> Image.Image:
    paper, ink, hues = pick(rng, [("#fdf8ec", "#4c3420", ("#f0c878", "#e4a45c", "#d88c4c", "#c47440", "#b06038", "#94502c")), ("#f2f6f2", "#24402f", ("#cfe4b8", "#b0d4a4", "#e8d890", "#e4b870", "#d49058", "#b06c48")), ("#f6f2f8", "#382c4c", ("#d8cce8", "#c4b4dc", "#e8c4cc", "#e8a89c", "#d88c78", "#b46c60"))])
    pen = Pen(brush.gradient(size, paper, blend(paper, hues[1], 0.18)), size, SHEET)
    pen.text(200, 28, pick(rng, ["From flour to loaf", "A day of baking", "Six steps to a loaf"]), 16, ink)
    steps = (("Mix", "10 minutes"), ("Rise", f"{pick(rng, [3, 4, 5])} hours"), ("Shape", "15 minutes"), ("Prove", pick(rng, ["1 hour", "2 hours"])), ("Bake", f"{pick(rng, [35, 40, 45])} minutes"), ("Cool", "1 hour"))
    for index, (name, long) in enumerate(steps):
        row, column = divmod(index, 3)
        x, y = 28 + (column if row == 0 else 2 - column) * 122, 58 + row * 118
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
            pen.disc(cx, cy + 2, 24, "#ecd4a4", edge=blend(ink, "#ecd4a4", 0.4), width=1.2, flat=0.62 if index == 2 else 0.8)
            if index == 3:
                pen.line([(cx - 30, cy + 20), (cx + 30, cy + 20)], ink, 2)
                pen.line(brush.ring(cx, cy + 18, 30, 36, 180, 360), blend(ink, "#ffffff", 0.5), 1)
        else:
            pen.disc(cx, cy + 2, 27, "#b87838", edge="#7c4820", width=1.4, flat=0.72)
            for cut in (-11, 0, 11):
                pen.line([(cx + cut - 5, cy + 9), (cx + cut + 5, cy - 8)], "#f4dca8", 3)
            for wisp in (-10, 0, 10) if index == 4 else ():
                t = np.linspace(0, 1, 14)
                pen.line(np.stack([cx + wisp + 2 * np.sin(t * 8), cy - 20 - 10 * t], -1), blend(ink, "#ffffff", 0.5), 1.2)
        pen.text(cx, y + 63, f"{index + 1}. {name}", 12, ink)
        pen.text(cx, y + 77, long, 9.5, blend(ink, "#ffffff", 0.25))
        if index in (0, 1):
            pen.arrow(x + 103, y + 43, x + 120, y + 43, ink, 2.2)
        elif index == 2:
            pen.arrow(x + 50, y + 91, x + 50, y + 114, ink, 2.2)
        elif index < 5:
            pen.arrow(x - 3, y + 43, x - 20, y + 43, ink, 2.2)
    return pen.done()


PAINTINGS = (bicycle, bicycle_gears, spoked_wheel, arch_bridge, circuit, bread_steps)
