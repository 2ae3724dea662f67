"""The block of an HTTP response as a crawl stored it in; status, headers and the decoded, bounded body out."""

import re
import zlib
from typing import NamedTuple

import brotli

from pipeline.header import Fields, fields
from pipeline.members import ZSTD, zstd_codec

MAX_HEADERS = 1 << 20  # bytes
MAX_CODINGS = 4  # that a response may name; more than two are never seen outside attacks
MAX_MEMBERS = 100  # of a gzip or zstd body; concatenated ones are rare
MAX_CHUNKS = 1 << 20  # of a chunked body; common are a few kB in each
CHUNK = 1 << 16
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")  # RFC 9112, 7.1
_END = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"\S*+ +(\d{3})\b")


class Response(NamedTuple):
    """`at`: where the body begins in the block. `truncated`: it was cut by the cap, or could be decoded in part only."""

    status: int | None
    headers: Fields
    content_type: str
    body: bytes
    truncated: bool
    at: int


def response(block: bytes | memoryview, max_body: int) -> Response:
    """Splits a block at its headers and undoes transfer- and content-encoding, to `max_body` bytes. Never raises.

    Crawlers often store a body decoded and leave the header that named its coding: a coding that the bytes do not show
    is taken as undone already.
    """
    end = _END.search(block, 0, MAX_HEADERS)
    at = end.end() if end else min(len(block), MAX_HEADERS)
    line, _, head = bytes(block[:at]).partition(b"\n")
    headers = fields(head)
    code = _STATUS.match(line)
    named = [(name.lower(), value) for name, value in headers]
    content_type = next((value for name, value in named if name == "content-type"), "")
    codings = [
        coding.strip().lower()
        for wanted in ("content-encoding", "transfer-encoding")
        for name, value in named
        if name == wanted
        for coding in value.split(",")
    ]
    body = bytes(block[at:])
    if not codings and body[:2] == b"\x1f\x8b" and content_type.lower().startswith("text/"):
        codings = ["gzip"]  # some servers do not say so
    truncated = False
    for coding in codings[: -MAX_CODINGS - 1 : -1]:
        body, cut = decoded(body, coding, max_body)
        truncated = truncated or cut
    return Response(
        status=int(code[1]) if code else None,
        headers=headers,
        content_type=content_type,
        body=body[:max_body],
        truncated=truncated or len(body) > max_body,
        at=at,
    )


def decoded(body: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """`body` with one coding undone, to about `limit` bytes, and whether anything of it is missing."""
    if not body:
        return body, False
    if coding == "chunked":
        return _dechunked(body)
    if coding in ("gzip", "x-gzip", "deflate"):
        return _inflated(body, limit)
    if coding == "br":
        return _brotli(body, limit)
    if coding == "zstd" and body[:4] == ZSTD:
        return _zstd(body, limit)
    return body, False


def _dechunked(body: bytes) -> tuple[bytes, bool]:
    out = bytearray()
    at = 0
    for _ in range(MAX_CHUNKS):
        line = CHUNK_SIZE.match(body, at)
        if not line:
            break
        size = int(line[1], 16)
        if size == 0:
            return bytes(out), False
        out += body[line.end() : line.end() + size]
        at = line.end() + size
        at += 2 if body[at : at + 2] == b"\r\n" else 1 if body[at : at + 1] == b"\n" else 0
    if at == 0:
        return body, False
    return bytes(out), True


def _inflated(body: bytes, limit: int) -> tuple[bytes, bool]:
    if body[:2] == b"\x1f\x8b":
        bits = 31
    elif len(body) > 1 and body[0] & 15 == 8 and int.from_bytes(body[:2], "big") % 31 == 0:
        bits = 15  # RFC 1950
    else:
        bits = -15  # some servers send deflate without the zlib header
    out = bytearray()
    view = memoryview(body)
    at = 0
    for _ in range(MAX_MEMBERS):
        engine = zlib.decompressobj(wbits=bits)
        try:
            while at < len(view) and not engine.eof and len(out) <= limit:
                part = view[at : at + CHUNK]
                out += engine.decompress(part, limit + 1 - len(out))
                at += len(part) - len(engine.unused_data)
        except zlib.error:
            # Nothing came out: it was not compressed. Something did: keep that.
            return (bytes(out), True) if out else (body, False)
        if not engine.eof:
            return bytes(out), True
        if bits != 31 or bytes(view[at : at + 2]) != b"\x1f\x8b":
            break
    return bytes(out), len(out) > limit


def _brotli(body: bytes, limit: int) -> tuple[bytes, bool]:
    engine = brotli.Decompressor()
    out = bytearray()
    try:
        part = body
        while len(out) <= limit:
            data = engine.process(part, output_buffer_limit=CHUNK)
            part = b""
            out += data
            if engine.is_finished():
                return bytes(out), len(out) > limit
            if not data:
                break
    except brotli.error:
        return (bytes(out), True) if out else (body, False)
    return (bytes(out), True) if out else (body, False)


def _zstd(body: bytes, limit: int) -> tuple[bytes, bool]:
    out = bytearray()
    codec = zstd_codec()
    rest = body
    try:
        for _ in range(MAX_MEMBERS):
            engine = codec.new()
            while not engine.eof and len(out) <= limit:
                data = engine.decompress(rest, CHUNK)
                rest = b""
                if not data and engine.needs_input and not engine.eof:
                    return bytes(out), True
                out += data
            rest = engine.unused_data or b""
            if len(out) > limit or rest[:4] != ZSTD:
                break
    except codec.errors:
        return (bytes(out), True) if out else (body, False)
    return bytes(out), len(out) > limit
