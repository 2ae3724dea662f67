"""A document's text in, kept or dropped by the rules of FineWeb (Penedo et al. 2024, arXiv 2406.17557, 3.6).

Lines are those that are not blank; words are what white space divides (datatrove counts marks as words of their own).
"""

from filters.gopher import duplicate_characters
from filters.text import Text, share
from filters.verdict import Verdict, within

# The marks that end a sentence, in the scripts that most pages are written in.
TERMINAL = tuple(".!?‼⁇⁈⁉‽。！？．｡؟۔।॥።։")


def fineweb_line_punctuation(text: Text, *, min: float) -> Verdict:
    """The share of the lines that end in a terminal mark. Published: 0.12."""
    return within(share([line.endswith(TERMINAL) for line in text.lines]), min=min)


def fineweb_short_lines(text: Text, *, length: int, max: float) -> Verdict:
    """The share of the lines of at most `length` characters. Published: 0.67 of 30."""
    return within(share([len(line) <= length for line in text.lines]), max=max)


def fineweb_duplicate_lines(text: Text, *, max: float) -> Verdict:
    """The characters of lines that were there before, over all but line breaks. Published: 0.1; datatrove's default is 0.01."""
    total = len(text.text) - text.text.count("\n")
    return within(duplicate_characters(text.lines)[1] / total if total else 0.0, max=max)


def fineweb_line_breaks(text: Text, *, max: float) -> Verdict:
    """Line breaks over words. Published, in datatrove: 0.3."""
    words = len(text.text.split())
    return within(text.text.count("\n") / words if words else 0.0, max=max)
