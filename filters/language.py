"""A document's text in; its language as fastText's lid.176 sees it out, kept if it is a wanted one and sure enough."""

from pathlib import Path

import fasttext

from filters.text import Text
from filters.verdict import Verdict

# https://fasttext.cc/docs/en/language-identification.html, the compressed model; licence beside it.
MODEL = Path(__file__).with_name("data") / "lid.176.ftz"


class language:
    """Keeps a text whose most likely language is one of `labels` with a score of at least `min`.

    Labels are those of lid.176: ISO 639-1 codes where there is one ("en"), else 639-3; scores run from 0 to 1. The
    text is judged in lower case with new lines as spaces, as OBELICS did.
    """

    def __init__(self, labels: list[str], min: float) -> None:
        self.labels = frozenset(labels)
        self.min = min
        self.bound = f"{' or '.join(sorted(labels))}, at least {min:g}"
        self._model = fasttext.load_model(str(MODEL))
        self._last: tuple[Text, tuple[str, float]] | None = None

    def __call__(self, text: Text) -> Verdict:
        label, score = self.identify(text)
        return Verdict(label in self.labels and score >= self.min, f"{label} {score:.2f}", self.bound)

    def identify(self, text: Text) -> tuple[str, float]:
        """The most likely language and its score; a text without words comes out as an unsure "en" (0.12).

        The answer for the last text is remembered, so that a caller may ask after judging.
        """
        if self._last is None or self._last[0] is not text:
            # fastText takes one line of UTF-8, which cannot hold a lone surrogate.
            line = text.text.lower().replace("\n", " ").encode("utf-8", "replace").decode("utf-8")
            labels, scores = self._model.predict(line)
            # Rounding inside the model leads to scores such as 1.00005.
            found = labels[0].removeprefix("__label__"), min(float(scores[0]), 1.0)
            self._last = text, found
        return self._last[1]
