"""A part of a WARC file in; its pages as documents, an index of its image records, the addresses of all images out."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.archive import WACZ_SUFFIX, base_name, warcs_inside
from pipeline.canonical import canonical_url
from pipeline.deadline import Late, deadline
from pipeline.digests import payload_digest
from pipeline.document import Document
from pipeline.errors import UserError
from pipeline.header import UNKNOWN_DATE, date
from pipeline.html.decode import recoded
from pipeline.html.extract import extract
from pipeline.keys import NAMED, wanted_rows
from pipeline.shards import check, shard_of
from pipeline.signals import page_signals
from pipeline.warc import Damage, Record, read, read_at
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Extract

# Where the crawl holds an image itself. `warc` is the file's path as the configuration names it. A revisit, which says that
# an address gave the same payload as another record, has the length 0.
RECORDS = pa.schema(
    [
        ("url_key", pa.int64()),
        ("date", pa.int64()),  # seconds since 1970
        ("warc", pa.string()),
        ("record_offset", pa.int64()),
        ("record_length", pa.int64()),
        ("payload_key", pa.int64()),  # of the payload's digest
    ]
)
HTML_TYPES = {"text/html", "application/xhtml+xml"}
IMAGE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")
MAX_TOLD = 20  # records whose wrong digest the receipt names


def read_documents(work: Work, settings: "Extract") -> None:
    """Every HTML response that was answered with 200 becomes a document; images are written down by address."""
    extract("<p>A page", "http://localhost/", settings.method)  # what a method loads is not to count as a page's time
    images, named = work.table("records", RECORDS), work.table("named", NAMED)
    shard = shard_of(work.inputs["warc"])
    work.notes["files"] = shard.files
    originals = _Originals()
    for number, (path, item) in enumerate(shard.items(), 1):
        page = _page(item, work.shard, work.rows_in)
        if isinstance(item, Damage):
            at = f"{base_name(path)}: byte {item.offset}, {item.length} bytes, about {item.records} records"
            work.drop(page, "record", "damage", Verdict(False, item.reason, "a whole record"), at)
            _add(work, "lost", stretches=1, bytes=item.length, records=item.records)
            continue
        record = item
        work.units = shard.done(record.offset + record.length, number)
        work.count()
        if record.type not in ("response", "resource", "revisit"):
            continue
        page.payload_digest, wrong = payload_digest(record)
        if wrong:
            _add(work, "wrong_digests", records=1)
            told = work.notes["wrong_digests"].setdefault("at", [])
            told += [record.offset] if len(told) < MAX_TOLD else []
        if record.type == "revisit":
            original = originals.of(record, page.payload_digest)
            _add(work, "revisits", **{"resolved" if original else "elsewhere": 1})
            if original is None or _is_image(original):  # it may be an image's, and its original in another file
                images.write(_image_record(record, path, page.payload_digest) | {"record_length": 0})
                continue
            record = original
        elif record.length:  # otherwise no pointer can name it
            originals.add(path, record, page.payload_digest)
        if _is_image(record):
            if record.length:
                images.write(_image_record(record, path, page.payload_digest))
            continue
        work.rows_in += 1
        if not work.begin(page.row, page):
            continue
        no = fill(page, record, settings)
        work.end()
        if no is None:
            work.keep(page)
            for row in wanted_rows(page):
                named.write({"url_key": row["url_key"]})
        else:
            work.drop(page, "document", *no)


def _add(work: Work, note: str, **counts: int) -> None:
    noted = work.notes.setdefault(note, {})
    for name, count in counts.items():
        noted[name] = noted.get(name, 0) + count


class _Originals:
    """Where the records of this shard lie that a later one may refer to, by payload digest and by address and date."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[str, int, int]] = {}

    def add(self, path: str, record: Record, digest: str) -> None:
        for key in (key64(digest), key64(record.url, str(record.date))):
            self._places.setdefault(key, (path, record.offset, record.length))

    def of(self, revisit: Record, digest: str) -> Record | None:
        """The record with the payload that a revisit refers to, at the revisit's address, date and place; or none."""
        written = revisit.fields.get("warc-payload-digest")
        then = date(revisit.fields.get("warc-refers-to-date", ""))
        place = self._places.get(key64(revisit.fields.get("warc-refers-to-target-uri", ""), str(then)))
        if written:
            place = self._places.get(key64(digest)) or place
        if place is None:
            return None
        original = read_at(*place)
        if written and payload_digest(original).text != written:
            return None
        return replace(
            original, url=revisit.url, date=revisit.date, offset=revisit.offset, length=revisit.length,
            headers=revisit.headers or original.headers,
        )  # fmt: skip


def _is_image(record: Record) -> bool:
    return record.status in (None, 200) and _mime(record).startswith(IMAGE_TYPES)


def fill(page: Document, record: Record, settings: "Extract") -> tuple[str, Verdict] | None:
    """Decodes and extracts the record's body into `page`; or the rule by which the record is no page."""
    mime = _mime(record)
    if record.status not in (None, 200):
        return "http_status", Verdict(False, str(record.status), "200")
    if mime not in HTML_TYPES:
        return "not_html", Verdict(False, mime or "no type", "text/html")
    try:
        with deadline(settings.seconds):
            html = recoded(record.body[: settings.max_page], record.content_type)
            extracted = extract(html, record.url, settings.method, settings.inline_images or 0)
    except Late:
        return "too_slow", Verdict(False, f"more than {settings.seconds:g} s", f"at most {settings.seconds:g} s")
    except UserError:
        raise
    except Exception as error:  # of a parser, on one page of billions: it costs that page, not the run
        return "unreadable", Verdict(False, type(error).__name__, "a page that can be parsed")
    page.nodes, page.signals = extracted.nodes, page_signals(record.headers, extracted.meta)
    return None if page.nodes else ("no_content", Verdict(False, "no text, no image", "a node"))


def documents_of(path: str, settings: "Extract", url: str = "") -> Iterator[Document]:
    """The documents of a WARC or ARC file, or of one HTML file, as they are before any rule."""
    for row, record in enumerate(records_of(path, url)):
        page = _page(record, 0, row)
        if (
            isinstance(record, Record)
            and record.type in ("response", "resource")
            and fill(page, record, settings) is None
        ):
            yield page


def records_of(path: str, url: str) -> Iterable[Record | Damage]:
    """The records of a WARC, ARC or WACZ file; an HTML file is a record of the page at `url`.

    Raises:
        UserError: the file cannot be opened, or is none of them.
    """
    if path.lower().endswith((".html", ".htm", ".xhtml")):
        name = Path(path).name
        try:
            body = Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}") from None
        yield Record("resource", url or name, UNKNOWN_DATE, name, 0, 0, content_type="text/html", body=body)
        return
    for file in warcs_inside(path) if path.endswith(WACZ_SUFFIX) else [path]:
        check(file)
        yield from read(file)


def _mime(record: Record) -> str:
    return record.content_type.partition(";")[0].strip().lower()


def _page(record: Record | Damage, shard: int, row: int) -> Document:
    if isinstance(record, Damage):
        return Document(shard, row, "", "", record.offset, record.length, UNKNOWN_DATE, [])
    return Document(shard, row, record.url, record.filename, record.offset, record.length, record.date, [])


def _image_record(record: Record, path: str, digest: str) -> dict[str, Any]:
    return {
        "url_key": key64(canonical_url(record.url)),
        "date": int(record.date.timestamp()),
        "warc": path,
        "record_offset": record.offset,
        "record_length": record.length,
        "payload_key": key64(digest),
    }
