"""A text in, its words out, and how many of them stand on the lists: stop words, flagged, common, of web chrome.

A text is split once, and all that is counted is counted in those words.
"""

import string
import unicodedata
from functools import cache
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

DATA = Path(__file__).with_name("data")

ASCII_SPECIAL = string.punctuation + string.digits + string.whitespace
_INVISIBLE = "\u00ad\u200b\ufeff"  # soft hyphen, zero-width space, byte order mark; joiners are none of it

# How many of wordfreq's most frequent English words are common. Of 11,697 web paragraphs that the published rules keep,
# 0.9 % have less than 0.8 of them, and of their 352 documents of 100 words or more 0.6 % less than 0.9; of random
# letters with the frequencies of English, 0.18 are words. 20,000 would drop 2.8 % and 9.4 %; with 200,000 it is 0.25.
COMMON_WORDS = 50_000

_BITS = 20  # of a count; three fit into one machine word
_MOST = (1 << _BITS) - 1


class Listed(NamedTuple):
    """How many of a text's words are on each of the short lists."""

    stop: int
    flagged: int
    web_chrome: int


class _Special(dict[str, bool]):
    """Whether a character is special; filled as characters are met."""

    def __missing__(self, character: str) -> bool:
        # The published set is a list: ASCII punctuation, digits and white space, typographic marks, all emoji. These
        # categories agree with it to the last character on 99.8 % of 24,379 web paragraphs; letters that stand in the
        # list by accident (ø, π) are not special here.
        category = unicodedata.category(character)[0]
        special = category in "PSNZ" or character in ASCII_SPECIAL or character in _INVISIBLE
        self[character] = special
        return special


SPECIAL = _Special()


def split(text: str) -> list[str]:
    """Words: split on space, new line and tab only, lower case, stripped of special characters, none empty."""
    pieces = text.lower().replace("\n", " ").replace("\t", " ").split(" ")
    if text.isascii():
        return [word for piece in pieces if (word := piece if piece.isalpha() else piece.strip(ASCII_SPECIAL))]
    return [word for piece in pieces if (word := piece if piece.isalpha() else _stripped(piece))]


def count_listed(words: list[str]) -> Listed:
    """One pass for the three short lists: each word adds a one to the counts that it belongs to."""
    if len(words) > _MOST:
        return Listed(*map(sum, zip(count_listed(words[:_MOST]), count_listed(words[_MOST:]), strict=True)))
    total = sum(map(_packed().get, words, repeat(0)))
    return Listed(total & _MOST, total >> _BITS & _MOST, total >> 2 * _BITS)


def count_common(words: list[str]) -> int:
    """How many of the words are common ones; a pass of its own, as this list does not fit into a core's cache."""
    return sum(map(common_words().__contains__, words))


def lines_of(name: str) -> frozenset[str]:
    """The entries of a file of `DATA`, one a line; a line that starts with # is a comment."""
    lines = (DATA / name).read_text("utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def _packed() -> dict[str, int]:
    packed: dict[str, int] = {}
    for number, words in enumerate((stop_words(), flagged_words(), web_chrome_words())):
        for word in words:
            packed[word] = packed.get(word, 0) + (1 << number * _BITS)
    return packed


@cache
def stop_words() -> frozenset[str]:
    return frozenset(word for line in lines_of("stop_words.en.txt") for word in line.split())


@cache
def flagged_words() -> frozenset[str]:
    return lines_of("flagged_words.en.txt")


@cache
def common_words() -> frozenset[str]:
    import wordfreq

    words = wordfreq.top_n_list("en", COMMON_WORDS)
    # wordfreq writes the apostrophe as a typewriter does; web pages print both.
    return frozenset([*words, *(word.replace("'", "’") for word in words if "'" in word)])


@cache
def web_chrome_words() -> frozenset[str]:
    return frozenset(word for line in lines_of("web_chrome_words.en.txt") for word in line.split())


def _stripped(piece: str) -> str:
    """`piece` without the special characters at both of its ends."""
    if piece.isascii():
        return piece.strip(ASCII_SPECIAL)
    start, end = 0, len(piece)
    while start < end and SPECIAL[piece[start]]:
        start += 1
    while end > start and SPECIAL[piece[end - 1]]:
        end -= 1
    return piece[start:end]
