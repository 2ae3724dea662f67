"""Small crawls for tests: WARC files with pages and images, a gzip member a record."""

import gzip
import io
import uuid
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

WHO = "the old miller|a young baker|her brother|the ferryman|my teacher|the shepherd|our neighbour|a retired sailor".split(
    "|"
)
DID = "walked|looked|waited|worked|sang|slept|talked|rested".split("|")
WHERE = (
    "by the river|under the tall trees|behind the church|on the long bridge|near the harbour|at the edge of the field|"
    "in the kitchen|on top of the hill"
).split("|")
WHILE = (
    "while the rain was falling on the roofs|because the road was closed|until the bread was out of the oven|"
    "before the tide came back|when the wind had turned to the north|although nobody had asked for it|"
    "as the moon rose over the sea|after the horses were fed"
).split("|")
THEN = (
    "and it was good|and that was all there was to do|and the dog went along|but the others stayed at home|"
    "so the day was soon over|and in the evening there was soup|but not for very long|and they spoke of the years before"
).split("|")


def prose(seed: int, paragraphs: int = 3) -> list[str]:
    """Paragraphs of plain English that every text rule keeps, different for each seed."""
    order = np.random.default_rng(seed)
    parts = [[str(part) for part in order.permutation(choices)] for choices in (WHO, DID, WHERE, WHILE, THEN)]
    sentences = [f"{' '.join(words[:4])}, {words[4]}.".capitalize() for words in zip(*parts, strict=True)]
    sentences = [sentence.replace(".", f" in house {seed * 10 + number}.") for number, sentence in enumerate(sentences)]
    return [" ".join(sentences[2 * number : 2 * number + 2]) for number in range(paragraphs)]


def picture(seed: int, size: tuple[int, int] = (200, 160), format: str = "png") -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).save(out, format)
    return out.getvalue()


def photo(seed: int, size: tuple[int, int] = (480, 360), quality: int = 90) -> bytes:
    """Coarse noise, smoothly enlarged: edges, and nothing alike at two seeds."""
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(coarse).resize((480, 360), Image.Resampling.BICUBIC).resize(size).save(out, "jpeg", quality=quality)
    return out.getvalue()


def page(paragraphs: Iterable[str], images: Iterable[str] = (), head: str = "") -> bytes:
    body = "".join(f"<p>{text}</p>" for text in paragraphs) + "".join(f'<img src="{src}">' for src in images)
    return f"<!DOCTYPE html><html><head><meta charset=utf-8>{head}</head><body>{body}</body></html>".encode()


Response = tuple[str, str, bytes]


def write_warc(path: Path, responses: Iterable[Response], date: str = "2026-03-10T12:00:00Z") -> Path:
    """`responses`: address, content type, body; each a gzip member of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for url, mime, body in responses:
            block = f"HTTP/1.1 200 OK\r\nContent-Type: {mime}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
            head = (
                f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>\r\n"
                f"WARC-Target-URI: {url}\r\nWARC-Date: {date}\r\nContent-Type: application/http; msgtype=response\r\n"
                f"Content-Length: {len(block)}\r\n\r\n"
            )
            file.write(gzip.compress(head.encode() + block + b"\r\n\r\n", mtime=0))
    return path


def crawl(folder: Path, files: int = 3, pages: int = 4) -> Path:
    """A crawl all of whose pages are good: `files` WARC files with `pages` pages each, a picture to every page."""
    for number in range(files):
        responses: list[Response] = []
        for index in range(pages):
            seed = number * pages + index
            host = f"http://host{seed}.example"
            responses.append((f"{host}/page", "text/html; charset=utf-8", page(prose(seed), ["/picture.png"])))
            responses.append((f"{host}/picture.png", "image/png", picture(seed)))
        write_warc(folder / f"{number}.warc.gz", responses)
    return folder
