"""Texts in, the language found and whether it is kept out: one line a case."""

import time

import pytest

from filters.language import Language, language
from filters.text import Text
from tests.documents import document

ENGLISH = "The river rises in the hills above the old town, and on most days it is no wider than a road."
GERMAN = "Der Fluss entspringt in den Hügeln über der alten Stadt und ist meist kaum breiter als eine Straße."
FRENCH = "La rivière prend sa source dans les collines et n'est la plupart du temps pas plus large qu'une route."
JAPANESE = "川は古い町の上の丘から流れ出し、ふだんは道ほどの幅しかありません。"


@pytest.fixture(scope="module")
def model() -> Language:
    return Language()


@pytest.mark.parametrize(
    ("text", "label", "sure"),
    [
        (ENGLISH, "en", True),
        (ENGLISH.upper(), "en", True),  # judged in lower case
        (ENGLISH.replace(", ", "\n\n"), "en", True),
        (GERMAN, "de", True),
        (FRENCH, "fr", True),
        (JAPANESE, "ja", True),
        ("Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod.", "la", False),
        ("", "en", False),
        ("😀🎉" * 50, "en", False),
        ("\x00" * 100, "en", False),
        ("__label__en " * 20, "en", False),  # no way to vote for oneself
    ],
)
def test_language_is_found(model: Language, text: str, label: str, sure: bool) -> None:
    found, score = model.identify(Text(text))
    assert (found, score >= 0.8, 0 < score <= 1) == (label, sure, True)


@pytest.mark.parametrize(
    ("found", "score", "labels", "keep", "value", "bound"),
    [
        ("en", 0.8, ["en"], True, "en 0.80", "en, at least 0.8"),
        ("en", 0.7999, ["en"], False, "en 0.80", "en, at least 0.8"),
        ("de", 0.99, ["en"], False, "de 0.99", "en, at least 0.8"),
        ("de", 0.99, ["fr", "de"], True, "de 0.99", "de or fr, at least 0.8"),
        (None, None, ["en"], False, "not scored", "en, at least 0.8"),
    ],
)
def test_a_document_is_judged_by_its_columns(
    found: str | None, score: float | None, labels: list[str], keep: bool, value: str, bound: str
) -> None:
    page = document(ENGLISH)
    page.language, page.language_score = found, score
    assert language(page, labels=labels, min=0.8) == (keep, value, bound)


def test_a_sure_score_is_no_more_than_one(model: Language) -> None:
    assert model.identify(Text(ENGLISH * 20))[1] <= 1


def test_lone_surrogates_and_a_word_of_a_million_letters_are_judged(model: Language) -> None:
    started = time.process_time()
    assert model.identify(Text(ENGLISH + "\ud800")) == model.identify(Text(ENGLISH + "?"))
    assert model.identify(Text("a" * 1_000_000))[1] <= 1
    assert time.process_time() - started < 4


def test_loading_and_judging_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Language().identify(Text(ENGLISH))
    assert capfd.readouterr() == ("", "")
