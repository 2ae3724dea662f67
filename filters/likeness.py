"""An image's scores by a CLIP model in, a verdict out: does it go with its text, is it good to look at?"""

from filters.verdict import Verdict, score_within
from pipeline.document import Image


def clip_similarity(image: Image, *, min: float) -> Verdict:
    """Keeps an image that is at least so similar (cosine, -1 to 1) to the better of the texts beside it.

    An image without text beside it is dropped, as one that was not scored. A threshold holds for one checkpoint only.
    """
    return score_within(image.scores, "clip_similarity", min=min)


def aesthetic(image: Image, *, min: float) -> Verdict:
    """Keeps an image with at least this score "aesthetic", on the scale of the head; one not scored is dropped."""
    return score_within(image.scores, "aesthetic", min=min)
