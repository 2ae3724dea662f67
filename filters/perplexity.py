"""A document's text in; dropped where it surprises a KenLM model of Wikipedia too much: menus, lists, machine spam."""

import re
import unicodedata
from importlib.util import find_spec
from pathlib import Path

from filters.text import Text
from filters.verdict import Verdict, within
from pipeline.errors import UserError

SOURCE = "the published files en.arpa.bin and en.sp.model are the folder wikipedia of the Hub repository edugp/kenlm"
EXTRA = "perplexity needs the packages kenlm and sentencepiece: pip install 'carnac[perplexity]'"

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


class perplexity:
    """Keeps a text whose perplexity under the KenLM model `model` is at most `max`.

    `tokenizer` is the SentencePiece model with which it was trained. A threshold holds for one model only: 1,500 is
    OBELICS's, for the 5-gram model of English Wikipedia. Raises UserError where a file or a package is missing.
    """

    @staticmethod
    def ready(model: str, tokenizer: str, max: float) -> None:
        """Raises UserError where a file or a package is missing; loads nothing."""
        for key, path in (("model", model), ("tokenizer", tokenizer)):
            if not Path(path).is_file():
                raise UserError(f"perplexity.{key}: there is no file {path} ({SOURCE}; or leave the rule out)")
        missing = [name for name in ("kenlm", "sentencepiece") if find_spec(name) is None]
        if missing:
            raise UserError(f"{EXTRA} (missing: {', '.join(missing)})")

    def __init__(self, model: str, tokenizer: str, max: float) -> None:
        self.ready(model, tokenizer, max)
        import kenlm
        import sentencepiece

        quiet = kenlm.Config()
        quiet.show_progress = False
        try:
            self._model = kenlm.Model(model, quiet)
        except OSError as error:
            raise UserError(f"perplexity.model: {model} is no KenLM model ({error})") from None
        try:
            self._tokenizer = sentencepiece.SentencePieceProcessor(model_file=tokenizer)
        except (OSError, RuntimeError) as error:
            raise UserError(f"perplexity.tokenizer: {tokenizer} is no SentencePiece model ({error})") from None
        self.max = max

    def __call__(self, text: Text) -> Verdict:
        return within(self.score(text), max=self.max)

    def score(self, text: Text) -> float:
        """Perplexity per token: 10 ** (-log10 p / (tokens + 1)), the end of the sentence being a token too."""
        pieces = self._tokenizer.encode(normalised(text.text), out_type=str)
        log10: float = self._model.score(" ".join(pieces))
        return round(10 ** (-log10 / (len(pieces) + 1)), 1)


def normalised(text: str) -> str:
    """The text as OBELICS hands it to the model: digits as 0, typographic marks as plain ones, all spaces alike.

    Upper case and accents stay. Control characters are removed, and so, as published, are line breaks: the whole text
    is one sentence, and the last word of a line touches the first of the next.
    """
    # Neither SentencePiece nor KenLM takes a lone surrogate.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return DIGIT.sub("0", text.translate(_NORMAL).strip())
