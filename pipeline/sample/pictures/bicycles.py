"""A generator of random numbers and a size in; a drawing of a bicycle, its wheel or its gears out."""

import math

import numpy as np
from PIL import Image

from pipeline.sample.pictures.brush import Colour, Random, Size, blend, pick
from pipeline.sample.pictures.pen import Pen

SHEET = (400, 300)


PAPERS = (("#f8f6f0", "#2c3038"), ("#eef4f8", "#203040"), ("#153350", "#e4f0fa"), ("#f4efe0", "#40301c"))


def squared_sheet(rng: Random, size: Size) -> tuple[Pen, Colour, Colour]:
    """A pen on paper with a faint grid of squares, with the colours of paper and ink."""
    paper, ink = pick(rng, PAPERS)
    pen = Pen(paper, size, SHEET)
    for x in range(-400, 801, 20):
        pen.line([(x, -300), (x, 600)], blend(paper, ink, 0.07), 0.5)
        pen.line([(-400, x), (800, x)], blend(paper, ink, 0.07), 0.5)
    return pen, paper, ink


def _label(
    pen: Pen, words: str, place: tuple[float, float], text: tuple[float, float], ink: Colour, paper: Colour
) -> None:
    pen.line([place, text], ink, 0.7)
    pen.disc(*place, 1.6, ink)
    pen.text(*text, words, 10.5, ink, halo=paper)


def _wheel(
    pen: Pen, x: float, y: float, radius: float, spokes: int, tyre: Colour, metal: Colour, crossed: int = 3
) -> None:
    pen.disc(x, y, radius, None, edge=tyre, width=radius * 0.085)
    pen.disc(x, y, radius * 0.905, None, edge=metal, width=radius * 0.05)
    hub = radius * 0.09
    for spoke in range(spokes):
        rim = 2 * math.pi * spoke / spokes
        turn = rim + (1 if spoke % 2 else -1) * crossed * 2 * math.pi / spokes * 1.9
        pen.line(
            [
                (x + hub * math.cos(turn), y + hub * math.sin(turn)),
                (x + radius * 0.87 * math.cos(rim), y + radius * 0.87 * math.sin(rim)),
            ],
            metal,
            radius * 0.011,
        )
    pen.disc(x, y, hub, metal, edge=tyre, width=radius * 0.02)
    pen.disc(x, y, hub * 0.4, tyre)


def bicycle(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = squared_sheet(rng, size)
    frame = pick(rng, ["#c8342c", "#1f6fb4", "#2f8c5c", "#e0982c", "#7c4ca0"])
    metal = blend(ink, paper, 0.45)
    back, front, crank = (112.0, 196.0), (296.0, 196.0), (180.0, 204.0)
    drop = rng.uniform(-6, 8)
    head, fork = (262.0, 106.0), (270.0, 132.0)
    pen.disc(204, 258, 150, ink, 0.1, flat=0.03)
    for place in (back, front):
        _wheel(pen, *place, 60, 32, blend(ink, "#101010", 0.3), metal)
    seat_top = (163.0, 122.0 + drop)
    for a, b, thick in (
        (back, crank, 4),
        (back, seat_top, 3.4),
        (crank, (156, 98 + drop), 5.5),
        (seat_top, head, 5.5),
        (crank, fork, 6.5),
        ((258, 94), fork, 6.5),
    ):
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
        turn = tooth * math.pi / 16
        pen.line(
            [
                (crank[0] + 16 * math.cos(turn), crank[1] + 16 * math.sin(turn)),
                (crank[0] + 19 * math.cos(turn), crank[1] + 19 * math.sin(turn)),
            ],
            metal,
            1.4,
        )
    pen.disc(*back, 8, metal, edge=ink, width=1)
    for dy, reach in ((-18, -8), (18, 8)):
        pen.dashes([(crank[0], crank[1] + dy), (back[0], back[1] + reach)], ink, 2, 1.4)
    angle = rng.uniform(0, math.pi)
    for side in (0, math.pi):
        x, y = crank[0] + 30 * math.cos(angle + side), crank[1] + 30 * math.sin(angle + side)
        pen.line([crank, (x, y)], ink, 4)
        pen.line([(x - 9, y), (x + 9, y)], ink, 5)
    for words, place, text in (
        ("saddle", (160, 94 + drop), (106, 62)),
        ("handlebar", (268, 88), (306, 58)),
        ("top tube", (214, 114 + drop / 2), (206, 74)),
        ("fork", (283, 170), (356, 150)),
        ("spokes", (320, 214), (362, 236)),
        ("chain", (146, 215), (140, 274)),
        ("crank", (crank[0] + 15 * math.cos(angle), crank[1] + 15 * math.sin(angle)), (216, 274)),
        ("tyre", (60, 172), (34, 132)),
        ("hub", back, (56, 274)),
    ):
        _label(pen, words, place, text, ink, paper)
    pen.text(200, 24, pick(rng, ["The parts of a bicycle", "A bicycle and its parts", "Know your bicycle"]), 15, ink)
    return pen.done()


def _sprocket(
    pen: Pen, x: float, y: float, radius: float, teeth: int, colour: Colour, ink: Colour, turn: float
) -> None:
    angles = np.linspace(0, 2 * np.pi, teeth * 8, endpoint=False)
    edge = radius + 3.2 * np.clip(np.cos(angles * teeth) * 1.6, -1, 1)
    pen.polygon(
        np.stack([x + edge * np.cos(angles + turn), y + edge * np.sin(angles + turn)], -1), colour, edge=ink, width=1
    )
    pen.disc(x, y, radius * 0.84, blend(colour, "#ffffff", 0.12), edge=blend(colour, ink, 0.5), width=0.8)
    if radius > 30:
        for arm in range(5):
            a = turn + arm * 2 * math.pi / 5
            pen.disc(
                x + radius * 0.55 * math.cos(a),
                y + radius * 0.55 * math.sin(a),
                radius * 0.2,
                blend(ink, colour, 0.75),
                edge=blend(colour, ink, 0.5),
                width=0.8,
            )
    pen.disc(x, y, radius * 0.22, blend(colour, ink, 0.35), edge=ink, width=1)
    pen.disc(x, y, radius * 0.09, ink)


def bicycle_gears(rng: Random, size: Size) -> Image.Image:
    pen, paper, ink = squared_sheet(rng, size)
    metal, accent = pick(rng, [("#b8bcc4", "#d0562c"), ("#d8b868", "#2c6ca8"), ("#8ca0b0", "#c83c5c")])
    front, rear = int(rng.integers(36, 53)), int(rng.integers(13, 29))
    big, small = front * 1.55, rear * 1.55
    x0, x1, y = 280.0, 104.0, 152.0
    _sprocket(pen, x0, y, big, front, metal, ink, rng.uniform(0, 1))
    _sprocket(pen, x1, y, small, rear, metal, ink, rng.uniform(0, 1))
    lean = math.asin((big - small) / (x0 - x1))
    run: list[tuple[float, float]] = []
    for cx, radius, start, end in (
        (x0, big, -math.pi / 2 - lean, math.pi / 2 + lean),
        (x1, small, math.pi / 2 + lean, 1.5 * math.pi - lean),
    ):
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
    pen, paper, ink = squared_sheet(rng, size)
    spokes, crossed = pick(rng, [(28, 2), (32, 3), (36, 3), (36, 4)])
    x, y, radius = 165.0, 150.0, 128.0
    pen.disc(x, y, radius, None, edge=blend(ink, "#101010", 0.5), width=11)
    pen.disc(
        x,
        y,
        radius - 5,
        None,
        edge=blend("#a07040", ink, 0.2) if rng.random() < 0.5 else blend(ink, paper, 0.25),
        width=2.5,
    )
    pen.disc(x, y, radius - 11, None, edge="#b4bcc4", width=9)
    pen.disc(x, y, radius - 11, None, edge="#e4e8ec", width=2)
    hues = pick(rng, [("#c8402c", "#2c6ca8"), ("#d08c2c", "#3c8c6c"), ("#8c4c9c", "#5c6470")])
    for spoke in range(spokes):
        rim, side = 2 * math.pi * spoke / spokes, spoke % 4 < 2
        turn = rim + (1 if spoke % 2 else -1) * crossed * 2 * math.pi * 2 / spokes * 0.95
        pen.line(
            [(x + 15 * math.cos(turn), y + 15 * math.sin(turn)), (x + 109 * math.cos(rim), y + 109 * math.sin(rim))],
            hues[0] if side else hues[1],
            1.5,
        )
        pen.line(
            [(x + 102 * math.cos(rim), y + 102 * math.sin(rim)), (x + 109 * math.cos(rim), y + 109 * math.sin(rim))],
            "#d8b050",
            2.6,
        )
    pen.disc(x, y, 17, "#c4cad0", edge=ink, width=1)
    for hole in range(spokes // 2):
        a = 4 * math.pi * hole / spokes
        pen.disc(x + 14 * math.cos(a), y + 14 * math.sin(a), 1.1, ink)
    pen.disc(x, y, 8, "#8c949c", edge=ink, width=1)
    pen.disc(x, y, 3.4, ink)
    pen.box(x - 1.4, y + 94, 2.8, 16, ink)
    for words, place, ty in (
        ("rim", (x + 117, y - 20), 92),
        ("nipple", (x + 105, y), 128),
        ("spoke", (x + 66, y + 22), 164),
        ("hub", (x + 12, y + 8), 200),
        ("valve", (x, y + 100), 236),
    ):
        pen.line([place, (328, ty)], ink, 0.8)
        pen.disc(*place, 1.8, ink)
        pen.text(331, ty, words, 11, ink, "lm", halo=paper)
    pen.text(352, 40, f"{spokes} spokes", 13, ink, halo=paper)
    pen.text(352, 57, f"crossed {crossed} times", 9.5, ink, halo=paper)
    return pen.done()


PAINTINGS = (
    bicycle,
    bicycle_gears,
    spoked_wheel,
)
