"""A paragraph or a whole document's text in, kept or dropped with the value measured: the rules that need no model.

The definitions are those of OBELICS (arXiv 2306.16527) and give its values, quirks included, unless a
docstring says otherwise. Every rule takes a `Text`, which splits its words once for all of them, in linear time.
"""

import re
import string
import unicodedata
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np

from filters.verdict import Verdict, within

DATA = Path(__file__).with_name("data")

# Marks that end or divide a sentence. Others (brackets, dashes, quotes) are no tokens in `punctuation`.
PUNCTUATION = ",;:?!."
TOKEN = re.compile(r"[\w']+")
# How many of wordfreq's most frequent English words are common. Of 11,697 web paragraphs that the published rules keep,
# 0.9 % have less than 0.8 of them, and of their 352 documents of 100 words or more 0.6 % less than 0.9; of random
# letters with the frequencies of English, 0.18 are words. 20,000 would drop 2.8 % and 9.4 %; with 200,000 it is 0.25.
COMMON_WORDS = 50_000

_ASCII = bytes(range(128))
_ASCII_SPECIAL = string.punctuation + string.digits + string.whitespace
_PUNCTUATION_BYTES = PUNCTUATION.encode()
_INVISIBLE = "\u00ad\u200b\ufeff"  # soft hyphen, zero-width space, byte order mark; joiners are none of it
_ASCII_SPECIAL_BYTES = _ASCII_SPECIAL.encode()
# Bytes that end a token: all ASCII ones that no token has, and the bytes of the characters beyond ASCII.
_NO_TOKEN = bytes(byte for byte in range(256) if byte > 127 or not TOKEN.match(chr(byte)))
_TO_SPACE = bytes.maketrans(_NO_TOKEN, b" " * len(_NO_TOKEN))

# 2**64 over the golden ratio, Knuth's multiplier for hashing; what collides is compared in full.
_ODD = np.uint64(0x9E3779B97F4A7C15)


class _Special(dict[str, bool]):
    """Whether a character is special; filled as characters are met."""

    def __missing__(self, character: str) -> bool:
        # The published set is a list: ASCII punctuation, digits and white space, typographic marks, all emoji. These
        # categories agree with it to the last character on 99.8 % of 24,379 web paragraphs; letters that stand in the
        # list by accident (ø, π) are not special here.
        category = unicodedata.category(character)[0]
        special = category in "PSNZ" or character in _ASCII_SPECIAL or character in _INVISIBLE
        self[character] = special
        return special


_SPECIAL = _Special()


class Text:
    """A text with what several rules need of it, each computed at its first use."""

    __slots__ = ("_beyond_ascii", "_utf8", "_words", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._beyond_ascii: str | None = None
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
        if self._beyond_ascii is None:
            rest = "" if self.text.isascii() else self.utf8.translate(None, _ASCII).decode("utf-8", "surrogatepass")
            self._beyond_ascii = rest
        return self._beyond_ascii

    @property
    def words(self) -> list[str]:
        """Words: split on space, new line and tab only, lower case, stripped of special characters, none empty."""
        if self._words is None:
            pieces = self.text.lower().replace("\n", " ").replace("\t", " ").split(" ")
            if self.text.isascii():
                self._words = [word for piece in pieces if (word := piece.strip(_ASCII_SPECIAL))]
            else:
                self._words = [word for piece in pieces if (word := piece if piece.isalpha() else _stripped(piece))]
        return self._words

    @property
    def marks(self) -> int:
        """How many of the tokens are marks of `PUNCTUATION`."""
        return len(self.utf8) - len(self.utf8.translate(None, _PUNCTUATION_BYTES))

    @property
    def tokens(self) -> int:
        """How many tokens: runs of letters, digits, underscores and apostrophes, and each mark of `PUNCTUATION`."""
        if any(map(str.isalnum, self.beyond_ascii)):
            return len(TOKEN.findall(self.text)) + self.marks
        return len(self.utf8.translate(_TO_SPACE).split()) + self.marks


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
    ngrams = [text.text[start : start + n] for start in _starts_of_repeats(text.text, n)]
    distinct = total - len(ngrams) + len(set(ngrams))
    if distinct == total:
        return within(0.0, max=max)
    repeated = sorted([count for count in Counter(ngrams).values() if count > 1], reverse=True)
    return within(sum(repeated[: int(distinct**0.5)]) / total, max=max)


def word_repetition(text: Text, *, n: int, max: float) -> Verdict:
    """The share of the word n-grams' occurrences whose n-gram occurs more than once; 0 for fewer than n words."""
    words = text.words
    # Prose rarely passes this: counting n-grams is the dearer part.
    if not _has_known_run(words, n):
        return within(0.0, max=max)
    counts = Counter(zip(*(words[i:] for i in range(n)), strict=False)).values()
    return within(sum([count for count in counts if count > 1]) / (len(words) - n + 1), max=max)


def special_characters(text: Text, *, max: float) -> Verdict:
    """The share of the characters that are punctuation, digits, white space, symbols or emoji; 0 for an empty text."""
    if not text.text:
        return within(0.0, max=max)
    utf8 = text.utf8
    special = len(utf8) - len(utf8.translate(None, _ASCII_SPECIAL_BYTES))
    special += sum(map(_SPECIAL.__getitem__, text.beyond_ascii))
    return within(special / len(text.text), max=max)


def stop_words(text: Text, *, min: float) -> Verdict:
    """The share of the words that are English function words; 0 where there are no words."""
    return within(share(text.words, _stop_words()), min=min)


def flagged_words(text: Text, *, max: float) -> Verdict:
    """The share of the words that are in the LDNOOBW list of obscene words; 0 where there are no words.

    Entries of several words never match. The list is longer and less selective than the published one: "sex" and
    "rape" are in it.
    """
    return within(share(text.words, _flagged_words()), max=max)


def punctuation(text: Text, *, min: float, min_tokens: int) -> Verdict:
    """The share of the tokens that are marks of `PUNCTUATION`.

    1 for a text of fewer than `min_tokens` tokens, which is too short to judge; 0 for a text without any, as published.
    """
    tokens = text.tokens
    if 0 < tokens < min_tokens:
        return within(1.0, min=min)
    return within(text.marks / tokens if tokens else 0.0, min=min)


def common_words(text: Text, *, min: float) -> Verdict:
    """The share of the words that are among the `COMMON_WORDS` most frequent English ones; 0 where there are no words.

    The published list was counted on web text of its own and is not public; wordfreq's stands in for it.
    """
    return within(share(text.words, _common_words()), min=min)


def share(words: list[str], listed: frozenset[str]) -> float:
    """The share of `words` that are `listed`; 0 for no words."""
    return sum(map(listed.__contains__, words)) / len(words) if words else 0.0


def listed_words(name: str) -> frozenset[str]:
    """The entries of a file of `DATA`, one a line; a line that starts with # is a comment."""
    lines = (DATA / name).read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def _stop_words() -> frozenset[str]:
    return frozenset(word for line in listed_words("stop_words.en.txt") for word in line.split())


@cache
def _flagged_words() -> frozenset[str]:
    return listed_words("flagged_words.en.txt")


@cache
def _common_words() -> frozenset[str]:
    import wordfreq

    words = wordfreq.top_n_list("en", COMMON_WORDS)
    # wordfreq writes the apostrophe as a typewriter does; web pages print both.
    return frozenset([*words, *(word.replace("'", "’") for word in words if "'" in word)])


def _stripped(piece: str) -> str:
    """`piece` without the special characters at both of its ends."""
    if piece.isascii():
        return piece.strip(_ASCII_SPECIAL)
    start, end = 0, len(piece)
    while start < end and _SPECIAL[piece[start]]:
        start += 1
    while end > start and _SPECIAL[piece[end - 1]]:
        end -= 1
    return piece[start:end]


def _has_known_run(words: list[str], n: int) -> bool:
    """Whether n words in a row have all been there before, as they have where an n-gram comes again."""
    seen: set[str] = set()
    run = 0
    for word in words:
        if word not in seen:
            seen.add(word)
            run = 0
        elif (run := run + 1) == n:
            return True
    return False


def _starts_of_repeats(text: str, n: int) -> list[int]:
    """Where the n-grams start that may occur more than once: every one that does is among them."""
    total = len(text) - n + 1
    if n < 8 or total < 32:
        return list(range(total))
    # Equal n-grams begin and end with the same eight characters. Eight characters are a 64-bit number once every
    # character outside Latin-1 is a question mark, and sorting numbers is much faster than counting strings.
    latin = text.encode("latin-1", "replace")
    first: np.ndarray[tuple[int], np.dtype[np.uint64]] = np.ndarray((total,), np.uint64, latin, strides=(1,))
    last: np.ndarray[tuple[int], np.dtype[np.uint64]] = np.ndarray((total,), np.uint64, latin, n - 8, strides=(1,))
    mixed = first * _ODD + last
    ordered = mixed.copy()
    ordered.sort()
    same = ordered[1:] == ordered[:-1]
    if not np.count_nonzero(same):
        return []
    repeated = ordered[1:][same]
    nearest = np.minimum(np.searchsorted(repeated, mixed), repeated.size - 1)
    starts: list[int] = np.flatnonzero(repeated[nearest] == mixed).tolist()
    return starts
