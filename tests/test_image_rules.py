"""The rules over one image: what is kept, what is dropped, and the value and bound that are named."""

from dataclasses import replace

import pytest

from filters.image import aspect_ratio, image_format, image_size, rendered_size
from filters.verdict import Verdict
from pipeline.document import Image

UNSEEN = Image(url="https://example.org/a.jpg", src="a.jpg")


def sized(width: int, height: int) -> Image:
    return replace(UNSEEN, width=width, height=height)


@pytest.mark.parametrize(
    ("found", "formats", "keep"),
    [
        ("jpeg", ["jpeg", "png", "webp"], True),
        ("jpeg", ["jpg", "png"], True),
        ("gif", ["jpeg", "png", "webp"], False),
        ("tiff", ["tif"], True),
    ],
)
def test_a_format_is_kept_if_it_is_listed_under_either_of_its_names(found: str, formats: list[str], keep: bool) -> None:
    verdict = image_format(replace(UNSEEN, format=found), formats=formats)
    assert (verdict.keep, verdict.value) == (keep, found)


def test_the_bound_of_a_format_names_the_formats() -> None:
    assert image_format(replace(UNSEEN, format="gif"), formats=["jpg", "jpeg", "png"]).bound == "one of jpeg, png"


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (150, 20_000, Verdict(True, "150 x 20000", "at least 150 and at most 20000")),
        (149, 300, Verdict(False, "149 x 300", "at least 150")),
        (300, 149, Verdict(False, "300 x 149", "at least 150")),
        (300, 20_001, Verdict(False, "300 x 20001", "at most 20000")),
        (20_001, 20, Verdict(False, "20001 x 20", "at most 20000")),
    ],
)
def test_each_side_must_lie_within_the_bounds_themselves_included(width: int, height: int, expected: Verdict) -> None:
    assert image_size(sized(width, height), min=150, max=20_000) == expected


@pytest.mark.parametrize(
    ("width", "height", "keep"), [(200, 100, True), (100, 200, True), (201, 100, False), (100, 201, False)]
)
def test_the_aspect_ratio_is_width_over_height(width: int, height: int, keep: bool) -> None:
    assert aspect_ratio(sized(width, height), min=0.5, max=2) == Verdict(
        keep,
        width / height,
        "at least 0.5 and at most 2" if keep else "at most 2" if width > height else "at least 0.5",
    )


def test_what_is_not_known_yet_keeps_the_image_and_names_the_same_bound_as_later() -> None:
    assert image_format(UNSEEN, formats=["jpeg"]) == Verdict(True, "unknown", "one of jpeg")
    assert image_size(UNSEEN, min=150, max=20_000) == Verdict(True, "unknown", "at least 150 and at most 20000")
    assert rendered_size(UNSEEN, min=150, max=20_000) == Verdict(True, "unknown", "at least 150 and at most 20000")
    assert aspect_ratio(UNSEEN, min=0.5, max=2) == Verdict(True, "unknown", "at least 0.5 and at most 2")


def test_a_single_known_side_is_judged_alone() -> None:
    assert image_size(replace(UNSEEN, width=100), min=150, max=900) == Verdict(False, "100 x unknown", "at least 150")
    assert rendered_size(replace(UNSEEN, rendered_height="640"), min=150, max=900).value == "unknown x 640"


@pytest.mark.parametrize(
    ("width", "height", "original", "expected"),
    [
        ("640", "480px", None, (True, "640 x 480")),
        (" 640 PX ", "", None, (True, "640 x unknown")),
        ("1", "1", (800, 600), (False, "1 x 1")),
        ("0", "", (800, 600), (False, "0 x unknown")),
        ("50%", "50%", (800, 600), (True, "400 x 300")),
        ("10%", "", (800, 600), (False, "80 x unknown")),
        ("10%", "10%", None, (True, "unknown")),
        ("99.5", "640.25", None, (False, "99.5 x 640.25")),
    ],
)
def test_a_rendered_side_is_pixels_or_per_cent_of_the_original(
    width: str, height: str, original: tuple[int, int] | None, expected: tuple[bool, str]
) -> None:
    image = replace(sized(*original) if original else UNSEEN, rendered_width=width, rendered_height=height)
    verdict = rendered_size(image, min=150, max=20_000)
    assert (verdict.keep, verdict.value) == expected


@pytest.mark.parametrize("stated", ["auto", "10em", "-5", "100vw", "calc(100% - 2px)", "1e3", "٣٠٠", "9" * 5000, "%"])
def test_what_states_neither_pixels_nor_per_cent_counts_as_not_stated(stated: str) -> None:
    image = replace(sized(800, 600), rendered_width=stated)
    assert rendered_size(image, min=150, max=20_000).value == "unknown"
