"""The tree of a page in; its main content, texts and images in DOM order, out."""

import re
from dataclasses import dataclass
from functools import cache
from html import unescape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from pipeline.document import END_OF_DOCUMENT, Node
from pipeline.html.blocks import Blocks, Floats, blocks
from pipeline.html.choose import chosen
from pipeline.html.features import Elements, elements, table
from pipeline.html.lexicon import Lexicon
from pipeline.html.network import Network, load, probabilities
from pipeline.html.pictures import OUTSIDE, Attributes, attributes_of, climbed, first, kept_images
from pipeline.html.tags import TAG, UNKNOWN, Ints
from pipeline.html.walk import BLANK_LINE, MAX_NODES, MAX_WORDS, Nodes, add_image

MODEL = Path(__file__).parent / "data" / "main.npz"
MAX_CAPTION = 4 * MAX_WORDS  # bytes of a <figcaption> that are read
MAX_SOURCES = 20
# The longest page learned from has 17,035 words; of books, which are longer, the network would keep a tenth.
LONGEST = 20_000  # words
MOST = 10_000  # blocks; the most were 2,642, and the features of each take kilobytes
CLIMBED = 20  # elements around an image
NEAR = 3  # blocks between kept text and a link to the rest of a document

_BREAK = re.compile(rb"<br[^>\0]*+>")
_MARKUP = re.compile(rb"<[^>\0]*+>")
# What text is taken apart at again; a parser leaves no NUL in it, and a tag that does not end stops there.
_BLOCK, _LINE, _END = b"\0B", b"\0L", b"\0E"
# WHATWG HTML, 13.3, "escaping a string": all that is escaped in text.
_ESCAPED = (("&nbsp;", "\xa0"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))

# What a tag between two blocks puts between their texts, as an index of SEPARATORS: a space between the cells of a row, an
# empty line around what BLANK_LINE names, else a line's end.
_STRENGTH = np.full(UNKNOWN + 1, 2, np.int8)
for _name, _number in TAG.items():
    _STRENGTH[_number] = 3 if _name in BLANK_LINE else 1 if _name in ("td", "th") else 2


@dataclass(slots=True)
class Judged:
    """A page's blocks and elements, the probability of each block that it is main content, and which are kept."""

    blocks: Blocks
    elements: Elements
    probability: Floats  # (B,)
    kept: NDArray[np.bool_]  # (B,)


@cache
def model() -> tuple[Network, Lexicon]:
    return load(MODEL)


def judged(tree: LexborHTMLParser, url: str) -> Judged | None:
    """None where the page has no text. Takes elements without text from the tree."""
    found = blocks(tree)
    if found is None:
        return None
    network, lexicon = model()
    around = elements(found, lexicon)
    if len(found.first) > MOST:
        book = _text_of_a_book(found, around)
        return Judged(found, around, book, book > 0)
    probability = probabilities(network, table(found, around, lexicon, url))
    kept = chosen(probability, found)
    if found.counts[:, 0].sum() > LONGEST:  # the network still knows a long table's cells from a list of links
        book = _text_of_a_book(found, around)
        return Judged(found, around, np.maximum(probability, book), kept | (book > 0))
    return Judged(found, around, probability, kept)


def _text_of_a_book(blocks: Blocks, around: Elements) -> Floats:
    """1 for what is no list of links and stands in no part of the page that is named for something else, else 0. Where
    most of the page is links, an anchor was left open, and that a text is linked says nothing."""
    words, linked = blocks.counts[:, 0], blocks.counts[:, 1]
    if linked.sum() > words.sum() / 2:
        linked = np.zeros_like(linked)
    element = np.where(blocks.element < 0, len(blocks.starts), blocks.element)
    outside = (around.bits[element] & OUTSIDE) != 0
    text: Floats = (~outside & (linked < words / 2)).astype(np.float32)
    return text


def main(tree: LexborHTMLParser, base: str, inline: int = 0) -> list[Node]:
    """The blocks that a network takes for main content, and the images that belong to them. A link "read more" after kept
    text ends a document, as in OBELICS. Takes elements without text from the tree."""
    page = judged(tree, base)
    if page is None:
        return []
    b = page.blocks
    images = kept_images(b, page.elements, page.probability, page.kept)
    image_tags = np.array([tag for tag, _ in images], np.int64)
    scripted, figures = _around_images(page, image_tags)
    more = _more_links(b)
    texts = np.flatnonzero(page.kept | _ends(b, page.kept, more) | _captions(b, figures))
    place, till = np.concatenate([b.first[texts], image_tags]), np.concatenate([b.last[texts], image_tags])
    order = np.argsort(place, kind="stable")
    between = _between(b, place[order], till[order])
    nodes = Nodes(inline=inline)
    written = _written(b, texts, more)
    for item, strength in zip(order.tolist(), between.tolist(), strict=True):
        if len(nodes.done) >= MAX_NODES:
            break
        nodes.cross(strength)
        if item < len(texts):
            _add_text(nodes, written[item])
        else:
            number = item - len(texts)
            tag, attributes = images[number]
            _add_image(nodes, b, tag, attributes, base, scripted[number], figures[number])
    nodes.flush()
    return nodes.done[:MAX_NODES]


def _between(blocks: Blocks, first: Ints, last: Ints) -> NDArray[np.int8]:
    """The strongest tag from the end of each kept item to the beginning of the next; before the first, from the root."""
    if not len(first):
        return np.zeros(0, np.int8)
    since = np.append(0, last[:-1])
    bounds = np.stack([since, np.maximum(first, since) + 1], 1).ravel()
    strongest: NDArray[np.int8] = np.maximum.reduceat(np.append(_STRENGTH[blocks.tag], 0), bounds)[::2].astype(np.int8)
    return strongest


def _written(blocks: Blocks, texts: Ints, more: Ints) -> list[str]:
    """The text of each of these blocks without its tags, with _LINE for every `<br>` and _END for a link to the rest."""
    html = blocks.html
    begins, ends = blocks.ends[blocks.first[texts]].tolist(), blocks.starts[blocks.last[texts]].tolist()
    written = [html[begin:end] for begin, end in zip(begins, ends, strict=True)]
    for link in more.tolist():
        start, stop = int(blocks.starts[link]), int(blocks.ends[blocks.match[link]])
        for number in [n for n in range(len(texts)) if start < ends[n] and stop > begins[n]]:
            before, end, after = written[number].rpartition(_END)
            done = ends[number] - len(after)
            after = after[: max(start - done, 0)] + _END + after[max(stop - done, 0) :]
            written[number] = before + end + after
    page = _BLOCK.join(written)  # all at once: most texts are short
    if b"<br" in page:
        page = _BREAK.sub(_LINE, page)
    text = _MARKUP.sub(b"", page).decode("utf-8", "replace")
    for escaped, char in _ESCAPED if "&" in text else ():
        text = text.replace(escaped, char)
    return text.split(_BLOCK.decode())


def _add_text(nodes: Nodes, text: str) -> None:
    if "\0" not in text:
        nodes.text(text)
        return
    for place, document in enumerate(text.split(_END.decode())):
        if place:
            nodes.cross(3)
            nodes.text(END_OF_DOCUMENT)
            nodes.cross(3)
        for number, line in enumerate(document.split(_LINE.decode())):
            nodes.breaks += number > 0
            nodes.text(line)


def _around_images(page: Judged, images: Ints) -> tuple[list[bool], list[int]]:
    """Whether each image stands in a <noscript>, and its <figure>, -1 where there is none."""
    around = climbed(page.elements.up, images, CLIMBED)
    form = page.elements.form[around]
    return (form == TAG["noscript"]).any(0).tolist(), first(form == TAG["figure"], around, -1).tolist()


def _add_image(
    nodes: Nodes, blocks: Blocks, tag: int, attributes: Attributes, base: str, unscripted: bool, figure: int
) -> None:
    parent = int(blocks.parent[tag])
    sources: list[Attributes] = []
    if parent >= 0 and blocks.tag[parent] == TAG["picture"]:
        within = np.arange(parent, min(int(blocks.match[parent]), parent + 2 * MAX_SOURCES))
        sources = [attributes_of(blocks, int(at)) for at in within[blocks.tag[within] == TAG["source"]]]
    add_image(nodes, [], attributes, base, sources, unscripted)
    image = nodes.done[-1].image if nodes.done else None
    if image is not None and figure >= 0 and not image.caption:
        image.caption = _caption(blocks, figure)


def _figcaptions(blocks: Blocks, figure: int) -> list[int]:
    """The start tags of the captions in a figure."""
    within = np.arange(figure, int(blocks.match[figure]))
    captions: list[int] = within[(blocks.tag[within] == TAG["figcaption"]) & ~blocks.closing[within]].tolist()
    return captions


def _caption(blocks: Blocks, figure: int) -> str:
    """The text of the first caption in a figure."""
    captions = _figcaptions(blocks, figure)
    if not captions:
        return ""
    begin, end = int(blocks.ends[captions[0]]), int(blocks.starts[blocks.match[captions[0]]])
    text = _MARKUP.sub(b" ", blocks.html[begin : min(end, begin + MAX_CAPTION)])
    return " ".join(unescape(text.decode("utf-8", "replace")).split())[:MAX_WORDS]


def _captions(blocks: Blocks, figures: list[int]) -> NDArray[np.bool_]:
    """The blocks of the captions in the figures of images: who keeps an image keeps what is said below it."""
    captions = np.zeros(len(blocks.first), bool)
    for figure in figures:
        for caption in _figcaptions(blocks, figure) if figure >= 0 else ():
            low, high = np.searchsorted(blocks.first, [caption, int(blocks.match[caption])])
            captions[low:high] = True
    return captions


def _more_links(blocks: Blocks) -> Ints:
    """The tags of the class "more-link", with which weblogs cut a text short."""
    found: list[int] = []
    at = blocks.html.find(b"more-link")
    while at >= 0:
        tag = int(np.searchsorted(blocks.starts, at)) - 1
        inside = tag >= 0 and at < blocks.ends[tag] and not blocks.closing[tag] and blocks.match[tag] != tag
        further = inside and (not found or tag > blocks.match[found[-1]])
        if further and "more-link" in (attributes_of(blocks, tag).get("class") or "").split():
            found.append(tag)
        at = blocks.html.find(b"more-link", at + 1)
    return np.array(found, np.int64)


def _ends(blocks: Blocks, kept: NDArray[np.bool_], more: Ints) -> NDArray[np.bool_]:
    """The blocks that are links to the rest of a document whose beginning is kept."""
    ends = np.zeros(len(kept), bool)
    for link in more.tolist():
        block = int(np.searchsorted(blocks.last, link, side="right"))
        if (
            block < len(kept)
            and blocks.first[block] <= blocks.match[link]
            and kept[max(block - NEAR, 0) : block + 1].any()
        ):
            ends[block] = True
    return ends
