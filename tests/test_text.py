"""Texts in, the value measured and whether it is kept out: one line a case."""

import re
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters import text as rules
from filters import words as lists
from filters.batch import PUNCTUATION
from filters.boilerplate import web_chrome_words
from filters.ngrams import repeats
from filters.text import MOST_TEXTS, Text, joined, together
from filters.verdict import Verdict

PROSE = (
    "The river rises in the hills above the old town, and on most days it is no wider than a road. "
    "When the snow melts in April, though, it covers the fields on both sides for a week or two."
)
GIBBERISH = "Thar ofe lindrow snel quop the ardle vin, orpil gratch mebben sulp fortle and wrindle oshapt."
MARKET = "Der Markt öffnet früh am Morgen, und die Händler verkaufen Gemüse, Käse und frisches Brot."

number_of_words = partial(rules.number_of_words, min=4, max=1000)
character_repetition = partial(rules.character_repetition, n=10, max=0.1)
word_repetition = partial(rules.word_repetition, n=5, max=0.1)
special_characters = partial(rules.special_characters, max=0.3)
stop_words = partial(rules.stop_words, min=0.3)
flagged_words = partial(rules.flagged_words, max=0.01)
punctuation = partial(rules.punctuation, min=0.001, min_tokens=12)
common_words = partial(rules.common_words, min=0.8)
chrome = partial(web_chrome_words, max=0.12)
ALL = [
    number_of_words,
    character_repetition,
    word_repetition,
    special_characters,
    stop_words,
    flagged_words,
    punctuation,
    common_words,
    chrome,
]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat, it  sat!", ["the", "cat", "it", "sat"]),
        ("new\nline\ttab", ["new", "line", "tab"]),
        ("no\xa0break\rhere", ["no\xa0break\rhere"]),  # only these three characters divide words
        ("(2) 1,000 — * 50%", []),
        ("3rd mp3 don't well-known", ["rd", "mp", "don't", "well-known"]),
        ("“don’t” «été» 😀hi😀 €5", ["don’t", "été", "hi"]),
        ("ΟΔΟΣ Straße", ["οδος", "straße"]),
        ("\ud800 a\x00", ["\ud800", "a\x00"]),
        ("", []),
    ],
)
def test_words_are_split_on_three_characters_and_stripped_at_both_ends(text: str, words: list[str]) -> None:
    assert Text(text).words == words


@pytest.mark.parametrize(
    ("rule", "text", "value", "keep"),
    [
        (number_of_words, "one two three", 3, False),
        (number_of_words, "one two three four", 4, True),
        (number_of_words, "w " * 1000, 1000, True),
        (number_of_words, "w " * 1001, 1001, False),
        (character_repetition, "short", 0.0, True),
        (character_repetition, PROSE, 0.0, True),
        (character_repetition, "abcdefghij" * 2, 2 / 11, False),  # 10 distinct of 11; of the one that repeats, 2
        (character_repetition, "a" * 30, 1.0, False),
        (character_repetition, "Read on here. " + PROSE + " Read on here.", 8 / (len(PROSE) + 28 - 9), True),
        (word_repetition, "to be or not", 0.0, True),
        (word_repetition, "to be or not to be or not", 0.0, True),
        (word_repetition, "to be, or not to be; or not!", 0.0, True),
        (word_repetition, "to be, or not to be; or not to be!", 2 / 6 + 2 / 6, False),
        (word_repetition, "no " * 6, 1.0, False),
        (word_repetition, PROSE, 0.0, True),
        (special_characters, "abc", 0.0, True),
        (special_characters, "a b", 1 / 3, False),
        (special_characters, "abcdefg, 1", 3 / 10, True),
        (special_characters, "😀é’", 2 / 3, False),
        (special_characters, "\u200d\ud800ab", 0.0, True),
        (stop_words, "the cat sat on the mat", 3 / 6, True),
        (stop_words, "Solar Panels, Batteries and Inverters", 1 / 5, False),
        (stop_words, MARKET, 1 / 15, False),  # "am"
        (flagged_words, PROSE, 0.0, True),
        (flagged_words, "free porn here " + PROSE, 1 / 43, False),
        (flagged_words, "the barely legal tender", 0.0, True),  # an entry of two words
        (punctuation, "eleven tokens " * 5 + "here", 1.0, True),
        (punctuation, "twelve tokens " * 6, 0.0, False),
        (punctuation, "ten words here: one, two; three! four? Five. And more.", 7 / 17, True),
        (punctuation, "naïve cafés — “don’t” (sit) here and there, all day long", 1 / 12, True),
        (punctuation, "☃ ♥", 0.0, False),
        (common_words, PROSE, 1.0, True),
        (common_words, "they don’t and don't", 1.0, True),
        (common_words, "qzxv the wvrtk kxlqp", 1 / 4, False),
        (chrome, PROSE, 0.0, True),
        (chrome, "Share on Facebook", 2 / 3, False),
        (chrome, "share " * 3 + "river " * 22, 0.12, False),  # from the threshold on
        (chrome, "share " * 3 + "river " * 23, 3 / 26, True),
    ],
)
def test_a_rule_measures_and_judges(rule: Callable[[Text], Verdict], text: str, value: float, keep: bool) -> None:
    verdict = rule(Text(text))
    assert verdict.value == pytest.approx(value, abs=1e-12)
    assert verdict.keep == keep


@pytest.mark.parametrize("text", [PROSE, PROSE.replace("'", "’"), PROSE.replace(". ", ".\n")])
def test_prose_passes_every_rule(text: str) -> None:
    assert [rule.func.__name__ for rule in ALL if not rule(Text(text)).keep] == []


@pytest.mark.parametrize("text", [GIBBERISH, MARKET])
def test_invented_and_foreign_words_are_not_common(text: str) -> None:
    assert not common_words(Text(text)).keep


def test_a_document_is_judged_on_punctuation_however_short() -> None:
    assert rules.punctuation(Text("no mark at all"), min=0.03, min_tokens=0) == (False, 0.0, "at least 0.03")


HOSTILE = {
    "empty": "",
    "spaces": " \n\t " * 1000,
    "emoji": "😀🎉👍🏽" * 100,
    "NUL": "\x00" * 1000,
    "lone surrogates": "\ud800\udfff" * 500,
    "a word of a million letters": "a" * 1_000_000,
    "a million different characters": "".join(chr(0x4E00 + i * i % 20_000) for i in range(1_000_000)),
    "a million marks": "!" * 1_000_000,
    "a million emoji": "😀" * 1_000_000,
    "two hundred thousand words": "ab cd " * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_dropped_in_linear_time(name: str) -> None:
    text = Text(HOSTILE[name])
    started = time.process_time()
    verdicts = [rule(text) for rule in ALL]
    assert time.process_time() - started < 4  # 0.9 s for the slowest on the machine it was written on
    assert not verdicts[0].keep
    assert all(0 <= float(verdict.value) <= 1 for verdict in verdicts[1:])


def naive_repetition(text: str, n: int) -> float:
    """The published definition of character repetition, word for word."""
    counts = sorted(Counter(text[i : i + n] for i in range(len(text) - n + 1)).values(), reverse=True)
    top = min(int(len(counts) ** 0.5), len([count for count in counts if count > 1]))
    return sum(counts[:top]) / sum(counts) if counts else 0.0


CHARACTERS = st.text("ab é’😀\ud800", max_size=120) | st.text(max_size=80).map(lambda text: text + "-" + text)


@given(CHARACTERS, st.integers(1, 20))
def test_fast_character_repetition_equals_the_definition(text: str, n: int) -> None:
    verdict = rules.character_repetition(Text(text), n=n, max=1)
    assert verdict.value == pytest.approx(naive_repetition(text, n), abs=1e-12)


@given(st.text(max_size=200) | st.text(" ,.'ab_é’😀1", max_size=200))
def test_fast_tokens_and_marks_equal_the_regular_expression(text: str) -> None:
    tokens = re.findall(r"[\w']+|[,;:?!.]", text)
    marks = sum(token in PUNCTUATION for token in tokens)
    assert (Text(text).measure("runs"), Text(text).measure("marks")) == (len(tokens) - marks, marks)


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=40), st.integers(1, 6))
def test_fast_word_repetition_equals_the_definition(words: list[str], n: int) -> None:
    ngrams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    value = sum(count for count in ngrams.values() if count > 1) / max(ngrams.total(), 1)
    assert rules.word_repetition(Text(" ".join(words)), n=n, max=1).value == pytest.approx(value, abs=1e-12)


NUMBERS = st.lists(st.lists(st.integers(0, 3), max_size=80), min_size=1, max_size=5)


@given(NUMBERS, st.integers(0, 2), st.integers(1, 17))
def test_repeating_ngrams_are_counted_in_each_text_for_itself(texts: list[list[int]], gap: int, n: int) -> None:
    values = np.array([value for text in texts for value in [*text, *[9] * gap]], np.uint32)
    found = repeats(values, np.array([len(text) + gap for text in texts]), gap, n)
    counted = [Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1)) for text in texts]
    expected = [(of, count) for of, ngrams in enumerate(counted) for count in ngrams.values() if count > 1]
    assert sorted(zip(found.of.tolist(), found.counts.tolist(), strict=True)) == sorted(expected)


SEVERAL = st.lists(st.text("ab, .é’😀İΣς\ud800\t\n", max_size=60) | st.text(max_size=30), min_size=1, max_size=6)


@given(SEVERAL)
def test_texts_measure_together_as_each_alone(texts: list[str]) -> None:
    [batch] = together(texts)
    several = [Text(text, batch, at) for at, text in enumerate(texts)]
    for rule in ALL:
        alone = [rule(Text(text)) for text in texts]
        assert [rule(text) for text in several] == alone
        at_once = rule(batch)
        assert at_once.keep.tolist() == [verdict.keep for verdict in alone]  # type: ignore[attr-defined]
        assert list(at_once.value) == [verdict.value for verdict in alone]  # type: ignore[arg-type]
    assert [text.words for text in several] == [Text(text).words for text in texts]


@given(SEVERAL)
def test_texts_that_were_measured_give_the_values_of_the_whole(texts: list[str]) -> None:
    several = [Text(text, batch, at) for batch in together(texts) for at, text in enumerate(batch.texts)]
    whole = Text("\n\n".join(texts))
    made = joined(several)
    assert made.text == whole.text
    assert [rule(made) for rule in ALL] == [rule(whole) for rule in ALL]
    assert made.words == whole.words


def test_thousands_of_texts_come_in_batches_of_bounded_size() -> None:
    texts = ["a b", "", "c" * 200_000, *["d e f"] * 3000]
    batches = list(together(texts))
    assert [text for batch in batches for text in batch.texts] == texts
    assert len(batches) > 3
    assert all(len(batch.texts) <= MOST_TEXTS for batch in batches)
    several = [Text(text, batch, at) for batch in batches for at, text in enumerate(batch.texts)]
    assert joined(several).measure("number_of_words") == 2 + 1 + 3 * 3000
    assert list(together([])) == []


@pytest.mark.parametrize("name", ["stop", "flagged", "common", "web chrome"])
def test_a_list_holds_its_words_and_no_others(name: str) -> None:
    words = lists.words_of(name)
    others = {word + "zq" for word in words} - words
    for asked, held in ((words, True), (others, False)):
        assert lists.listed(name).holds(lists.hashes_of(asked)).tolist() == [held] * len(asked)


def test_words_are_hashed_as_their_list_is() -> None:
    text = "the naïve\x00 ΟΔΟΣ don’t 𝒳y \ud800"
    [hashes] = [Text(text).batch._words.hashes.tolist()]
    assert hashes == lists.hashes_of(Text(text).words).tolist()


def test_word_lists_hold_words_as_texts_are_split() -> None:
    stop, flagged = lists.words_of("stop"), lists.words_of("flagged")
    assert (len(stop) > 200, len(flagged) == 403, {"the", "of", "it's"} <= stop) == (True, True, True)
    assert [word for word in stop | lists.words_of("common") if word != word.lower() or " " in word] == []
