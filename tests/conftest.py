"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SENTENCES = ["the cat sat on the mat", "a dog ran over the hill and the cat slept", "rain fell all day"] * 20


@pytest.fixture(autouse=True, scope="session")
def one_worker() -> Iterator[None]:
    """Where tests run side by side a run of theirs has one worker, unless its configuration says how many."""
    before = os.cpu_count
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.cpu_count = lambda: 1
    yield
    os.cpu_count = before


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models of a test are so small that threads would only wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of real pages, crawls and images; its tests are skipped where it is absent."""
    folder = Path(os.environ.get("CARNAC_MATERIAL", ROOT.parent / "shared" / "material"))
    if not folder.is_dir():
        pytest.skip("the folder of real pages is not here: set CARNAC_MATERIAL")
    return folder


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SentencePiece model of whole words, so that the pieces are known."""
    import sentencepiece

    prefix = tmp_path_factory.mktemp("tokenizer") / "tiny"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES), model_prefix=str(prefix), model_type="word", vocab_size=19, minloglevel=2
    )
    return prefix.with_suffix(".model")


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bigram model in ARPA form: log10 of a probability, the n-gram, log10 of the back-off weight."""
    path = tmp_path_factory.mktemp("model") / "tiny.arpa"
    unigrams = ["-2.0\t<unk>", "0\t<s>\t-0.3", "-1.0\t</s>", "-0.5\t▁the\t-0.2", "-0.8\t▁cat\t-0.1"]
    bigrams = ["-0.1\t▁the ▁cat"]
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}", ""]
    lines += ["\\1-grams:", *unigrams, "", "\\2-grams:", *bigrams, "", "\\end\\", ""]
    path.write_text("\n".join(lines), "utf-8")
    return path
