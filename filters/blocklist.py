"""A document in; dropped where its address is on a list of hosts, addresses or words. A list is a file, one entry a line.

Lines that start with # are comments. datatrove's URL filter judges by the same three kinds of lists.
"""

import re
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from filters.verdict import Verdict, within
from pipeline.document import Document
from pipeline.errors import UserError

NOT_LISTED = "not listed"
WORD = re.compile(r"[a-z0-9]+")


def blocked_hosts(document: Document, *, files: list[str]) -> Verdict:
    """Drops a document whose host, or a domain above it, is listed: "spam.example" blocks "www.spam.example" too."""
    listed = _hosts(tuple(files))
    labels = _host(document.url).split(".")
    domains = (".".join(labels[start:]) for start in range(len(labels)))
    found = next((domain for domain in domains if domain in listed), None)
    return Verdict(found is None, found or NOT_LISTED, NOT_LISTED)


def blocked_urls(document: Document, *, files: list[str]) -> Verdict:
    """Drops a document whose address is listed; scheme, fragment and upper or lower case make no difference."""
    listed = _bare(document.url) in _addresses(tuple(files))
    return Verdict(not listed, document.url if listed else NOT_LISTED, NOT_LISTED)


def blocked_url_words(document: Document, *, files: list[str], max: int) -> Verdict:
    """Keeps a document in whose address at most `max` of the listed words occur; letters and digits make words."""
    return within(len(_entries(tuple(files)).intersection(WORD.findall(document.url.lower()))), max=max)


def _host(url: str) -> str:
    """The host in lower case; empty where the address has none or cannot be read."""
    try:
        return (urlsplit(url).hostname or "").strip(".")
    except ValueError:
        return ""


def _bare(url: str) -> str:
    bare = url.lower().partition("#")[0]
    return (bare.partition("://")[2] or bare).rstrip("/")


@cache
def _hosts(files: tuple[str, ...]) -> frozenset[str]:
    return frozenset(entry.strip(".") for entry in _entries(files))


@cache
def _addresses(files: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_bare, _entries(files)))


@cache  # read once a process
def _entries(files: tuple[str, ...]) -> frozenset[str]:
    entries: list[str] = []
    for file in files:
        try:
            lines = Path(file).read_text("utf-8").lower().splitlines()
        except OSError as error:
            raise UserError(f"{file}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise UserError(f"{file}: not UTF-8 text") from None
        entries += [entry for line in lines if (entry := line.strip()) and not entry.startswith("#")]
    return frozenset(entries)
