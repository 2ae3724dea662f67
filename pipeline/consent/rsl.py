"""An RSL 1.0 document in (rslstandard.org/rsl); which addresses it keeps from training out."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.canonical import canonical_url, host_of
from pipeline.consent.finding import Says
from pipeline.consent.robots import matches
from pipeline.consent.xml import Malformed, walk

TRAINING = {"all", "ai-all", "ai-train"}
DRAFTS = {"train-ai", "train-genai"}  # how the drafts of 2025 wrote ai-train
MAX_BYTES = 500 * 1024
MAX_CONTENTS = 1_000


@dataclass(frozen=True, slots=True)
class Terms:
    """Of one <content>: the pattern of its addresses, and the uses that any of its licences prohibits."""

    pattern: str
    prohibited: frozenset[str]


def read_licence(data: bytes) -> list[Terms]:
    """The terms of a document. Raises Malformed: no XML, or without a <content>."""
    if len(data) > MAX_BYTES:
        raise Malformed(f"{len(data)} bytes, at most {MAX_BYTES}")
    terms: list[Terms] = []
    prohibited: set[str] = set()

    def element(name: str, attributes: dict[str, str], text: str) -> None:
        local = name.rpartition(" ")[2]
        if local == "prohibits" and attributes.get("type", "usage").strip().lower() == "usage":
            prohibited.update(text.lower().replace(",", " ").split())
        elif local == "content" and len(terms) < MAX_CONTENTS:
            terms.append(Terms(attributes.get("url", "/").strip(), frozenset(prohibited)))
            prohibited.clear()

    walk(data, element)
    if not terms:
        raise Malformed("no <content>")
    return terms


def licence_says(terms: list[Terms], url: str) -> tuple[Says, str] | None:
    """What the terms whose pattern matches the address say, the most restrictive of them; none if none matches."""
    answer: tuple[Says, str] | None = None
    for one in terms:
        if not _covers(one.pattern, url):
            continue
        if said := sorted(one.prohibited & (TRAINING | DRAFTS)):
            return "refused", f"{one.pattern} prohibits {' '.join(said)}"
        answer = "allowed", f"{one.pattern} prohibits no training"
    return answer


def _covers(pattern: str, url: str) -> bool:
    """A pattern is a path of the address's own host, or a whole address."""
    if pattern[:1] in ("/", "*", ""):
        return matches(pattern or "/", url)
    address = canonical_url(pattern)
    if host_of(address).lower() != host_of(canonical_url(url)).lower():
        return False
    parts = urlsplit(address)
    return matches(parts.path + (f"?{parts.query}" if parts.query else ""), url)
