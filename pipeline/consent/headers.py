"""Response headers and meta elements in; what they say of training out."""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urljoin

from filters.verdict import Verdict
from pipeline.consent.finding import Finding, decisive
from pipeline.consent.usage import content_usage
from pipeline.document import Signal

# DeviantArt's directives, 2022; img2dataset and Spawning read the same two. "noimageai" spares the text, but a document
# of this corpus is nothing without its images.
REFUSALS = {"noai", "noimageai"}
NOINDEX = {"noindex", "noimageindex"}  # heeded by img2dataset, too
# Directives that hold a colon themselves, so that what stands before it names no robot (Google, Robots meta tag).
DIRECTIVES_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}

# RFC 8288, a link and its parameters. Possessive, so that it takes linear time.
_LINK = re.compile(r"<([^<>]*+)>((?:\s*+;\s*+[^\s;,=\"]++(?:\s*+=\s*+(?:\"[^\"]*+\"|[^\s;,\"]*+))?+)*+)")
_PARAMETER = re.compile(r";\s*+([^\s;,=\"]++)\s*+=\s*+(?:\"([^\"]*+)\"|([^\s;,\"]*+))")


def said(signals: Iterable[Signal], heeded: Sequence[str]) -> list[Finding]:
    """What each of the heeded signals says, in their order. A refusal that is addressed to one robot is taken as meant for
    us; of TDMRep a meta element overrides a header."""
    found: list[Finding] = []
    reservations: dict[str, str] = {}
    for signal in signals:
        where = f"{signal.where} {signal.name}"
        if signal.name == "tdm-reservation":
            value = signal.value.strip()
            if value in ("0", "1"):  # TDMRep: any other value is as if it were not there
                reservations[where] = max(value, reservations.get(where, "0"))
        elif signal.name == "content-usage":
            if "content_usage" in heeded and (says := content_usage(signal.value)):
                found.append(Finding(says, "content_usage", where, signal.value))
        elif signal.name == "link":
            if "rsl" in heeded:
                found += [Finding("not_checked", "rsl", where, url) for url in licences([signal])]
        elif signal.name != "tdm-policy":
            rule = "x_robots_tag" if signal.name == "x-robots-tag" else "meta_robots"
            refusals = REFUSALS | NOINDEX if "noindex" in heeded else REFUSALS
            if rule in heeded and refusals & set(directives(signal.value)):
                found.append(Finding("refused", rule, where, signal.value))
    for where in ("meta tdm-reservation", "header tdm-reservation"):
        if where in reservations and "tdm_reservation" in heeded:
            says = "refused" if reservations[where] == "1" else "allowed"
            found.append(Finding(says, "tdm_reservation", where, reservations[where]))
            break
    return found


def refusal(signals: Iterable[Signal], heeded: Sequence[str], strict: bool = False) -> tuple[str, Verdict] | None:
    """For which signal something goes, as the rule of that name and its verdict; none if nothing says no."""
    finding = decisive(said(signals, heeded), strict)
    return finding.drop if finding else None


def directives(value: str) -> list[str]:
    """The directives of a robots header or meta, lower case, without the name of a robot that may stand before them."""
    found = []
    for part in value.lower().split(","):
        head, colon, tail = part.partition(":")
        found.append((tail if colon and head.strip() not in DIRECTIVES_WITH_VALUE else part).strip())
    return found


def absolute(base: str, url: str) -> str:
    """An address as it is meant where it stands; one that cannot be split stays."""
    try:
        return urljoin(base, url.strip())
    except ValueError:
        return url.strip()


def licences(signals: Iterable[Signal], base: str = "") -> list[str]:
    """The addresses of RSL documents in Link headers: rel="license" and the type of RSL; relative to `base`."""
    found = []
    for signal in signals:
        for url, rest in _LINK.findall(signal.value if signal.name == "link" else ""):
            parameters = {name.lower(): (quoted or bare).lower() for name, quoted, bare in _PARAMETER.findall(rest)}
            if "license" in parameters.get("rel", "").split() and parameters.get("type") == "application/rsl+xml":
                found.append(absolute(base, url))
    return found
