"""A WARC file of robots.txt captures in, as Common Crawl publishes them; whose file each is and what became of it out."""

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pyarrow as pa

from pipeline.canonical import canonical_url
from pipeline.consent.addresses import origin_of
from pipeline.consent.web import State
from pipeline.warc import Record, read
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Consent

MAX_REDIRECTS = 5  # RFC 9309, 2.3.1.2

# `date` in seconds since 1970; the record holds the file where it was found, perhaps after redirects.
CAPTURES = pa.schema(
    [
        ("origin_key", pa.int64()),
        ("origin", pa.string()),
        ("date", pa.int64()),
        ("state", pa.string()),
        ("detail", pa.string()),
        ("warc", pa.string()),
        ("record_offset", pa.int64()),
        ("record_length", pa.int64()),
    ]
)


class _Seen:
    """What is kept of a record: all but its body."""

    __slots__ = ("date", "length", "location", "offset", "status", "url")

    def __init__(self, record: Record) -> None:
        self.url, self.date = canonical_url(record.url), record.date
        self.status, self.offset, self.length = record.status, record.offset, record.length
        self.location = next((value for name, value in record.headers if name.lower() == "location"), "")


def index_captures(work: Work, settings: "Consent") -> None:
    """A row for each response to a request for /robots.txt. Redirects are followed within the file, to the record of the
    target that is nearest in time."""
    table = work.table("captures", CAPTURES)
    [path] = work.inputs["warc"]
    by_url: dict[str, list[_Seen]] = {}
    for record in read(path):
        if isinstance(record, Record) and record.type == "response":
            work.rows_in += 1
            seen = _Seen(record)
            by_url.setdefault(seen.url, []).append(seen)
        work.units = record.offset + record.length
        work.count()
    for url, captures in by_url.items():
        if urlsplit(url).path != "/robots.txt":
            continue
        for first in captures:
            last, state, detail = _followed(first, by_url)
            origin = origin_of(url)
            row = {"origin_key": key64(origin), "origin": origin, "date": int(first.date.timestamp())}
            row |= {"state": state, "detail": detail, "warc": path}
            table.write(row | {"record_offset": last.offset, "record_length": last.length})
            work.rows_out += 1


def _followed(capture: _Seen, by_url: dict[str, list[_Seen]]) -> tuple[_Seen, State, str]:
    when = capture.date
    for _ in range(MAX_REDIRECTS + 1):
        if not (300 <= (capture.status or 0) < 400 and capture.location):
            return capture, *_state(capture)
        target = canonical_url(urljoin(capture.url, capture.location))
        if target not in by_url:
            return capture, "unreadable", f"HTTP {capture.status} to {target[:100]}, which was not captured"
        capture = min(by_url[target], key=lambda seen: _apart(seen.date, when))
    return capture, "unreadable", f"more than {MAX_REDIRECTS} redirects"


def _apart(one: datetime, other: datetime) -> float:
    return abs((one - other).total_seconds())


def _state(capture: _Seen) -> tuple[State, str]:
    status = capture.status or 0
    detail = f"HTTP {status}"
    if 200 <= status < 300:
        return ("found", detail) if capture.length else ("unreadable", "shares its gzip member with other records")
    if status == 429 or status >= 500:
        return "unreachable", detail
    return ("absent", detail) if 400 <= status < 500 else ("unreadable", detail)
