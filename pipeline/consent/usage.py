"""A line of preferences in, as Content-Usage and Content-Signal write them; what it says of training out."""

from http_sf import StructuredFieldError, parse

from pipeline.consent.finding import Says

# AIPREF, draft-ietf-aipref-vocab in its several versions: training, and what holds it.
TRAINING_USES = {"train-ai", "bots", "tdm", "ai", "genai", "train-genai"}


def content_usage(value: str) -> Says | None:
    """A structured dictionary (RFC 9651); any of the keys with n says no. None: it says nothing of training.

    A value that is neither y nor n, and a line that is no dictionary, are not checked: somebody wanted to say something.
    """
    try:
        preferences = parse(value.lower().encode("ascii"), tltype="dictionary")
    except (StructuredFieldError, UnicodeEncodeError):
        return "not_checked"
    assert isinstance(preferences, dict)
    said: set[Says] = set()
    for key in TRAINING_USES & preferences.keys():
        item = preferences[key]
        value = str(item[0] if isinstance(item, tuple) else item)  # a tuple where it has parameters
        chosen = {"True": "y", "False": "n"}.get(value, value)  # a key alone is true; ?0 is false
        said.add("refused" if chosen == "n" else "allowed" if chosen == "y" else "not_checked")
    return _most_restrictive(said)


def content_signal(value: str) -> Says | None:
    """contentsignals.org: `search=yes, ai-train=no`. None: it says nothing of training."""
    said: set[Says] = set()
    for part in value.lower().split(","):
        key, equals, chosen = (word.strip() for word in part.partition("="))
        if key == "ai-train":
            said.add("refused" if chosen == "no" else "allowed" if chosen == "yes" else "not_checked")
        elif not equals and key:
            said.add("not_checked")
    return _most_restrictive(said)


def _most_restrictive(said: set[Says]) -> Says | None:
    order: tuple[Says, ...] = ("refused", "not_checked", "allowed")
    return next((one for one in order if one in said), None)
