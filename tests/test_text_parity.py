"""The values that the published OBELICS code measures on 24,000 real paragraphs, against ours."""

import gzip
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from filters import text as rules
from filters.text import Text

pytestmark = pytest.mark.material

PARAGRAPH = {
    "words": partial(rules.number_of_words, min=4, max=1000),
    "character_repetition": partial(rules.character_repetition, n=10, max=0.1),
    "word_repetition": partial(rules.word_repetition, n=5, max=0.1),
    "special_characters": partial(rules.special_characters, max=0.3),
    "stop_words": partial(rules.stop_words, min=0.3),
    "flagged_words": partial(rules.flagged_words, max=0.01),
    "punctuation": partial(rules.punctuation, min=0.001, min_tokens=12),
}
DOCUMENT = {**PARAGRAPH, "punctuation": partial(rules.punctuation, min=0.03, min_tokens=0)}
Row = dict[str, Any]


@pytest.fixture(scope="module")
def pages(material: Path) -> list[Row]:
    with gzip.open(material / "reference" / "obelics-pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def paragraphs(pages: list[Row]) -> list[tuple[Row, Row]]:
    """Each paragraph's published values, beside ours under the same names."""
    pairs = []
    for theirs in (paragraph for page in pages for paragraph in page["paragraphs"]):
        text = Text(theirs["text"])
        verdicts = {name: rule(text) for name, rule in PARAGRAPH.items()}
        dropped_by = next((name for name, verdict in verdicts.items() if not verdict.keep), None)
        ours = {name: verdict.value for name, verdict in verdicts.items()}
        pairs.append((theirs, {**ours, "dropped_by": dropped_by}))
    return pairs


@pytest.mark.parametrize(
    ("metric", "tolerance", "share"),
    [
        ("words", 0, 0.998),
        ("character_repetition", 1e-6, 1),
        ("word_repetition", 1e-6, 1),
        ("punctuation", 1e-6, 1),
        ("special_characters", 1e-3, 0.995),
        ("special_characters", 0.02, 0.998),
        ("stop_words", 0.01, 0.99),
        ("flagged_words", 0.001, 0.99),
    ],
)
def test_values_equal_the_published(
    paragraphs: list[tuple[Row, Row]], metric: str, tolerance: float, share: float
) -> None:
    near = [abs(theirs[metric] - ours[metric]) <= tolerance for theirs, ours in paragraphs]
    assert len(near) > 24_000
    assert sum(near) / len(near) >= share


def test_the_same_paragraphs_are_kept(paragraphs: list[tuple[Row, Row]]) -> None:
    confusion = Counter((theirs["dropped_by"], ours["dropped_by"]) for theirs, ours in paragraphs)
    for (theirs, ours), count in confusion.most_common():
        print(f"{count:6}  published: {theirs or 'kept':20}  ours: {ours or 'kept'}")
    same = sum(count for (theirs, ours), count in confusion.items() if (theirs is None) == (ours is None))
    assert same / confusion.total() >= 0.995
    # What is left comes from the lists of words, which are not the published ones.
    rules_that_differ = {ours for (theirs, ours) in confusion if theirs is None and ours is not None}
    assert rules_that_differ <= {"stop_words", "flagged_words"}


def test_a_document_is_its_kept_paragraphs_divided_by_blank_lines(pages: list[Row]) -> None:
    judged = [page for page in pages if page["document"]]
    assert len(judged) > 350
    for metric in ("words", "character_repetition", "word_repetition", "special_characters", "punctuation"):
        near = []
        for page in judged:
            text = Text("\n\n".join(p["text"] for p in page["paragraphs"] if p["dropped_by"] is None))
            near.append(abs(float(DOCUMENT[metric](text).value) - page["document"][metric]) <= 1e-3)
        assert sum(near) / len(near) >= 0.98, metric


def test_common_words_keep_what_the_other_rules_keep(paragraphs: list[tuple[Row, Row]]) -> None:
    kept = [Text(theirs["text"]) for theirs, _ in paragraphs if theirs["dropped_by"] is None]
    dropped = [text for text in kept if not rules.common_words(text, min=0.8).keep]
    assert 0 < len(dropped) / len(kept) < 0.02
