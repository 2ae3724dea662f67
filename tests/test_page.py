"""Verdicts over bounds, and the two rules over a whole page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.page import number_of_images, text_and_image
from filters.verdict import Verdict, within
from pipeline.document import END_OF_DOCUMENT
from tests.documents import document, image


@pytest.mark.parametrize(
    ("value", "bounds", "expected"),
    [
        (5, {"min": 4, "max": 6}, (True, 5, "at least 4 and at most 6")),
        (4, {"min": 4, "max": 6}, (True, 4, "at least 4 and at most 6")),
        (6, {"min": 4, "max": 6}, (True, 6, "at least 4 and at most 6")),
        (3, {"min": 4, "max": 6}, (False, 3, "at least 4")),
        (7, {"min": 4, "max": 6}, (False, 7, "at most 6")),
        (0.29, {"min": 0.3}, (False, 0.29, "at least 0.3")),
        (0.31, {"max": 0.3}, (False, 0.31, "at most 0.3")),
        (0.3, {"max": 0.3}, (True, 0.3, "at most 0.3")),
        (0, {}, (True, 0, "")),
        (0, {"min": 0, "max": 0}, (True, 0, "at least 0 and at most 0")),
    ],
)
def test_bounds_belong_to_the_range_and_the_broken_one_is_named(
    value: float, bounds: dict[str, float], expected: tuple[bool, float, str]
) -> None:
    assert within(value, **bounds) == expected


@given(st.integers(), st.integers(), st.integers())
def test_a_verdict_keeps_exactly_what_lies_between(value: int, low: int, high: int) -> None:
    verdict = within(value, min=low, max=high)
    assert verdict.keep == (low <= value <= high)
    assert verdict.value == value


@pytest.mark.parametrize(("images", "keep"), [(0, False), (1, True), (3, True), (4, False)])
def test_images_are_counted_with_repetitions(images: int, keep: bool) -> None:
    verdict = number_of_images(document("text", *[image()] * images), min=1, max=3)
    assert (verdict.keep, verdict.value) == (keep, images)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        (["text", image()], Verdict(True, "1 texts, 1 images", "at least 1 of each")),
        (["text", "more"], Verdict(False, "2 texts, 0 images", "at least 1 of each")),
        ([image(), image()], Verdict(False, "0 texts, 2 images", "at least 1 of each")),
        ([], Verdict(False, "0 texts, 0 images", "at least 1 of each")),
        ([image(), END_OF_DOCUMENT], Verdict(False, "0 texts, 1 images", "at least 1 of each")),
    ],
)
def test_a_page_needs_a_text_and_an_image_and_a_mark_of_its_end_is_no_text(
    pieces: list[object], expected: Verdict
) -> None:
    assert text_and_image(document(*pieces)) == expected  # type: ignore[arg-type]
