"""An image's scores by a CLIP model in, a verdict out: does it go with its text, is it good to look at?"""

from collections.abc import Mapping
from typing import Protocol

from filters.verdict import Verdict, within


class Scored(Protocol):
    @property
    def scores(self) -> Mapping[str, float]: ...


def clip_similarity(image: Scored, *, min: float) -> Verdict:
    """Keeps an image that is at least so similar (cosine, -1 to 1) to the better of the texts beside it.

    An image without text beside it is dropped, as one that was not scored. A threshold holds for one checkpoint only.
    """
    return _at_least(image, "clip_similarity", min)


def aesthetic(image: Scored, *, min: float) -> Verdict:
    """Keeps an image with at least this score "aesthetic", on the scale of the head; one not scored is dropped."""
    return _at_least(image, "aesthetic", min)


def _at_least(image: Scored, name: str, min: float) -> Verdict:
    score = image.scores.get(name)
    return Verdict(False, "not scored", f"at least {min:g}") if score is None else within(score, min=min)
