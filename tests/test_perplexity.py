"""Texts in, their perplexity out: under a tiny KenLM model made here, and under the trigram of pocketsphinx."""

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from filters.perplexity import KenLM, Trigram, normalised, perplexity
from filters.text import Text
from pipeline.errors import UserError
from tests.crawls import prose
from tests.documents import document


@pytest.fixture
def kenlm(model: Path, tokenizer: Path) -> KenLM:
    return KenLM(str(model), str(tokenizer))


@pytest.fixture(scope="module")
def trigram() -> Trigram:
    return Trigram()


@pytest.mark.parametrize(
    ("scores", "verdict"),
    [
        ({"perplexity": 10.0}, (True, 10.0, "at most 10")),
        ({"perplexity": 10.1}, (False, 10.1, "at most 10")),
        ({}, (False, "not scored", "at most 10")),
    ],
)
def test_a_document_is_judged_by_its_score(scores: dict[str, float], verdict: tuple[bool, float | str, str]) -> None:
    page = document("a text that nobody reads")
    page.scores = scores
    assert perplexity(page, max=10) == verdict


@pytest.mark.parametrize(
    ("text", "log10", "tokens"),
    [
        ("the", -0.3 - 0.5 - 0.2 - 1.0, 2),
        ("the cat", -0.3 - 0.5 - 0.1 - 0.1 - 1.0, 3),  # back off, unigram, bigram, back off, end of sentence
        ("cat the", -0.3 - 0.8 - 0.1 - 0.5 - 0.2 - 1.0, 3),
        ("dog", -0.3 - 2.0 - 1.0, 2),
        ("", -0.3 - 1.0, 1),
    ],
)
def test_perplexity_is_ten_to_the_mean_negative_log10(kenlm: KenLM, text: str, log10: float, tokens: int) -> None:
    assert kenlm.score(Text(text)) == round(10 ** (-log10 / tokens), 1)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Born in 1987, É ", "Born in 0000, É"),
        ("“It’s”—here…", '"It\'s" - here...'),
        ("a\xa0b\u3000c\u2009d", "a b c d"),
        ("one\ntwo\tthree\x00\x9f", "onetwothree"),
        ("٣ ３", "0 0"),
        ("\ud800", "?"),
        (" \n ", ""),
    ],
)
def test_text_is_normalised_as_published(text: str, plain: str) -> None:
    assert normalised(text) == plain


def test_a_long_text_without_a_space_is_judged(kenlm: KenLM) -> None:
    assert kenlm.score(Text("x" * 1_000_000 + "\ud800\x00")) > 10


MENU = "Home\nAbout\nProducts\nPricing\nBlog\nContact\nLog in\nSign up\nFacebook\nTwitter"
SPAM = "cheap shoes best buy online discount watches sale free price top casino loans deals review coupon " * 5
GERMAN = "Der Fluss entspringt in den Hügeln über der alten Stadt und ist meist kaum breiter als eine Straße."


@pytest.mark.parametrize("text", [*prose(1), "\n\n".join(prose(2)), prose(3)[0].upper(), "He said he didn’t know."])
def test_prose_is_no_surprise_to_the_trigram(trigram: Trigram, text: str) -> None:
    assert 1 < trigram.score(Text(text)) < 4000


@pytest.mark.parametrize("text", [MENU, SPAM, GERMAN, "", "1987 42", "😀\x00\ud800"])
def test_what_is_no_prose_surprises_the_trigram(trigram: Trigram, text: str) -> None:
    assert trigram.score(Text(text)) > 4000


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_words_surprise_the_trigram_more(trigram: Trigram, seed: int) -> None:
    text = " ".join(prose(seed))
    words = text.split()
    random.Random(seed).shuffle(words)
    assert trigram.score(Text(" ".join(words))) > 5 * trigram.score(Text(text))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The River, it rose", "the river it rose"),
        ("he didn’t", "he didn't"),
        ("in 1987 it rose", "in it rose"),
        ("the\nriver", "the river"),  # no sentence ends at a line break
    ],
)
def test_case_marks_numbers_and_line_breaks_make_no_difference_to_the_trigram(
    trigram: Trigram, one: str, other: str
) -> None:
    assert trigram.score(Text(one)) == trigram.score(Text(other))


def test_the_trigram_takes_sentences_apart(trigram: Trigram) -> None:
    one, two = "The cat sat on the mat.", "Rain fell all day."
    assert trigram.score(Text(f"{one} {one}")) == trigram.score(Text(one))
    assert trigram.score(Text(f"{one} {two}")) != trigram.score(Text(f"{one[:-1]} {two}"))


@pytest.mark.parametrize("text", ["a" * 1_000_000, "ab " * 300_000, "a'" * 500_000, "." * 1_000_000, ". " * 500_000])
def test_the_trigram_takes_linear_time(trigram: Trigram, text: str) -> None:
    started = time.process_time()
    assert trigram.score(Text(text)) > 1
    assert time.process_time() - started < 4


def test_a_missing_file_is_named_with_the_way_to_get_it(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    absent = tmp_path / "en.arpa.bin"
    with pytest.raises(UserError, match=rf"perplexity\.model: there is no file {absent} .*edugp/kenlm"):
        KenLM.ready(str(absent), str(tokenizer))
    with pytest.raises(UserError, match=rf"perplexity\.tokenizer: there is no file {absent} .*edugp/kenlm"):
        KenLM.ready(str(model), str(absent))


def test_a_file_of_another_kind_or_cut_short_is_named_before_any_work(
    model: Path, tokenizer: Path, tmp_path: Path
) -> None:
    (tmp_path / "cut.arpa").write_bytes(model.read_bytes()[:-20])
    (tmp_path / "cut.model").write_bytes(tokenizer.read_bytes()[:100])
    (tmp_path / "empty.bin").write_bytes(b"")
    # The head of a binary file of KenLM, which no file that is so short can be.
    (tmp_path / "cut.bin").write_bytes(b"mmap lm http://kheafield.com/code format version 5\n\0" + bytes(500))
    for first, second, says in (
        (tokenizer, tokenizer, r"perplexity\.model: .*tiny\.model is no KenLM model"),
        (model, model, r"perplexity\.tokenizer: .*tiny\.arpa is no SentencePiece model"),
        (tmp_path / "cut.arpa", tokenizer, r"perplexity\.model: .*cut\.arpa is cut short"),
        (tmp_path / "empty.bin", tokenizer, r"perplexity\.model: .*empty\.bin is no KenLM model"),
        (tmp_path / "cut.bin", tokenizer, r"perplexity\.model: .*cut\.bin is no whole KenLM model"),
        (model, tmp_path / "cut.model", r"perplexity\.tokenizer: .*cut\.model is no SentencePiece model"),
    ):
        with pytest.raises(UserError, match=says) as caught:
            KenLM.ready(str(first), str(second))
        assert "edugp/kenlm" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_package_names_the_extra(model: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("kenlm", "pocketsphinx"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"pip install 'carnac\[perplexity\]' \(missing: kenlm\)"):
        KenLM.ready(str(model), str(tokenizer))
    with pytest.raises(UserError, match=r"pip install 'carnac\[perplexity\]' \(missing: pocketsphinx\)"):
        Trigram.ready()


def test_the_module_loads_without_the_extra() -> None:
    code = "import sys; sys.modules |= dict.fromkeys(['kenlm', 'sentencepiece', 'pocketsphinx']); import filters.perplexity"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
