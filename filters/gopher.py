"""A document's text in, kept or dropped by the rules of Gopher (Rae et al. 2021, arXiv 2112.11446, A1.1 and table A1).

Words are what white space divides and lines what is not blank between line breaks, as the paper has it; datatrove counts
marks as words of their own, and blank lines. Every rule keeps an empty text's value at 0.
"""

import re
from collections import Counter
from collections.abc import Sequence

from filters.text import Text, share
from filters.verdict import Verdict, within

STOP_WORDS = frozenset("the be to of and that have with".split())
BULLETS = ("•", "-")
ELLIPSES = ("...", "…")
BLANK_LINES = re.compile(r"\n{2,}")


def gopher_words(text: Text, *, min: int, max: int) -> Verdict:
    """The number of words with more in them than marks. Published: 50 to 100,000."""
    return within(len(_words(text)), min=min, max=max)


def gopher_word_length(text: Text, *, min: float, max: float) -> Verdict:
    """The mean number of characters of the words with more in them than marks. Published: 3 to 10."""
    words = _words(text)
    return within(sum(map(len, words)) / len(words) if words else 0.0, min=min, max=max)


def gopher_symbols(text: Text, *, max: float) -> Verdict:
    """Hash marks, or ellipses, whichever are more, over words. Published: 0.1."""
    hashes = text.text.count("#")
    ellipses = sum(map(text.text.count, ELLIPSES))
    words = len(text.text.split())
    return within((hashes if hashes > ellipses else ellipses) / words if words else 0.0, max=max)


def gopher_bullet_lines(text: Text, *, max: float) -> Verdict:
    """The share of the lines that start with a bullet. Published: 0.9."""
    return within(share([line.lstrip().startswith(BULLETS) for line in text.lines]), max=max)


def gopher_ellipsis_lines(text: Text, *, max: float) -> Verdict:
    """The share of the lines that end with an ellipsis. Published: 0.3."""
    return within(share([line.rstrip().endswith(ELLIPSES) for line in text.lines]), max=max)


def gopher_alphabetic_words(text: Text, *, min: float) -> Verdict:
    """The share of the words that have a letter. Published: 0.8."""
    return within(share([any(map(str.isalpha, word)) for word in text.text.split()]), min=min)


def gopher_stop_words(text: Text, *, min: int) -> Verdict:
    """How many different ones of `STOP_WORDS` occur. Published: 2."""
    return within(len(STOP_WORDS.intersection(text.words)), min=min)


def gopher_duplicate_lines(text: Text, *, max: float, max_characters: float) -> Verdict:
    """The share of the lines that were there before, and their characters over all. Published: 0.3 and 0.2."""
    return _duplicates(text.lines, len(text.text), max, max_characters)


def gopher_duplicate_paragraphs(text: Text, *, max: float, max_characters: float) -> Verdict:
    """The same for paragraphs, which blank lines divide. Published: 0.3 and 0.2."""
    paragraphs = [part for part in BLANK_LINES.split(text.text.strip()) if part]
    return _duplicates(paragraphs, len(text.text), max, max_characters)


def gopher_top_ngrams(text: Text, *, max: dict[int, float]) -> Verdict:
    """The characters of the most frequent word n-gram's occurrences over all, by n. Published: {2: 0.2, 3: 0.18, 4: 0.16}.

    Of equally frequent ones the first counts, as in datatrove; so does an n-gram that occurs once.
    """
    words = text.text.split()
    shares = {}
    for n in max:
        top = Counter(zip(*(words[i:] for i in range(n)), strict=False)).most_common(1)
        shares[n] = sum((sum(map(len, ngram)) + n - 1) * count for ngram, count in top) / (len(text.text) or 1)
    return _by_n(shares, max)


def gopher_duplicate_ngrams(text: Text, *, max: dict[int, float]) -> Verdict:
    """The characters in word n-grams that were there before over all, by n; overlapping ones count once.

    Published: {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.1}.
    """
    words = text.text.split()
    ends = [0]
    for word in words:
        ends.append(ends[-1] + len(word))
    return _by_n({n: _repeated_characters(words, ends, n) / (len(text.text) or 1) for n in max}, max)


def duplicate_characters(parts: Sequence[str]) -> tuple[int, int]:
    """How many of the parts were there before, and how many characters they have."""
    seen: set[str] = set()
    count = characters = 0
    for part in parts:
        if part in seen:
            count += 1
            characters += len(part)
        seen.add(part)
    return count, characters


def _words(text: Text) -> list[str]:
    return [word for word in text.text.split() if any(map(str.isalnum, word))]


def _duplicates(parts: list[str], total: int, max: float, max_characters: float) -> Verdict:
    """By count first; the share of the characters decides where the count is within its bound."""
    count, characters = duplicate_characters(parts)
    by_count = within(count / len(parts) if parts else 0.0, max=max)
    if not by_count.keep:
        return by_count
    verdict = within(characters / (total or 1), max=max_characters)
    return Verdict(verdict.keep, verdict.value, f"{verdict.bound} of the characters")


def _by_n(shares: dict[int, float], bounds: dict[int, float]) -> Verdict:
    """The first n whose share is above its bound decides; else the one that comes nearest to it."""
    if not shares:
        return Verdict(True, 0.0, "none")
    n = next((n for n in shares if shares[n] > bounds[n]), max(shares, key=lambda n: shares[n] - bounds[n]))
    return Verdict(shares[n] <= bounds[n], shares[n], f"at most {bounds[n]:g} for {n}-grams")


def _repeated_characters(words: list[str], ends: list[int], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    characters = 0
    free = 0  # the first word that no counted n-gram has
    for start, ngram in enumerate(zip(*(words[i:] for i in range(n)), strict=False)):
        if start < free:
            continue
        if ngram in seen:
            characters += ends[start + n] - ends[start]
            free = start + n
        else:
            seen.add(ngram)
    return characters
