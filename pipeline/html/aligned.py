"""The tree of a page in; trafilatura's text out, with the page's images put back where they stand in the DOM."""

import logging
import re
from bisect import bisect_left
from unicodedata import normalize

from selectolax.lexbor import LexborHTMLParser

from pipeline.document import Image, Node
from pipeline.errors import UserError
from pipeline.html.extract import MAX_NODES, walk

try:
    from trafilatura import extract as _trafilatura
except ImportError:
    raise UserError("extract.method is trafilatura, which is not installed: pip install trafilatura") from None

# Distances are letters and digits of the page's text, which is what lines are looked for in: white space and
# punctuation are what trafilatura changes.
ANCHOR = 12  # a line that stands once in the page fixes its neighbours if it is as long as that
PROBE = 24  # of the beginning and of the end of a line that is not found as a whole
NEAR = 200  # of dropped text between an image and the nearest kept line; as far off it is another part's
LEAD = 300  # of a byline, a date, a standfirst between the lead image and the first kept line

Place = tuple[int, int]

# It tells of every page without text, which is no event here.
logging.getLogger("trafilatura").setLevel(logging.CRITICAL)


def trafilatura(tree: LexborHTMLParser, base: str) -> list[Node]:
    """Each line of trafilatura's text is a paragraph. An image is kept where kept text surrounds it, and the last one
    before the first kept line, if that is near: the lead image stands above the text, between title and byline."""
    html = (tree.raw_html or b"").decode("utf-8", "replace")
    lines = [words for line in (_trafilatura(html) or "").splitlines() if (words := " ".join(line.split()))]
    images: list[tuple[int, Image]] = []
    parts: list[str] = []
    length = 0
    for node in walk(tree, base, whole=True):
        if node.image is not None:
            images.append((length, node.image))
        else:
            parts.append(_bare(node.text or ""))
            length += len(parts[-1])
    places = align([_bare(line) for line in lines], "".join(parts))
    after = _kept(images, places)
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


def _bare(text: str) -> str:
    return re.sub(r"[\W_]+", "", normalize("NFC", text)).lower()


def align(lines: list[str], page: str) -> list[Place | None]:
    """Where each line begins and ends in `page`, in increasing order of beginnings; None where it was not found.

    Lines that stand once in the page are anchors, of which as many as possible are taken that are in order (the longest
    increasing subsequence, as in patience diff); the others are looked for in order between them.
    """
    places: list[Place | None] = [None] * len(lines)
    anchors = []
    for number, line in enumerate(lines):
        if len(line) >= ANCHOR and (place := _find(line, page, 0, len(page))):
            probe = page[place[0] : min(place[1], place[0] + len(line))]
            if page.find(probe, place[0] + 1) < 0:
                anchors.append((number, place))
    for number, place in _increasing(anchors):
        places[number] = place
    following = [len(page)] * (len(lines) + 1)  # where the next anchor begins
    for number in range(len(lines) - 1, -1, -1):
        fixed = places[number]
        following[number] = fixed[0] if fixed else following[number + 1]
    at = 0
    for number, line in enumerate(lines):
        if places[number] is None and line:
            places[number] = _find(line, page, at, following[number])
        fixed = places[number]
        at = max(at, fixed[1]) if fixed else at
    return places


def _find(line: str, page: str, start: int, stop: int) -> Place | None:
    at = page.find(line, start, stop)
    if at >= 0:
        return at, at + len(line)
    if len(line) >= 2 * PROBE:
        at = page.find(line[:PROBE], start, stop)
        if at >= 0:
            end = page.find(line[-PROBE:], at + PROBE, min(stop, at + 2 * len(line)))
            return at, (at if end < 0 else end) + PROBE
    return None


def _increasing(anchors: list[tuple[int, Place]]) -> list[tuple[int, Place]]:
    """The longest subsequence whose beginnings increase, in n log n."""
    ends: list[int] = []  # the smallest beginning at which a subsequence of each length ends
    holders: list[int] = []  # the anchor with that beginning
    before: list[int] = []
    for index, (_, (start, _)) in enumerate(anchors):
        length = bisect_left(ends, start)
        before.append(holders[length - 1] if length else -1)
        ends[length:] = [start, *ends[length + 1 :]]
        holders[length:] = [index, *holders[length + 1 :]]
    chain = []
    index = holders[-1] if holders else -1
    while index >= 0:
        chain.append(anchors[index])
        index = before[index]
    return chain[::-1]


def _kept(images: list[tuple[int, Image]], places: list[Place | None]) -> dict[int, list[Image]]:
    """The images that stay, by the number of the line that they come after; -1 is before the first."""
    found = [(number, *place) for number, place in enumerate(places) if place]
    if not found:
        return {}
    starts = [start for _, start, _ in found]
    kept: dict[int, list[Image]] = {}
    lead = None
    for offset, image in images:
        index = bisect_left(starts, offset) - 1  # the last line that begins before the image
        if index < 0:
            lead = image if starts[0] - offset <= LEAD else None
            continue
        number, _, end = found[index]
        distances = [offset - end]
        if index + 1 < len(found):
            distances.append(starts[index + 1] - offset)
        elif offset > end:
            continue
        if min(distances) <= NEAR:
            kept.setdefault(number, []).append(image)
    if lead:
        kept[found[0][0] - 1] = [lead]
    return kept
