"""A document's images with their scores in, a verdict out: is the page safe to look at?"""

from filters.safety import nsfw
from filters.verdict import Verdict
from pipeline.document import Document


def nsfw_image(document: Document, *, hentai: float, porn: float) -> Verdict:
    """Drops a document with an image that the rule `nsfw` would drop, as OBELICS does: the text beside it is of a kind.

    The value and the bound are those of the first such image.
    """
    verdicts = [nsfw(image, hentai=hentai, porn=porn) for image in document.images]
    bound = f"hentai at most {hentai:g}, porn at most {porn:g}"
    return next((verdict for verdict in verdicts if not verdict.keep), Verdict(True, f"{len(verdicts)} images", bound))
