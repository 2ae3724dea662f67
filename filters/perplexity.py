"""A document's text in, how much it surprises a model of the language out; and the rule that drops what surprises it:
menus, lists, machine spam."""

import math
import re
import unicodedata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filters.text import Text
from filters.verdict import Verdict, score_within
from pipeline.document import Document
from pipeline.errors import UserError

SOURCE = "the published files en.arpa.bin and en.sp.model are the folder wikipedia of the Hub repository edugp/kenlm"
EXTRA = "pip install 'carnac[perplexity]'"

# pocketsphinx counts log probabilities in powers of this, and answers some -5e8 for a word that it does not know.
LOG_BASE = 1.0001
ZERO = -1_000_000
UNKNOWN_WORD = -16.0  # nats; the rarest of the 72,500 words has about -15
SENTENCE_END = re.compile(r"[.?!](?=\s)")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")

DIGIT = re.compile(r"\d")
# Typographic marks and what stands for them in the text that the model was trained on (cc_net's normalisation).
_MARKS = {
    **{",": "，、", ".": "。", ":": "∶：", ";": "；", "?": "？", "!": "！", "...": "…", ". ": "．"},
    **{'"': "„”“«»」「《》", "'": "´’", "-": "–━►", " - ": "—", "~": "～", "%": "％"},
    **{"(": "（", ")": "）", "[": "【", "]": "】", "<": "〈", ">": "〉"},
}
_CONTROLS = [*range(0x20), *range(0x7F, 0xA0)]
_SPACES = [*(c for c in range(0xA0, 0x3001) if unicodedata.category(chr(c)) == "Zs"), 0xFFFC]
_NORMAL: dict[int, str | None] = {
    **dict.fromkeys(_CONTROLS),
    **dict.fromkeys(_SPACES, " "),
    **{ord(mark): plain for plain, marks in _MARKS.items() for mark in marks},
}


def perplexity(document: Document, *, max: float) -> Verdict:
    """Keeps a document whose score "perplexity" is at most `max`; one that was not scored is dropped.

    A threshold holds for one model only. 1,500 is OBELICS's, for the 5-gram KenLM of English Wikipedia. 4,000 is ours,
    for `Trigram`: of 930 reviewed English main texts it keeps 90 %, of the same with their words shuffled 7 %, of the
    texts of their pages' links 8 %, of other languages 1 %, of key-word spam nothing (tests/benchmarks/perplexity.py).
    """
    return score_within(document.scores, "perplexity", max=max)


# How KenLM's binary files begin; and gzip, bzip2 and xz, in which it reads ARPA files, too.
_BINARY = b"mmap lm http://kheafield.com/code"
_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ")


def _load_kenlm(path: str, lazily: bool = False) -> Any:
    """The model; `lazily` a binary one is mapped and held against its header, and not read."""
    import kenlm

    config = kenlm.Config()
    config.show_progress = False
    if lazily:
        config.load_method = kenlm.LoadMethod.LAZY
    try:
        return kenlm.Model(path, config)
    except OSError as error:
        raise UserError(f"perplexity.model: {path} is no whole KenLM model ({_short(error)}; {SOURCE})") from None


def _load_tokenizer(path: str) -> Any:
    import sentencepiece

    try:
        return sentencepiece.SentencePieceProcessor(model_file=path)
    except (OSError, RuntimeError) as error:
        raise UserError(f"perplexity.tokenizer: {path} is no SentencePiece model ({_short(error)}; {SOURCE})") from None


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


class KenLM:
    """The KenLM model `model`, and `tokenizer`, the SentencePiece model with which it was trained; the published score.

    Raises UserError where a file or a package is missing, or a file is of another kind.
    """

    @staticmethod
    def ready(model: str, tokenizer: str) -> None:
        """Raises UserError where a file or a package is missing, cut short or of another kind; reads little of the model."""
        for key, path in (("model", model), ("tokenizer", tokenizer)):
            if not Path(path).is_file():
                raise UserError(f"perplexity.{key}: there is no file {path} ({SOURCE}; or write perplexity: trigram)")
        _need("kenlm", "sentencepiece")
        with Path(model).open("rb") as file:
            head = file.read(64)
            file.seek(max(0, Path(model).stat().st_size - 64))
            tail = file.read()
        if head.startswith(_BINARY):
            _load_kenlm(model, lazily=True)
        elif not head.startswith(_PACKED) and not head.lstrip().startswith(b"\\data\\"):
            raise UserError(f"perplexity.model: {model} is no KenLM model ({SOURCE})")
        elif not head.startswith(_PACKED) and not tail.rstrip().endswith(b"\\end\\"):
            raise UserError(f"perplexity.model: {model} is cut short ({SOURCE})")
        _load_tokenizer(tokenizer)

    def __init__(self, model: str, tokenizer: str) -> None:
        self.ready(model, tokenizer)
        self._model = _load_kenlm(model)
        self._tokenizer = _load_tokenizer(tokenizer)

    def score(self, text: Text) -> float:
        """Perplexity per token: 10 ** (-log10 p / (tokens + 1)), the end of the sentence being a token too."""
        pieces = self._tokenizer.encode(normalised(text.text), out_type=str)
        log10: float = self._model.score(" ".join(pieces))
        return round(10 ** (-log10 / (len(pieces) + 1)), 1)


class Trigram:
    """The English trigram model that comes with pocketsphinx: 72,500 words, of news and broadcasts.

    Raises UserError where the package is missing.
    """

    @staticmethod
    def ready() -> None:
        """Raises UserError where the package is missing; loads nothing."""
        _need("pocketsphinx")

    def __init__(self) -> None:
        self.ready()
        from pocketsphinx import Config, LogMath, NGramModel, get_model_path

        self._model = NGramModel(Config(), LogMath(LOG_BASE), get_model_path("en-us/en-us.lm.bin"))

    def score(self, text: Text) -> float:
        """Perplexity per word, the ends of sentences being words too; e ** 16 for a text without words.

        Sentences end at ".", "?" or "!" before white space, not at line breaks: the lines of a menu would otherwise
        be short sentences. Words are runs of letters, in lower case; numbers, which the model knows only spelled
        out, are left out.
        """
        prob = self._model.prob  # takes the word and its history, newest first
        total, count, unknown = 0, 0, 0
        for sentence in SENTENCE_END.split(text.text.lower().replace("’", "'")):
            words = WORD.findall(sentence)
            if not words:
                continue
            words.append("</s>")
            logs = [prob([words[0], "<s>"])]
            logs += map(prob, zip(words[1:2], words, ["<s>"], strict=False))
            logs += map(prob, zip(words[2:], words[1:], words, strict=False))
            known = [log for log in logs if log > ZERO]
            total += sum(known)
            count += len(logs)
            unknown += len(logs) - len(known)
        if not count:
            return round(math.exp(-UNKNOWN_WORD), 1)
        return round(math.exp(-(total * math.log(LOG_BASE) + unknown * UNKNOWN_WORD) / count), 1)


def _need(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise UserError(f"perplexity needs {' and '.join(packages)}: {EXTRA} (missing: {', '.join(missing)})")


def normalised(text: str) -> str:
    """The text as OBELICS hands it to the model: digits as 0, typographic marks as plain ones, all spaces alike.

    Upper case and accents stay. Control characters are removed, and so, as published, are line breaks: the whole text
    is one sentence, and the last word of a line touches the first of the next.
    """
    # Neither SentencePiece nor KenLM takes a lone surrogate.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return DIGIT.sub("0", text.translate(_NORMAL).strip())
