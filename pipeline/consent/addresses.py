"""Documents in; the addresses of their pages and images out, by host for those who are asked, as keys for the lists."""

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pyarrow as pa

from pipeline.canonical import canonical_url
from pipeline.consent.finding import PAGE
from pipeline.consent.headers import licences
from pipeline.document import Document
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Consent

_PLACE = [("shard", pa.int32()), ("row", pa.int32()), ("position", pa.int32())]
ADDRESSES = pa.schema(
    [
        *_PLACE,
        ("url", pa.string()),
        ("origin", pa.string()),
        ("origin_key", pa.int64()),
        ("bucket", pa.int64()),  # which of the workers asks this host: this, modulo their number
        ("crawl_date", pa.int64()),  # seconds since 1970
        ("licences", pa.string()),  # RSL documents that the page's headers name, one a line
    ]
)
KEYS = pa.schema([*_PLACE, ("name", pa.int32()), ("name_key", pa.int64())])  # `name`: its index in `names_of`


def list_addresses(work: Work, settings: "Consent") -> None:
    """Each page and image has a row of `addresses` if hosts or a registry are asked, and rows of `keys` for lists."""
    asked = settings.asks_hosts or bool(settings.robots.captures) or settings.spawning is not None
    addresses, keys = work.table("addresses", ADDRESSES), work.table("keys", KEYS)
    for document in work.documents():
        work.rows_out += 1
        date = int(document.crawl_date.timestamp())
        for position, url in _places_of(document):
            place = {"shard": document.shard, "row": document.row, "position": position}
            for number, name in enumerate(names_of(url) if settings.lists else ()):
                keys.write(place | {"name": number, "name_key": key64(name)})
            origin = origin_of(url)
            if asked and origin:
                key = key64(origin)
                named = (
                    "\n".join(licences(document.signals, document.url))
                    if position == PAGE and "rsl" in settings.signals
                    else ""
                )
                row = {"url": url, "origin": origin, "origin_key": key, "bucket": key & 0x7FFFFFFF}
                addresses.write(place | row | {"crawl_date": date, "licences": named})


def _places_of(document: Document) -> list[tuple[int, str]]:
    """The page and its images, each with its position."""
    images = [(node.position, node.image.url) for node in document.nodes if node.image is not None]
    return [(PAGE, document.url), *images]


def origin_of(url: str) -> str:
    """Scheme, host and port of an http address; empty for another."""
    try:
        parts = urlsplit(canonical_url(url))
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") and parts.netloc else ""


def names_of(url: str) -> list[str]:
    """The names under which a list may hold an address: itself, its host, and what that host lies below, longest first."""
    address = canonical_url(url)
    try:
        labels = (urlsplit(address).hostname or "").split(".")
    except ValueError:  # half a bracket, characters that no host has: on no list but as itself
        return [address]
    hosts = [".".join(labels[i:]) for i in range(len(labels))]
    return [address, *(host for host in hosts if host)]
