"""What a trained model says of a document in, a verdict out: is it text that a model learns from?"""

from filters.verdict import Verdict, within
from pipeline.document import Document


def training_loss(
    document: Document, *, min: float | None = None, max: float | None = None, unscored: bool = True
) -> Verdict:
    """Keeps a document whose score "training_loss", nats a token as `carnac train --score-documents` writes them, is within
    the bounds.

    Machine spam and broken text have a high loss, what repeats itself or was learned by heart a low one. A threshold holds
    for one model only. What no model has read is kept, or dropped with `unscored: false`: a table has only those documents
    that came to be trained on, not those that a later stage drops or that are new.
    """
    value = document.scores.get("training_loss")
    if value is None:
        return Verdict(unscored, "not scored", "scored")
    return within(value, min=min, max=max)
