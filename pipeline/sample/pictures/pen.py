"""A picture or a colour in; the same with lines, shapes and words drawn over it out."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipeline.sample.pictures.brush import Colour, Pixels, Points, Size, image_of


class Pen:
    """Draws lines, shapes and words with smooth edges over a picture.

    It works on the picture enlarged two or three times, which `done` brings back to `size`. Coordinates are pixels of
    `size`, or, with a stage, those of a sheet of that width and height that is centred in the picture.
    """

    def __init__(self, base: Pixels | Colour, size: Size, stage: tuple[float, float] | None = None) -> None:
        self.size = size
        self.over = 3 if size[0] * size[1] <= 160_000 else 2
        large = (size[0] * self.over, size[1] * self.over)
        if isinstance(base, np.ndarray) and base.ndim == 3:
            self.image = image_of(base).resize(large, Image.Resampling.NEAREST)
        else:
            self.image = Image.new("RGB", large, self._ink(base, 1)[:3])
        self.brush = ImageDraw.Draw(self.image, "RGBA")
        across, down = stage or size
        self.scale = min(large[0] / across, large[1] / down)
        self.left = (large[0] - across * self.scale) / 2
        self.top = (large[1] - down * self.scale) / 2

    def _ink(self, colour: Colour, alpha: float) -> tuple[int, int, int, int]:
        if isinstance(colour, str):
            return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16), round(alpha * 255)
        red, green, blue = (min(255, max(0, int(float(value) * 255 + 0.5))) for value in colour)
        return red, green, blue, round(alpha * 255)

    def _at(self, points: Points) -> list[tuple[float, float]]:
        left, top, scale = self.left, self.top, self.scale
        pairs = points.tolist() if isinstance(points, np.ndarray) else points
        return [(left + x * scale, top + y * scale) for x, y in pairs]

    def polygon(
        self, points: Points, colour: Colour, alpha: float = 1, edge: Colour | None = None, width: float = 1
    ) -> None:
        self.brush.polygon(self._at(points), fill=self._ink(colour, alpha))
        if edge is not None:
            self.line([*points, points[0]], edge, width)

    def line(self, points: Points, colour: Colour, width: float = 1, alpha: float = 1) -> None:
        thick = max(1, round(width * self.scale))
        self.brush.line(self._at(points), fill=self._ink(colour, alpha), width=thick, joint="curve")
        if thick > 3 * self.over and alpha == 1:
            for x, y in self._at([points[0], points[-1]]):
                self.brush.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), self._ink(colour, 1))

    def dashes(self, points: Points, colour: Colour, width: float = 1, dash: float = 4) -> None:
        spots = np.asarray(points, np.float64)
        steps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(spots, axis=0).T))])
        for start in np.arange(0, steps[-1], dash * 2):
            at = np.linspace(start, min(start + dash, steps[-1]), 4)
            self.line(np.stack([np.interp(at, steps, spots[:, i]) for i in (0, 1)], -1), colour, width)

    def disc(
        self,
        x: float,
        y: float,
        radius: float,
        colour: Colour | None,
        alpha: float = 1,
        edge: Colour | None = None,
        width: float = 1,
        flat: float = 1,
    ) -> None:
        (left, top), (right, bottom) = self._at([(x - radius, y - radius * flat), (x + radius, y + radius * flat)])
        inside = None if colour is None else self._ink(colour, alpha)
        outline = None if edge is None else self._ink(edge, 1)
        self.brush.ellipse(
            (left, top, right, bottom), inside, outline, max(1, round(width * self.scale)) if edge is not None else 0
        )

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        colour: Colour,
        alpha: float = 1,
        corner: float = 0,
        edge: Colour | None = None,
        line: float = 1,
    ) -> None:
        (left, top), (right, bottom) = self._at([(x, y), (x + width, y + height)])
        outline = None if edge is None else self._ink(edge, 1)
        self.brush.rounded_rectangle(
            (left, top, max(left, right), max(top, bottom)),
            corner * self.scale,
            self._ink(colour, alpha),
            outline,
            max(1, round(line * self.scale)) if edge is not None else 0,
        )

    def text(
        self,
        x: float,
        y: float,
        words: str,
        size: float = 10,
        colour: Colour = "#222222",
        anchor: str = "mm",
        halo: Colour | None = None,
    ) -> None:
        font = ImageFont.load_default(max(4, round(size * self.scale)))
        around = max(1, round(size * self.scale / 7)) if halo is not None else 0
        outline = None if halo is None else self._ink(halo, 1)
        place = self._at([(x, y)])[0]
        self.brush.text(place, words, self._ink(colour, 1), font, anchor, stroke_width=around, stroke_fill=outline)

    def arrow(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, width: float = 1.5) -> None:
        angle = math.atan2(y1 - y0, x1 - x0)
        head = width * 4
        back = (x1 - head * 0.8 * math.cos(angle), y1 - head * 0.8 * math.sin(angle))
        self.line([(x0, y0), back], colour, width)
        sides = [(x1 - head * math.cos(angle + turn), y1 - head * math.sin(angle + turn)) for turn in (-0.45, 0.45)]
        self.polygon([(x1, y1), *sides], colour)

    def done(self) -> Image.Image:
        return self.image.reduce(self.over)
