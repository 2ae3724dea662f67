"""Characters or words in; how often each n-gram that repeats occurs out, in next to linear time.

Where n-grams are counted as 64-bit numbers, two different ones could fall together: once in some thirty million texts of
a million n-grams.
"""

from collections import Counter
from contextlib import suppress
from typing import Any

import numpy as np

Keys = np.ndarray[Any, np.dtype[np.uint64]]

# 2**64 over the golden ratio, Knuth's multiplier for hashing.
_ODD = np.uint64(0x9E3779B97F4A7C15)
_U64 = np.dtype(np.uint64)
_EACH = (1,)
_ASCII = bytes(range(128))


def repeats_of_characters(text: str, n: int) -> list[int]:
    """The numbers of occurrences of the character n-grams that occur more than once."""
    total = len(text) - n + 1
    if total < 32:
        ngrams = [text[start : start + n] for start in range(total)]
        if len(set(ngrams)) == len(ngrams):
            return []
        return [count for count in Counter(ngrams).values() if count > 1]
    narrow = _bytes(text) if 8 <= n <= 16 else None
    if narrow is None:
        return _repeats(_rolled(np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(_U64), n))
    # Eight characters are a 64-bit number, an n-gram of up to 16 is its first and its last eight, and sorting numbers is
    # much faster than counting strings.
    mixed: Keys = np.ndarray((total,), _U64, narrow, 0, _EACH) * _ODD
    mixed += np.ndarray((total,), _U64, narrow, n - 8, _EACH)
    return _repeats(mixed)


def repeats_of_words(words: list[str], n: int) -> list[int]:
    """The numbers of occurrences of the word n-grams that occur more than once."""
    # Where an n-gram comes again, each of its n words comes again.
    if len(words) - len(set(words)) < n:
        return []
    if len(words) < 100:
        if not _has_known_run(words, n):
            return []
        return [count for count in Counter(zip(*(words[i:] for i in range(n)), strict=False)).values() if count > 1]
    return _repeats(_rolled(np.fromiter(map(hash, words), np.int64, len(words)).view(_U64), n))


def _rolled(values: Keys, n: int) -> Keys:
    """A 64-bit hash of each n values in a row."""
    total = len(values) - n + 1
    mixed = values[:total].copy()
    for i in range(1, n):
        mixed *= _ODD
        mixed += values[i : i + total]
    return mixed


def _bytes(text: str) -> bytes | None:
    """The text with one byte a character, different ones for different characters; None where it has too many of them."""
    if text.isascii():
        return text.encode()
    for charset in ("latin-1", "cp1252"):  # one of them holds most English texts, with their typographic marks
        with suppress(UnicodeEncodeError):
            return text.encode(charset)
    beyond = set(text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass"))
    wide = sorted(character for character in beyond if character > "\xff")
    free = [chr(code) for code in range(0x80, 0x100) if chr(code) not in beyond]
    if len(wide) > len(free):
        return None
    for character, other in zip(wide, free, strict=False):
        text = text.replace(character, other)
    return text.encode("latin-1")


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


def _repeats(keys: Keys) -> list[int]:
    """The numbers of occurrences of the keys that occur more than once. Sorts `keys` in place."""
    many = len(keys) >= 500
    ordered = keys[_sharing(keys)] if many else keys
    ordered.sort()
    again = ordered[1:] == ordered[:-1]
    if not np.count_nonzero(again):
        return []
    if many:
        counts = np.diff(np.flatnonzero(~again), prepend=-1, append=len(again))
        repeated: list[int] = counts[counts > 1].tolist()
        return repeated
    return [count + 1 for count in Counter(ordered[1:][again].tolist()).values()]


def _sharing(keys: Keys) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which keys share a slot of a table with another: all that are equal, and a few more. Saves sorting the others."""
    bits = min(len(keys).bit_length() + 3, 20)
    slots = (keys >> np.uint64(64 - bits)).view(np.int64)
    order = np.arange(len(keys), dtype=np.int32)
    table = np.empty(1 << bits, np.int32)  # only slots that were written are read
    table[slots] = order
    table[slots[table[slots] != order]] = -1
    shared: np.ndarray[Any, np.dtype[np.bool_]] = table[slots] == -1
    return shared
