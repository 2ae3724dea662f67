"""The tree of a page in; trafilatura's text out, with the page's images put back where they stand in the DOM."""

import logging
from bisect import bisect_left

from selectolax.lexbor import LexborHTMLParser
from trafilatura import extract as _trafilatura

from pipeline.document import Image, Node
from pipeline.html.align import Place, align, bare
from pipeline.html.walk import MAX_NODES, walk

# Distances are letters and digits of the page's text.
NEAR = 200  # of dropped text between an image and the nearest kept line; as far off it is another part's
MAX_HEADINGS = 100
LEAD = 300  # of a byline, a date, a standfirst between the lead image and the first kept line

# It tells of every page without text, which is no event here.
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)


def trafilatura(tree: LexborHTMLParser, base: str, inline: int = 0) -> list[Node]:
    """Each line of trafilatura's text is a paragraph. An image is kept where kept text surrounds it, and the last one
    before the first kept line, if that is near and no heading of the page: the lead image stands above the text, between
    title and byline, and what stands above the title is a logo."""
    html = (tree.raw_html or b"").decode("utf-8", "replace")
    lines = [words for line in (_trafilatura(html) or "").splitlines() if (words := " ".join(line.split()))]
    images: list[tuple[int, Image]] = []
    parts: list[str] = []
    length = 0
    for node in walk(tree, base, whole=True, inline=inline):
        if node.image is not None:
            images.append((length, node.image))
        else:
            parts.append(bare(node.text or ""))
            length += len(parts[-1])
    texts = [bare(line) for line in lines]
    places = align(texts, "".join(parts))
    titles = {bare(heading.text()) for heading in tree.css("h1")[:MAX_HEADINGS]}
    first = next((text for text, place in zip(texts, places, strict=True) if place), "")
    after = _kept(images, places, lead=first not in titles)
    nodes: list[Node] = []
    paragraphs: list[str] = []

    def flush() -> None:
        if paragraphs:
            nodes.append(Node(len(nodes), text="\n\n".join(paragraphs)))
            paragraphs.clear()

    for number in range(-1, len(lines)):
        if number >= 0:
            paragraphs.append(lines[number])
        if number in after:
            flush()
            for image in after[number]:
                nodes.append(Node(len(nodes), image=image))
    flush()
    return nodes[:MAX_NODES]


def _kept(images: list[tuple[int, Image]], places: list[Place | None], lead: bool) -> dict[int, list[Image]]:
    """The images that stay, by the number of the line that they come after; -1 is before the first."""
    found = [(number, *place) for number, place in enumerate(places) if place]
    if not found:
        return {}
    starts = [start for _, start, _ in found]
    kept: dict[int, list[Image]] = {}
    above = None
    for offset, image in images:
        index = bisect_left(starts, offset) - 1  # the last line that begins before the image
        if index < 0:
            above = image if lead and starts[0] - offset <= LEAD else None
            continue
        number, _, end = found[index]
        distances = [offset - end]
        if index + 1 < len(found):
            distances.append(starts[index + 1] - offset)
        elif offset > end:
            continue
        if min(distances) <= NEAR:
            kept.setdefault(number, []).append(image)
    if above:
        kept[found[0][0] - 1] = [above]
    return kept
