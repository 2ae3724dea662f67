"""Texts in, the language found and whether it is kept out: one line a case."""

import time

import pytest

from filters.language import language
from filters.text import Text

ENGLISH = "The river rises in the hills above the old town, and on most days it is no wider than a road."
GERMAN = "Der Fluss entspringt in den Hügeln über der alten Stadt und ist meist kaum breiter als eine Straße."
FRENCH = "La rivière prend sa source dans les collines et n'est la plupart du temps pas plus large qu'une route."
JAPANESE = "川は古い町の上の丘から流れ出し、ふだんは道ほどの幅しかありません。"


@pytest.fixture(scope="module")
def english() -> language:
    return language(labels=["en"], min=0.8)


@pytest.mark.parametrize(
    ("text", "label", "keep"),
    [
        (ENGLISH, "en", True),
        (ENGLISH.upper(), "en", True),  # judged in lower case
        (ENGLISH.replace(", ", "\n\n"), "en", True),
        (GERMAN, "de", False),
        (FRENCH, "fr", False),
        (JAPANESE, "ja", False),
        ("Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.", "la", False),
        ("", "en", False),
        ("😀🎉" * 50, "en", False),
        ("\x00" * 100, "en", False),
        ("__label__en " * 20, "en", False),  # no way to vote for oneself
    ],
)
def test_language_is_found_and_judged(english: language, text: str, label: str, keep: bool) -> None:
    verdict = english(Text(text))
    found, score = english.identify(Text(text))
    assert (found, verdict.keep, 0 < score <= 1) == (label, keep, True)
    assert verdict.value == f"{label} {score:.2f}"
    assert verdict.bound == "en, at least 0.8"


def test_more_than_one_language_can_be_wanted() -> None:
    rule = language(labels=["fr", "de"], min=0.5)
    assert [rule(Text(text)).keep for text in (ENGLISH, GERMAN, FRENCH)] == [False, True, True]
    assert rule(Text(ENGLISH)).bound == "de or fr, at least 0.5"


def test_a_sure_score_is_no_more_than_one_and_an_unsure_one_is_dropped() -> None:
    rule = language(labels=["en"], min=1.01)
    assert not rule(Text(ENGLISH * 20)).keep


def test_lone_surrogates_and_a_word_of_a_million_letters_are_judged(english: language) -> None:
    started = time.process_time()
    assert english(Text(ENGLISH + "\ud800")).value == english(Text(ENGLISH + "?")).value
    assert isinstance(english(Text("a" * 1_000_000)).value, str)
    assert time.process_time() - started < 2


def test_loading_and_judging_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    language(labels=["en"], min=0.8)(Text(ENGLISH))
    assert capfd.readouterr() == ("", "")
