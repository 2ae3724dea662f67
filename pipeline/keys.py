"""Documents in; small keys out: what the decisions over the whole corpus are taken on."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pyarrow as pa

from pipeline.document import END_OF_DOCUMENT, Document, paragraphs
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Duplicates, NearDuplicate

_ID = [("shard", pa.int32()), ("row", pa.int32())]
PAGES = pa.schema([*_ID, ("url_key", pa.int64()), ("crawl_date", pa.int64())])  # seconds since 1970
IMAGES = pa.schema([*_ID, ("position", pa.int32()), ("url_key", pa.int64()), ("crawl_date", pa.int64())])
WANTED = pa.schema([*IMAGES, ("host_key", pa.int64()), ("url", pa.string())])  # what is asked for, and of whom
NAMED = pa.schema([("url_key", pa.int64())])
PARAGRAPHS = pa.schema([*_ID, ("position", pa.int32()), ("paragraph", pa.int32()), ("text_key", pa.int64())])
BANDS = pa.schema([*_ID, ("band", pa.int16()), ("band_key", pa.int64())])
IMAGE_SETS = pa.schema([*_ID, ("set_key", pa.int64()), ("crawl_date", pa.int64())])

_DEFAULT_PORTS = {("http", 80), ("https", 443)}


def canonical_url(url: str) -> str:
    """Scheme and host in lower case, the host in ASCII, no default port, no fragment (RFC 3986 §6.2, IDNA); what cannot
    be split stays."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
        host = (parts.hostname or "").rstrip(".")
        host = host if host.isascii() else host.encode("idna").decode()
    except ValueError:
        return url
    if ":" in host:
        host = f"[{host}]"
    if port is not None and (parts.scheme.lower(), port) not in _DEFAULT_PORTS:
        host = f"{host}:{port}"
    return urlunsplit((parts.scheme.lower(), host, parts.path or "/", parts.query, ""))


def host_of(url: str) -> str:
    """Host and port of a canonical address; empty for one that cannot be split."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


def make_keys(work: Work, settings: "Duplicates") -> None:
    pages, images = work.table("pages", PAGES), work.table("images", IMAGES)
    texts, bands = work.table("paragraphs", PARAGRAPHS), work.table("bands", BANDS)
    near = settings.near_duplicate
    for document in work.documents():
        work.rows_out += 1
        identity = {"shard": document.shard, "row": document.row}
        date = int(document.crawl_date.timestamp())
        pages.write(identity | {"url_key": key64(canonical_url(document.url)), "crawl_date": date})
        host = host_of(canonical_url(document.url))
        for row in image_key_rows(document):
            images.write(row)
        for node in document.nodes:
            place = identity | {"position": node.position}
            for number, paragraph in enumerate(paragraphs(node.text or "")):
                if paragraph.strip() and paragraph != END_OF_DOCUMENT:
                    texts.write(place | {"paragraph": number, "text_key": key64(host, paragraph.strip())})
        if near is not None:
            for band, key in enumerate(band_keys(document, near)):
                bands.write(identity | {"band": band, "band_key": key})


def image_key_rows(document: Document) -> list[dict[str, Any]]:
    """One row of `WANTED` for each image of the document."""
    date = int(document.crawl_date.timestamp())
    return [
        {
            "shard": document.shard,
            "row": document.row,
            "position": node.position,
            "url_key": key64(address := canonical_url(node.image.url)),
            "crawl_date": date,
            "host_key": key64(host_of(address)),
            "url": node.image.url,
        }
        for node in document.nodes
        if node.image is not None
    ]


def image_set_key(document: Document) -> int:
    """One key for the set of image addresses, whatever their order."""
    return key64(*sorted({canonical_url(image.url) for image in document.images}))


def band_keys(document: Document, settings: "NearDuplicate") -> list[int]:
    """The MinHash of the document's word shingles, cut into bands, a 64-bit key each; none for a document without words."""
    from datasketch import MinHash

    words = " ".join(document.texts).lower().split()
    if not words:
        return []
    n = settings.shingle
    shingles = {" ".join(words[i : i + n]).encode("utf-8", "surrogatepass") for i in range(max(1, len(words) - n + 1))}
    minhash = MinHash(num_perm=settings.bands * settings.rows, seed=settings.seed)
    minhash.update_batch(sorted(shingles))
    values = np.asarray(minhash.hashvalues, dtype="<u8").reshape(settings.bands, settings.rows)
    return [key64(band.tobytes().hex()) for band in values]
