"""VQA accuracy as published, and CIDEr against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.training.metrics import cider, cider_d, exact_match, normal_answer, tokens, vqa_accuracy


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The Cat.", "cat"),
        ("two dogs", "2 dogs"),
        ("None", "0"),
        ("dont know", "don't know"),
        ("couldntve", "couldntve"),
        ("couldn'tve", "couldn't've"),
        ("couldnt've", "couldn't've"),
        ("red, white", "red white"),
        ("red,white", "red white"),  # a mark within a word is a space
        ("$1,000", "$1000"),
        ("1,000-2,000", "10002000"),  # with a comma in a number all marks go without a trace
        ("3.5", "3.5"),
        ("3. 5", "3 5"),
        ("t-shirt", "t shirt"),
        ("yes!", "yes"),  # the mark is followed by nothing: it becomes a space
        ("somebody'd", "somebodyd"),
        ("it's", "it's"),
        ("an apple a day", "apple day"),
    ],
)
def test_answers_are_normalised_as_the_official_evaluation_does(answer: str, normal: str) -> None:
    assert normal_answer(answer) == normal


@pytest.mark.parametrize(("same", "accuracy"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_accuracy_is_that_of_ten_people_each_left_out_once(same: int, accuracy: float) -> None:
    people = ["two"] * same + [f"other {n}" for n in range(10 - same)]
    assert vqa_accuracy("2", people) == pytest.approx(accuracy if same < 10 else 0.0)
    assert vqa_accuracy("Two", people) == pytest.approx(accuracy)


def test_where_all_people_agree_nothing_is_normalised() -> None:
    assert vqa_accuracy("the cat", ["cat"] * 10) == 0.0
    assert vqa_accuracy("CAT\n", ["cat"] * 10) == 1.0
    assert vqa_accuracy("the cat", ["cat"] * 9 + ["dog"]) == 1.0


def test_accuracy_is_not_defined_for_other_than_ten_answers() -> None:
    with pytest.raises(ValueError, match="found 3"):
        vqa_accuracy("cat", ["cat"] * 3)
    assert exact_match("The Cat.", ["dog", "cat"])
    assert not exact_match("cats", ["dog", "cat"])


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("A man's dog doesn't bark.", "a man 's dog does n't bark"),
        ('The "well-known" man, he cannot swim!', "the well-known man he can not swim"),
        ("2,000 people at 10:30 -- or so...", "2,000 people at 10:30 or so"),
        ("a U.S. flag; a dog (brown) & a cat", "a u.s. flag a dog -lrb- brown -rrb- & a cat"),
        ("it’s gonna rain", "it 's gon na rain"),
        ("", ""),
        ("  . , ", ""),
    ],
)
def test_captions_are_cut_into_words_as_the_public_implementation_does(caption: str, words: str) -> None:
    assert tokens(caption) == words.split()


REFERENCES = [["a b c d"], ["e f g h"]]


def test_a_caption_that_is_its_reference_has_ten() -> None:
    for score in (cider, cider_d):
        assert score(["a b c d", "e f g h"], REFERENCES) == pytest.approx([10, 10])
        assert score(["i j k l", ""], REFERENCES) == [0, 0]


def test_scores_are_those_worked_out_by_hand() -> None:
    # Every n-gram is in one image of two, or in none: all weigh ln 2, which the cosine cancels.
    # a b x y against a b c d: 2 of 4 words, 1 of 3 pairs, no triple, no quadruple.
    expected = 10 * (2 / 4 + 1 / 3 + 0 + 0) / 4
    assert cider(["a b x y", "e f g h"], REFERENCES)[0] == pytest.approx(expected)
    assert cider_d(["a b x y", "e f g h"], REFERENCES)[0] == pytest.approx(expected)
    # One word more: |5 words| · |4 words| and so on; CIDEr-D takes a length off by one for exp(-1 / 72).
    longer = 10 * (4 / math.sqrt(20) + 3 / math.sqrt(12) + 2 / math.sqrt(6) + 1 / math.sqrt(2)) / 4
    assert cider(["a b c d x", "e f g h"], REFERENCES)[0] == pytest.approx(longer)
    assert cider_d(["a b c d x", "e f g h"], REFERENCES)[0] == pytest.approx(longer * math.exp(-1 / 72))


def test_a_word_said_again_and_again_is_clipped_in_cider_d() -> None:
    # a a a a: the word four times; pairs, triples and the quadruple are in no reference.
    assert cider(["a a a a", "e f g h"], REFERENCES)[0] == pytest.approx(10 * (4 / (4 * 2)) / 4)
    assert cider_d(["a a a a", "e f g h"], REFERENCES)[0] == pytest.approx(10 * (1 / (4 * 2)) / 4)


def test_what_all_images_are_said_to_show_weighs_nothing() -> None:
    references = [["a photo of dogs"], ["a photo of cats"]]
    # Only "dogs", "of dogs", "photo of dogs", "a photo of dogs" tell the first from the second.
    scores = cider_d(["a photo of dogs", "a photo of dogs"], references)
    assert scores == pytest.approx([10, 0])
    assert cider_d(["a b c d"], [["a b c d"]]) == [0]  # one image alone


def test_several_references_are_averaged() -> None:
    scores = cider_d(["a b c d", "e f g h"], [["a b c d", "w x y z"], ["e f g h"]])
    assert scores == pytest.approx([5, 10])


captions = st.lists(st.text("abcd ", min_size=1, max_size=20), min_size=1, max_size=5)


@given(captions, st.randoms())
def test_scores_do_not_depend_on_the_order_of_images_or_references(drawn: list[str], random: object) -> None:
    references = [[caption, caption[::-1], "a b"] for caption in drawn]
    for score in (cider, cider_d):
        scores = score(drawn, references)
        backwards = score(drawn[::-1], [of_image[::-1] for of_image in references[::-1]])
        assert scores == pytest.approx(backwards[::-1])
        assert all(0 <= value <= 10 + 1e-9 for value in score(drawn, references))


def test_lists_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="2 captions"):
        cider(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="image 1 has no reference"):
        cider_d(["a", "b"], [["a"], []])
