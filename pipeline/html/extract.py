"""The text of an HTML page and its address in; its text and image nodes in DOM order, and its `<meta>` elements, out."""

from collections.abc import Callable
from dataclasses import dataclass

from selectolax.lexbor import LexborHTMLParser

from pipeline.document import Node
from pipeline.errors import UserError
from pipeline.html.address import resolve
from pipeline.html.bounds import bounded
from pipeline.html.walk import obelics

MAX_METAS = 200
MAX_META = 1_000  # characters of a <meta>'s content


@dataclass(slots=True)
class Page:
    """`nodes` in DOM order, each at its position; `meta` holds (name, http-equiv or property in lower case, content)."""

    nodes: list[Node]
    meta: list[tuple[str, str]]


def extract(html: str | bytes, url: str, method: str = "obelics", inline: int = 0) -> Page:
    """The page, text or valid UTF-8, as nodes. Bounded in time and memory whatever `html` is. `inline`: bytes up to which an
    image inside of its address (`data:`) is kept. Raises UserError for an unknown method."""
    if method not in METHODS:
        raise UserError(f"extraction method {method!r} is unknown: use one of {', '.join(METHODS)}")
    tree, base = parse(html, url)
    meta = _meta(tree)  # a method may take elements from the tree
    return Page(METHODS[method](tree, base, inline), meta)


def parse(html: str | bytes, url: str) -> tuple[LexborHTMLParser, str]:
    """The tree of the page, and the address that its relative addresses begin with."""
    tree = LexborHTMLParser(bounded(html))
    for element in tree.css("base"):
        href = element.attributes.get("href")
        if href:
            return tree, resolve(url, href) or url
    return tree, url


def _meta(tree: LexborHTMLParser) -> list[tuple[str, str]]:
    found = []
    for element in tree.tags("meta")[:MAX_METAS]:
        attributes = element.attributes
        name = attributes.get("name") or attributes.get("http-equiv") or attributes.get("property")
        if name:
            found.append((name.strip().lower()[:MAX_META], (attributes.get("content") or "").strip()[:MAX_META]))
    return found


def _trafilatura(tree: LexborHTMLParser, base: str, inline: int) -> list[Node]:
    from pipeline.html.aligned import trafilatura  # heavy

    return trafilatura(tree, base, inline)


def _main(tree: LexborHTMLParser, base: str, inline: int) -> list[Node]:
    from pipeline.html.main import main  # loads a model

    return main(tree, base, inline)


METHODS: dict[str, Callable[[LexborHTMLParser, str, int], list[Node]]] = {
    "main": _main,
    "obelics": obelics,
    "trafilatura": _trafilatura,
}
