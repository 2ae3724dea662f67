"""N-grams: the same words have the same keys whatever their case and marks, and sorted keys are found in their files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.lookup import Sorted
from pipeline.ngrams import ngram_keys, word_keys, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What colour is the cat?", "what colour is the cat"),
        ("WHAT — colour\n\tis: 'the' cat", "what colour is the cat"),
        ("It's 3.5 km", "it s 3 5 km"),
        ("Straße ﬁne Ⅳ", "strasse fine iv"),
        ("snake_case", "snake case"),
        ("猫は何色ですか", "猫 は 何 色 で す か"),
        ("고양이는 무슨", "고양이는 무슨"),
        ("... !!", ""),
    ],
)
def test_words_are_compared_without_case_marks_and_compatibility_forms(text: str, expected: str) -> None:
    assert " ".join(words(text)) == expected


@given(st.text(max_size=80))
def test_no_text_breaks_it_and_words_stay_as_they_are(text: str) -> None:
    once = words(text)
    assert len(word_keys(once)) == len(once)
    if text.isascii():
        assert words(" ".join(once)) == once


def keys(text: str, n: int) -> list[int]:
    found: list[int] = ngram_keys(word_keys(words(text)), n).tolist()
    return found


def test_an_ngram_has_one_key_wherever_it_stands_and_order_matters() -> None:
    assert keys("a b c d", 3)[1] == keys("x y b c d e", 3)[2] == keys("B, c. D!", 3)[0]
    assert keys("a b c", 3) != keys("c b a", 3)
    assert keys("a a b", 3) != keys("a b a", 3)
    assert keys("a b c", 2)[:1] != keys("a b c", 3)


def test_keys_are_the_same_on_every_machine() -> None:
    assert keys("the mill stands on the river bank", 5) == [
        1466570399085963227,
        16002801949919114947,
        10472468460914415425,
    ]


@pytest.mark.parametrize(
    ("text", "n", "count"), [("", 13, 0), ("one two", 3, 0), ("one two three", 3, 1), ("a b c d", 3, 2)]
)
def test_a_text_has_as_many_ngrams_as_words_less_what_one_needs(text: str, n: int, count: int) -> None:
    assert len(keys(text, n)) == count


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60), st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_what_is_there_is_found_with_its_first_number_and_nothing_else(there: list[int], others: list[int]) -> None:
    held = Sorted.of(np.array(there, np.uint64), np.arange(len(there), dtype=np.uint32))
    asked = there + others
    places, numbers = held.find(np.array(asked, np.uint64))
    assert places == [i for i, key in enumerate(asked) if key in there]
    assert numbers == [there.index(asked[i]) for i in places]


def test_keys_are_read_from_their_files_by_memory_map(tmp_path: Path) -> None:
    many = np.random.default_rng(2).integers(0, 2**64, 100_000, np.uint64)
    Sorted.of(many, np.arange(len(many), dtype=np.uint32)).save(tmp_path, "grams")
    opened = Sorted.open(tmp_path, "grams")
    assert isinstance(opened.keys, np.memmap)
    assert opened.find(many[::1000]) == (list(range(100)), list(range(0, 100_000, 1000)))
    assert opened.find(many[:100] + np.uint64(1)) == ([], [])
