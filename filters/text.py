"""A paragraph or a whole document's text in, kept or dropped with the value measured: the rules that need no model.

The definitions are those of OBELICS (arXiv 2306.16527) and give its values, quirks included, unless a
docstring says otherwise. Every rule takes a `Text`, which splits its words once for all of them, in linear time.
"""

import re

from filters.ngrams import repeats_of_characters, repeats_of_words
from filters.verdict import Verdict, within
from filters.words import ASCII_SPECIAL, SPECIAL, Listed, count_common, count_listed, split

# Marks that end or divide a sentence. Others (brackets, dashes, quotes) are no tokens in `punctuation`.
PUNCTUATION = ",;:?!."
TOKEN = re.compile(r"[\w']+")

_ASCII = bytes(range(128))
_PUNCTUATION_BYTES = PUNCTUATION.encode()
_ASCII_SPECIAL_BYTES = ASCII_SPECIAL.encode()
# ASCII characters of a token become "a", all others and the bytes of the characters beyond ASCII a space.
_TO_SHAPE = bytes(ord("a" if byte < 128 and TOKEN.match(chr(byte)) else " ") for byte in range(256))


class Text:
    """A text with what several rules need of it, each computed at its first use."""

    __slots__ = ("_listed", "_utf8", "_words", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._listed: Listed | None = None
        self._utf8: bytes | None = None
        self._words: list[str] | None = None

    @property
    def utf8(self) -> bytes:
        """The text in UTF-8; a lone surrogate, which a page can smuggle in by an escape, keeps its three bytes."""
        if self._utf8 is None:
            self._utf8 = self.text.encode("utf-8", "surrogatepass")
        return self._utf8

    @property
    def beyond_ascii(self) -> str:
        """The characters beyond ASCII, in their order."""
        return "" if self.text.isascii() else self.utf8.translate(None, _ASCII).decode("utf-8", "surrogatepass")

    @property
    def words(self) -> list[str]:
        """Words: split on space, new line and tab only, lower case, stripped of special characters, none empty."""
        if self._words is None:
            self._words = split(self.text)
        return self._words

    @property
    def listed(self) -> Listed:
        """How many of the words are on each short list."""
        if self._listed is None:
            self._listed = count_listed(self.words)
        return self._listed

    @property
    def marks(self) -> int:
        """How many marks of `PUNCTUATION` there are."""
        return len(self.utf8) - len(self.utf8.translate(None, _PUNCTUATION_BYTES))

    @property
    def runs(self) -> int:
        """How many runs of letters, digits, underscores and apostrophes there are: tokens, as each mark is one."""
        if len(self.utf8) != len(self.text) and any(map(str.isalnum, self.beyond_ascii)):
            return len(TOKEN.findall(self.text))
        return (b" " + self.utf8.translate(_TO_SHAPE)).count(b" a")


def number_of_words(text: Text, *, min: int, max: int) -> Verdict:
    """The number of words."""
    return within(len(text.words), min=min, max=max)


def character_repetition(text: Text, *, n: int, max: float) -> Verdict:
    """How much of the text its most repeated character n-grams make up, from 0 to 1.

    With D distinct n-grams of which S occur once: the occurrences of the min(√D, D - S) most frequent over all
    occurrences; 0 for a text shorter than n. Upper and lower case differ, white space counts.
    """
    total = len(text.text) - n + 1
    if total < 2:
        return within(0.0, max=max)
    repeats = repeats_of_characters(text.text, n)
    if not repeats:
        return within(0.0, max=max)
    distinct = total - sum(repeats) + len(repeats)
    repeats.sort(reverse=True)
    return within(sum(repeats[: int(distinct**0.5)]) / total, max=max)


def word_repetition(text: Text, *, n: int, max: float) -> Verdict:
    """The share of the word n-grams' occurrences whose n-gram occurs more than once; 0 for fewer than n words."""
    repeats = repeats_of_words(text.words, n)
    return within(sum(repeats) / (len(text.words) - n + 1) if repeats else 0.0, max=max)


def special_characters(text: Text, *, max: float) -> Verdict:
    """The share of the characters that are punctuation, digits, white space, symbols or emoji; 0 for an empty text."""
    if not text.text:
        return within(0.0, max=max)
    utf8 = text.utf8
    special = len(utf8) - len(utf8.translate(None, _ASCII_SPECIAL_BYTES))
    if len(utf8) != len(text.text):
        special += sum(map(SPECIAL.__getitem__, text.beyond_ascii))
    return within(special / len(text.text), max=max)


def stop_words(text: Text, *, min: float) -> Verdict:
    """The share of the words that are English function words; 0 where there are no words."""
    return within(share(text.listed.stop, text), min=min)


def flagged_words(text: Text, *, max: float) -> Verdict:
    """The share of the words that are in the LDNOOBW list of obscene words; 0 where there are no words.

    Entries of several words never match. The list is longer and less selective than the published one: "sex" and
    "rape" are in it.
    """
    return within(share(text.listed.flagged, text), max=max)


def punctuation(text: Text, *, min: float, min_tokens: int) -> Verdict:
    """The share of the tokens that are marks of `PUNCTUATION`; the other tokens are runs of word characters.

    1 for a text of fewer than `min_tokens` tokens, which is too short to judge; 0 for a text without any, as published.
    """
    marks = text.marks
    tokens = text.runs + marks
    if 0 < tokens < min_tokens:
        return within(1.0, min=min)
    return within(marks / tokens if tokens else 0.0, min=min)


def common_words(text: Text, *, min: float) -> Verdict:
    """The share of the words that are among the 50,000 most frequent English ones; 0 where there are no words.

    The published list was counted on web text of its own and is not public; wordfreq's stands in for it.
    """
    return within(share(count_common(text.words), text), min=min)


def share(count: int, text: Text) -> float:
    """`count` over the number of words; 0 for no words."""
    return count / len(text.words) if count else 0.0
