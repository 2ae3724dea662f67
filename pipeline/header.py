"""The bytes of a record or HTTP header in; its fields, and what a record says of itself, out."""

import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO, NamedTuple

MAX_HEADER = 1 << 20  # bytes of a record's own header
MAX_LINE = 1 << 16  # bytes
FEW = 1 << 12  # bytes in which such a line nearly always ends
MAX_BLANK = 1000  # lines between records
UNKNOWN_DATE = datetime(1970, 1, 1, tzinfo=UTC)

WARC_LINE = re.compile(rb"WARC/\d\.\d+[ \t]*\r?\n?", re.IGNORECASE)
# Internet Archive, "ARC File Format" 1.0: URL, IP address, 14-digit date, media type, length. 2.0 puts the HTTP status,
# a checksum, a location, an offset and a file name before the length.
ARC_LINE = re.compile(
    rb"(?:[a-zA-Z][\w+.-]*+:\S* [\w.:-]+ \d{4,17} \S+(?: [\d-]+ \S+ \S+ [\d-]+ \S+)?|filedesc://\S*(?: \S+){3}) \d+[ \t]*\r?\n"
)
_DATE = re.compile(r"(\d{4})(?:-?(\d\d))?(?:-?(\d\d))?(?:T?(\d\d):?(\d\d)(?::?(\d\d))?)?(?:\D.*)?", re.DOTALL)

Fields = list[tuple[str, str]]


class BrokenHeader(Exception):
    """This record cannot be read; the message says why."""


class CutHeader(BrokenHeader):
    """The bytes end inside a record header."""


class Header(NamedTuple):
    """`length`: bytes of the block that follows. `fields`: by name in lower case the first of each; none in an ARC."""

    type: str  # "response", "resource", "request", … in lower case
    url: str
    date: datetime  # UTC, to the second; UNKNOWN_DATE where it cannot be read
    length: int
    content_type: str
    fields: dict[str, str]


def opens_record(data: bytes) -> bool:
    return bool(WARC_LINE.match(data) or ARC_LINE.match(data))


def record_line(stream: BinaryIO) -> bytes | None:
    """The next line, past a few blank ones, if it opens a record; b"" at the end; none where something else stands."""
    for _ in range(MAX_BLANK):
        line = stream.readline(FEW)
        if not line:
            return b""
        if line.strip(b"\r\n\0"):  # zero bytes pad tapes
            return line if WARC_LINE.fullmatch(line) or ARC_LINE.fullmatch(line) else None
    return None


def search(stream: BinaryIO) -> tuple[bytes, int]:
    """The next line that opens a record, or b"" at the end, and how many bytes that are not blank lines came before."""
    junk = 0
    while line := stream.readline(MAX_LINE):
        if WARC_LINE.fullmatch(line) or ARC_LINE.fullmatch(line):
            return line, junk
        if junk or line.strip(b"\r\n\0"):
            junk += len(line)
    return b"", junk


def read_header(stream: BinaryIO, line: bytes) -> Header:
    """The header whose first line was read, to its end. Raises BrokenHeader."""
    if ARC_LINE.fullmatch(line):
        return _arc(line)
    parts: list[bytes] = []
    size = 0
    while (part := stream.readline(MAX_LINE)) not in (b"\r\n", b"\n"):
        if not part:
            raise CutHeader("the file ends inside a record header")
        if not part.strip():
            break
        parts.append(part)
        size += len(part)
        if size > MAX_HEADER:
            raise BrokenHeader("a record header without end")
    named: dict[str, str] = {}
    for name, value in fields(b"".join(parts)):
        named.setdefault(name.lower(), value)
    length = named.get("content-length", "")
    if not (length.isascii() and length.isdigit() and len(length) < 16):
        raise BrokenHeader(f"Content-Length is {named.get('content-length', 'missing')[:40]!r}, not a number of bytes")
    return Header(
        type=named.get("warc-type", "").lower(),
        url=named.get("warc-target-uri", "").strip("<> "),
        date=date(named.get("warc-date", "")),
        length=int(length),
        content_type=named.get("content-type", ""),
        fields=named,
    )


def _arc(line: bytes) -> Header:
    parts = _text(line).split()
    if len(parts[-1]) > 15:
        raise BrokenHeader("a length of more than 15 digits")
    kind = "arc_header" if line.startswith(b"filedesc://") else "response"
    return Header(kind, parts[0], date(parts[2]), int(parts[-1]), parts[3], {})


def fields(data: bytes) -> Fields:
    """Lines `Name: value` as pairs; a line that begins with a blank goes on with the one before (RFC 822 folding)."""
    found: Fields = []
    for line in _text(data).split("\n"):
        if line.startswith((" ", "\t")) and found:
            name, value = found[-1]
            found[-1] = name, f"{value} {line.strip()}".strip()
            continue
        name, colon, value = line.partition(":")
        if colon:
            found.append((name.strip(), value.strip()))
    return found


def _text(data: bytes) -> str:
    """UTF-8 as the WARC standard has it, or the Latin-1 of older HTTP."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def date(text: str) -> datetime:
    """WARC-Date (W3CDTF, possibly cut to year, month or day) or a 14-digit ARC date."""
    if len(text) == 20 and text[19] == "Z":  # nearly all
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    parts = _DATE.fullmatch(text[:40])
    if not parts:
        return UNKNOWN_DATE
    year, month, day, hour, minute, second = (int(part) if part else None for part in parts.groups())
    try:
        return datetime(year or 1, month or 1, day or 1, hour or 0, minute or 0, second or 0, tzinfo=UTC)
    except ValueError:
        return UNKNOWN_DATE


def wait_asked(retry_after: str | None, now: float | None = None) -> float | None:
    """Seconds to wait by a Retry-After header, which holds seconds or a date (RFC 9110, 10.2.3); None if neither."""
    asked = (retry_after or "").strip()[:64]
    if asked.isascii() and asked.isdigit() and len(asked) < 9:
        return float(asked)
    try:
        until = parsedate_to_datetime(asked)
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, until.timestamp() - (time.time() if now is None else now))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
