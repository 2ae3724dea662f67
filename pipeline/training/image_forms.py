"""A decoded image in; what a family's vision encoder is shown of it, and the tokens that stand for it, out.

Pixels are those of transformers' processors before scaling and normalisation, and so are the tokens.
"""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from pipeline.errors import UserError
from pipeline.training.tokenizer import END_OF_UTTERANCE, GLOBAL, Vocabulary, tile_token

if TYPE_CHECKING:
    from pipeline.training.config import TrainConfig

Bytes = NDArray[np.uint8]
Lengths = NDArray[np.int64]

MAX_SIDE = 4096  # of an image that Idefics3 resizes; transformers' MAX_IMAGE_SIZE


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is shown of one image: n pictures of one size. Idefics3's tiles stand in `rows` and `columns`, after them
    the whole image; both are 0 where an image is one picture."""

    pixels: Bytes  # [n, H, W, 3]
    extent: Lengths  # [n, 2]: height and width of the picture in it, from the upper left; the rest is padding, zero
    rows: int = 0
    columns: int = 0


class ImageForm(Protocol):
    """How a family shows an image; made by `image_form`."""

    @property
    def side(self) -> int:
        """Height and width of a picture, padding included, in pixels."""

    @property
    def enough(self) -> int | None:
        """Pixels of a side from which on a smaller decode of a JPEG does; None: only the whole image does."""

    @property
    def shared(self) -> bool:
        """Whether neighbouring images share the token between them."""

    @property
    def crossed(self) -> bool:
        """Whether text attends images by cross-attention; else they stand among the text, `latents` tokens a picture."""

    @property
    def latents(self) -> int: ...

    @property
    def longest(self) -> int:
        """Tokens that an image has at most, those around it included."""

    def pictures(self, image: PIL.Image.Image) -> Pictures: ...

    def ids(self, pictures: Pictures) -> list[int]:
        """The tokens between the two around the image."""


@dataclass(frozen=True, slots=True)
class Idefics:
    """One square picture, one `<image>`, which the text attends by cross-attention."""

    side: int
    image: int  # token
    fast: bool = False  # JPEGs may be decoded at a fraction of their size that is at least twice `side`
    shared: bool = True
    crossed: bool = True
    latents: int = 1
    longest: int = 3

    @property
    def enough(self) -> int | None:
        return 2 * self.side if self.fast else None

    def pictures(self, image: PIL.Image.Image) -> Pictures:
        pixels = np.array(image.resize((self.side, self.side), PIL.Image.Resampling.BICUBIC))
        return _whole(pixels)

    def ids(self, pictures: Pictures) -> list[int]:
        return [self.image]


@dataclass(frozen=True, slots=True)
class Idefics2:
    """An image in its own proportions, padded to a square; where it is split, its quarters first."""

    side: int  # its longer side has at most so many pixels
    shortest: int  # its shorter one at least so many
    latents: int  # tokens of a picture
    split: bool
    image: int  # tokens
    fake: int
    enough: None = None
    shared: bool = True
    crossed: bool = False

    @property
    def longest(self) -> int:
        return (5 if self.split else 1) * (self.latents + 1) + 1

    def pictures(self, image: PIL.Image.Image) -> Pictures:
        (width, height), parts = image.size, [image]
        if self.split:
            x, y = width // 2, height // 2
            boxes = [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]
            parts = [image.crop(box) for box in boxes if box[0] < box[2] and box[1] < box[3]]
            parts = [*parts, *[image] * (5 - len(parts))]  # of one pixel's width there are no quarters
        pixels = np.zeros((len(parts), self.side, self.side, 3), np.uint8)
        extent = np.zeros((len(parts), 2), np.int64)
        for number, part in enumerate(parts):
            height, width = extent[number] = self._fitted(*part.size)
            pixels[number, :height, :width] = np.asarray(part.resize((width, height), PIL.Image.Resampling.BILINEAR))
        return Pictures(pixels, extent)

    def ids(self, pictures: Pictures) -> list[int]:
        one = [self.image] * self.latents
        return [*one, self.fake] * (len(pictures.pixels) - 1) + one

    def _fitted(self, width: int, height: int) -> tuple[int, int]:
        ratio = width / height
        if width >= height and width > self.side:
            width, height = self.side, int(self.side / ratio)
        elif height > width and height > self.side:
            width, height = int(self.side * ratio), self.side
        return max(height, self.shortest), max(width, self.shortest)


@dataclass(frozen=True, slots=True)
class Idefics3:
    """An image as tiles, row by row, and as a whole, each with a token that says which it is."""

    side: int  # of a tile, pixels
    most: int  # pixels to which the longer side is brought before it is cut
    latents: int  # tokens of a picture
    split: bool
    image: int  # tokens
    fake: int
    whole: int
    tiles: tuple[tuple[int, ...], ...]  # by row and column
    line: list[int] = field(default_factory=list)  # "\n"
    lines: list[int] = field(default_factory=list)  # "\n\n"
    enough: None = None
    shared: bool = False
    crossed: bool = False

    @property
    def longest(self) -> int:
        across = math.ceil(self.most / self.side) if self.split else 0
        if across < 2:
            return self.latents + 3
        breaks = (across - 1) * len(self.line) + len(self.lines)
        return across**2 * (self.latents + 2) + breaks + self.latents + 3

    def pictures(self, image: PIL.Image.Image) -> Pictures:
        image = _lanczos(image, *_below(*_brought_to(*image.size, self.most)))
        if not self.split:
            return _whole(np.array(_lanczos(image, self.side, self.side)))
        image = _lanczos(image, *self._multiple(*image.size))
        columns, rows = (length // self.side for length in image.size)
        if rows == columns == 1:
            return _whole(np.array(image))
        pixels = np.empty((rows * columns + 1, self.side, self.side, 3), np.uint8)
        cut = np.asarray(image).reshape(rows, self.side, columns, self.side, 3).swapaxes(1, 2)
        pixels[:-1] = cut.reshape(-1, self.side, self.side, 3)
        pixels[-1] = np.asarray(_lanczos(image, self.side, self.side))
        return Pictures(pixels, np.full((len(pixels), 2), self.side), rows, columns)

    def ids(self, pictures: Pictures) -> list[int]:
        one = [self.image] * self.latents
        found: list[int] = []
        for row in range(pictures.rows):
            for column in range(pictures.columns):
                found += [self.fake, self.tiles[row][column], *one]
            found += self.line if row < pictures.rows - 1 else self.lines
        return [*found, self.fake, self.whole, *one][1:]

    def _multiple(self, width: int, height: int) -> tuple[int, int]:
        ratio, side = width / height, self.side
        if width >= height:
            width = math.ceil(width / side) * side
            height = math.ceil(int(width / ratio) / side) * side
        else:
            height = math.ceil(height / side) * side
            width = math.ceil(int(height * ratio) / side) * side
        # An image of extreme proportions would have no height at all: transformers fails on it.
        return max(width, side), max(height, side)


def image_form(config: "TrainConfig", vocabulary: Vocabulary) -> ImageForm:
    """The form of the configured family, with the tokens of this vocabulary.

    Raises:
        UserError: the vocabulary lacks a token of the family, or the longest image does not fit a sequence.
    """
    images, vision, family = config.images, config.model.vision, config.model.family
    side = vision.image_size
    form: ImageForm
    if family == "idefics":
        form = Idefics(side, vocabulary.image, images.fast_jpeg)
    elif family == "idefics2":
        latents = config.model.perceiver.n_latents
        shortest = min(images.shortest, side)
        form = Idefics2(side, shortest, latents, bool(images.split), vocabulary.image, vocabulary.fake)
    else:
        tiles = _tiles(config)
        form = Idefics3(
            side,
            images.longest,
            (side // vision.patch_size // config.model.scale_factor) ** 2,
            bool(tiles),
            vocabulary.image,
            vocabulary.fake,
            vocabulary.token(GLOBAL),
            tuple(tuple(vocabulary.token(tile_token(r, c)) for c in range(tiles)) for r in range(tiles)),
            vocabulary.within("\n"),
            vocabulary.within("\n\n"),
        )
    if form.longest > config.packing.tokens - 2:
        raise UserError(
            f"packing.tokens {config.packing.tokens}: an image of the family {family} takes up to {form.longest} "
            f"tokens; make it at least {form.longest + 2}"
        )
    return form


def special_tokens(config: "TrainConfig") -> list[str]:
    """The tokens that family and sources need beside the two around images."""
    needed, family = list[str](), config.model.family
    if family != "idefics" or any(source.kind == "dialogues" for source in config.data.listed):
        needed.append(END_OF_UTTERANCE)
    if family not in ("idefics", "idefics2"):
        tiles = range(_tiles(config))
        needed += [GLOBAL, *(tile_token(row, column) for row in tiles for column in tiles)]
    return needed


def _tiles(config: "TrainConfig") -> int:
    """Of a side, at most, where Idefics3 cuts images into tiles."""
    return 0 if config.images.split is False else math.ceil(config.images.longest / config.model.vision.image_size)


def _whole(pixels: Bytes) -> Pictures:
    """One picture without padding, [H, W, 3]."""
    return Pictures(pixels[None], np.array([pixels.shape[:2]]))


def _lanczos(image: PIL.Image.Image, width: int, height: int) -> PIL.Image.Image:
    return image.resize((width, height), PIL.Image.Resampling.LANCZOS)


def _brought_to(width: int, height: int, longest: int) -> tuple[int, int]:
    ratio = width / height
    if width >= height:
        width, height = longest, int(longest / ratio)
        height += height % 2
    else:
        width, height = int(longest * ratio), longest
        width += width % 2
    return max(width, 1), max(height, 1)


def _below(width: int, height: int) -> tuple[int, int]:
    ratio = width / height
    if width >= height and width > MAX_SIDE:
        width, height = MAX_SIDE, int(MAX_SIDE / ratio)
    elif height > width and height > MAX_SIDE:
        width, height = int(MAX_SIDE * ratio), MAX_SIDE
    return max(width, 1), max(height, 1)
