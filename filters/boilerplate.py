"""A paragraph in, kept or dropped for the words of web chrome in it: links to share, to log in, to accept cookies."""

from typing import Any

from filters.text import Texts
from filters.verdict import Verdict


def web_chrome_words(texts: Texts, *, max: float) -> Verdict:
    """The share of the words that are web chrome; dropped from `max` on, not only above it; 0 without words.

    OBELICS's final processing dropped a paragraph from 0.12 on.
    """
    value: Any = texts.measure("share_listed", "web chrome")
    return Verdict(value < max, value, f"below {max:g}")
