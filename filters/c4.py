"""A paragraph or a document's text in, kept or dropped by the rules of C4 (Raffel et al. 2020, arXiv 1910.10683, 2.2).

C4 takes lines out of a page. Here a rule judges what it is given: as rules of paragraphs, which mostly are one line, these
do the same; as rules of documents they judge the page. Some are in the code only (tensorflow_datasets, c4_utils.py).
"""

import re
from functools import cache

from filters.text import Text, share
from filters.verdict import Verdict, within
from filters.words import words_of

TERMINAL = (".", "!", "?", '"', "”")
ELLIPSES = ("...", "…")
POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
SENTENCE_END = re.compile(r"[.!?][\"'”’)\]]?(?=\s|\Z)")
TOKEN = re.compile(r"\w+")


def c4_terminal_punctuation(text: Text, *, min: float) -> Verdict:
    """The share of the lines that end in a terminal mark, and not in an ellipsis. Published: every line that stays, 1."""
    lines = [line.rstrip() for line in text.lines]
    return within(share([line.endswith(TERMINAL) and not line.endswith(ELLIPSES) for line in lines]), min=min)


def c4_line_words(text: Text, *, min: int) -> Verdict:
    """The words of the shortest line. Published: 3 in the first version of the paper, 5 in its last and in the code."""
    return within(_least([len(line.split()) for line in text.lines]), min=min)


def c4_word_length(text: Text, *, max: int) -> Verdict:
    """The characters of the longest word. Published, in the code: 1,000."""
    return within(_greatest(list(map(len, text.text.split()))), max=max)


def c4_sentences(text: Text, *, min: int) -> Verdict:
    """The number of sentences, counted by their ends. Published: 5 in the first version of the paper, 3 in its last."""
    return within(len(SENTENCE_END.findall(text.text)), min=min)


def c4_javascript(text: Text, *, max: int) -> Verdict:
    """How often "javascript" is written, in any case. Published: 0, a line."""
    return within(text.text.lower().count("javascript"), max=max)


def c4_lorem_ipsum(text: Text, *, max: int) -> Verdict:
    """How often "lorem ipsum" is written, in any case. Published: 0, a page."""
    return within(text.text.lower().count("lorem ipsum"), max=max)


def c4_curly_brackets(text: Text, *, max: int) -> Verdict:
    """The number of opening curly brackets, which are in most programming languages. Published: 0, a page."""
    return within(text.text.count("{"), max=max)


def c4_policies(text: Text, *, max: int) -> Verdict:
    """How often one of `POLICIES` is written, in any case. Published, in the code: 0, a line."""
    lower = text.text.lower()
    return within(sum(map(lower.count, POLICIES)), max=max)


def c4_bad_words(text: Text, *, max: int) -> Verdict:
    """How often an entry of LDNOOBW stands in the text as whole words, those of several words too. Published: 0, a page."""
    tokens = TOKEN.findall(text.text.lower())
    found = 0
    for start, token in enumerate(tokens):
        for entry in _bad_words().get(token, ()):
            found += tuple(tokens[start : start + len(entry)]) == entry
    return within(found, max=max)


def _least(numbers: list[int]) -> int:
    return min(numbers, default=0)


def _greatest(numbers: list[int]) -> int:
    return max(numbers, default=0)


@cache
def _bad_words() -> dict[str, list[tuple[str, ...]]]:
    """The entries as words, by their first; an entry without letters or digits is left out."""
    by_first: dict[str, list[tuple[str, ...]]] = {}
    for entry in sorted({tuple(TOKEN.findall(line)) for line in words_of("flagged")} - {()}):
        by_first.setdefault(entry[0], []).append(entry)
    return by_first
