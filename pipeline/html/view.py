"""Files with pages in; one HTML page out that shows, side by side, what was kept of each and what was dropped.

Text from the web is hostile: all of it is escaped, bounded and isolated in its direction of writing; nothing runs, and
nothing is fetched when the page is opened: images are shown if the same file holds them, else their addresses.
"""

import base64
import html
import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TextIO

from PIL import Image as Pillow
from PIL import ImageOps

from pipeline.canonical import canonical_url
from pipeline.document import Document, Image, Node
from pipeline.documents import fill, records_of
from pipeline.errors import UserError
from pipeline.header import UNKNOWN_DATE
from pipeline.html.align import align, bare
from pipeline.html.decode import decode
from pipeline.html.extract import parse
from pipeline.html.walk import walk
from pipeline.pixels import Broken, look
from pipeline.warc import Record, read_at

if TYPE_CHECKING:
    from pipeline.config import Extract

MAX_PAGES = 100
MAX_BLOCKS = 4_000  # of a page
MAX_TEXT = 4_000  # characters of a block or a node
MAX_ADDRESS = 300  # characters that are shown of one
MAX_THUMBNAILS = 500
THUMBNAIL = (360, 240)  # pixels
MAX_IMAGE = 10 * 10**6  # bytes
MAX_PIXELS = 30 * 10**6

Pointer = tuple[str, int, int]  # file, offset, length


@dataclass(slots=True)
class Block:
    """A paragraph or an image of the original page. `words` are runs of words, each kept or dropped."""

    words: list[tuple[str, bool]] = field(default_factory=list)
    image: Image | None = None
    kept: bool = False


class Row(NamedTuple):
    """What stands side by side: blocks of the page, and the nodes that they became."""

    blocks: list[Block]
    nodes: list[Node]


def write_view(out: TextIO, paths: Sequence[str], settings: "Extract", url: str = "") -> None:
    """Shows the first pages of the files. Raises UserError where there is none."""
    shown = 0
    for path in paths:
        thumbnails = _Thumbnails(_images(path))
        for record in records_of(path, url):
            if shown == MAX_PAGES or not isinstance(record, Record) or record.type not in ("response", "resource"):
                continue
            page = Document(0, 0, record.url, record.filename, 0, 0, UNKNOWN_DATE, [])
            no = fill(page, record, settings)
            if no is None or no[0] == "no_content":
                text = decode(record.body[: settings.max_page], record.content_type)
                whole = walk(*parse(text, record.url), whole=True)
                out.write("" if shown else _HEAD)
                out.write("".join(_page(page, settings.method, compare(whole, page.nodes), thumbnails, shown == 0)))
                shown += 1
    if not shown:
        raise UserError(f"{', '.join(paths)}: no page that could be shown")
    if shown == MAX_PAGES:
        out.write(f"<p class=note>No more than {MAX_PAGES} pages are shown.</p>")
    out.write("</main></body></html>\n")


def compare(whole: list[Node], kept: list[Node]) -> list[Row]:
    """The blocks of a page beside the nodes it became: each node stands where the first of its text does."""
    blocks, starts, page = _blocks(whole)
    lines = [(number, line) for number, node in enumerate(kept) for line in (node.text or "").split("\n")]
    places = align([bare(line) for _, line in lines], page)
    _mark(blocks, starts, sorted(place for place in places if place))
    first: dict[int, int] = {}  # of each node, its first and its last block
    last: dict[int, int] = {}
    for (number, line), place in zip(lines, places, strict=True):
        if place and line.strip():
            first.setdefault(number, bisect_right(starts, place[0]) - 1)
            last[number] = max(bisect_right(starts, place[1] - 1) - 1, first[number])
    images = [(number, block.image.url) for number, block in enumerate(blocks) if block.image]
    at = 0
    for number, node in enumerate(kept):
        if node.image:
            for index in range(at, len(images)):
                if images[index][1] == node.image.url:
                    first[number] = last[number] = images[index][0]
                    blocks[images[index][0]].kept = True
                    at = index + 1
                    break
    return list(_rows(blocks, kept, first, last))


def _blocks(whole: list[Node]) -> tuple[list[Block], list[int], str]:
    """The blocks of a page; where each begins in its letters and digits; and those."""
    blocks: list[Block] = []
    starts: list[int] = []
    parts: list[str] = []
    length = 0
    for node in whole:
        for text in [None] if node.image else (node.text or "").split("\n"):
            if text == "" or len(blocks) == MAX_BLOCKS:
                continue
            starts.append(length)
            block = Block([(word, False) for word in text.split(" ")] if text else [], node.image)
            blocks.append(block)
            for word, _ in block.words:
                parts.append(bare(word))
                length += len(parts[-1])
    return blocks, starts, "".join(parts)


def _mark(blocks: list[Block], starts: list[int], spans: list[tuple[int, int]]) -> None:
    """Says of each word whether it lies in one of `spans`, and joins those of which the same is true."""
    index = 0
    end = 0  # of the spans that begin before the word
    kept = False
    for block, start in zip(blocks, starts, strict=True):
        at = start
        runs: list[tuple[list[str], bool]] = []
        for word, _ in block.words:
            size = len(bare(word))
            while index < len(spans) and spans[index][0] <= at:
                end = max(end, spans[index][1])
                index += 1
            if size:  # punctuation goes with the word before
                kept = at < end
            at += size
            if not runs or runs[-1][1] != kept:
                runs.append(([], kept))
            runs[-1][0].append(word)
        block.words = [(" ".join(words), kept) for words, kept in runs]
        block.kept = any(kept for _, kept in block.words)


def _rows(blocks: list[Block], kept: list[Node], first: dict[int, int], last: dict[int, int]) -> Iterator[Row]:
    begin: dict[int, list[Node]] = {}
    ends = set()
    at = 0
    for number, node in enumerate(kept):
        at = min(max(at, first.get(number, at)), max(len(blocks) - 1, 0))
        begin.setdefault(at, []).append(node)
        ends.add(max(last.get(number, at), at))
    row = Row([], begin.get(0, []))
    for number, block in enumerate(blocks):
        if number in begin or (number - 1 in ends and not block.kept):
            if row.blocks:
                yield row
            row = Row([], begin.get(number, []))
        row.blocks.append(block)
    if row.blocks or row.nodes:
        yield row


def _images(path: str) -> dict[str, Pointer]:
    """Where the file holds images, by address."""
    found = {}
    for record in records_of(path, ""):
        if isinstance(record, Record) and record.length and record.content_type.lower().startswith("image/"):
            found[canonical_url(record.url)] = (path, record.offset, record.length)
    return found


class _Thumbnails:
    """Small copies of the images that a file holds, as data: addresses; each is decoded here first, so that no browser
    sees bytes of the web."""

    def __init__(self, pointers: dict[str, Pointer]) -> None:
        self.pointers = pointers
        self.made: dict[str, str] = {}

    def of(self, url: str) -> str:
        """Empty where there is none."""
        key = canonical_url(url)
        if key not in self.made:
            known = key in self.pointers and len(self.made) < MAX_THUMBNAILS
            self.made[key] = _thumbnail(self.pointers[key]) if known else ""
        return self.made[key]


def _thumbnail(pointer: Pointer) -> str:
    try:
        body = read_at(*pointer).body
    except UserError:
        return ""
    if isinstance(look(body, max_bytes=MAX_IMAGE, max_pixels=MAX_PIXELS, seconds=2), Broken):
        return ""
    with Pillow.open(io.BytesIO(body)) as image:
        image.thumbnail(THUMBNAIL)
        small = ImageOps.exif_transpose(image).convert("RGBA")
    ground = Pillow.new("RGBA", small.size, "#ffffff")
    out = io.BytesIO()
    Pillow.alpha_composite(ground, small).convert("RGB").save(out, "JPEG", quality=75)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def _page(page: Document, method: str, rows: list[Row], thumbnails: _Thumbnails, opened: bool) -> Iterator[str]:
    blocks = [block for row in rows for block in row.blocks]
    images = [block for block in blocks if block.image]
    words = [(len(text.split()), kept) for block in blocks for text, kept in block.words]
    counts = (
        f"{sum(size for size, kept in words if kept):,} of {sum(size for size, _ in words):,} words, "
        f"{sum(block.kept for block in images)} of {len(images)} images kept · method {escaped(method)}"
    )
    yield f"<details{' open' if opened else ''}><summary><b>{escaped(page.url, MAX_ADDRESS)}</b><span>{counts}</span></summary>"
    yield "<div class='row names'><div>The page</div><div>Its nodes</div></div>"
    for row in rows:
        state = "" if any(block.kept for block in row.blocks) or row.nodes else " gone"
        yield f"<div class='row{state}'><div class=page>"
        for block in row.blocks:
            if block.image:
                yield _figure(block.image, thumbnails, "kept" if block.kept else "dropped", facts=not block.kept)
            else:
                runs = (
                    f"<{tag}>{escaped(text)}</{tag}>"
                    for text, kept in block.words
                    for tag in ["ins" if kept else "del"]
                )
                yield f"<p class={'kept' if block.kept else 'dropped'}>{' '.join(runs)}</p>"
        yield "</div><div class=nodes>"
        for node in row.nodes:
            yield f"<article><span class=position>{node.position}</span>"
            if node.image:
                yield _figure(node.image, thumbnails, "kept")
            else:
                yield "".join(f"<p>{escaped(text)}</p>" for text in (node.text or "").split("\n") if text)
            yield "</article>"
        yield "</div></div>"
    if not page.nodes:
        yield "<p class=note>Nothing of this page was kept.</p>"
    yield "</details>"


def _figure(image: Image, thumbnails: _Thumbnails, state: str, facts: bool = True) -> str:
    said = [(name, getattr(image, name)) for name in ("alt", "title", "caption")] if facts else []
    if facts:
        size = " × ".join(value for value in (image.rendered_width, image.rendered_height) if value)
        said += [("size", size), ("from", image.attribute if image.attribute != "src" else "")]
    thumbnail = thumbnails.of(image.url)
    return (
        f"<figure class={state}>"
        + (f"<img src='{thumbnail}' alt=''>" if thumbnail else "<i>image</i>")
        + f"<figcaption><code>{escaped(image.url, MAX_ADDRESS)}</code>"
        + "".join(f"<span><b>{name}</b> {escaped(value, MAX_ADDRESS)}</span>" for name, value in said if value)
        + "</figcaption></figure>"
    )


def escaped(text: str, most: int = MAX_TEXT) -> str:
    """`text` as HTML that is nothing but text: bounded, without control characters."""
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "\ufffd", text)
    return html.escape(text if len(text) <= most else text[:most] + " …")


_HEAD = """<!doctype html>
<html lang=en><head><meta charset=utf-8>
<meta http-equiv=Content-Security-Policy content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name=viewport content="width=device-width, initial-scale=1"><meta name=referrer content=no-referrer>
<title>What was kept and what was dropped</title>
<style>
:root { color-scheme: light dark; --ground: #fbfaf8; --card: #fff; --ink: #1d1f21; --soft: #65696e; --line: #e3e0da;
  --kept: #dcf2dd; --edge: #4a9d5b; --gone: #696e73; --mark: #2b6cb0 }
@media (prefers-color-scheme: dark) { :root { --ground: #16181a; --card: #1f2225; --ink: #e6e4df; --soft: #9aa0a6;
  --line: #33373b; --kept: #1f3d28; --edge: #5fb573; --gone: #858a90; --mark: #7fb2e5 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 1400px; margin: 0 auto; padding: 1.5rem clamp(.75rem, 3vw, 2.5rem) 4rem }
h1 { font-size: 1.35rem; margin: 0 0 .25rem }
.legend, .note { color: var(--soft); margin: 0 0 1.25rem }
code, span, b, figcaption { overflow-wrap: anywhere; unicode-bidi: isolate }
p { overflow-wrap: anywhere; unicode-bidi: plaintext }
ins { text-decoration: none; background: var(--kept); border-radius: 3px; padding: .05em .15em;
  -webkit-box-decoration-break: clone; box-decoration-break: clone }
del { color: var(--gone); text-decoration-thickness: 1px }
details { background: var(--card); border: 1px solid var(--line); border-radius: 10px; margin: 0 0 1rem; overflow: clip }
summary { cursor: pointer; padding: .7rem 1rem; display: flex; flex-wrap: wrap; gap: .1rem 1.25rem;
  justify-content: space-between }
summary b::before { content: "▸\\a0" }
details[open] > summary b::before { content: "▾\\a0" }
summary span { color: var(--soft); font-variant-numeric: tabular-nums }
.row { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); border-top: 1px solid var(--line) }
.row > div { padding: .45rem 1rem; contain: paint }
.row > div + div { border-left: 1px solid var(--line) }
.names { color: var(--soft); font-size: .8rem; letter-spacing: .04em; text-transform: uppercase;
  position: sticky; top: 0; background: var(--card); z-index: 1 }
.page p { margin: .2rem 0; padding-left: .6rem; border-left: 3px solid transparent }
.page p.kept { border-color: var(--edge) }
.page p.dropped { font-size: .8rem; line-height: 1.35; margin: .1rem 0 }
article { position: relative; padding-left: 2.2rem }
article p { margin: .2rem 0 .6rem }
.position { position: absolute; left: 0; top: .3rem; color: var(--mark); font: .75rem/1.4 ui-monospace, monospace }
figure { display: flex; gap: .75rem; align-items: flex-start; margin: .35rem 0; padding: .45rem;
  border: 1px solid var(--edge); border-radius: 8px; background: color-mix(in srgb, var(--kept) 45%, transparent) }
figure.dropped { border: 1px dashed var(--gone); background: none; color: var(--gone); font-size: .85em }
figure img { max-width: 160px; max-height: 120px; border-radius: 4px }
.nodes figure img { max-width: 240px; max-height: 180px }
figure.dropped img { filter: grayscale(1); opacity: .45; max-width: 80px; max-height: 60px }
figure i { flex: none; width: 3.6rem; height: 2.7rem; border-radius: 4px; border: 1px solid currentcolor; opacity: .8;
  font: .7rem/2.7rem system-ui; text-align: center }
figcaption { flex: 1 1 9rem; min-width: 0; font-size: .8rem; line-height: 1.4 }
figcaption span { display: block; color: var(--soft) }
figcaption span b { font-weight: 600 }
.dropped figcaption span { color: inherit }
figure.dropped code { text-decoration: line-through }
@media (max-width: 760px) { .row { grid-template-columns: minmax(0, 1fr) } .row > div + div { border-left: 0 }
  figure { flex-wrap: wrap }
  .names, .gone .nodes, .nodes:empty { display: none }
  .nodes { background: color-mix(in srgb, var(--mark) 7%, transparent) } }
</style></head><body><main>
<h1>What was kept and what was dropped</h1>
<p class=legend>The page in its order, <ins>kept</ins> or <del>dropped</del>; beside or
below it the nodes that it became.</p>
"""
