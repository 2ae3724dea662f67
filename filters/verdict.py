"""What every rule answers: keep or drop, with the value that was measured and the bound it was held against."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np


class Verdict(NamedTuple):
    """Of one subject. Where a batch of texts was judged at once, `keep` and `value` are arrays with one entry a text."""

    keep: bool
    value: float | str
    bound: str


_verdict = partial(tuple.__new__, Verdict)  # two thirds of the time of Verdict(…), which shows: every paragraph has one


def within(value: Any, *, min: float | None = None, max: float | None = None) -> Verdict:
    """Keeps `value` if it lies in [min, max]; the bound that was broken, or else the whole range, is named."""
    if isinstance(value, np.ndarray):
        lowest, highest = -np.inf if min is None else min, np.inf if max is None else max
        return _verdict(((value >= lowest) & (value <= highest), value, _bound(min, max)))
    if min is not None and value < min:
        return _verdict((False, value, _bound(min, None)))
    if max is not None and value > max:
        return _verdict((False, value, _bound(None, max)))
    return _verdict((True, value, _bound(min, max)))


def score_within(
    scores: Mapping[str, float], name: str, *, min: float | None = None, max: float | None = None
) -> Verdict:
    """The same for what a model said; what it was not asked about is dropped."""
    score = scores.get(name)
    return Verdict(False, "not scored", _bound(min, max)) if score is None else within(score, min=min, max=max)


@cache  # thresholds are few, and writing them out would cost more than some rules
def _bound(min: float | None, max: float | None) -> str:
    lower = "" if min is None else f"at least {min:g}"
    upper = "" if max is None else f"at most {max:g}"
    return " and ".join(filter(None, (lower, upper)))
