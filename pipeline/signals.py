"""Response headers and meta elements in; the statements about training that stand in them out, as they were seen."""

from collections.abc import Iterable

from pipeline.document import Signal

HEADERS = {"x-robots-tag", "tdm-reservation", "tdm-policy", "content-usage", "link"}
METAS = {"robots", "tdm-reservation", "tdm-policy"}
MAX_SIGNALS = 32  # of a page; what a page says of itself has no bound of its own
MAX_VALUE = 4_096  # characters


def header_signals(headers: Iterable[tuple[str, str]]) -> list[Signal]:
    return _signals("header", headers, HEADERS)


def page_signals(headers: Iterable[tuple[str, str]], metas: Iterable[tuple[str, str]]) -> list[Signal]:
    """`metas`: name and content of the page's meta elements; one may name a single robot (`googlebot`)."""
    return header_signals(headers) + _signals("meta", metas, METAS)


def _signals(where: str, pairs: Iterable[tuple[str, str]], names: set[str]) -> list[Signal]:
    seen = []
    for name, value in pairs:
        lower = name.strip().lower()
        if lower == "link" and "rsl+xml" not in value.lower():  # of links only those to a licence
            continue
        if lower in names or (where == "meta" and lower.endswith("bot")):
            seen.append(Signal(where, lower, value.strip()[:MAX_VALUE]))
    return seen[:MAX_SIGNALS]
