"""The block of an HTTP response as a crawl stored it in; status, headers and the decoded, bounded body out."""

import io
import re
import zlib
from typing import NamedTuple

import brotli
import pyarrow as pa
from warcio.statusandheaders import StatusAndHeadersParser

MAX_HEADERS = 1 << 20  # bytes
MAX_CODINGS = 4  # that a response may name; more than two are never seen outside attacks
MAX_MEMBERS = 100  # of a gzip body; concatenated ones are rare
CHUNK = 1 << 16
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\r\n]{0,4096})?\r?\n")  # RFC 9112, 7.1

_parser = StatusAndHeadersParser(["HTTP/"])


class Response(NamedTuple):
    """`truncated`: the body was cut by the cap, or could be decoded in part only."""

    status: int | None
    headers: list[tuple[str, str]]
    content_type: str
    body: bytes
    truncated: bool


def response(block: bytes, max_body: int) -> Response:
    """Splits a block at its headers and undoes transfer- and content-encoding, to `max_body` bytes. Never raises.

    Crawlers often store a body decoded and leave the header that named its coding: a coding that the bytes do not show
    is taken as undone already.
    """
    end = re.search(rb"\r?\n\r?\n", block[:MAX_HEADERS])
    head = block[: end.end() if end else MAX_HEADERS]
    parsed = _parser.parse(io.BytesIO(head))
    code = re.match(r"\S* +(\d{3})\b", parsed.statusline)
    codings = [
        coding.strip().lower()
        for wanted in ("content-encoding", "transfer-encoding")
        for name, value in parsed.headers
        if name.lower() == wanted
        for coding in value.split(",")
    ]
    body = block[len(head) :]
    truncated = False
    for coding in codings[: -MAX_CODINGS - 1 : -1]:
        body, cut = decoded(body, coding, max_body)
        truncated = truncated or cut
    return Response(
        status=int(code[1]) if code else None,
        headers=parsed.headers,
        content_type=next((value for name, value in parsed.headers if name.lower() == "content-type"), ""),
        body=body[:max_body],
        truncated=truncated or len(body) > max_body,
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
    if coding == "zstd" and body[:4] == b"\x28\xb5\x2f\xfd":
        return _zstd(body, limit)
    return body, False


def _dechunked(body: bytes) -> tuple[bytes, bool]:
    out = bytearray()
    at = 0
    while line := CHUNK_SIZE.match(body, at):
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
    """Arrow's codec; libzstd refuses windows above 128 MiB by itself."""
    out = bytearray()
    try:
        stream = pa.input_stream(pa.py_buffer(body), compression="zstd")
        while len(out) <= limit and (part := stream.read(CHUNK)):
            out += part
    except OSError:
        return bytes(out), True
    return bytes(out), len(out) > limit
