"""A document's text in, its language as fastText's lid.176 sees it out; and the rule that keeps the wanted languages."""

import hashlib
from pathlib import Path

import fasttext

from filters.text import Text
from filters.verdict import Verdict
from pipeline.document import Document
from pipeline.errors import UserError

# https://fasttext.cc/docs/en/language-identification.html, the compressed model; licence beside it.
MODEL = Path(__file__).with_name("data") / "lid.176.ftz"
LICENCE = Path(__file__).with_name("data") / "lid.176.LICENSE.md"  # names the SHA-256

# fastText reads some 20 MB a second, whatever it is divided into, and a document has 7,000 characters. Of 382 documents that the
# published rules keep, label and verdict (en, 0.8) are those of the whole on all, and scores lie 0.014 from it in the mean;
# on 1,184 pages before any rule, with their menus, the labels are the same and 22 verdicts differ; of the first 1,000
# characters it is 45, and 1 of the 382.
MAX_CHARACTERS = 640
PIECES = 8


class Language:
    """The model: labels are ISO 639-1 codes where there is one ("en"), else 639-3; scores run from 0 to 1.

    Of a text of more than `max_characters`, the model reads `PIECES` pieces of as much together; None: all of it.
    """

    @staticmethod
    def ready() -> None:
        """Raises UserError where the model's file is not the one that came along."""
        found = hashlib.sha256(MODEL.read_bytes()).hexdigest() if MODEL.is_file() else "none"
        if found not in LICENCE.read_text("utf-8"):
            raise UserError(f"scores.language: {MODEL} is missing or damaged; install carnac again, or set false")

    def __init__(self, max_characters: int | None = MAX_CHARACTERS) -> None:
        self._most = max_characters
        # The binding itself: what is around it makes arrays of one label and one score, which takes longer than a
        # short text does.
        self._predict = fasttext.load_model(str(MODEL)).f.predict

    def identify(self, text: Text) -> tuple[str, float]:
        """The most likely language and its score; a text without words comes out as an unsure "en" (0.12).

        The text is judged in lower case with new lines as spaces, as OBELICS did.
        """
        read = text.text if self._most is None else sample(text.text, self._most)
        # fastText takes one line of UTF-8, which cannot hold a lone surrogate.
        line = read.lower().replace("\n", " ").encode("utf-8", "replace").decode("utf-8")
        [(score, label)] = self._predict(line + "\n", 1, 0.0, "strict")
        # Rounding inside the model leads to scores such as 1.00005.
        return label.removeprefix("__label__"), min(float(score), 1.0)


def sample(text: str, most: int) -> str:
    """`text` where it has at most `most` characters; else `PIECES` pieces of it at equal distances, first to last, each
    from the beginning of a word."""
    if len(text) <= most:
        return text
    size = most // PIECES
    starts = [number * (len(text) - size) // (PIECES - 1) for number in range(PIECES)]
    pieces = [text[start : start + size] for start in starts]
    return " ".join([pieces[0], *(piece[piece.find(" ") + 1 :] for piece in pieces[1:])])


def language(document: Document, *, labels: list[str], min: float) -> Verdict:
    """Keeps a document whose most likely language is one of `labels` with a score of at least `min`.

    OBELICS keeps English from 0.8 on. A document that was not scored is dropped.
    """
    bound = f"{' or '.join(sorted(labels))}, at least {min:g}"
    if document.language is None or document.language_score is None:
        return Verdict(False, "not scored", bound)
    keep = document.language in labels and document.language_score >= min
    return Verdict(keep, f"{document.language} {document.language_score:.2f}", bound)
