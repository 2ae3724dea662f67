"""A local WARC or ARC file in; its records with decoded bodies out, and a note of every stretch that was lost."""

import io
import logging
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, NamedTuple

from warcio.recordloader import ArcWarcRecordLoader

from pipeline import payload
from pipeline.errors import UserError
from pipeline.members import CHUNK, GZIP, Damaged, Member, next_member

MAX_BODY = 32 << 20  # bytes of a decoded body that are kept
MAX_BLOCK = 64 << 20  # bytes of a record that are held in memory; Common Crawl cuts payloads at 1 or 5 MiB
MAX_HEADER = 1 << 20  # bytes of a record's own header
UNKNOWN_DATE = datetime(1970, 1, 1, tzinfo=UTC)

WARC_LINE = re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n?", re.IGNORECASE)
# Internet Archive, "ARC File Format" 1.0: URL, IP address, 14-digit date, media type, length.
ARC_LINE = re.compile(rb"(?:filedesc://|[a-zA-Z][\w+.-]*:)\S* [\w.:-]+ \d{4,17} \S+ \d+[ \t]*\r?\n")
OTHER_FORMATS = {
    b"PK\x03\x04": "a ZIP: unpack it (a WACZ holds its WARC files under archive/)",
    b"\x04\x22\x4d\x18": "lz4-compressed: unpack it first (lz4 -d)",
    b"\x28\xb5\x2f\xfd": "zstd-compressed: unpack it first (zstd -d)",
}

# warcio warns of every space in an address; here that is no event.
logging.getLogger("warcio.recordloader").setLevel(logging.ERROR)
_loader = ArcWarcRecordLoader()


@dataclass(slots=True)
class Record:
    """One record. `offset` and `length` are the bytes it takes in the file, compressed, as Common Crawl's pointers;
    `length` is 0 where several records share a gzip member, so that no pointer can name one of them."""

    type: str  # "response", "resource", "request", … in lower case
    url: str
    date: datetime  # UTC, to the second; UNKNOWN_DATE where it cannot be read
    filename: str  # base name of the file
    offset: int
    length: int
    status: int | None = None  # HTTP status
    headers: list[tuple[str, str]] = field(default_factory=list)  # HTTP headers as written
    content_type: str = ""
    body: bytes = b""  # of a response or resource, transfer- and content-encoding undone; otherwise empty
    truncated: bool = False  # the crawler, a cap or damage within cut the body short


class Damage(NamedTuple):
    """`length` bytes of the file from `offset` on gave no record."""

    offset: int
    length: int
    reason: str


class _Broken(Exception):
    """This record cannot be read; the message says why."""


def read(path: str, max_body: int = MAX_BODY) -> Iterator[Record | Damage]:
    """The records of a file in their order, gzip'd by record, gzip'd whole or not at all.

    A damaged stretch costs the records it touches and is reported. Raises UserError where the file cannot be opened or
    holds no record header at all.
    """
    with _open(path) as file:
        yield from _read(file, path, max_body)


def read_at(path: str, offset: int, length: int, max_body: int = MAX_BODY) -> Record:
    """The one record that a pointer names. Raises UserError where there is none."""
    pointer = f"{path}: offset {offset}, length {length}"
    if offset < 0 or length <= 0:
        raise UserError(f"{pointer}: names no record; a pointer needs an offset from 0 and a length from 1")
    with _open(path) as file:
        file.seek(offset)
        part = io.BytesIO(file.read(min(length, 2 * MAX_BLOCK)))
    for item in _read(part, pointer, max_body):
        if isinstance(item, Damage):
            raise UserError(f"{pointer}: no whole record lies there: {item.reason}")
        return replace(item, filename=Path(path).name, offset=offset, length=length)
    raise UserError(f"{pointer}: no record lies there")


def check(path: str) -> None:
    """Raises UserError where the beginning of a file shows that it is no WARC or ARC file; damage passes."""
    with _open(path) as file:
        start = file.read(CHUNK)
        if start[:4] in OTHER_FORMATS:
            raise UserError(f"{path}: is {OTHER_FORMATS[start[:4]]}")
        opening = start
        if start[:2] == GZIP[:2]:
            try:
                opening = zlib.decompressobj(wbits=31).decompress(start, CHUNK)
            except zlib.error:
                return
        if _header_line(io.BytesIO(opening))[0] or next_member(file, 1, _opens_record) is not None:
            return
    raise UserError(f"{path}: is no WARC or ARC file: {'it holds no record header' if start else 'it is empty'}")


def _open(path: str) -> BinaryIO:
    try:
        return Path(path).open("rb", buffering=1 << 20)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _read(file: BinaryIO, path: str, max_body: int) -> Iterator[Record | Damage]:
    start = file.read(4)
    file.seek(0)
    if start in OTHER_FORMATS:
        raise UserError(f"{path}: is {OTHER_FORMATS[start]}")
    compressed = start[:2] == GZIP[:2]
    if not compressed and not _opens_record(file.readline(CHUNK)):
        compressed = next_member(file, 0, _opens_record) is not None  # its first bytes may be what is damaged
    found = False
    for item in (_gzip if compressed else _plain)(file, Path(path).name, max_body):
        found = True
        yield item
    if not found:
        raise UserError(f"{path}: is no WARC or ARC file: {'it holds no record header' if start else 'it is empty'}")


def _plain(file: BinaryIO, filename: str, max_body: int) -> Iterator[Record | Damage]:
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    line, junk = _header_line(file)
    if line and junk:
        yield Damage(0, junk, "no record header")
    while line:
        inside = file.tell()
        offset = inside - len(line)
        record, reason = None, ""
        try:
            record = _record(file, line, filename, offset, max_body, size)
        except _Broken as error:
            reason = str(error)
        end = file.tell()
        line, junk = _header_line(file) if record else (b"", 0)
        if record and not junk:
            yield replace(record, length=end - offset)
            continue
        # A Content-Length that is too large hides the next records, so the next header is looked for inside, too.
        file.seek(inside)
        line, _ = _header_line(file)
        following = file.tell() - len(line)
        if record and following >= end:
            yield replace(record, length=end - offset)
            yield Damage(end, following - end, "bytes that belong to no record")
        else:
            yield Damage(offset, following - offset, reason or "the next record begins before its Content-Length ends")


def _gzip(file: BinaryIO, filename: str, max_body: int) -> Iterator[Record | Damage]:
    size = file.seek(0, io.SEEK_END)
    found = False
    start: int | None = 0
    while start is not None:
        member = Member(file, start)
        try:
            for item in _in_member(member, filename, max_body):
                found = True
                yield item
        except Damaged as error:
            following = next_member(file, start + 1, _opens_record)
            if found or member.opened or following is not None:
                found = True
                yield Damage(start, (size if following is None else following) - start, str(error))
            start = following
        else:
            start = member.end
            file.seek(start)
            if file.read(len(GZIP)) != GZIP:
                start = next_member(file, start, _opens_record)
                lost = (size if start is None else start) - member.end
                file.seek(member.end)
                if found and file.read(min(lost, CHUNK)).strip(b"\0"):  # zero bytes pad tapes
                    yield Damage(member.end, lost, "no gzip member")


def _in_member(member: Member, filename: str, max_body: int) -> Iterator[Record | Damage]:
    """What one gzip member holds. An item is handed on when what follows it was seen, so that a member of one record
    hands on nothing before its checksum was verified. Raises Damaged."""
    stream = io.BufferedReader(member, CHUNK)
    line, junk = _header_line(stream)
    several = bool(line and junk)
    member.opened = bool(line)
    if junk and (line or member.start):
        yield Damage(member.start, 0 if line else member.end - member.start, "no record header")
    while line:
        record, reason = None, ""
        try:
            record = _record(stream, line, filename, member.start, max_body)
        except _Broken as error:
            reason = str(error)
        line, junk = _header_line(stream)
        several = several or bool(line)
        length = 0 if several else member.end - member.start
        yield replace(record, length=length) if record else Damage(member.start, length, reason)
        if record and junk:
            yield Damage(member.start, 0, f"{junk} bytes that belong to no record")


def _opens_record(data: bytes) -> bool:
    return bool(WARC_LINE.match(data) or ARC_LINE.match(data))


def _header_line(stream: BinaryIO) -> tuple[bytes, int]:
    """The next line that opens a record, or b"" at the end, and how many bytes that are not blank lines came before."""
    junk = 0
    while line := stream.readline(CHUNK):
        if WARC_LINE.fullmatch(line) or ARC_LINE.fullmatch(line):
            return line, junk
        if junk or line.strip(b"\r\n\0"):
            junk += len(line)
    return b"", junk


def _record(
    stream: BinaryIO, line: bytes, filename: str, offset: int, max_body: int, file_size: int | None = None
) -> Record:
    """Reads the record whose first line was read. Raises _Broken where its header cannot be read, or it would end
    beyond `file_size`; in a gzip member, whose checksum vouches for it, a record that ends early is truncated."""
    parsed = _loader.parse_record_stream(io.BytesIO(_header(stream, line)), no_record_parse=True)
    named = {name.lower(): value.strip() for name, value in reversed(parsed.rec_headers.headers)}
    if not re.fullmatch(r"[0-9]{1,15}", named.get("content-length", "")):
        raise _Broken(f"Content-Length is {named.get('content-length', 'missing')[:40]!r}, not a number of bytes")
    length = parsed.length
    if file_size is not None and stream.tell() + length > file_size:
        raise _Broken(f"it says {length} bytes where the file has {file_size - stream.tell()}")
    record = Record(
        type=named.get("warc-type", "").lower(),
        url=named.get("warc-target-uri", "").strip("<> "),
        date=_date(named.get("warc-date", "")),
        filename=filename,
        offset=offset,
        length=0,
        truncated="warc-truncated" in named,
    )
    wanted = record.type in ("response", "resource")
    block = stream.read(min(length, MAX_BLOCK)) if wanted else b""
    left = length - len(block)
    while left and (skipped := len(stream.read(min(left, CHUNK)))):
        left -= skipped
    if not wanted:
        return record
    record.content_type = named.get("content-type", "")
    record.body = block[:max_body]
    record.truncated = record.truncated or len(block) < length or len(block) > max_body
    if record.type == "response" and block[:5].upper() == b"HTTP/":
        http = payload.response(block, max_body)
        record.status, record.headers, record.content_type, record.body = http[:4]
        record.truncated = record.truncated or http.truncated
    return record


def _header(stream: BinaryIO, line: bytes) -> bytes:
    """The lines of a record's own header, from its first, to the blank line (WARC), alone or, for the record that opens
    an ARC file, with the two that describe the format. Raises _Broken."""
    arc = ARC_LINE.fullmatch(line) is not None
    head = bytearray(line)
    more = 2 if line.startswith(b"filedesc://") else 0 if arc else MAX_HEADER
    while more and (arc or line.strip()):
        line = stream.readline(CHUNK)
        head += line
        more -= 1
        if not line or len(head) > MAX_HEADER:
            raise _Broken("the file ends inside a record header" if not line else "a record header without end")
    return bytes(head)


def _date(text: str) -> datetime:
    """WARC-Date (W3CDTF, possibly cut to year, month or day) or a 14-digit ARC date."""
    parts = re.fullmatch(r"(\d{4})(?:-?(\d\d))?(?:-?(\d\d))?(?:T?(\d\d):?(\d\d)(?::?(\d\d))?)?\D.*|", text[:40] + " ")
    if not parts or not parts[1]:
        return UNKNOWN_DATE
    year, month, day, hour, minute, second = (int(part) if part else None for part in parts.groups())
    try:
        return datetime(year or 1, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
    except ValueError:
        return UNKNOWN_DATE
