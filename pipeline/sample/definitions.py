"""The folder prose/ in; the hosts, pages and pictures that it defines out, in the order in which they stand there.

prose/<host>.md holds pages, each of this form; all keys but the fates and `made_for` may be left out:

    === /path                           its address on the host
    march: latest_url                   its fate at each crawl date: kept, or the rule that drops it
    september: kept
    made_for: one short sentence        why the page is there
    images: {name: kept or rule}        what must become of its images …
    paragraphs: {rule: how it begins}   … of its paragraphs …
    contains: [words] · lacks: [words]  … and of its text
    ---
    # Title, then Markdown of the simplest kind; a block that begins with < is HTML and stays as it is
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import yaml

PROSE = Path(__file__).parent / "prose"
DATES = {"march": datetime(2026, 3, 10, 9, tzinfo=UTC), "september": datetime(2026, 9, 15, 9, tzinfo=UTC)}

_PAGE = re.compile(r"^=== (\S+)\n", re.MULTILINE)
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_SIZE = re.compile(r"(\S+) (\d+)x(\d+)")


@dataclass(frozen=True, slots=True)
class Host:
    """How a host serves its pages and writes an image; prose/hosts.yaml says what each field means."""

    images: str
    image: str
    figure: str
    headers: dict[str, str]
    charset: str = "utf-8"
    coding: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """An address, what stands there, its `fates` by crawl date, and what else is expected of it."""

    host: str
    path: str
    fates: dict[str, str]
    body: str
    made_for: str
    stage: str = ""  # at which it is dropped, where that is not the usual stage of the rule
    status: str = "200 OK"
    type: str = "text/html"
    headers: dict[str, str] = field(default_factory=dict)
    declared: str = ""  # the charset in the Content-Type header, where it is a wrong one
    meta: str = '<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset=iso-8859-1">'
    head: str = ""
    language: str = "en"
    ring: bool = False  # carries the picture and the note of a ring of sites
    opt_out: str = ""  # the line that it adds to the opt-out list
    text_of: str = ""  # the address of the page whose text it has, but for the `edits`
    edits: dict[str, str] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)
    paragraphs: dict[str, str] = field(default_factory=dict)
    contains: list[str] = field(default_factory=list)
    lacks: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)

    @property
    def scheme(self) -> str:
        return "http" if self.host == "spoke-and-chain.example" else "https"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}{self.path}"

    @property
    def is_html(self) -> bool:
        return self.type == "text/html"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture and how it is served; sizes in pixels. With `svg` it is that title in an SVG and no drawing;
    with `half_of` the picture of that address and size, at half of it."""

    address: str
    subject: str = ""
    width: int = 0
    height: int = 0
    each_date: bool = False
    cut: bool = False
    svg: str = ""
    half_of: str = ""
    mining: str = ""  # plus:DataMining in its XMP
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Robots:
    """What a host answered when it was asked for its robots.txt: a file, or a status without one."""

    url: str
    date: datetime
    status: str
    body: str


def read_robots() -> list[Robots]:
    """All captures of robots.txt, host by host; a host is asked half an hour before the crawl begins."""
    values = yaml.safe_load((PROSE / "robots.yaml").read_text("utf-8"))
    return [
        Robots(
            url,
            datetime.combine(date, time(8, 30), UTC),
            *((f"{said} Not Found", "") if type(said) is int else ("200 OK", said)),
        )
        for url, captures in values.items()
        for date, said in captures.items()
    ]


def read_hosts() -> dict[str, Host]:
    values = yaml.safe_load((PROSE / "hosts.yaml").read_text("utf-8"))
    return {name: Host(**fields) for name, fields in values.items()}


def read_pages() -> list[Page]:
    """All pages, host by host; a page that has the text of another gets it here."""
    pages = [page for host in read_hosts() for page in _pages_of(host)]
    bodies = {page.url: page.body for page in pages}
    return [_with_text_of(page, bodies) for page in pages]


def read_pictures() -> list[Picture]:
    """All pictures; their file names are unique, so that a name alone says which of them a page shows."""
    folders = yaml.safe_load((PROSE / "pictures.yaml").read_text("utf-8"))
    pictures = [
        _picture(address, value)
        for folder, names in folders.items()
        for name, value in names.items()
        for address in expand(folder + name)
    ]
    names = [picture.address.rpartition("/")[2] for picture in pictures]
    if len(set(names)) < len(names):
        raise ValueError("pictures.yaml: a file name stands there twice")
    return pictures


def expand(line: str) -> list[str]:
    """The line once for each number of the range in it: "{01..03}.jpg" gives "01.jpg", "02.jpg" and "03.jpg"."""
    found = _RANGE.search(line)
    if found is None:
        return [line]
    first, last = found.groups()
    return [_RANGE.sub(f"{number:0{len(first)}}", line) for number in range(int(first), int(last) + 1)]


def _pages_of(host: str) -> Iterator[Page]:
    parts = _PAGE.split((PROSE / f"{host}.md").read_text("utf-8"))
    for path, text in zip(parts[1::2], parts[2::2], strict=True):
        front, _, body = text.partition("---\n")
        fields = yaml.safe_load(front)
        fates = {date: fields.pop(date) for date in DATES if date in fields}
        yield Page(host=host, path=path, fates=fates, body=body.strip(), **fields)


def _with_text_of(page: Page, bodies: dict[str, str]) -> Page:
    if not page.text_of:
        return page
    body = bodies[page.text_of]
    for old, new in page.edits.items():
        if old not in body:
            raise ValueError(f"{page.url}: {old!r} is not in the text of {page.text_of}")
        body = body.replace(old, new)
    fields = {name: getattr(page, name) for name in Page.__dataclass_fields__}
    return Page(**{**fields, "body": body})


def _picture(address: str, value: str | dict[str, Any]) -> Picture:
    fields = {"draw": value} if isinstance(value, str) else dict(value)
    if "svg" in fields:
        return Picture(address, **fields)
    found = _SIZE.fullmatch(fields.pop("draw"))
    if found is None:
        raise ValueError(f"pictures.yaml: {address}: {value!r} is not a subject and a size like 640x480")
    subject, width, height = found.groups()
    return Picture(address, subject, int(width), int(height), **fields)
