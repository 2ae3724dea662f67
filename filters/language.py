"""A document's text in, its language as fastText's lid.176 sees it out; and the rule that keeps the wanted languages."""

from pathlib import Path
from typing import Protocol

import fasttext

from filters.text import Text
from filters.verdict import Verdict

# https://fasttext.cc/docs/en/language-identification.html, the compressed model; licence beside it.
MODEL = Path(__file__).with_name("data") / "lid.176.ftz"


class Scored(Protocol):
    @property
    def language(self) -> str | None: ...

    @property
    def language_score(self) -> float | None: ...


class Language:
    """The model: labels are ISO 639-1 codes where there is one ("en"), else 639-3; scores run from 0 to 1."""

    def __init__(self) -> None:
        self._model = fasttext.load_model(str(MODEL))

    def identify(self, text: Text) -> tuple[str, float]:
        """The most likely language and its score; a text without words comes out as an unsure "en" (0.12).

        The text is judged in lower case with new lines as spaces, as OBELICS did.
        """
        # fastText takes one line of UTF-8, which cannot hold a lone surrogate.
        line = text.text.lower().replace("\n", " ").encode("utf-8", "replace").decode("utf-8")
        labels, scores = self._model.predict(line)
        # Rounding inside the model leads to scores such as 1.00005.
        return labels[0].removeprefix("__label__"), min(float(scores[0]), 1.0)


def language(document: Scored, *, labels: list[str], min: float) -> Verdict:
    """Keeps a document whose most likely language is one of `labels` with a score of at least `min`.

    OBELICS keeps English from 0.8 on. A document that was not scored is dropped.
    """
    bound = f"{' or '.join(sorted(labels))}, at least {min:g}"
    if document.language is None or document.language_score is None:
        return Verdict(False, "not scored", bound)
    keep = document.language in labels and document.language_score >= min
    return Verdict(keep, f"{document.language} {document.language_score:.2f}", bound)
