"""Fixtures shared by all tests."""

import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.image_host import Origin
from tests.sites import Sites

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


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A host of images that misbehaves."""
    with Origin() as host:
        yield host


@pytest.fixture
def inside() -> Iterator[Origin]:
    """The same in a network that no one allowed."""
    with Origin("127.0.0.2") as host:
        yield host


@pytest.fixture
def sites() -> Iterator[Sites]:
    """Hosts that say nothing yet."""
    with Sites() as hosts:
        yield hosts


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server on 127.0.0.1 speaks TLS by; SSL_CERT_FILE, which names its certificate, is set by the test."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, chain = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", chain, "-days", "2",
         "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


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
