"""The probabilities of a page's blocks in; which of them to keep out."""

import numpy as np
from numpy.typing import NDArray

from pipeline.html.blocks import Blocks, Floats

REPEATED = 6  # words: a block of so many that the page holds twice is kept once


def chosen(probability: Floats, blocks: Blocks) -> NDArray[np.bool_]:
    """The blocks that together have the greatest expected F1, counted in words: those above a threshold of the page's own
    (Lipton et al. 2014, "Optimal thresholding of classifiers to maximize F1 measure")."""
    words = blocks.counts[:, 0]
    probability = once(probability, blocks)
    order = np.argsort(-probability, kind="stable")
    size = words[order]
    right = probability[order] * size
    expected = np.cumsum(right) / (np.cumsum(size) + right.sum())
    kept = np.zeros(len(order), bool)
    kept[order[: int(np.argmax(expected)) + 1]] = True
    return kept


def once(probability: Floats, blocks: Blocks) -> Floats:
    """`probability`, 0 for all but the likeliest of blocks with the same text."""
    long = np.flatnonzero(blocks.counts[:, 0] >= REPEATED)
    text, begin, end = blocks.text.tobytes(), blocks.text_begin.tolist(), blocks.text_end.tolist()
    seen: dict[bytes, int] = {}
    result = probability.copy()
    for at in long.tolist():
        said = text[begin[at] : end[at]].strip()
        other = seen.setdefault(said, at)
        if other != at:
            loser = at if probability[other] >= probability[at] else other
            result[loser] = 0
            seen[said] = other if loser == at else at
    return result
