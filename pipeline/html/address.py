"""The attributes of an image element and the page's base address in; the address of the image out."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote, urljoin, urlsplit, urlunsplit

MAX_ADDRESS = 4096  # characters
MAX_SRCSET = 1 << 16  # characters that are read of one
MAX_WIDTH = 1600  # pixels: the widest candidate of a srcset that is asked for
MAX_FILENAME = 200  # characters

# OBELICS's list in its order; those beside src are filled by lazy loading scripts.
LAZY = (
    "data-src",
    "data-src-fg",
    "data-scroll-image",
    "data-lateloadsrc",
    "data-img-src",
    "data-original",
    "data-gt-lazy-src",
    "data-lazy",
    "data-lazy-src",
    "src2",
    "data-srcset",
    "data-lazy-srcset",
)
EAGER = ("src", "srcset")
TYPES = ("image/jpeg", "image/jpg", "image/png", "image/webp", "")  # of a <source>; what the image rules accept

# The last part of an address that stands in until a script puts the image there.
_PLACEHOLDER = re.compile(
    r"[^/]*placeholder[^/]*\.(?:gif|png|svg|jpe?g|webp)"
    r"|(?:[^/]*[-_.])?(?:blank|spacer|lazy-?load(?:ing)?|loading|loader|spinner|transparent|1x1|1px)(?:[-_.]?\dx?\d?)?\.(?:gif|png|svg)"
    r"|(?:pixel|lazy|empty|clear|dot|trans|dummy|gr[ea]y|white|no-?image|px)(?:[-_.]?\dx?\d?)?\.(?:gif|png|svg)|[0txs]\.gif",
    re.IGNORECASE,
)
_STAND_INS = (".gif", ".png", ".svg")
_CANDIDATE = re.compile(r"[\s,]*+([^\s]++)")
_DESCRIPTORS = re.compile(r"((?:\([^)]*+\)?|[^,(])*+),?")
_DESCRIPTOR = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([wx])")
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?|[0-9a-f:.]*:[0-9a-f:.]*")
_ENDING = re.compile(r"\.[A-Za-z0-9]{1,5}$")
_BETWEEN_WORDS = re.compile(r"[\s_+\x00-\x1f-]+")
_BREAKS = re.compile(r"[\t\r\n]")
_SIZE = re.compile(r"(?:[-_ ]\d{2,5}x\d{2,5}|@\dx|[-_ ]scaled)$")
# An address that resolving leaves as it is: most are so, and it is what takes the longest.
_RESOLVED = re.compile(
    r"https?://[a-z0-9_-]++(?:\.[a-z0-9_-]++)++(?:/(?!\.)[a-zA-Z0-9_~!$&'()*+,:=@%-][a-zA-Z0-9_~.!$&'()*+,:=@%-]*+)++/?(?:\?[a-zA-Z0-9_~.!$&()*+,/:=@%-]++)?"
)
# What the WHATWG URL standard leaves as written in a path and in a query (of printable ASCII), "%" included.
_PATH_SAFE = "!$%&'()*+,-./:;=@[]\\^_|~"
_QUERY_SAFE = "!$%&()*+,-./:;=?@[]\\^_`{|}~"


# RFC 2397, as pages use it for images; what is before the comma is its first group.
_INLINE = re.compile(r"\s*+(data:image/(?:jpe?g|png|webp|gif);base64),[A-Za-z0-9+/=\s]*+", re.IGNORECASE)
MIN_INLINE = 512  # bytes: less is a spacer or a blurred preview


class Address(NamedTuple):
    url: str
    src: str  # as written
    attribute: str


class Candidate(NamedTuple):
    """One of a srcset: `width` in pixels (descriptor w) or `density` (descriptor x, 1 where there is none)."""

    src: str
    width: float | None
    density: float | None


def image_address(
    attributes: Mapping[str, str | None],
    base: str,
    sources: Sequence[Mapping[str, str | None]] = (),
    max_width: int = MAX_WIDTH,
    inline: int = 0,
) -> Address | None:
    """The first usable address of an `<img>`, or of the `<source>`s of its `<picture>`; None where there is none.

    Lazy loading's attributes come before `src` where that is a placeholder, or where the class says "lazy". A
    placeholder is never an answer. An image inside of `src` (`data:`) is one where there is no other, and it has at most
    `inline` bytes.
    """
    lazy_first = "lazy" in (attributes.get("class") or "").lower()
    order = (*LAZY, *EAGER) if lazy_first else (*EAGER, *LAZY)
    for name in order:
        value = attributes.get(name)
        if value and (found := _usable(value, name, base, max_width)):
            return found
    for source in sources:
        if (source.get("type") or "").split(";")[0].strip().lower() in TYPES:
            for name in ("srcset", "data-srcset", "data-lazy-srcset", "src", "data-src"):
                value = source.get(name)
                if value and (found := _usable(value, name, base, max_width)):
                    return found
    written = attributes.get("src") or ""
    if (
        len(written) <= 2 * inline
        and (held := _INLINE.fullmatch(written))
        and MIN_INLINE <= len(inline_image(written)) <= inline
    ):
        return Address(written.strip(), held[1], "src")
    return None


def inline_image(url: str) -> bytes:
    """The image inside of a `data:` address that `image_address` gave; empty where it cannot be decoded."""
    try:
        return b64decode(url.partition(",")[2])
    except ValueError:
        return b""


def _usable(value: str, name: str, base: str, max_width: int) -> Address | None:
    written = widest(srcset(value), max_width) if name.endswith("srcset") else value
    if not written or is_placeholder(written):
        return None
    url = resolve(base, written)
    return Address(url, written.strip(), name) if url else None


def is_placeholder(src: str) -> bool:
    """Whether the address stands in for an image that a script loads later."""
    start = src.lstrip()[: MAX_ADDRESS + 1]
    if start[:5].lower() == "data:" or start[:6].lower() == "about:":
        return True
    path = start.partition("#")[0].partition("?")[0]
    name = path.rpartition("/")[2][:MAX_FILENAME]
    if name.isascii() and "placeholder" not in (lower := name.lower()) and not lower.endswith(_STAND_INS):
        return False  # most are told by this
    return _PLACEHOLDER.fullmatch(name) is not None


def srcset(value: str) -> Iterator[Candidate]:
    """The candidates of a srcset in their order (WHATWG HTML, "parse a srcset attribute"). An invalid descriptor costs
    its candidate only."""
    value = value[:MAX_SRCSET]
    at = 0
    while match := _CANDIDATE.match(value, at):
        at = match.end()
        src = match[1].rstrip(",")
        descriptors: list[str] = []
        if src == match[1]:
            rest = _DESCRIPTORS.match(value, at)
            assert rest is not None  # it matches nothing, too
            at = rest.end()
            descriptors = rest[1].split()
        parsed = [_DESCRIPTOR.fullmatch(word) for word in descriptors if not re.fullmatch(r"\d{1,9}h", word)]
        if not src or len(parsed) > 1 or not all(parsed):
            continue
        size = float(parsed[0][1]) if parsed and parsed[0] else 1.0
        wide = bool(parsed and parsed[0] and parsed[0][2] == "w")
        yield Candidate(src, size if wide else None, None if wide else size)


def widest(candidates: Iterator[Candidate], max_width: int) -> str | None:
    """The widest candidate of at most `max_width` pixels, else the narrowest; of densities the highest up to 2."""
    best: tuple[bool, float] | None = None
    src = None
    for candidate in candidates:
        if is_placeholder(candidate.src):
            continue
        size, bound = (candidate.width, max_width) if candidate.width is not None else (candidate.density or 1.0, 2)
        rank = (size <= bound, size if size <= bound else -size)
        if best is None or rank > best:
            best, src = rank, candidate.src
    return src


def resolve(base: str, reference: str) -> str | None:
    """`reference` as an absolute http(s) address without fragment, escaped as a browser would, or None (RFC 3986, 5.2).

    A percent escape stays as written: the server may tell "%2F" from "/".
    """
    if len(reference) > 2 * MAX_ADDRESS:
        return None
    reference = _BREAKS.sub("", reference.strip("\0\t\n\v\f\r "))
    # What begins with "/" only lacks the beginning of `base`.
    whole = reference if reference[:1] != "/" else _origin(base, "//" if reference[:2] == "//" else "/") + reference
    if _RESOLVED.fullmatch(whole) and len(whole) <= MAX_ADDRESS:
        return whole
    return _resolved(base, reference)


@lru_cache(maxsize=16)
def _origin(base: str, slashes: str) -> str:
    """What stands before a reference that begins with these slashes and no more; "" where `base` is no address."""
    root = _resolved(base, "/") or ""
    return root.partition("//")[0] if slashes == "//" else root[:-1]


def _resolved(base: str, reference: str) -> str | None:
    scheme = _SCHEME.match(reference)
    if not reference or (scheme and scheme[1].lower() not in ("http", "https")):
        return None
    path, mark, query = re.split(r"#", reference, maxsplit=1)[0].partition("?")
    try:
        parts = urlsplit(urljoin(base, path.replace("\\", "/") + mark + query))
        host, port = parts.hostname, parts.port
        if parts.scheme not in ("http", "https") or not host or parts.username is not None:
            return None
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError:  # a port, a bracket or a host name that is none
        return None
    if not _HOST.fullmatch(host):
        return None
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != {"http": 80, "https": 443}[parts.scheme]:
        host = f"{host}:{port}"
    path = quote(parts.path or "/", safe=_PATH_SAFE, errors="replace")
    query = quote(parts.query, safe=_QUERY_SAFE, errors="replace")
    url = urlunsplit((parts.scheme, host, path, query, ""))
    return url if len(url) <= MAX_ADDRESS else None


def readable_name(url: str) -> str:
    """The file name of an address in words: "/img/Red_fox-in%20snow.jpg" gives "Red fox in snow"."""
    if url.startswith("data:"):
        return ""
    path = url.partition("#")[0].partition("?")[0].partition("//")[2]
    name = unquote(path.rpartition("/")[2][: 4 * MAX_FILENAME] if "/" in path else "", errors="replace")
    stem = _SIZE.sub("", _ENDING.sub("", name))
    return _BETWEEN_WORDS.sub(" ", stem).strip()[:MAX_FILENAME]
