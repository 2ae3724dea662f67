"""Rules over a whole document: how many images it has, and whether it has both text and images."""

from filters.verdict import Verdict, within
from pipeline.document import Document


def number_of_images(document: Document, *, min: int, max: int) -> Verdict:
    """The number of images in the document, repeated ones counted each time."""
    return within(len(document.images), min=min, max=max)


def text_and_image(document: Document) -> Verdict:
    """A document needs at least one text and one image."""
    texts, images = len(document.texts), len(document.images)
    return Verdict(texts > 0 and images > 0, f"{texts} texts, {images} images", "at least 1 of each")
