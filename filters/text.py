"""A paragraph or a whole document's text in, kept or dropped with the value measured: the rules that need no model.

The definitions are those of OBELICS (arXiv 2306.16527) and give its values, quirks included, unless a
docstring says otherwise. Every rule takes a `Text`, or a `Batch` of them to judge at once; all is measured in linear time.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from filters.batch import Batch, Joined
from filters.verdict import Verdict, within

# A batch of more is slower, as its numbers leave the processor's cache, and takes more memory.
MOST_TEXTS, MOST_CHARACTERS = 1 << 10, 1 << 17


class Text:
    """A text, and its place in the batch of those that it is measured with; alone if none is given."""

    __slots__ = ("at", "batch", "text")

    def __init__(self, text: str, batch: Batch | None = None, at: int = 0) -> None:
        self.text = text
        self.batch = Batch([text]) if batch is None else batch
        self.at = at

    def measure(self, *asked: Any) -> Any:
        """The number that `Batch.measure` has for this text."""
        return self.batch.of_one(self.at, asked)

    @property
    def words(self) -> list[str]:
        """Words: split on space, new line and tab only, lower case, stripped of special characters, none empty."""
        return self.batch.words(self.at)

    @property
    def lines(self) -> list[str]:
        """The lines that are not blank."""
        return [line for line in self.text.split("\n") if line and not line.isspace()]


Texts = Text | Batch


def together(texts: Sequence[str]) -> Iterator[Batch]:
    """The texts, such as the paragraphs of a page, in batches to be measured at once; nearly always in one."""
    start = characters = 0
    for number, text in enumerate(texts):
        characters += len(text)
        if number - start == MOST_TEXTS or (characters > MOST_CHARACTERS and number > start):
            yield Batch(texts[start:number])
            start, characters = number, len(text)
    if start < len(texts):
        yield Batch(texts[start:])


def joined(texts: Sequence[Text]) -> Text:
    """The texts with blank lines between them as one, measured by what was measured of each."""
    whole = Joined([(batch, [text.at for text in of_batch]) for batch, of_batch in groupby(texts, attrgetter("batch"))])
    return Text(whole.texts[0], whole)


def share(answers: Sequence[bool]) -> float:
    """How many are true, over all; 0 where there are none."""
    return sum(answers) / len(answers) if answers else 0.0


def number_of_words(texts: Texts, *, min: int, max: int) -> Verdict:
    """The number of words."""
    return within(texts.measure("number_of_words"), min=min, max=max)


def character_repetition(texts: Texts, *, n: int, max: float) -> Verdict:
    """How much of the text its most repeated character n-grams make up, from 0 to 1.

    With D distinct n-grams of which S occur once: the occurrences of the min(√D, D - S) most frequent over all
    occurrences; 0 for a text shorter than n. Upper and lower case differ, white space counts.
    """
    return within(texts.measure("character_repetition", n), max=max)


def word_repetition(texts: Texts, *, n: int, max: float) -> Verdict:
    """The share of the word n-grams' occurrences whose n-gram occurs more than once; 0 for fewer than n words."""
    return within(texts.measure("word_repetition", n), max=max)


def special_characters(texts: Texts, *, max: float) -> Verdict:
    """The share of the characters that are punctuation, digits, white space, symbols or emoji; 0 for an empty text."""
    return within(texts.measure("share_special"), max=max)


def stop_words(texts: Texts, *, min: float) -> Verdict:
    """The share of the words that are English function words; 0 where there are no words."""
    return within(texts.measure("share_listed", "stop"), min=min)


def flagged_words(texts: Texts, *, max: float) -> Verdict:
    """The share of the words that are in the LDNOOBW list of obscene words; 0 where there are no words.

    Entries of several words never match. The list is longer and less selective than the published one: "sex" and
    "rape" are in it.
    """
    return within(texts.measure("share_listed", "flagged"), max=max)


def punctuation(texts: Texts, *, min: float, min_tokens: int) -> Verdict:
    """The share of the tokens that are marks of `PUNCTUATION`; the other tokens are runs of word characters.

    1 for a text of fewer than `min_tokens` tokens, which is too short to judge; 0 for a text without any, as published.
    """
    return within(texts.measure("share_marks", min_tokens), min=min)


def common_words(texts: Texts, *, min: float) -> Verdict:
    """The share of the words that are among the 50,000 most frequent English ones; 0 where there are no words.

    The published list was counted on web text of its own and is not public; wordfreq's stands in for it.
    """
    return within(texts.measure("share_listed", "common"), min=min)
