"""A record in; the digest of its payload, and whether it is what the record's header says, out."""

import base64
import binascii
import hashlib
from typing import NamedTuple

from pipeline import payload
from pipeline.warc import Record

# WARC 1.1, 5.8: the algorithms are not fixed; these are what crawlers write. An unlabelled one is SHA-1 to Common Crawl.
ALGORITHMS = {"sha1": "sha1", "sha-1": "sha1", "sha256": "sha256", "sha-256": "sha256", "sha512": "sha512"} | {
    "sha-512": "sha512", "sha384": "sha384", "sha-384": "sha384", "md5": "md5"
}  # fmt: skip


class Digest(NamedTuple):
    """`text`: as the header writes it; SHA-1 in base32, as in Common Crawl's index, where it does not. `wrong`: the payload
    has another one, or the block has another than WARC-Block-Digest."""

    text: str
    wrong: bool


def payload_digest(record: Record) -> Digest:
    """The standard has the digest of what HTTP calls the entity-body, but crawlers hash it as it came over the wire, or
    without its chunks, or decoded: each of them will do. Of a truncated record no digest is called wrong: it may be
    that of the whole."""
    stored = memoryview(record.block)[record.payload_at :]
    written = record.fields.get("warc-payload-digest", "")
    text = written or "sha1:" + base64.b32encode(hashlib.sha1(stored, usedforsecurity=False).digest()).decode()
    if record.type == "revisit" or record.truncated or not record.whole:
        return Digest(text, False)
    if written:
        right = _has(stored, written)
        if right is False and stored != record.body:
            chunked = any(
                "chunked" in value.lower() for name, value in record.headers if name.lower() == "transfer-encoding"
            )
            whole = payload.decoded(bytes(stored), "chunked", len(stored))[0] if chunked else b""
            right = bool(_has(record.body, written) or (chunked and _has(whole, written)))
        if right is not None:
            return Digest(text, not right)
    block = record.fields.get("warc-block-digest", "")
    return Digest(text, bool(block) and _has(record.block, block) is False)


def _has(data: bytes | memoryview, written: str) -> bool | None:
    """Whether it is the digest of the data; none for an algorithm or a form that is not known."""
    name, colon, value = written.partition(":")
    algorithm = ALGORITHMS.get(name.strip().lower()) if colon else "sha1"
    value = value.strip() if colon else written.strip()
    if not algorithm:
        return None
    digest = hashlib.new(algorithm, data, usedforsecurity=False).digest()
    try:
        if len(value) == 2 * len(digest):
            return bytes.fromhex(value) == digest
        return base64.b32decode(value.upper() + "=" * (-len(value) % 8)) == digest
    except (ValueError, binascii.Error):
        return None
