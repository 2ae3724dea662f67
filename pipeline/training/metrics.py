"""Answers of a model and of people in; VQA accuracy, exact match, CIDEr and CIDEr-D out."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

PEOPLE = 10  # who answered each question of VQA; the accuracy is defined for so many

# The tables of the official evaluation of VQA (PythonEvaluationTools/vqaEvaluation/vqaEval.py, GT-Vision-Lab/VQA), of which
# the words that no lower-case text contains are left out; "somebody'd" stands there as it does here.
_NUMBERS = {word: str(n) for n, word in enumerate("zero one two three four five six seven eight nine ten".split())}
_NUMBERS["none"] = "0"
_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_CONTRACTIONS = {
    **{
        word.replace("'", ""): word
        for word in (
            "ain't aren't can't could've couldn't didn't doesn't don't hadn't hasn't haven't he'd he's how'd how'll how's "
            "isn't it'd it'll ma'am mightn't might've mustn't must've needn't not've o'clock oughtn't shan't should've "
            "shouldn't somebody'll somebody's someone'd someone'll someone's something'd something'll that's there'd "
            "there're there's they'd they'll they're they've 'twas wasn't we've weren't what'll what're what's what've "
            "when's where'd where's where've who'd who'll who's who've why'll why're why's won't would've wouldn't y'all "
            "you'd you'll you're you've"
        ).split()
    },
    **{
        written: whole
        for whole in (
            "couldn't've hadn't've he'd've it'd've mightn't've she'd've shouldn't've somebody'd've someone'd've there'd've "
            "they'd've we'd've who'd've wouldn't've you'd've"
        ).split()
        for written in (whole.replace("'", "", 1), whole[::-1].replace("'", "", 1)[::-1])
    },
    **{"something'dve": "something'd've", "somethingd've": "something'd've", "somebody'd": "somebodyd"},
    **dict.fromkeys(("ow's'at", "'ows'at", "'ow'sat"), "'ow's'at"),
    **{"yall'll": "y'all'll", "y'allll": "y'all'll"},
    **dict.fromkeys(("yall'd've", "y'alld've", "y'all'dve"), "y'all'd've"),
}
_COMMA_IN_NUMBER = re.compile(r"\d,\d")
_PERIOD = re.compile(r"\.(?!\d)")


def normal_answer(answer: str) -> str:
    """An answer as the official evaluation of VQA compares it: without punctuation and articles, in lower case, numbers
    up to ten as digits, contractions with their apostrophes.

    A mark that touches a space is removed, one within a word becomes a space; where the answer has a number such as
    1,000, all are removed.
    """
    removed = _COMMA_IN_NUMBER.search(answer) is not None
    plain = answer
    for mark in _PUNCTUATION:
        plain = plain.replace(mark, "" if removed or f"{mark} " in answer or f" {mark}" in answer else " ")
    words = (_NUMBERS.get(word, word) for word in _PERIOD.sub("", plain).lower().split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def vqa_accuracy(answer: str, people: Sequence[str]) -> float:
    """Of 0 to 1: min(n / 3, 1), where n of nine people said the same, averaged over the nine that are left of ten.

    As published (Antol et al., arXiv 1505.00468, and its evaluation code): answers are normalised only where the ten
    are not all the same.

    Raises:
        ValueError: other than ten answers, for which the measure is not defined.
    """
    if len(people) != PEOPLE:
        raise ValueError(f"VQA accuracy is defined for {PEOPLE} answers of people, found {len(people)}")
    said, *others = (" ".join(text.split()) for text in (answer, *people))
    if len(set(others)) > 1:
        said, *others = (normal_answer(text) for text in (said, *others))
    same = [other.lower() == said.lower() for other in others]
    return sum(min(1.0, (sum(same) - left_out) / 3) for left_out in same) / PEOPLE


def exact_match(answer: str, people: Iterable[str]) -> bool:
    """Whether the answer is one of those given, all normalised."""
    return normal_answer(answer) in {normal_answer(other) for other in people}


# What the public implementation leaves out of the tokens (pycocoevalcap/tokenizer/ptbtokenizer.py). It looks for brackets
# in upper case, while the tokens are in lower case, so brackets are words.
_LEFT_OUT = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";", '"'}
_BRACKETS = dict(zip("()[]{}", ("-lrb-", "-rrb-", "-lsb-", "-rsb-", "-lcb-", "-rcb-"), strict=True))
_SPLIT = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "wanna": ("wan", "na")}
_CLITIC = re.compile(r"(?:n't|'(?:s|re|ve|ll|d|m))$")
_TOKEN = re.compile(
    r"\d+(?:[.,:]\d+)*+"  # 1,000 and 3.5 and 10:30
    r"|[^\W\d_](?:\.[^\W\d_])++\.?"  # u.s.
    r"|\w++(?:['’\-&/]\w++)*+"  # well-known, don't
    r"|\.\.\.|--|['’](?:s|re|ve|ll|d|m)\b"
    r"|[^\w\s]"
)


def tokens(caption: str) -> list[str]:
    """The words of a caption in lower case, as near to the Penn Treebank tokeniser of the public implementation as plain
    rules come: clitics are words (do n't, man 's), hyphenated words stay whole, punctuation is left out."""
    found: list[str] = []
    for token in _TOKEN.findall(caption.lower().replace("’", "'")):
        clitic = _CLITIC.search(token)
        if token in _SPLIT:
            found += _SPLIT[token]
        elif clitic and clitic.start():
            found += [token[: clitic.start()], clitic.group()]
        elif token not in _LEFT_OUT:
            found.append(_BRACKETS.get(token, token))
    return found


LONGEST = 4  # words of an n-gram
SIGMA = 6.0  # words: how far a caption's length may be off; of CIDEr-D

Gram = tuple[str, ...]


def cider(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr of each caption against what people said of the image, 0 to 10 (arXiv 1411.5726; 1.0 is reported as 100).

    n-grams of one to four words weigh by how few of the images' references hold them, so that a score depends on the
    whole set: of one image alone all are 0. Nothing is stemmed, as in the public implementation.

    Raises:
        ValueError: lists of different lengths, or an image without references.
    """
    return _cider(captions, references, clipped=False)


def cider_d(captions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """CIDEr-D, which pycocoevalcap calls CIDEr and which is reported for COCO: counts are clipped to the reference's, and
    a caption of another length has less. Else as `cider`."""
    return _cider(captions, references, clipped=True)


def _cider(captions: Sequence[str], references: Sequence[Sequence[str]], clipped: bool) -> list[float]:
    if len(captions) != len(references):
        raise ValueError(f"{len(captions)} captions for the references of {len(references)} images")
    if not all(references):
        raise ValueError(f"image {[bool(of_image) for of_image in references].index(False)} has no reference")
    told = [[_grams(reference) for reference in of_image] for of_image in references]
    images = Counter(gram for of_image in told for gram in {gram for counts in of_image for gram in counts})
    weight = math.log(len(references) or 1)

    def vector(counts: Counter[Gram]) -> list[dict[Gram, float]]:
        lengths: list[dict[Gram, float]] = [{} for _ in range(LONGEST)]
        for gram, count in counts.items():
            lengths[len(gram) - 1][gram] = count * (weight - math.log(max(1, images[gram])))
        return lengths

    def alike(one: Counter[Gram], other: Counter[Gram]) -> float:
        total = 0.0
        for mine, theirs in zip(vector(one), vector(other), strict=True):
            norms = math.sqrt(math.fsum(v * v for v in mine.values()) * math.fsum(v * v for v in theirs.values()))
            if norms:
                both = [(mine[gram], theirs[gram]) for gram in mine.keys() & theirs.keys()]
                total += math.fsum((min(a, b) if clipped else a) * b for a, b in both) / norms
        # Lengths are those in pairs of words, as the public implementation counts them.
        off = sum(n for gram, n in one.items() if len(gram) == 2) - sum(
            n for gram, n in other.items() if len(gram) == 2
        )
        return total / LONGEST * (math.exp(-(off**2) / (2 * SIGMA**2)) if clipped else 1.0)

    return [
        10 * math.fsum(alike(_grams(caption), reference) for reference in of_image) / len(of_image)
        for caption, of_image in zip(captions, told, strict=True)
    ]


def _grams(caption: str) -> Counter[Gram]:
    words = tokens(caption)
    return Counter(tuple(words[i : i + n]) for n in range(1, LONGEST + 1) for i in range(len(words) - n + 1))
