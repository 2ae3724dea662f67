"""An image's scores in, a verdict out: is it safe to look at?"""

from filters.verdict import Verdict
from pipeline.document import Image


def nsfw(image: Image, *, hentai: float, porn: float) -> Verdict:
    """Keeps an image whose scores "nsfw_hentai" and "nsfw_porn" are at most these; one that was not scored is dropped.

    OBELICS's thresholds are 0.9 and 0.85, for the classifier of nsfwjs.
    """
    maxima = {"hentai": hentai, "porn": porn}
    scores = {label: image.scores.get(f"nsfw_{label}") for label in maxima}
    for label, score in scores.items():
        if score is None:
            return Verdict(False, "not scored", f"{label} at most {maxima[label]:g}")
        if not score <= maxima[label]:  # and what is no number is not safe
            return Verdict(False, f"{label} {score:.4g}", f"{label} at most {maxima[label]:g}")
    told = ", ".join(f"{label} {score:.4g}" for label, score in scores.items())
    return Verdict(True, told, ", ".join(f"{label} at most {most:g}" for label, most in maxima.items()))


def nsfw_label(image: Image, *, label: str, max: float) -> Verdict:
    """Keeps an image whose score "nsfw_<label>" is at most `max`; one that was not scored is dropped.

    For a classifier of your own, whose labels are others than those of nsfwjs.
    """
    score = image.scores.get(f"nsfw_{label}")
    if score is None:
        return Verdict(False, "not scored", f"{label} at most {max:g}")
    return Verdict(score <= max, f"{label} {score:.4g}", f"{label} at most {max:g}")
