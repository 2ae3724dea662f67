"""WARC file in; its pages as documents, an index of its image records and the addresses of all images out."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from filters.verdict import Verdict
from pipeline.canonical import canonical_url
from pipeline.deadline import Late, deadline
from pipeline.document import Document
from pipeline.errors import UserError
from pipeline.html.decode import decode
from pipeline.html.extract import extract
from pipeline.keys import NAMED
from pipeline.signals import page_signals
from pipeline.warc import UNKNOWN_DATE, Damage, Record, read
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Extract

# Where the crawl holds an image itself. `warc` is the file's path as the configuration names it.
RECORDS = pa.schema(
    [
        ("url_key", pa.int64()),
        ("date", pa.int64()),  # seconds since 1970
        ("warc", pa.string()),
        ("record_offset", pa.int64()),
        ("record_length", pa.int64()),
    ]
)
HTML_TYPES = {"text/html", "application/xhtml+xml"}
IMAGE_TYPES = ("image/", "application/octet-stream", "binary/octet-stream")


def read_documents(work: Work, settings: "Extract") -> None:
    """Every HTML response that was answered with 200 becomes a document; images are written down by address."""
    extract("<p>A page", "http://localhost/", settings.method)  # what a method loads is not to count as a page's time
    images, named = work.table("records", RECORDS), work.table("named", NAMED)
    [path] = work.inputs["warc"]
    for record in read(path):
        page = _page(record, work.shard, work.rows_in)
        if isinstance(record, Damage):
            at = f"byte {record.offset}, {record.length} bytes"
            work.drop(page, "record", "damage", Verdict(False, record.reason, "a whole record"), at)
            continue
        work.units = record.offset + record.length
        work.count()
        if record.type not in ("response", "resource"):
            continue
        if record.status in (None, 200) and _mime(record).startswith(IMAGE_TYPES):
            if record.length:  # otherwise no pointer can name it
                images.write(_image_record(record, path))
            continue
        work.rows_in += 1
        if not work.begin(record.offset, page):
            continue
        no = fill(page, record, settings)
        work.end()
        if no is None:
            work.keep(page)
            for image in page.images:
                named.write({"url_key": key64(canonical_url(image.url))})
        else:
            work.drop(page, "document", *no)


def fill(page: Document, record: Record, settings: "Extract") -> tuple[str, Verdict] | None:
    """Decodes and extracts the record's body into `page`; or the rule by which the record is no page."""
    mime = _mime(record)
    if record.status not in (None, 200):
        return "http_status", Verdict(False, str(record.status), "200")
    if mime not in HTML_TYPES:
        return "not_html", Verdict(False, mime or "no type", "text/html")
    try:
        with deadline(settings.seconds):
            html = decode(record.body[: settings.max_page], record.content_type)
            extracted = extract(html, record.url, settings.method)
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
    """The records of a WARC or ARC file; an HTML file is a record of the page at `url`."""
    if not path.lower().endswith((".html", ".htm", ".xhtml")):
        return read(path)
    name = Path(path).name
    try:
        body = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    return [Record("resource", url or name, UNKNOWN_DATE, name, 0, 0, content_type="text/html", body=body)]


def _mime(record: Record) -> str:
    return record.content_type.partition(";")[0].strip().lower()


def _page(record: Record | Damage, shard: int, row: int) -> Document:
    if isinstance(record, Damage):
        return Document(shard, row, "", "", record.offset, record.length, UNKNOWN_DATE, [])
    return Document(shard, row, record.url, record.filename, record.offset, record.length, record.date, [])


def _image_record(record: Record, path: str) -> dict[str, Any]:
    return {
        "url_key": key64(canonical_url(record.url)),
        "date": int(record.date.timestamp()),
        "warc": path,
        "record_offset": record.offset,
        "record_length": record.length,
    }
