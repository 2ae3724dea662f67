"""Hashes of pictures: those of the published programs, the same for a copy that was shrunk or recompressed."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from pipeline.hashes import hashes, pdq, phash
from pipeline.pixels import HASHES, Facts, look


def bits(digits: str | None) -> int:
    assert digits is not None
    return int(digits, 16)


def apart(one: str | None, other: str | None) -> int:
    """The number of bits that differ."""
    return (bits(one) ^ bits(other)).bit_count()


def jpeg(picture: Pillow.Image, quality: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality)
    return out.getvalue()


def seen(data: bytes) -> Facts:
    facts = look(data, max_bytes=10**8, max_pixels=10**8, seconds=60, readers=[HASHES])
    assert isinstance(facts, Facts)
    return facts


def shapes(width: int, height: int, seed: int = 0) -> Pillow.Image:
    """A picture with edges: coarse noise, smoothly enlarged."""
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), np.uint8)
    return Pillow.fromarray(coarse).resize((width, height), Pillow.Resampling.BICUBIC)


def test_hashes_are_hexadecimal_of_64_and_256_bits_half_of_them_set() -> None:
    short, long = hashes(shapes(640, 427))
    assert (len(short or ""), len(long or "")) == (16, 64)
    assert bits(short).bit_count() == 32
    assert bits(long).bit_count() == 128


def test_the_hashes_of_one_picture_never_change() -> None:
    """What earlier runs wrote down must go on matching."""
    ramp = np.add.outer(np.arange(200) ** 2 // 170, np.arange(300) * 37 % 256).astype(np.uint8)
    assert hashes(Pillow.fromarray(ramp).convert("RGB")) == (
        "d440405455f5d5ff",
        "696acad4deb9956b955dbed1bb87613a652b606a60d1eac542c4ef99ea884282",
    )


def test_a_picture_of_one_colour_has_no_hash() -> None:
    for colour in ("black", "white", "red"):
        assert hashes(Pillow.new("RGB", (300, 200), colour)) == (None, None)


def test_a_picture_of_hardly_an_edge_has_no_pdq() -> None:
    assert pdq(Pillow.linear_gradient("L").resize((300, 300))) is None


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (5, 5), (64, 64), (300, 4), (20_000, 3)])
def test_every_size_of_picture_can_be_hashed(size: tuple[int, int]) -> None:
    short, long = hashes(Pillow.effect_noise(size, 100).convert("RGB"))
    assert short is None or len(short) == 16
    assert long is None or len(long) == 64


def test_what_is_transparent_is_hashed_as_white() -> None:
    """Many drawings are black on a transparent black: all alike, if transparency were dropped."""
    drawing = Pillow.new("RGBA", (300, 300))
    drawing.putalpha(shapes(300, 300).convert("L").point(lambda value: 255 if value > 128 else 0))
    out = io.BytesIO()
    drawing.save(out, "PNG")
    white = Pillow.new("RGBA", drawing.size, "white")
    white.alpha_composite(drawing)
    facts = seen(out.getvalue())
    assert (facts.phash, facts.pdq) == hashes(white.convert("RGB"))
    assert facts.pdq is not None


@pytest.fixture(scope="module")
def photos(material: Path) -> list[Pillow.Image]:
    folder = material / "images"
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    good = [row["file"] for row in rows if row["kind"] == "good" and row["format"] == "JPEG" and row["width"] >= 480]
    return [Pillow.open(folder / file).convert("RGB") for file in good[:24]]


@pytest.mark.material
def test_phash_is_that_of_imagehash(photos: list[Pillow.Image]) -> None:
    imagehash = pytest.importorskip("imagehash")
    assert [phash(photo) for photo in photos] == [str(imagehash.phash(photo)) for photo in photos]


@pytest.mark.material
def test_pdq_is_that_of_its_authors(photos: list[Pillow.Image]) -> None:
    """Bit by bit on grey pictures; in colour, Pillow's whole grey levels move two bits at most."""
    pdqhash = pytest.importorskip("pdqhash")

    def theirs(picture: Pillow.Image) -> str:
        vector, _ = pdqhash.compute(np.asarray(picture))
        return np.packbits(vector.astype(np.uint8)).tobytes().hex()

    for photo in photos:
        grey = photo.convert("L")
        assert pdq(grey) == theirs(grey.convert("RGB"))
        assert apart(pdq(photo), theirs(photo)) <= 2


@pytest.mark.material
def test_a_recompressed_or_halved_copy_is_recognised_and_nothing_else(photos: list[Pillow.Image]) -> None:
    found = []
    for photo in photos:
        half = photo.resize((photo.width // 2, photo.height // 2), Pillow.Resampling.LANCZOS)
        found.append([seen(data) for data in (jpeg(photo, 90), jpeg(photo, 30), jpeg(half, 90))])
    for original, recompressed, halved in found:
        assert apart(original.phash, recompressed.phash) <= 2
        assert apart(original.phash, halved.phash) <= 4
        assert apart(original.pdq, recompressed.pdq) <= 10
        assert apart(original.pdq, halved.pdq) <= 31
    firsts = {facts.pdq: facts for facts, *_ in found}
    others = [
        (one, other) for one in firsts.values() for other in firsts.values() if (one.pdq or "") < (other.pdq or "")
    ]
    assert min(apart(one.pdq, other.pdq) for one, other in others) > 31
    assert min(apart(one.phash, other.phash) for one, other in others) > 6


@pytest.mark.material
def test_hashes_of_a_drafted_photograph_are_those_of_the_whole(photos: list[Pillow.Image]) -> None:
    for photo in photos[:6]:
        data = jpeg(photo.resize((1600, 1200), Pillow.Resampling.BICUBIC), 85)
        with Pillow.open(io.BytesIO(data)) as image:
            whole = hashes(image.convert("RGB"))
        facts = seen(data)
        assert apart(facts.phash, whole[0]) <= 2
        assert apart(facts.pdq, whole[1]) <= 20
