"""Several texts in; what the rules need of each out, computed for all of them in one pass at its first use.

A page has dozens of paragraphs of a hundred characters: numpy is fast over their characters and words together, and
slow over each alone.
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from filters.ngrams import Hashes, Indices, Stretches, repeats, steps
from filters.words import Bools, is_special, listed

# Marks that end or divide a sentence. Others (brackets, dashes, quotes) are no tokens of the rule `punctuation`.
PUNCTUATION = ",;:?!."
TOKEN = re.compile(r"[\w']+")

BLANK_LINE = 2  # characters

# What a character is: ODDLY, its lower case is not one character whatever stands around it (İ, Σ).
_PLAIN, _MARK, _TOKEN, _DIVIDER, _ODDLY, _KNOWN = 1, 2, 4, 8, 16, 32

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Measure = np.ndarray[Any, np.dtype[Any]]
Codes = np.ndarray[Any, np.dtype[np.uint32]]

# By character, filled as characters are met: what it is, and its lower case, counted from 1.
_KINDS: Bytes = np.zeros(0x110000, np.uint8)
_LOWER: Codes = np.zeros(0x110000, np.uint32)


class Words(NamedTuple):
    """The words of texts: split on space, new line and tab only, lower case, stripped of special characters, none empty.

    Word i is `lower[first[i] : last[i] + 1]`; `ends` are, for each text, how many words it and those before it have.
    """

    hashes: Hashes
    first: Indices
    last: Indices
    ends: Indices

    def of(self, at: int) -> slice:
        """The words of one text."""
        return slice(int(self.ends[at - 1]) if at else 0, int(self.ends[at]))


class Batch:
    """Several texts, and what can be measured of them: an array with one number for each."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._measured: dict[tuple[Any, ...], Measure] = {}
        self._numbers: dict[tuple[Any, ...], list[float]] = {}

    def measure(self, *asked: Any) -> Measure:
        """What the method of the first name gives for the other arguments; computed once."""
        if asked not in self._measured:
            self._measured[asked] = getattr(self, asked[0])(*asked[1:])
        return self._measured[asked]

    def of_one(self, at: int, asked: tuple[Any, ...]) -> Any:
        """The same for one of the texts, as a number of Python's."""
        if asked not in self._numbers:
            self._numbers[asked] = self.measure(*asked).tolist()
        return self._numbers[asked][at]

    def characters(self) -> Measure:
        return np.fromiter(map(len, self.texts), np.int64, len(self.texts))

    def special(self) -> Measure:
        """How many characters are punctuation, digits, white space, symbols or emoji."""
        return self._count(self._kinds & _PLAIN == 0) - BLANK_LINE

    def marks(self) -> Measure:
        """How many marks of `PUNCTUATION` there are."""
        return self._count(self._kinds & _MARK != 0)

    def runs(self) -> Measure:
        """How many runs of letters, digits, underscores and apostrophes there are: tokens, as each mark is one."""
        inside = self._kinds & _TOKEN != 0
        begins = inside.copy()
        begins[1:] &= ~inside[:-1]
        return self._count(begins)

    def number_of_words(self) -> Measure:
        return steps(self._words.ends)

    def listed(self, name: str) -> Measure:
        """How many of the words are on a list."""
        held = np.flatnonzero(listed(name).holds(self._words.hashes))
        return steps(np.searchsorted(held, self._words.ends))

    def share_special(self) -> Measure:
        """The share of the characters that are special; 0 for an empty text."""
        return self.measure("special") / np.maximum(self.measure("characters"), 1)

    def share_listed(self, name: str) -> Measure:
        """The share of the words that are on a list; 0 where there are no words."""
        return self.measure("listed", name) / np.maximum(self.measure("number_of_words"), 1)

    def share_marks(self, min_tokens: int) -> Measure:
        """The share of the tokens that are marks; 1 for a text of fewer than `min_tokens`, 0 for one without any."""
        marks = self.measure("marks")
        tokens = self.measure("runs") + marks
        return np.where((tokens > 0) & (tokens < min_tokens), 1.0, marks / np.maximum(tokens, 1))

    def character_repetition(self, n: int) -> Measure:
        """How much of each text its most repeated character n-grams make up."""
        of, counts = repeats(self._codes, self._lengths, BLANK_LINE, n)
        size = len(self.texts)
        if not len(of):
            return np.zeros(size)
        totals = np.maximum(self.measure("characters") - (n - 1), 1)
        ngrams = np.bincount(of, minlength=size)
        distinct = totals - np.bincount(of, counts, size) + ngrams
        # By text, and in it from the most frequent one down: one number says both.
        ordered = (of << 32) - counts
        ordered.sort()
        counts = (of << 32) - ordered  # n-grams come in the order of their texts before, too
        rank = np.arange(len(of)) - (np.cumsum(ngrams) - ngrams)[of]
        counts[rank >= np.floor(np.sqrt(distinct))[of]] = 0
        shares: Measure = np.bincount(of, counts, size) / totals
        return shares

    def word_repetition(self, n: int) -> Measure:
        """The share of each text's word n-grams whose n-gram occurs more than once."""
        number_of_words = self.measure("number_of_words")
        of, counts = repeats(self._hashes, number_of_words, 0, n)
        size = len(self.texts)
        if not len(of):
            return np.zeros(size)
        shares: Measure = np.bincount(of, counts, size) / np.maximum(number_of_words - (n - 1), 1)
        return shares

    def words(self, at: int) -> list[str]:
        """The words of one of the texts."""
        words = self._words
        of = words.of(at)
        lower = self._joined.lower()
        return [lower[a : b + 1] for a, b in zip(words.first[of].tolist(), words.last[of].tolist(), strict=True)]

    @property
    def _hashes(self) -> Hashes:
        return self._words.hashes

    @cached_property
    def _joined(self) -> str:
        """Each text and a blank line behind it, which divides words, and across which no run of letters goes."""
        return "\n\n".join([*self.texts, ""])

    @cached_property
    def _lengths(self) -> Indices:
        """The characters of each text and its blank line."""
        return self.measure("characters") + BLANK_LINE

    @cached_property
    def _codes(self) -> Codes:
        return _codes(self._joined)

    @cached_property
    def _kinds(self) -> Bytes:
        return _kinds(self._codes)

    @cached_property
    def _words(self) -> Words:
        codes, kinds, ends = self._codes, self._kinds, np.cumsum(self._lengths)
        divides = kinds & _DIVIDER != 0
        if (kinds & _ODDLY).any():  # whose lower case may have another length
            dividers = np.searchsorted(np.flatnonzero(divides), ends)
            codes = _codes(self._joined.lower())
            kinds = _kinds(codes)
            divides = kinds & _DIVIDER != 0
            ends = np.flatnonzero(divides)[dividers - 1] + 1
        plain = np.flatnonzero(kinds & _PLAIN != 0)
        # Two plain characters behind each other are of two words where something divides them.
        gaps = np.flatnonzero(plain[1:] - plain[:-1] > 1)
        divided = np.cumsum(divides, dtype=np.int32)
        breaks = gaps[divided[plain[gaps]] != divided[plain[gaps + 1]]]
        first = plain[np.concatenate([_FIRST, breaks + 1])] if len(plain) else plain
        last = plain[np.concatenate([breaks, _LAST])] if len(plain) else plain
        hashes = Stretches(_LOWER.take(codes)).of(first, last + 1)
        return Words(hashes, first, last, np.searchsorted(first, ends))

    def _count(self, marked: Bools) -> Measure:
        """How many characters of each text and its blank line are marked."""
        return np.add.reduceat(marked, np.cumsum(self._lengths) - self._lengths, dtype=np.int64)


class Joined(Batch):
    """One text: those that were measured already, by their batches and places there, with blank lines between them."""

    def __init__(self, parts: Sequence[tuple[Batch, Sequence[int]]]) -> None:
        texts = [batch.texts[at] for batch, places in parts for at in places]
        super().__init__(["\n\n".join(texts)])
        self._parts = [(batch, np.array(places)) for batch, places in parts]
        self._blank = BLANK_LINE * (len(texts) - 1)

    def special(self) -> Measure:
        return self._sum("special") + self._blank

    def marks(self) -> Measure:
        return self._sum("marks")

    def runs(self) -> Measure:
        return self._sum("runs")

    def number_of_words(self) -> Measure:
        return self._sum("number_of_words")

    def listed(self, name: str) -> Measure:
        return self._sum("listed", name)

    def words(self, at: int) -> list[str]:
        return [word for batch, places in self._parts for number in places for word in batch.words(number)]

    @property
    def _hashes(self) -> Hashes:
        hashes = [batch._words.hashes[batch._words.of(at)] for batch, places in self._parts for at in places.tolist()]
        return np.concatenate(hashes)

    def _sum(self, *asked: Any) -> Measure:
        return np.array([sum(int(batch.measure(*asked)[places].sum()) for batch, places in self._parts)])


_FIRST, _LAST = np.array([0]), np.array([-1])


def _codes(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _kinds(codes: Codes) -> Bytes:
    """What each character is."""
    kinds = _KINDS.take(codes)
    if not kinds.all():
        for code in np.unique(codes[kinds == 0]).tolist():
            _KINDS[code], _LOWER[code] = _kind(chr(code))
        kinds = _KINDS.take(codes)
    return kinds


def _kind(character: str) -> tuple[int, int]:
    lower = character.lower()
    kind = (
        _KNOWN
        | _PLAIN * (not is_special(character))
        | _MARK * (character in PUNCTUATION)
        | _TOKEN * (TOKEN.match(character) is not None)
        | _DIVIDER * (character in " \n\t")
        | _ODDLY * (len(lower) != 1 or character == "Σ")
    )
    return kind, ord(lower[0]) + 1
