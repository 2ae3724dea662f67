"""Texts in, the language found and whether it is kept out: one line a case."""

import gzip
import json
import time
from itertools import pairwise
from pathlib import Path

import pytest

from filters.language import MAX_CHARACTERS, MODEL, PIECES, Language, language, sample
from filters.text import Text
from pipeline.config import TextScores
from pipeline.errors import UserError
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


def test_a_long_text_is_read_in_pieces_from_its_beginning_to_its_end() -> None:
    text = " ".join(f"word{number}" for number in range(10_000))
    read = sample(text, 640)
    assert 500 < len(read) <= 640 + PIECES
    assert (read.startswith("word0 word1 "), read.endswith(" word9999")) == (True, True)
    numbers = [int(word[4:]) for word in read.split() if len(word) == len("word1000")]  # a cut one is shorter
    assert numbers == sorted(numbers)
    jumps = [later - earlier for earlier, later in pairwise(numbers) if later - earlier > 1]
    assert len(jumps) == PIECES - 2  # after the first piece, which has shorter words
    assert max(jumps) - min(jumps) < 10
    assert sample(text[:640], 640) == text[:640]
    assert sample("川" * 10_000, 80) == " ".join(["川" * 10] * PIECES)


def test_a_text_of_two_languages_is_read_in_both(model: Language) -> None:
    text = ENGLISH * 60 + GERMAN * 600
    assert model.identify(Text(text))[0] == "de"
    assert Language(None).identify(Text(text))[0] == "de"


@pytest.mark.material
def test_a_sample_has_the_label_and_the_verdict_of_the_whole(model: Language, material: Path) -> None:
    with gzip.open(material / "reference" / "obelics-pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        kept = [[row["text"] for row in json.loads(line)["paragraphs"] if not row["dropped_by"]] for line in lines]
    documents = [text for paragraphs in kept if len(text := "\n\n".join(paragraphs)) > MAX_CHARACTERS]
    whole = Language(None)
    pairs = [(model.identify(Text(text)), whole.identify(Text(text))) for text in documents]
    assert len(pairs) > 300
    assert [ours[0] for ours, _ in pairs] == [theirs[0] for _, theirs in pairs]
    assert sum((ours[1] >= 0.8) != (theirs[1] >= 0.8) for ours, theirs in pairs) <= 1


@pytest.mark.parametrize("content", [None, MODEL.read_bytes()[:500_000], b"<html>Not found</html>"])
def test_a_model_that_is_not_whole_is_one_line_before_any_work(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "lid.176.ftz"
    if content is not None:
        damaged.write_bytes(content)
    monkeypatch.setattr("filters.language.MODEL", damaged)
    with pytest.raises(
        UserError, match=r"scores\.language: .*lid\.176\.ftz is missing or damaged; install carnac again"
    ):
        TextScores.model_validate({"language": True})
    TextScores.model_validate({"language": False})


def test_lone_surrogates_and_a_word_of_a_million_letters_are_judged(model: Language) -> None:
    started = time.process_time()
    assert model.identify(Text(ENGLISH + "\ud800")) == model.identify(Text(ENGLISH + "?"))
    assert model.identify(Text("a" * 1_000_000))[1] <= 1
    assert time.process_time() - started < 4


def test_loading_and_judging_print_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    Language().identify(Text(ENGLISH))
    assert capfd.readouterr() == ("", "")
