"""A paragraph in, kept or dropped for the words of web chrome in it: links to share, to log in, to accept cookies."""

from filters.text import Text, share
from filters.verdict import Verdict


def web_chrome_words(text: Text, *, max: float) -> Verdict:
    """The share of the words that are web chrome; dropped from `max` on, not only above it; 0 without words.

    OBELICS's final processing dropped a paragraph from 0.12 on.
    """
    value = share(text.listed.web_chrome, text)
    return Verdict(value < max, value, f"below {max:g}")
