"""What every rule answers: keep or drop, with the value that was measured and the bound it was held against."""

from functools import cache, partial
from typing import NamedTuple


class Verdict(NamedTuple):
    keep: bool
    value: float | str
    bound: str


_verdict = partial(tuple.__new__, Verdict)  # half the time of Verdict(…), which shows: a paragraph has nine verdicts


def within(value: float, *, min: float | None = None, max: float | None = None) -> Verdict:
    """Keeps `value` if it lies in [min, max]; the bound that was broken, or else the whole range, is named."""
    if min is not None and value < min:
        return _verdict((False, value, _bound(min, None)))
    if max is not None and value > max:
        return _verdict((False, value, _bound(None, max)))
    return _verdict((True, value, _bound(min, max)))


@cache  # thresholds are few, and writing them out would cost more than some rules
def _bound(min: float | None, max: float | None) -> str:
    lower = "" if min is None else f"at least {min:g}"
    upper = "" if max is None else f"at most {max:g}"
    return " and ".join(filter(None, (lower, upper)))
