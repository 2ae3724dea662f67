"""A page of the sample crawl in; the HTML that its host would serve out."""

import html
import re
from datetime import datetime
from urllib.parse import urljoin, urlsplit

from pipeline.sample.definitions import PROSE, Host, Page, expand

_IMAGE = re.compile(r'!\[([^\]]*)\]\((\S+?)(?: "([^"]*)")?\)')
_LINK = re.compile(r"\[([^\]]*)\]\(([^)]*)\)")


def page_html(page: Page, host: Host, date: datetime) -> str:
    """The whole page as text: the host's template around the blocks of its body, or a body that is a page already."""
    if page.body.startswith("<!DOCTYPE"):
        return page.body
    title, _, body = page.body.partition("\n\n")
    tag = "P" if host.charset == "iso-8859-1" else "p"
    values = {
        "title": html.escape(title.removeprefix("# "), quote=False),
        "body": "\n".join(_block_html(block, host, tag) for block in _blocks(body)),
        "ring": (PROSE / "ring.html").read_text("utf-8") if page.ring else "",
        "date": f"{date.day} {date:%B} {date.year}",
        **{"url": page.url, "head": page.head, "meta": page.meta, "language": page.language},
    }
    text = (PROSE / f"{page.host}.html").read_text("utf-8")
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    return text


def paragraph_starting(page_text: str, start: str) -> str:
    """The first 60 characters of the paragraph of an HTML page that begins with `start`; ValueError without one."""
    for paragraph in re.findall(r"<p[^>]*>([^<]*)", page_text, re.IGNORECASE):
        words = html.unescape(paragraph)
        if words.startswith(start):
            return words[:60]
    raise ValueError(f"no paragraph begins with {start!r}")


def _blocks(body: str) -> list[str]:
    return [line for block in body.split("\n\n") if block for line in expand(block)]


def _block_html(block: str, host: Host, tag: str) -> str:
    if block.startswith("<"):
        return block
    if block.startswith("## "):
        return f"<h2>{html.escape(block[3:], quote=False)}</h2>"
    image = _IMAGE.fullmatch(block)
    if image is None:
        words = _LINK.sub(r'<a href="\2">\1</a>', html.escape(block, quote=False))
        return f"<{tag}>{words}</{tag}>"
    alt, name, caption = image.groups()
    src = urljoin(host.images, name)
    values = {"src": src, "path": urlsplit(src).path, "alt": html.escape(alt)}
    if caption is None:
        return host.image.format(**values)
    return host.figure.format(**values, caption=html.escape(caption, quote=False))
