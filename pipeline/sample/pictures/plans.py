"""A generator of random numbers and a size in; a street plan, a metro map or a star chart out."""

import math
from itertools import pairwise

import numpy as np
from PIL import Image

from pipeline.sample.pictures import brush
from pipeline.sample.pictures.brush import Random, Size, blend, jitter, pick
from pipeline.sample.pictures.pen import Pen

STREETS = (
    "Mill Lane",
    "Station Road",
    "Market Street",
    "Church Walk",
    "Bridge Street",
    "Orchard Road",
    "Quay Street",
    "Tanner Row",
    "Castle Hill",
    "North Parade",
)


STATIONS = (
    "Abbey",
    "Harbour",
    "Central",
    "Museum",
    "Old Gate",
    "Park",
    "Foundry",
    "Riverside",
    "Market",
    "Observatory",
    "Mill",
    "Castle",
    "Docks",
    "University",
    "Garden",
    "Lakeside",
    "Weavers",
    "Hilltop",
    "Arsenal",
    "Granary",
)


# Places of the brighter stars in a square of side 1, and the lines that join them, as star charts draw these figures.
FIGURES = {
    "Plough": (
        ((0, 0.3), (0.2, 0.22), (0.36, 0.32), (0.53, 0.42), (0.57, 0.66), (0.9, 0.72), (0.94, 0.44)),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 3)),
    ),
    "Cassiopeia": (((0, 0.2), (0.24, 0.62), (0.5, 0.4), (0.76, 0.76), (1, 0.34)), ((0, 1), (1, 2), (2, 3), (3, 4))),
    "Orion": (
        ((0.25, 0.1), (0.72, 0.16), (0.42, 0.5), (0.5, 0.47), (0.58, 0.44), (0.3, 0.9), (0.78, 0.84), (0.5, 0.0)),
        ((0, 2), (1, 4), (2, 3), (3, 4), (2, 5), (4, 6), (5, 6), (0, 7), (7, 1)),
    ),
    "Swan": (
        ((0.5, 0), (0.5, 0.3), (0.5, 0.62), (0.52, 1), (0.1, 0.44), (0.28, 0.36), (0.74, 0.36), (0.96, 0.5)),
        ((0, 1), (1, 2), (2, 3), (4, 5), (5, 1), (1, 6), (6, 7)),
    ),
    "Lyre": (
        ((0.3, 0), (0.42, 0.26), (0.7, 0.34), (0.58, 0.86), (0.3, 0.78)),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 1)),
    ),
    "Lion": (
        ((0.1, 0.5), (0.24, 0.7), (0.7, 0.68), (0.98, 0.6), (0.74, 0.4), (0.3, 0.36), (0.22, 0.16), (0.06, 0.12)),
        ((0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0), (5, 6), (6, 7)),
    ),
    "Twins": (
        ((0.2, 0), (0.5, 0.06), (0.14, 0.4), (0.62, 0.44), (0.1, 0.86), (0.7, 0.9), (0.36, 0.22)),
        ((0, 2), (2, 4), (1, 3), (3, 5), (0, 6), (6, 1)),
    ),
}


def street_plan(rng: Random, size: Size) -> Image.Image:
    width, height = size
    paper, house, road, main, park, water = pick(
        rng,
        [
            ("#f2ede2", "#d9cfc0", "#ffffff", "#f7d774", "#bfdc9c", "#9cc8e8"),
            ("#e8e4f0", "#c8bfd8", "#ffffff", "#f4a8a0", "#b4d8b4", "#94b8e4"),
            ("#22303c", "#34485a", "#5c7488", "#d8a04c", "#2f5a48", "#1f4a78"),
        ],
    )
    pen, unit = Pen(paper, size), height / 300
    across, down = max(3, round(width / (46 * unit))), 6
    turn = math.radians(rng.uniform(-22, 22))
    spots = np.zeros((down + 5, across + 5, 2))
    for row in range(down + 5):
        for column in range(across + 5):
            x, y = (
                (column - 2 - across / 2) * 50 + rng.uniform(-11, 11),
                (row - 2 - down / 2) * 50 + rng.uniform(-11, 11),
            )
            spots[row, column] = (
                width / 2 + unit * (x * math.cos(turn) - y * math.sin(turn)),
                height / 2 + unit * (x * math.sin(turn) + y * math.cos(turn)),
            )
    green = {(int(rng.integers(2, down + 1)), int(rng.integers(2, across + 1))) for _ in range(2)}
    green |= {(row, column + 1) for row, column in green}
    for row in range(down + 4):
        for column in range(across + 4):
            a, b, c, d = spots[row, column], spots[row, column + 1], spots[row + 1, column + 1], spots[row + 1, column]
            if (row, column) in green:
                pen.polygon([tuple(p) for p in (a, b, c, d)], park)
                for _ in range(14):
                    s, t = rng.uniform(0.1, 0.9, 2)
                    x, y = a * (1 - s) * (1 - t) + b * s * (1 - t) + c * s * t + d * (1 - s) * t
                    pen.disc(x, y, rng.uniform(2, 4.5) * unit, jitter(rng, blend(park, "#2f6a34", 0.5)))
                continue
            for i in range(4):
                for j in range(3):
                    if rng.random() < 0.14 or (i in (1, 2) and j == 1):
                        continue
                    s0, s1, t0, t1 = (
                        0.13 + i * 0.19,
                        0.13 + i * 0.19 + rng.uniform(0.12, 0.17),
                        0.13 + j * 0.26,
                        0.13 + j * 0.26 + rng.uniform(0.14, 0.22),
                    )
                    corners = [
                        tuple(a * (1 - s) * (1 - t) + b * s * (1 - t) + c * s * t + d * (1 - s) * t)
                        for s, t in ((s0, t0), (s1, t0), (s1, t1), (s0, t1))
                    ]
                    pen.polygon(corners, jitter(rng, house, 0.03), edge=blend(house, "#000000", 0.18), width=0.5 * unit)
    ways = [*[spots[row] for row in range(down + 5)], *[spots[:, column] for column in range(across + 5)]]
    wide = {int(i) for i in rng.permutation(len(ways))[:3]}
    for outer in (True, False):
        for i, way in enumerate(ways):
            thick = 9.0 if i in wide else 5.5
            pen.line(
                way,
                blend(road, "#000000", 0.22) if outer else (main if i in wide else road),
                unit * (thick + 1.6 if outer else thick),
            )
    t = np.linspace(-0.05, 1.05, 60)
    course = np.stack(
        [
            width * t,
            height * (rng.uniform(0.3, 0.75) + rng.uniform(-0.3, 0.3) * (t - 0.5))
            + height * 0.09 * np.sin(t * rng.uniform(4, 7) + rng.uniform(0, 6)),
        ],
        -1,
    )
    pen.line(course, blend(water, "#000000", 0.2), 21 * unit)
    pen.line(course, water, 18 * unit)
    crossing = [way for i, way in enumerate(ways) if i >= down + 5][1::2]
    for way in crossing:
        for a, b in pairwise(way):
            middle = np.linspace(a, b, 12)
            if np.min(np.hypot(*(course[:, None] - middle[None]).T)) < 9 * unit:
                pen.line([tuple(a), tuple(b)], blend(road, "#000000", 0.35), 7 * unit)
                pen.line([tuple(a), tuple(b)], road, 5 * unit)
    ink = "#2c2c34" if sum(brush.rgb(paper)) > 1.5 else "#f0f0f4"
    for name, i in zip(
        [STREETS[i] for i in rng.permutation(len(STREETS))], rng.permutation(down - 1)[:4] + 2, strict=False
    ):
        way = spots[i]
        x, y = way[len(way) // 2] * 0.5 + way[len(way) // 2 + 1] * 0.5
        pen.text(x + rng.uniform(-0.25, 0.25) * width, y, name, 9.5 * unit, ink, halo=paper)
    return pen.done()


def metro_map(rng: Random, size: Size) -> Image.Image:
    paper, ink = pick(rng, [("#ffffff", "#22303c"), ("#f6f3ea", "#2c2a28"), ("#1c2430", "#eef2f6")])
    pen = Pen(paper, size, (400, 300))
    hues = [
        pick(rng, group)
        for group in (
            ("#d8342c", "#e4572e"),
            ("#1f6fc4", "#2a9fd6"),
            ("#2f9c4c", "#00a087"),
            ("#f0a818", "#f2c12e"),
            ("#8a3fa0", "#c94f9a"),
        )
    ]
    hues = [hues[i] for i in rng.permutation(5)]
    water = [(-40, 205), (60, 205), (105, 250), (250, 250), (300, 200), (440, 200)]
    mirror = rng.random() < 0.5
    bend = [(400 - x, y) for x, y in water] if mirror else water
    pen.line(bend, blend(paper, "#5aa8e0", 0.4), 22)
    lines = [
        [(25, 60), (90, 60), (150, 120), (250, 120), (300, 170), (300, 235), (340, 275)],
        [(30, 170), (120, 170), (200, 90), (200, 30)],
        [(45, 265), (100, 265), (200, 165), (270, 165), (375, 60)],
        [(120, 25), (120, 205), (180, 265), (375, 265)],
        [(60, 110), (120, 110), (190, 180), (250, 180), (290, 140), (380, 140)],
    ]
    lines = [[(400 - x, y) if mirror else (x, y) for x, y in line] for line in lines]
    stops: list[tuple[float, float, int]] = []
    for line, hue in zip(lines, hues, strict=True):
        pen.line(line, hue, 6)
        for corner in line[1:-1]:
            pen.disc(*corner, 3, hue)
    for index, line in enumerate(lines):
        path = np.asarray(line, np.float64)
        steps = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
        for at in np.linspace(0, steps[-1], round(steps[-1] / 52) + 1):
            x, y = float(np.interp(at, steps, path[:, 0])), float(np.interp(at, steps, path[:, 1]))
            if all(math.hypot(x - a, y - b) > 17 for a, b, _ in stops):
                stops.append((x, y, index))
    names = [STATIONS[i] for i in rng.permutation(len(STATIONS))]
    labels: list[tuple[float, float]] = []
    for x, y, _ in stops:
        near = sum(
            min(
                math.hypot(x - (a[0] + (b[0] - a[0]) * t), y - (a[1] + (b[1] - a[1]) * t))
                for a, b in pairwise(line)
                for t in np.linspace(0, 1, 12)
            )
            < 7
            for line in lines
        )
        if near > 1:
            pen.disc(x, y, 7, paper, edge=ink, width=2)
        else:
            pen.disc(x, y, 4, paper, edge=ink, width=1.5)
    for x, y, _ in stops:
        free = all(abs(x - a) > 56 or abs(y - 12 - b) > 15 for a, b in labels)
        if free and names:
            labels.append((x, y - 12))
            pen.text(min(max(x, 30), 370), y - 12, names.pop(), 9.5, ink, halo=paper)
    return pen.done()


def star_chart(rng: Random, size: Size) -> Image.Image:
    night, line, ink = pick(
        rng, [("#0c1c40", "#6c90d0", "#f4f0d8"), ("#f6f0dc", "#9c7c54", "#3a2c20"), ("#04201f", "#4c9c90", "#eafaf0")]
    )
    dark = sum(brush.rgb(night)) < 1.5
    pen = Pen(blend(night, "#000000" if dark else "#c8a870", 0.45 if dark else 0.25), size, (400, 300))
    pen.disc(200, 150, 146, blend(night, line, 0.25), edge=line, width=1)
    pen.disc(200, 150, 134, night, edge=line, width=1.2)
    for ring in (34, 67, 100):
        pen.disc(200, 150, ring, None, edge=blend(night, line, 0.4), width=0.6)
    for angle in range(0, 360, 30):
        turn = math.radians(angle)
        pen.line(
            [
                (200 + 34 * math.cos(turn), 150 + 34 * math.sin(turn)),
                (200 + 134 * math.cos(turn), 150 + 134 * math.sin(turn)),
            ],
            blend(night, line, 0.4),
            0.6,
        )
        pen.text(200 + 140 * math.cos(turn), 150 + 140 * math.sin(turn), f"{(angle // 15 + 6) % 24}h", 7.5, ink)
    milky = [
        (200 + 100 * math.cos(t) * math.cos(0.6), 150 + 100 * math.cos(t) * 0.7 + 30 * math.sin(2 * t))
        for t in np.linspace(0, math.pi, 30)
    ]
    for wide, glow in ((46, 0.08), (30, 0.13), (16, 0.2)):
        pen.line(milky, blend(night, line, glow), wide)
    for _ in range(330):
        around, far = rng.uniform(0, 2 * math.pi), 131 * rng.random() ** 0.5
        pen.disc(200 + far * math.cos(around), 150 + far * math.sin(around), 0.5 + 1.3 * rng.random() ** 5, ink, 0.9)
    names, start = list(FIGURES), rng.uniform(0, 360)
    for index, which in enumerate(rng.permutation(len(names))[:6]):
        places, joins = FIGURES[names[which]]
        place = math.radians(start + index * 72)
        reach, big = (0.0, 50.0) if index == 5 else (87.0, 58.0)
        x, y, turn = (
            200 + reach * math.cos(place),
            150 + reach * math.sin(place),
            rng.uniform(-0.6, 0.6) + (math.pi if rng.random() < 0.3 else 0),
        )
        spots = [
            (
                x + big * ((px - 0.5) * math.cos(turn) - (py - 0.5) * math.sin(turn)),
                y + big * ((px - 0.5) * math.sin(turn) + (py - 0.5) * math.cos(turn)),
            )
            for px, py in places
        ]
        for a, b in joins:
            pen.line([spots[a], spots[b]], blend(line, ink, 0.3), 1.1)
        for px, py in spots:
            pen.disc(px, py, rng.uniform(1.9, 3.2), ink)
        pen.text(x, max(py for _, py in spots) + 9, names[which], 8.5, ink, halo=night)
    return pen.done()


PAINTINGS = (
    street_plan,
    metro_map,
    star_chart,
)
