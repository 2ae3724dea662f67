"""The tree of a page in; its text and image nodes in DOM order, as OBELICS chooses them or of all that it shows, out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from pipeline.document import END_OF_DOCUMENT, Image, Node
from pipeline.html.address import image_address, readable_name

MAX_NODES = 10_000
MAX_WORDS = 2_000  # characters of an alt text, a title, a caption

# OBELICS, HTML → nodes: what is unwrapped, what is kept; every other element goes with its content.
STYLE = frozenset(
    "a abbr acronym b bdi bdo big cite code data dfn em font i ins kbd mark q s samp shadow small span strike strong sub "
    "sup time tt u var wbr".split()
)
BLANK_LINE = frozenset("blockquote dl h1 h2 h3 h4 h5 h6 ol p ul".split())
NEW_LINE = frozenset(
    "address article aside center dd dt div figcaption hgroup legend main marquee section summary".split()
)
KEPT = STYLE | BLANK_LINE | NEW_LINE | frozenset("blink body caption figure h html picture".split())
UNSEEN = frozenset("audio canvas embed head iframe math object script style svg template video".split())
FOOTERS = frozenset({"footer", "site-info"})
CHROME = frozenset({"footer", "header", "navigation", "nav", "navbar", "menu"})
SEPARATORS = ("", " ", "\n", "\n\n")

_LENGTH = re.compile(r"\d{1,5}(?:\.\d{1,5})?\s?(?:px|%)?", re.IGNORECASE)


@dataclass(slots=True)
class Figure:
    """An open `<figure>`: its images that still want a caption, and the text of its `<figcaption>`."""

    images: list[Image] = field(default_factory=list)
    caption: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Open:
    """An element whose end the walk still has to pass. `hides_text`: the text that is its own, or that of
    style elements in it, is a date."""

    node: LexborNode
    tag: str
    strength: int
    hides_text: bool
    figure: Figure | None


@dataclass(slots=True)
class Nodes:
    """The nodes so far, and the text that is being put together: `strength` indexes SEPARATORS with the strongest tag
    crossed since its last word, `breaks` counts the `<br>`s."""

    done: list[Node] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)
    strength: int = 0
    breaks: int = 0
    unscripted: bool = False  # the last image stands in a <noscript>
    inline: int = 0  # bytes up to which an image inside of its address is kept

    def cross(self, strength: int) -> None:
        self.strength = max(self.strength, strength)

    def text(self, text: str) -> str:
        """Adds `text` with its white space collapsed, which is returned."""
        words = " ".join(text.split())
        if text[:1].isspace() and not self.strength:
            self.strength = 1
        if words:
            if self.parts:
                strength = max(self.strength, min(self.breaks + 1, 3)) if self.breaks else self.strength
                self.parts.append(SEPARATORS[strength])
            self.parts.append(words)
            self.strength = 1 if text[-1].isspace() else 0
            self.breaks = 0
        return words

    def image(self, image: Image, unscripted: bool) -> None:
        """Adds `image`, or puts it in the place of the one before, or drops it, where the two are one: loaded lazily, and
        in a `<noscript>` beside for browsers without scripts. The one outside stays, unless its `src` is a preview."""
        before = self.done[-1].image if self.done and not self.parts else None
        if before is not None and unscripted != self.unscripted:
            same = before.filename == image.filename
            if same or self.strength < 2:
                scripted = before if unscripted else image
                preview = same and scripted.attribute == "src"
                if preview != unscripted:
                    return
                self.done.pop()
        self.flush()
        self.done.append(Node(len(self.done), image=image))
        self.unscripted = unscripted

    def flush(self) -> None:
        if self.parts:
            self.done.append(Node(len(self.done), text="".join(self.parts)))
        self.parts = []
        self.strength = self.breaks = 0


def obelics(tree: LexborHTMLParser, base: str, inline: int = 0) -> list[Node]:
    """The rules of OBELICS without its defects."""
    return walk(tree, base, whole=False, inline=inline)


def walk(tree: LexborHTMLParser, base: str, whole: bool, inline: int = 0) -> list[Node]:
    """One walk of the DOM, without recursion, that emits as it goes: what OBELICS keeps, or `whole`, all that a page
    shows."""
    nodes = Nodes(inline=inline)
    opened: list[_Open] = []
    figures: list[Figure] = []
    sources: list[dict[str, str | None]] = []  # of the open <picture>
    captions = 0  # how many of the open elements are figcaptions
    node = tree.root
    while node is not None and len(nodes.done) < MAX_NODES:
        tag = node.tag or ""
        inside = None
        if tag == "-text":
            if not (opened and opened[-1].hides_text):
                words = nodes.text(node.text_content or "")
                if words and captions and figures:
                    figures[-1].caption.append(words)
        elif tag == "br":
            nodes.breaks += 1
        elif tag == "img":
            add_image(nodes, figures, node.attributes, base, sources, unscripted=False)
        elif tag == "source":
            sources.append(node.attributes)
        elif tag == "noscript":
            for element in node.css("img"):
                add_image(nodes, figures, element.attributes, base, (), unscripted=True)
        elif not tag.startswith("-"):
            attributes = node.attributes
            classes = attributes.get("class") or ""
            tokens = classes.split()
            strength = 3 if tag in BLANK_LINE else 2 if tag in NEW_LINE else 0
            if whole and tag not in STYLE and "-" not in tag:
                strength = max(strength, 2)
            if whole:
                dropped = tag in UNSEEN
            else:
                dropped = (
                    (tag not in KEPT and "-" not in tag)  # a custom element is a page's own name for a container
                    or not FOOTERS.isdisjoint(tokens)
                    or (
                        tag == "div" and not CHROME.isdisjoint((classes, attributes.get("id"), attributes.get("title")))
                    )
                )
            if "more-link" in tokens and not whole:
                nodes.cross(3)
                nodes.text(END_OF_DOCUMENT)
                nodes.cross(3)
            elif dropped:
                nodes.cross(strength)
            else:
                nodes.cross(strength)
                inside = node.first_child
                if inside is not None:
                    dated = tag == "div" and "date" in classes and not whole
                    if tag in STYLE and opened:
                        dated = opened[-1].hides_text
                    figure = Figure() if tag == "figure" else None
                    opened.append(_Open(node, tag, strength, dated, figure))
                    captions += tag == "figcaption"
                    if figure:
                        figures.append(figure)
                    if tag == "picture":
                        sources = []
        following = inside or node.next
        while following is None and opened:
            closed = opened.pop()
            nodes.cross(closed.strength)
            captions -= closed.tag == "figcaption"
            if closed.tag == "picture":
                sources = []
            if closed.figure:
                _caption(figures)
            following = closed.node.next
        node = following
    while figures:
        _caption(figures)
    nodes.flush()
    return nodes.done[:MAX_NODES]


def add_image(
    nodes: Nodes,
    figures: list[Figure],
    attributes: dict[str, str | None],
    base: str,
    sources: Sequence[dict[str, str | None]],
    unscripted: bool,
) -> None:
    width, height = (_length(attributes.get(name)) for name in ("width", "height"))
    if unscripted and {width, height} & {"0", "1", "0px", "1px"}:
        return  # a counter's pixel
    address = image_address(attributes, base, sources, inline=nodes.inline)
    if address is None:
        return
    image = Image(
        url=address.url,
        src=address.src,
        attribute=address.attribute,
        alt=_words(attributes.get("alt")),
        title=_words(attributes.get("title")),
        filename=readable_name(address.url),
        rendered_width=width,
        rendered_height=height,
    )
    nodes.image(image, unscripted)
    if figures:
        figures[-1].images.append(image)


def _caption(figures: list[Figure]) -> None:
    """Closes the innermost figure: its images get its caption, or wait for that of the figure around it."""
    figure = figures.pop()
    caption = " ".join(figure.caption)[:MAX_WORDS]
    if caption or not figures:
        for image in figure.images:
            image.caption = image.caption or caption
    else:
        figures[-1].images += figure.images


def _words(value: str | None) -> str:
    return " ".join((value or "")[:MAX_WORDS].split())


def _length(value: str | None) -> str:
    """A width or height as written where it says pixels or per cent, else ""."""
    value = (value or "").strip()
    return value if _LENGTH.fullmatch(value) else ""
