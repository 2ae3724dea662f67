"""Texts in, their perplexity under a tiny model made here out."""

import subprocess
import sys
from pathlib import Path

import pytest
import sentencepiece

from filters.perplexity import normalised, perplexity
from filters.text import Text
from pipeline.errors import UserError

SENTENCES = ["the cat sat on the mat", "a dog ran over the hill and the cat slept", "rain fell all day"] * 20


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model of whole words, so that the pieces are known."""
    prefix = tmp_path_factory.mktemp("tokenizer") / "tiny"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_prefix=str(prefix), model_type="word", vocab_size=19, minloglevel=2
    )
    return prefix.with_suffix(".model")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bigram model in ARPA form: log10 of a probability, the n-gram, log10 of the back-off weight."""
    path = tmp_path_factory.mktemp("model") / "tiny.arpa"
    unigrams = ["-2.0\t<unk>", "0\t<s>\t-0.3", "-1.0\t</s>", "-0.5\t▁the\t-0.2", "-0.8\t▁cat\t-0.1"]
    bigrams = ["-0.1\t▁the ▁cat"]
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}", ""]
    lines += ["\\1-grams:", *unigrams, "", "\\2-grams:", *bigrams, "", "\\end\\", ""]
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture
def rule(model: Path, tokenizer: Path) -> perplexity:
    return perplexity(model=str(model), tokenizer=str(tokenizer), max=10)


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
def test_perplexity_is_ten_to_the_mean_negative_log10(rule: perplexity, text: str, log10: float, tokens: int) -> None:
    value = round(10 ** (-log10 / tokens), 1)
    assert rule(Text(text)) == (value <= 10, value, "at most 10")


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


def test_a_long_text_without_a_space_is_judged(rule: perplexity) -> None:
    assert not rule(Text("x" * 1_000_000 + "\ud800\x00")).keep


def test_a_missing_file_is_named_with_the_way_to_get_it(model: Path, tokenizer: Path, tmp_path: Path) -> None:
    absent = tmp_path / "en.arpa.bin"
    with pytest.raises(UserError, match=rf"perplexity\.model: there is no file {absent} .*edugp/kenlm"):
        perplexity(model=str(absent), tokenizer=str(tokenizer), max=10)
    with pytest.raises(UserError, match=rf"perplexity\.tokenizer: there is no file {absent} .*edugp/kenlm"):
        perplexity(model=str(model), tokenizer=str(absent), max=10)


def test_a_file_of_another_kind_is_named(model: Path, tokenizer: Path) -> None:
    with pytest.raises(UserError, match=r"perplexity\.model: .*tiny\.model is no KenLM model"):
        perplexity(model=str(tokenizer), tokenizer=str(tokenizer), max=10)
    with pytest.raises(UserError, match=r"perplexity\.tokenizer: .*tiny\.arpa is no SentencePiece model"):
        perplexity(model=str(model), tokenizer=str(model), max=10)


def test_a_missing_package_names_the_extra(model: Path, tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kenlm", None)
    with pytest.raises(UserError, match=r"pip install 'carnac\[perplexity\]'"):
        perplexity(model=str(model), tokenizer=str(tokenizer), max=10)


def test_the_module_loads_without_the_extra() -> None:
    code = "import sys; sys.modules['kenlm'] = sys.modules['sentencepiece'] = None; import filters.perplexity"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)
