"""Rules by their names: what is found, what is refused, and that a threshold in YAML is the threshold that judges."""

from typing import Any

import pytest

from filters.text import Text
from filters.verdict import Verdict
from pipeline.rules import ROOMS, check, load
from tests.documents import document, image

PUBLISHED = {
    "image": ["image_format", "image_size", "rendered_size", "aspect_ratio"],
    "paragraph": [
        "number_of_words",
        "character_repetition",
        "word_repetition",
        "special_characters",
        "stop_words",
        "flagged_words",
        "punctuation",
        "common_words",
        "web_chrome_words",
    ],
    "document": ["number_of_images", "text_and_image", "number_of_words", "common_words"],
    "scored document": ["number_of_images", "number_of_words", "language", "perplexity"],
    "seen image": ["image_format", "image_size", "nsfw", "clip_similarity"],
    "seen document": ["number_of_images", "text_and_image", "nsfw_image"],
}


def known(room: str) -> list[str]:
    with pytest.raises(ValueError, match=r"\(known: ") as caught:
        check({"?": {}}, room)
    return str(caught.value).partition("(known: ")[2].rstrip(")").split(", ")


@pytest.mark.parametrize("room", ROOMS)
def test_every_published_rule_is_known_in_its_room_and_the_choices_are_sorted(room: str) -> None:
    assert set(PUBLISHED[room]) <= set(known(room))
    assert known(room) == sorted(known(room))


def test_nothing_but_rules_is_known() -> None:
    assert not {"Text", "Verdict", "within", "share", "listed_words", "rendered_pixels"} & {
        name for room in ROOMS for name in known(room)
    }


@pytest.mark.parametrize(
    ("room", "rules", "expected"),
    [
        ("scored document", {"langauge": {}}, "unknown scored document rule langauge, did you mean language? (known: "),
        ("image", {"number_of_words": {}}, "unknown image rule number_of_words here; number_of_words is a rule for: "),
        ("document", {"within": {}}, "unknown document rule within (known: "),
        ("document", {"_bound": {}}, "unknown document rule _bound"),
        ("document", {"number_of_words": {"min": 1}}, "number_of_words: missing a required argument: 'max'"),
        ("document", {"number_of_words": {"low": 1}}, "number_of_words: unknown threshold low (known: min, max)"),
        (
            "document",
            {"number_of_words": {"min": "1", "max": 2}},
            "number_of_words.min: input should be a valid integer",
        ),
        (
            "document",
            {"number_of_words": {"min": 1.5, "max": 2}},
            "number_of_words.min: input should be a valid integer",
        ),
        (
            "document",
            {"number_of_words": {"min": True, "max": 2}},
            "number_of_words.min: input should be a valid integer",
        ),
        (
            "document",
            {"number_of_words": {"min": None, "max": 2}},
            "number_of_words.min: input should be a valid integer",
        ),
        ("document", {"number_of_words": [1, 2]}, "number_of_words: expected its thresholds, such as {max: 0.1}"),
        ("document", {"number_of_words": None}, "number_of_words: expected its thresholds"),
        ("document", {"stop_words": {"min": False}}, "stop_words.min: input should be a valid number, found False"),
        ("scored document", {"language": {"min": 0.8}}, "language: missing a required argument: 'labels'"),
        (
            "scored document",
            {"language": {"labels": "en", "min": 0.8}},
            "language.labels: input should be a valid list",
        ),
        (
            "scored document",
            {"language": {"labels": ["en"], "min": 0.8, "self": 1}},
            "language: unknown threshold self",
        ),
        ("document", {"number_of_words": {"text": "a"}}, "number_of_words: unknown threshold text (known: min, max)"),
        ("image", {"image_format": {"formats": [1]}}, "image_format.formats: input should be a valid string"),
    ],
)
def test_a_wrong_rule_is_refused_with_its_name_and_the_choices(room: str, rules: Any, expected: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        check(rules, room)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_a_whole_number_stands_for_a_fraction() -> None:
    check({"stop_words": {"min": 1}, "character_repetition": {"n": 10, "max": 0}}, "paragraph")


def test_rules_come_out_in_the_order_in_which_they_stand() -> None:
    named: dict[str, dict[str, Any]] = {
        "stop_words": {"min": 0.1},
        "number_of_words": {"min": 1, "max": 2},
        "number_of_images": {"min": 1, "max": 2},
    }
    rules = load(named, "document")
    assert [rule.name for rule in rules] == list(named)
    assert [rule.takes for rule in rules] == ["texts", "texts", "document"]
    assert [rule.takes for rule in load({"aspect_ratio": {"min": 1, "max": 2}}, "image")] == ["image"]


@pytest.mark.parametrize(
    ("room", "name", "thresholds", "judged", "expected"),
    [
        ("paragraph", "number_of_words", {"min": 3, "max": 9}, Text("two words"), Verdict(False, 2, "at least 3")),
        (
            "paragraph",
            "number_of_words",
            {"min": 2, "max": 9},
            Text("two words"),
            Verdict(True, 2, "at least 2 and at most 9"),
        ),
        (
            "document",
            "number_of_images",
            {"min": 1, "max": 1},
            document(image(), image()),
            Verdict(False, 2, "at most 1"),
        ),
        (
            "image",
            "aspect_ratio",
            {"min": 0.5, "max": 2},
            image(width=300, height=100),
            Verdict(False, 3.0, "at most 2"),
        ),
        ("paragraph", "web_chrome_words", {"max": 0.5}, Text("share tweet"), Verdict(False, 1.0, "below 0.5")),
    ],
)
def test_the_thresholds_of_the_configuration_are_those_that_judge(
    room: str, name: str, thresholds: dict[str, Any], judged: Any, expected: Verdict
) -> None:
    [rule] = load({name: thresholds}, room)
    assert rule.judge(judged) == expected
