"""Documents in; small keys out: what the decisions over the whole corpus are taken on."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pipeline import minhash
from pipeline.canonical import canonical_url, host_of, page_address, registered_domain
from pipeline.document import END_OF_DOCUMENT, Document, paragraphs
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Duplicates, NearDuplicate

FORMAT = 1  # of the keys; raised when one page gets other keys than before, so that runs are not mixed that differ

_ID = [("shard", pa.int32()), ("row", pa.int32())]
_PLACE = [*_ID, ("position", pa.int32())]
# `key`: of a page's address, or of its set of images; seconds since 1970. Of those with one key the latest stays.
KEYED = pa.schema([*_ID, ("key", pa.int64()), ("crawl_date", pa.int64())])
IMAGES = pa.schema([*_PLACE, ("page_key", pa.int64()), ("url_key", pa.int64())])
PARAGRAPHS = pa.schema([*_PLACE, ("paragraph", pa.int32()), ("page_key", pa.int64()), ("text_key", pa.int64())])
BANDS = pa.schema([*_ID, ("band_key", pa.int64()), ("order_key", pa.int64())])
# `signature`: 16 bits a permutation; `images`: the 64-bit keys of the images' addresses, the least of them first.
SIGNATURES = pa.schema([*_ID, ("signature_key", pa.int64()), ("signature", pa.binary()), ("images", pa.binary())])
WANTED = pa.schema(  # what is asked for, and of whom
    [*_PLACE, ("url_key", pa.int64()), ("crawl_date", pa.int64()), ("host_key", pa.int64()), ("url", pa.string())]
)
NAMED = pa.schema([("url_key", pa.int64())])

MOST_IMAGES = 64  # of a document whose keys stand beside its signature


def identity_of(settings: "Duplicates") -> dict[str, Any]:
    """What two runs must have in common for their keys to be comparable; none where a decision is not taken."""
    near, repeated = settings.near_duplicate, settings.paragraph_repeated
    return {
        "format": FORMAT,
        "canonical": settings.canonical.model_dump(mode="json"),
        "near_duplicate": near
        and near.model_dump(mode="json", exclude={"similarity", "window", "images"})
        | {"images": near.images is not None},
        "paragraph_repeated": repeated and {"by": repeated.by},
    }


def make_keys(work: Work, settings: "Duplicates") -> None:
    pages, images = work.table("pages", KEYED), work.table("images", IMAGES)
    texts, bands, signatures = (
        work.table("paragraphs", PARAGRAPHS), work.table("bands", BANDS), work.table("signatures", SIGNATURES),
    )  # fmt: skip
    near = settings.near_duplicate
    for document in work.documents():
        work.rows_out += 1
        identity = {"shard": document.shard, "row": document.row}
        page_key = key64(page_address(document.url, settings.canonical))
        pages.write(keyed_row(document, page_key))
        for node in document.nodes:
            place = identity | {"position": node.position, "page_key": page_key}
            if node.image is not None:
                images.write(place | {"url_key": image_key(node.image.url)})
            for number, paragraph in enumerate(paragraphs(node.text or "")):
                if paragraph.strip() and paragraph != END_OF_DOCUMENT:
                    key = key64(_site_of(document, settings), paragraph.strip())
                    texts.write(place | {"paragraph": number, "text_key": key})
        if near is not None and (signed := sign(document, near)) is not None:
            signature, of_bands = signed
            signatures.write(identity | signature)
            for band in of_bands:
                bands.write(identity | band)


def _site_of(document: Document, settings: "Duplicates") -> str:
    """The room within which a paragraph is repeated: the page's host or its registered domain."""
    host = host_of(canonical_url(document.url))
    repeated = settings.paragraph_repeated
    return registered_domain(host) if repeated is not None and repeated.by == "registered_domain" else host


def image_key(url: str) -> int:
    return key64(canonical_url(url))


def wanted_rows(document: Document) -> list[dict[str, Any]]:
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
        if node.image is not None and not node.image.url.startswith("data:")
    ]


def keyed_row(document: Document, key: int) -> dict[str, int]:
    """The row of `KEYED` of a document."""
    date = int(document.crawl_date.timestamp())
    return {"shard": document.shard, "row": document.row, "key": key, "crawl_date": date}


def image_set_key(document: Document) -> int:
    """One key for the set of image addresses, whatever their order."""
    return key64(*sorted({canonical_url(image.url) for image in document.images}))


def sign(document: Document, settings: "NearDuplicate") -> tuple[dict[str, Any], list[dict[str, int]]] | None:
    """The document's columns of `SIGNATURES` and `BANDS`; none for one without words."""
    values = minhash.signature(" ".join(document.texts), settings)
    if values is None:
        return None
    keys = sorted({image_key(image.url) for image in document.images}) if settings.images else []
    images = np.array(keys[:MOST_IMAGES], "<i8").tobytes()
    signature = {
        "signature_key": minhash.signature_key(values, images),
        "signature": minhash.stored(values),
        "images": images,
    }
    pairs = zip(minhash.band_keys(values, settings), minhash.order_keys(values, settings), strict=True)
    return signature, [{"band_key": band, "order_key": order} for band, order in pairs]
