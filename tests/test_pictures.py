"""The drawn pictures: each subject at any size, the same bytes each time, no two seeds alike, never a blank sheet."""

import hashlib
import io
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipeline.sample.pictures import PAINTINGS, draw, encode

WIDE, TALL = (240, 180), (150, 210)


def pixels(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    return np.asarray(image, np.int16)


@pytest.mark.parametrize("subject", PAINTINGS)
def test_a_subject_fills_the_size_asked_for_with_a_picture(subject: str) -> None:
    for size in (WIDE, TALL):
        image = draw(subject, 1, size)
        assert image.mode == "RGB"
        assert image.size == size
        # A plain sheet has an entropy of 0 bits and no spread; lines on paper have more than 1 bit.
        assert image.convert("L").entropy() > 1
        assert pixels(image).std() > 12
        assert len(image.resize((160, 120)).getcolors(160 * 120) or []) > 100


@pytest.mark.parametrize("subject", PAINTINGS)
def test_a_second_drawing_has_the_same_bytes(subject: str) -> None:
    first, second = draw(subject, 3, WIDE), draw(subject, 3, WIDE)
    assert first.tobytes() == second.tobytes()
    for kind in ("jpeg", "png", "webp"):
        assert encode(first, kind) == encode(second, kind)


@pytest.mark.parametrize("subject", PAINTINGS)
def test_another_seed_draws_another_picture(subject: str) -> None:
    pictures = [pixels(draw(subject, seed, WIDE)) for seed in range(3)]
    for index, one in enumerate(pictures):
        for other in pictures[:index]:
            # Visibly: at least one pixel in a hundred differs by more than noise.
            assert (np.abs(one - other).max(-1) > 24).mean() > 0.01


def test_another_process_draws_the_same_bytes() -> None:
    names = ["standing-stones", "metro-map", "bread-loaf", "scatter-plot", "quilt"]
    code = (
        "import hashlib, sys; from pipeline.sample.pictures import draw, encode\n"
        "for name in sys.argv[1:]: print(hashlib.sha256(encode(draw(name, 7, (240, 180)), 'webp')).hexdigest())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )
    assert run.stdout.split() == [hashlib.sha256(encode(draw(name, 7, WIDE), "webp")).hexdigest() for name in names]


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_each_format_decodes_to_the_picture(kind: str) -> None:
    picture = draw("mountain-lake", 2, WIDE)
    with Image.open(io.BytesIO(encode(picture, kind))) as image:
        assert image.format == kind.upper()
        assert image.size == picture.size
        off = np.abs(pixels(image.convert("RGB")) - pixels(picture))
    assert off.max() == 0 if kind == "png" else off.mean() < 6


def test_quality_changes_the_number_of_bytes() -> None:
    picture = draw("island-map", 2, WIDE)
    for kind in ("jpeg", "webp"):
        assert (
            len(encode(picture, kind, quality=40)) < len(encode(picture, kind)) < len(encode(picture, kind, quality=95))
        )


@pytest.mark.parametrize("size", [(48, 36), (600, 60), (60, 400)])
def test_thumbnails_banners_and_columns_can_be_drawn(size: tuple[int, int]) -> None:
    for subject in PAINTINGS:
        assert draw(subject, 1, size).size == size


def test_circles_stay_round_in_any_aspect() -> None:
    for size in ((400, 300), (300, 400), (500, 200)):
        bright = np.asarray(draw("full-moon", 5, size).convert("L")) > 70
        # The sun-lit disc of the moon, whatever the stars around it: rows and columns that are bright for a stretch.
        tall, wide = (bright.sum(1) > min(size) * 0.1).sum(), (bright.sum(0) > min(size) * 0.1).sum()
        assert tall == pytest.approx(wide, rel=0.12)


def test_an_unknown_subject_is_an_error() -> None:
    with pytest.raises(KeyError, match="unicorn"):
        draw("unicorn", 1, WIDE)
