"""Addresses in; what tells one from another out: canonical addresses, hosts, registered domains."""

from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_plus, urlsplit, urlunsplit

if TYPE_CHECKING:
    from pipeline.config import Canonical

_DEFAULT_PORTS = {("http", 80), ("https", 443)}


def canonical_url(url: str) -> str:
    """Scheme and host in lower case, the host in ASCII, no default port, no fragment (RFC 3986 §6.2, IDNA); what cannot
    be split stays."""
    try:
        parts = urlsplit(url.strip())
        scheme, host = parts.scheme.lower(), _netloc(parts, (parts.hostname or "").rstrip("."), keep_default_port=False)
    except ValueError:
        return url
    return urlunsplit((scheme, host, parts.path or "/", parts.query, ""))


def page_address(url: str, settings: "Canonical") -> str:
    """The address by which two captures are of one page; letter by letter as it is where nothing is to be taken from it,
    and where it cannot be split."""
    if not any(value for _, value in settings):
        return url
    try:
        parts = urlsplit(url.strip())
        scheme = parts.scheme.lower()
        name = _written(parts) if not settings.host_case else parts.hostname or ""
        name = name.rstrip(".") if settings.trailing_dots else name
        if settings.www and name.lower().startswith("www.") and "." in name[4:]:
            name = name[4:]
        host = _netloc(parts, name, keep_default_port=not settings.default_port)
    except ValueError:
        return url
    query = [piece for piece in parts.query.split("&") if not _tracks(piece, settings.parameters)]
    query = sorted(query) if settings.sort_query else query
    fragment = "" if settings.fragment else parts.fragment
    return urlunsplit(("" if settings.scheme else scheme, host, parts.path or "/", "&".join(query), fragment))


def _netloc(parts: SplitResult, name: str, keep_default_port: bool) -> str:
    """Host in ASCII, with its port where that tells something. Raises ValueError for a host or port that is none."""
    name = name if name.isascii() else name.encode("idna").decode()
    name = f"[{name}]" if ":" in name else name
    default = (parts.scheme.lower(), parts.port) in _DEFAULT_PORTS
    return name if parts.port is None or (default and not keep_default_port) else f"{name}:{parts.port}"


def _written(parts: SplitResult) -> str:
    """The host in the letters of the address."""
    start = parts.netloc.lower().rfind(parts.hostname or "")
    return parts.netloc[start : start + len(parts.hostname or "")]


def _tracks(piece: str, parameters: list[str]) -> bool:
    name = unquote_plus(piece.partition("=")[0]).lower()
    return any(name.startswith(p[:-1].lower()) if p.endswith("*") else name == p.lower() for p in parameters)


def host_of(url: str) -> str:
    """Host and port of a canonical address; empty for one that cannot be split."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        return ""


@lru_cache(maxsize=2**16)
def registered_domain(host: str) -> str:
    """What was registered below a public suffix ("news.example.co.uk" → "example.co.uk"), by the Public Suffix List that
    comes with `tld`, private suffixes included: two sites of one hoster are two. Else the host itself: an IP address, a
    name below no suffix of the list."""
    from tld import get_tld

    found = get_tld(f"http://{host}/", fail_silently=True, as_object=True)
    return str(found.fld) if found is not None and not isinstance(found, str) and found.domain else host
