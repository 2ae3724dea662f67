"""Text in; its normalised words, and a 64-bit key for each n-gram of them, out."""

import re
import unicodedata
from hashlib import blake2b

import numpy as np

from filters.ngrams import ODD
from pipeline.lookup import Keys

# Runs of letters and digits; each character of a script without spaces (kana, Han) is a word of its own.
_SOLID = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_SOLID}]|[^\W_{_SOLID}]+")
_FACTOR = np.uint64(ODD)  # odd, so that no bit of a word is lost


def words(text: str) -> list[str]:
    """Words as they are compared: compatibility forms and case folded (Unicode NFKC), without marks."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _WORD.findall(text.casefold())


class _Known(dict[str, int]):
    """The key of each word, kept for the next time; bounded."""

    def __missing__(self, word: str) -> int:
        if len(self) >= 1 << 20:
            self.clear()
        digest = blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        key = self[word] = int.from_bytes(digest, "little")
        return key


_known = _Known()


def word_keys(spelled: list[str]) -> Keys:
    return np.fromiter(map(_known.__getitem__, spelled), np.uint64, len(spelled))


def ngram_keys(of_words: Keys, n: int) -> Keys:
    """The key of the n-gram that begins at each word; none where there are fewer words than `n`."""
    count = max(len(of_words) - n + 1, 0)
    keys = np.full(count, n, np.uint64)
    for offset in range(n):
        keys *= _FACTOR
        keys += of_words[offset : offset + count]
    return keys
