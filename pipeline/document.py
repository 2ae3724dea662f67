"""A page as text and image nodes in DOM order, and the one Arrow schema in which stages hand it on."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

# The page continues with another document here; OBELICS's wording, which its readers split at.
END_OF_DOCUMENT = "END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED"


@dataclass(slots=True)
class Image:
    """An image of a page: what the markup says of it and, once its bytes were seen, what they are."""

    url: str
    src: str  # the address as written in `attribute`
    attribute: str = "src"
    alt: str = ""
    title: str = ""
    caption: str = ""
    filename: str = ""  # the file name made readable
    rendered_width: str = ""  # as the page states it: "640", "640px" or "50%"
    rendered_height: str = ""
    format: str | None = None  # "jpeg", "png", … as decoded
    width: int | None = None  # pixels, after EXIF rotation
    height: int | None = None
    size: int | None = None  # bytes
    frames: int | None = None  # 1 for a still image
    sha256: str | None = None
    phash: str | None = None  # 64 bits, hexadecimal
    pdq: str | None = None  # 256 bits, hexadecimal
    scores: dict[str, float] = field(default_factory=dict)  # what models say of it, by name


@dataclass(slots=True)
class Node:
    """One place of a document: a text or an image. `position` is its index when extracted and never changes."""

    position: int
    text: str | None = None
    image: Image | None = None


@dataclass(slots=True)
class Hole:
    """Where an image stood that could not be had, and why. `url`: where to try again; none where it was refused."""

    position: int
    reason: str
    url: str | None


@dataclass(slots=True)
class Signal:
    """A statement of the page about its use for training, as it was seen ("header", "x-robots-tag", "noai")."""

    where: str
    name: str
    value: str


@dataclass(slots=True)
class Document:
    """`shard` and `row` are its key: the WARC shard it came from and its index among that shard's documents."""

    shard: int
    row: int
    url: str
    warc_filename: str
    warc_record_offset: int
    warc_record_length: int
    crawl_date: datetime
    nodes: list[Node]
    signals: list[Signal] = field(default_factory=list)
    language: str | None = None
    language_score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    holes: list[Hole] = field(default_factory=list)
    payload_digest: str = ""  # of the record, as its header writes it or computed

    @property
    def texts(self) -> list[str]:
        """Without those that only mark the end of a document."""
        return [node.text for node in self.nodes if node.text is not None and node.text != END_OF_DOCUMENT]

    @property
    def images(self) -> list[Image]:
        return [node.image for node in self.nodes if node.image is not None]


# `dataclasses.asdict` copies every value deeply, which costs more than the rules do.
_FIELDS = {kind: [f.name for f in fields(kind)] for kind in (Document, Image, Signal, Hole)}

SCORES = pa.map_(pa.string(), pa.float32())
IMAGE_TYPE = pa.struct(
    [
        *((name, pa.string()) for name in ("url", "src", "attribute", "alt", "title", "caption", "filename")),
        *((name, pa.string()) for name in ("rendered_width", "rendered_height", "format")),
        *((name, pa.int32()) for name in ("width", "height", "frames")),
        ("size", pa.int64()),
        *((name, pa.string()) for name in ("sha256", "phash", "pdq")),
        ("scores", SCORES),
    ]
)
SCHEMA = pa.schema(
    [
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("url", pa.string()),
        ("warc_filename", pa.string()),
        ("warc_record_offset", pa.int64()),
        ("warc_record_length", pa.int64()),
        ("crawl_date", pa.timestamp("s", tz="UTC")),
        ("nodes", pa.list_(pa.struct([("position", pa.int32()), ("text", pa.string()), ("image", IMAGE_TYPE)]))),
        ("signals", pa.list_(pa.struct([(name, pa.string()) for name in ("where", "name", "value")]))),
        ("language", pa.string()),
        ("language_score", pa.float32()),
        ("scores", SCORES),
        ("holes", pa.list_(pa.struct([("position", pa.int32()), ("reason", pa.string()), ("url", pa.string())]))),
        ("payload_digest", pa.string()),
    ]
)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text node: what stands between blank lines."""
    return text.split("\n\n")


def to_row(document: Document) -> dict[str, Any]:
    """The document as one row of `SCHEMA`."""
    row = {name: getattr(document, name) for name in _FIELDS[Document]}
    row["nodes"] = [
        {"position": node.position, "text": node.text, "image": node.image and _flat(node.image)}
        for node in document.nodes
    ]
    row["signals"] = [_flat(signal) for signal in document.signals]
    row["holes"] = [_flat(hole) for hole in document.holes]
    return row


def _flat(value: Image | Signal | Hole) -> dict[str, Any]:
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def _image(row: dict[str, Any]) -> Image:
    return Image(**{**row, "scores": dict(row["scores"])})


def from_row(row: dict[str, Any]) -> Document:
    """The inverse of `to_row`; columns that are no field of `Document` are ignored."""
    values = {name: row[name] for name in _FIELDS[Document]}
    values["nodes"] = [
        Node(node["position"], node["text"], None if node["image"] is None else _image(node["image"]))
        for node in row["nodes"]
    ]
    values["scores"] = dict(row["scores"])
    values["signals"] = [Signal(**signal) for signal in row["signals"]]
    values["holes"] = [Hole(**hole) for hole in row["holes"]]
    return Document(**values)
