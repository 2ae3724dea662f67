"""The rules of Gopher, C4 and FineWeb: texts in, value and verdict out, one line a case, at the published thresholds."""

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from filters import c4, fineweb, gopher
from filters.text import Text
from filters.verdict import Verdict
from pipeline.rules import check
from tests.conftest import ROOT

WORDS = partial(gopher.gopher_words, min=50, max=100_000)
LENGTH = partial(gopher.gopher_word_length, min=3, max=10)
SYMBOLS = partial(gopher.gopher_symbols, max=0.1)
BULLETS = partial(gopher.gopher_bullet_lines, max=0.9)
ELLIPSES = partial(gopher.gopher_ellipsis_lines, max=0.3)
ALPHABETIC = partial(gopher.gopher_alphabetic_words, min=0.8)
STOP = partial(gopher.gopher_stop_words, min=2)
LINES = partial(gopher.gopher_duplicate_lines, max=0.3, max_characters=0.2)
PARAGRAPHS = partial(gopher.gopher_duplicate_paragraphs, max=0.3, max_characters=0.2)
TOP = partial(gopher.gopher_top_ngrams, max={2: 0.2, 3: 0.18, 4: 0.16})
DUPLICATE = partial(gopher.gopher_duplicate_ngrams, max={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1})
TERMINAL = partial(c4.c4_terminal_punctuation, min=1)
LINE_WORDS = partial(c4.c4_line_words, min=3)
LONGEST = partial(c4.c4_word_length, max=1000)
SENTENCES = partial(c4.c4_sentences, min=5)
JAVASCRIPT = partial(c4.c4_javascript, max=0)
LOREM = partial(c4.c4_lorem_ipsum, max=0)
CURLY = partial(c4.c4_curly_brackets, max=0)
POLICIES = partial(c4.c4_policies, max=0)
BAD = partial(c4.c4_bad_words, max=0)
PUNCTUATION = partial(fineweb.fineweb_line_punctuation, min=0.12)
SHORT = partial(fineweb.fineweb_short_lines, length=30, max=0.67)
DUPLICATE_LINES = partial(fineweb.fineweb_duplicate_lines, max=0.1)
BREAKS = partial(fineweb.fineweb_line_breaks, max=0.3)
ALL = [
    *(WORDS, LENGTH, SYMBOLS, BULLETS, ELLIPSES, ALPHABETIC, STOP, LINES, PARAGRAPHS, TOP, DUPLICATE),
    *(TERMINAL, LINE_WORDS, LONGEST, SENTENCES, JAVASCRIPT, LOREM, CURLY, POLICIES, BAD),
    *(PUNCTUATION, SHORT, DUPLICATE_LINES, BREAKS),
]
PROSE = "\n\n".join(
    (
        "The river rises in the hills above the old town, and on most days it is no wider than a road.",
        "When the snow melts in April, though, it covers the fields on both sides for a week or two. Nobody minds. The "
        "farmers have moved their sheep by then, and children who live nearby are let out of school to help.",
        "What is left behind once the water has gone? Mud, mostly, and a thin layer of sand that makes good soil.",
    )
)


@pytest.mark.parametrize(
    ("rule", "text", "value", "keep"),
    [
        (WORDS, "word " * 49 + "- ! …", 49, False),
        (WORDS, "word " * 50, 50, True),
        (WORDS, "word " * 100_001, 100_001, False),
        (LENGTH, "ab cd", 2.0, False),
        (LENGTH, "abc def - ", 3.0, True),
        (LENGTH, "abcdefghijk", 11.0, False),
        (SYMBOLS, "# one two three", 1 / 4, False),
        (SYMBOLS, "one two three... four five six seven eight nine ten", 1 / 10, True),
        (SYMBOLS, "one… two… three four", 2 / 4, False),
        (BULLETS, "• one\n- two\n\n  • three", 1.0, False),
        (BULLETS, "• one\ntwo", 0.5, True),
        (ELLIPSES, "one...\ntwo… \nthree\nfour\nfive", 0.4, False),
        (ELLIPSES, "one...\ntwo\nthree\nfour", 0.25, True),
        (ALPHABETIC, "12 34 56 seven", 0.25, False),
        (ALPHABETIC, "a1 b c d 5", 0.8, True),
        (STOP, "The cat, the dog", 1, False),
        (STOP, "The cat and dog", 2, True),
        (LINES, "one\none\ntwo", 1 / 3, False),
        (LINES, "a\nb\nc\nd\n" + "long line\n" * 2, 9 / 28, False),  # by its characters
        (LINES, "one\ntwo\n\nthree", 0.0, True),
        (PARAGRAPHS, "one\ntwo\n\none\ntwo\n\nthree", 1 / 3, False),
        (PARAGRAPHS, "one\n\ntwo\n\n\n\nthree", 0.0, True),
        (TOP, "to be or not to be", 10 / 18, False),
        (TOP, "to", 0.0, True),
        (DUPLICATE, "one two three four five " * 2, 19 / 48, False),
        (DUPLICATE, "no " * 12, 20 / 36, False),  # overlapping ones once
        (DUPLICATE, "one two three four", 0.0, True),
        (TERMINAL, "It rose.\nIt fell!\n“It stood.”", 1.0, True),
        (TERMINAL, "It rose.\nHome", 0.5, False),
        (TERMINAL, "Read on...", 0.0, False),
        (LINE_WORDS, "one two three\nfour five", 2, False),
        (LINE_WORDS, "one two three\n\nfour five six", 3, True),
        (LONGEST, "a " + "b" * 1001, 1001, False),
        (LONGEST, "b" * 1000, 1000, True),
        (SENTENCES, "One. Two! Three? Four.” Five.", 5, True),
        (SENTENCES, "It cost 1.50 at www.shop.example. No.", 2, False),
        (JAVASCRIPT, "Please enable JavaScript.", 1, False),
        (LOREM, "Lorem ipsum dolor", 1, False),
        (CURLY, "if (x) { y }", 1, False),
        (POLICIES, "Our Privacy Policy and terms of use", 2, False),
        (BAD, "free porn", 1, False),
        (BAD, "it was barely legal", 1, False),  # an entry of two words
        (BAD, "barely, a legal pornographer", 0, True),
        (PUNCTUATION, "One.\n" + "two\n" * 8, 1 / 9, False),
        (PUNCTUATION, "它来了。\ntwo", 0.5, True),
        (SHORT, "a\nb\nc\n" + "d" * 31, 0.75, False),
        (SHORT, "a\n" + "d" * 31, 0.5, True),
        (DUPLICATE_LINES, "same\nsame\nother", 4 / 13, False),
        (DUPLICATE_LINES, "same\nother", 0.0, True),
        (BREAKS, "one\ntwo\nthree", 2 / 3, False),
        (BREAKS, "one two three four\nfive", 1 / 5, True),
        *(
            (rule, "", 0, rule not in (WORDS, LENGTH, ALPHABETIC, STOP, TERMINAL, LINE_WORDS, SENTENCES, PUNCTUATION))
            for rule in ALL
        ),
    ],
)
def test_a_rule_measures_and_judges(rule: Callable[[Text], Verdict], text: str, value: float, keep: bool) -> None:
    verdict = rule(Text(text))
    assert verdict.value == pytest.approx(value, abs=1e-12)
    assert verdict.keep == keep


def test_prose_passes_every_rule() -> None:
    assert [rule.func.__name__ for rule in ALL if not rule(Text(PROSE)).keep] == []


def test_every_rule_stands_ready_in_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("hosts.txt", "urls.txt", "words.txt"):
        Path(name).touch()
    text = (ROOT / "configs" / "obelics.yaml").read_text("utf-8")
    lines = re.findall(r"^    # ((?:gopher|c4|fineweb|pii|blocked)_\w+: \{.*\})$", text, re.MULTILINE)
    named = {name: thresholds for line in lines for name, thresholds in yaml.safe_load(line).items()}
    check(named, "document")
    assert len(named) == len(lines) == 30
    published = {rule.func.__name__: rule.keywords for rule in ALL}
    assert {name: thresholds for name, thresholds in named.items() if name in published} == published


@pytest.mark.parametrize(
    ("rule", "text", "bound"),
    [
        (TOP, "to be or not to be", "at most 0.2 for 2-grams"),
        (DUPLICATE, "one two three four five six " * 2, "at most 0.15 for 5-grams"),
        (LINES, "a\nb\nc\nd\nlong line\nlong line", "at most 0.2 of the characters"),
    ],
)
def test_the_bound_that_was_broken_is_named(rule: Callable[[Text], Verdict], text: str, bound: str) -> None:
    assert rule(Text(text)).bound == bound


REPETITIVE = st.lists(st.sampled_from(["a", "bc", "d", "\n", "\n\n"]), max_size=60).map(" ".join)


@given(REPETITIVE, st.integers(2, 4))
def test_top_ngrams_equal_the_definition(text: str, n: int) -> None:
    words = text.split()
    ngrams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1)).most_common(1)
    value = sum(len(ngram) * count for ngram, count in ngrams) / max(len(text), 1)
    assert gopher.gopher_top_ngrams(Text(text), max={n: 1}).value == pytest.approx(value, abs=1e-12)


@given(REPETITIVE, st.integers(1, 6))
def test_duplicate_ngrams_equal_the_definition(text: str, n: int) -> None:
    words, seen, characters, start = text.split(), set(), 0, 0
    while start <= len(words) - n:
        ngram = " ".join(words[start : start + n])
        again = ngram in seen
        characters += len(ngram) - (n - 1) if again else 0
        start += n if again else 1
        seen.add(ngram)
    value = characters / max(len(text), 1)
    assert gopher.gopher_duplicate_ngrams(Text(text), max={n: 1}).value == pytest.approx(value, abs=1e-12)


@given(st.lists(st.sampled_from(["a", "bc", "d", ""]), max_size=40).map("\n".join))
def test_duplicate_lines_and_paragraphs_equal_the_definition(text: str) -> None:
    for rule, division in ((gopher.gopher_duplicate_lines, r"\n+"), (gopher.gopher_duplicate_paragraphs, r"\n{2,}")):
        parts = [part for part in re.split(division, text.strip()) if part]
        again = [part for number, part in enumerate(parts) if part in parts[:number]]
        share, characters = len(again) / max(len(parts), 1), sum(map(len, again)) / max(len(text), 1)
        assert rule(Text(text), max=1, max_characters=1).value == pytest.approx(characters)
        assert rule(Text(text), max=-1, max_characters=1).value == pytest.approx(share)


HOSTILE = {
    "spaces": " \n\t " * 250_000,
    "NUL": "\x00" * 1_000_000,
    "lone surrogates": "\ud800\udfff" * 500_000,
    "a word of a million letters": "a" * 1_000_000,
    "a million marks": "." * 1_000_000,
    "a million emoji": "😀" * 1_000_000,
    "two hundred thousand words": "ab cd " * 100_000,
    "a million lines": "\n" * 500_000 + "a\n" * 250_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_judged_in_linear_time(name: str) -> None:
    text = Text(HOSTILE[name])
    started = time.process_time()
    verdicts = [rule(text) for rule in ALL]
    assert time.process_time() - started < 12
    assert not all(verdict.keep for verdict in verdicts)
