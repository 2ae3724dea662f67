"""Hosts, pages and pictures in; WARC files out, as a crawler that fetched them on two days would have written them."""

import hashlib
import io
import zlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, uuid5

from PIL import Image
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from pipeline.sample.definitions import DATES, Host, Page, Picture, Robots
from pipeline.sample.markup import page_html
from pipeline.sample.pictures import draw, encode

Digests = dict[str, dict[str, str]]  # crawl date, address of a picture → SHA-256 of its bytes

_HOSTS_OF_A_FILE = (
    ("menhirs.example", "ridge-weather.example"),
    ("crumb-journal.example", "spoke-and-chain.example", "reprints.example"),
    ("little-observatory.example", "rivermaps.example"),
    ("loom-archive.example", "almanac.example", "quiet-orchard.example"),
)
_IMAGE_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "svg": "image/svg+xml",
}
_AGENT = "Mozilla/5.0 (compatible; carnac-sample/1.0; +https://almanac.example/crawler)"
_INFO = {
    "software": "carnac sample",
    "format": "WARC File Format 1.1",
    "conformsTo": "http://iipc.github.io/warc-specifications/specifications/warc-format/warc-1.1/",
    "http-header-user-agent": _AGENT,
    "robots": "obey",
    "description": "A small crawl of our own making; its hosts do not exist",
}


@dataclass(frozen=True, slots=True)
class Fetch:
    """One request and its answer; `via` is the page that led to an embedded picture, or empty."""

    url: str
    date: datetime
    status: str
    headers: list[tuple[str, str]]
    body: bytes
    via: str = ""


def capture_date(date: str, index: int) -> datetime:
    """When the page of that index was fetched: the crawler rests for 40 seconds between pages."""
    return DATES[date] + timedelta(seconds=40 * index)


def fetch_all(
    hosts: dict[str, Host], pages: list[Page], pictures: list[Picture]
) -> tuple[dict[str, list[Fetch]], Digests]:
    """What each WARC file holds, by its name below the sample folder, and the digests of the pictures by crawl date.

    A picture is fetched after the first page of each crawl date that shows it, and so may lie in another file than a
    later page that shows it too.
    """
    files: dict[str, list[Fetch]] = {}
    digests: Digests = {date: {} for date in DATES}
    for date, start in DATES.items():
        for number, names in enumerate(_HOSTS_OF_A_FILE):
            fetches = files.setdefault(f"{start:%Y-%m}/carnac-sample-{start:%Y%m%d%H%M%S}-{number:05}.warc.gz", [])
            for index, page in enumerate(pages):
                if page.host not in names or date not in page.fates:
                    continue
                when = capture_date(date, index)
                text = page_html(page, hosts[page.host], when) if page.is_html else page.body
                fetches.append(_page_fetch(page, hosts[page.host], when, text))
                shown = [picture for picture in pictures if picture.address.rpartition("/")[2] in text]
                for picture in shown if page.is_html else []:
                    if picture.address not in digests[date]:
                        when += timedelta(seconds=1)
                        fetch = _picture_fetch(picture, date, when, page.url)
                        fetches.append(fetch)
                        digests[date][picture.address] = hashlib.sha256(fetch.body).hexdigest()
    return files, digests


def robots_fetches(robots: list[Robots]) -> list[Fetch]:
    """The captures of robots.txt, which Common Crawl keeps in WARC files of their own."""
    fetches = []
    for capture in sorted(robots, key=lambda capture: (capture.date, capture.url)):
        body = capture.body.encode()
        headers = [
            ("Date", _http_date(capture.date)),
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
        ]
        fetches.append(Fetch(capture.url, capture.date, capture.status, headers, body))
    return fetches


def warc_bytes(name: str, fetches: list[Fetch]) -> bytes:
    """A gzip'd WARC file, one member a record: a warcinfo, and for each fetch a response, a request and a metadata.

    Dates and record IDs come from the fetches and zlib writes no time of its own, so the bytes are always the same.
    """
    out = io.BytesIO()
    writer = WARCWriter(out, gzip=True, warc_version="1.1")
    filename = name.rpartition("/")[2]

    def write(
        kind: str, url: str, date: datetime, payload: bytes, *, headers: dict[str, str], http: StatusAndHeaders = None
    ) -> str:
        record_id = f"<urn:uuid:{uuid5(NAMESPACE_URL, f'{kind} {filename} {date} {url}')}>"
        fixed = {"WARC-Record-ID": record_id, "WARC-Date": f"{date:%Y-%m-%dT%H:%M:%SZ}"}
        record = writer.create_warc_record(
            url,
            kind,
            payload=io.BytesIO(payload),
            length=len(payload),
            warc_headers_dict={**fixed, **headers},
            http_headers=http,
        )
        writer.write_record(record)
        return record_id

    info = write("warcinfo", "", fetches[0].date, _fields(_INFO), headers={"WARC-Filename": filename})
    for fetch in fetches:
        where = urlsplit(fetch.url)
        request = [("Host", where.netloc), ("User-Agent", _AGENT), ("Accept-Encoding", "gzip"), ("Connection", "close")]
        response_id = write(
            "response",
            fetch.url,
            fetch.date,
            fetch.body,
            headers={"WARC-Warcinfo-ID": info, "WARC-IP-Address": _ip_address(where.netloc)},
            http=StatusAndHeaders(fetch.status, fetch.headers, protocol="HTTP/1.1"),
        )
        beside = {"WARC-Concurrent-To": response_id, "WARC-Warcinfo-ID": info}
        line = StatusAndHeaders(f"{where.path} HTTP/1.1", request, protocol="GET", is_http_request=True)
        write("request", fetch.url, fetch.date, b"", headers=beside, http=line)
        hops = {"via": fetch.via, "hopsFromSeed": "LE"} if fetch.via else {"hopsFromSeed": "L"}
        about = {**hops, "fetchTimeMs": str(90 + len(fetch.body) // 4096)}
        write("metadata", fetch.url, fetch.date, _fields(about), headers=beside)
    return out.getvalue()


def _page_fetch(page: Page, host: Host, when: datetime, text: str) -> Fetch:
    # What the web calls iso-8859-1 is windows-1252, of which it is a part (WHATWG Encoding, "windows-1252").
    body = text.encode("windows-1252" if host.charset == "iso-8859-1" and page.is_html else "utf-8")
    kind = f"{page.type}; charset={page.declared or host.charset}" if page.is_html else page.type
    headers = [("Date", _http_date(when)), ("Content-Type", kind), *host.headers.items(), *page.headers.items()]
    if host.coding == "gzip":
        packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS + 16)
        body = packer.compress(body) + packer.flush()
        headers.append(("Content-Encoding", "gzip"))
    if host.coding == "chunked":
        pieces = [body[at : at + 1460] for at in range(0, len(body), 1460)] + [b""]
        body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
        headers.append(("Transfer-Encoding", "chunked"))
    else:
        headers.append(("Content-Length", str(len(body))))
    return Fetch(page.url, when, page.status, [*headers, ("Connection", "close")], body)


def _picture_fetch(picture: Picture, date: str, when: datetime, via: str) -> Fetch:
    ending = picture.address.rpartition(".")[2]
    body = _picture_bytes(picture, ending, date)
    headers = [
        ("Date", _http_date(when)),
        ("Content-Type", _IMAGE_TYPES[ending]),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "public, max-age=31536000"),
        *picture.headers.items(),
    ]
    return Fetch(picture.address, when, "200 OK", headers, body, via)


def _picture_bytes(picture: Picture, ending: str, date: str) -> bytes:
    if picture.svg:
        return _SVG.format(title=picture.svg).encode()
    seed = zlib.crc32(f"{picture.half_of or picture.address} {date if picture.each_date else ''}".encode())
    image = draw(picture.subject, seed, (picture.width, picture.height))
    image = image.reduce(2) if picture.half_of else image
    if ending == "gif":
        out = io.BytesIO()
        image.convert("P", palette=Image.Palette.ADAPTIVE).save(out, "GIF")
        return out.getvalue()
    body = encode(image, "jpeg" if ending == "jpg" else ending)
    if picture.mining:  # the first segment of a JPEG (XMP specification part 3, 1.1.3)
        packet = b"http://ns.adobe.com/xap/1.0/\0" + _XMP.format(mining=picture.mining).encode()
        body = body[:2] + b"\xff\xe1" + (len(packet) + 2).to_bytes(2, "big") + packet + body[2:]
    return body[: len(body) // 3] if picture.cut else body


_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 rdf:about="" xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" plus:DataMining="http://ns.useplus.org/ldf/vocab/{mining}"/>
</rdf:RDF></x:xmpmeta><?xpacket end="r"?>"""

_SVG = """<svg xmlns="http://www.w3.org/2000/svg" width="320" height="240" viewBox="0 0 320 240"><title>{title}</title>
<rect width="320" height="240" fill="#f4efe4"/>
<path d="M20 120h280M20 110v20M160 110v20M300 110v20" stroke="#333"/></svg>
"""


def _fields(values: dict[str, str]) -> bytes:
    """`values` as application/warc-fields."""
    return "".join(f"{name}: {value}\r\n" for name, value in values.items()).encode()


def _http_date(when: datetime) -> str:
    return f"{when:%a, %d %b %Y %H:%M:%S} GMT"


def _ip_address(host: str) -> str:
    """An address of 192.0.2.0/24, which is kept free for examples (RFC 5737)."""
    return f"192.0.2.{zlib.crc32(host.encode()) % 254 + 1}"
