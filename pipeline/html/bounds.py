"""The text of a page in; as much of it out, in UTF-8, as parsers read in seconds."""

import re

import numpy as np

# lexbor takes time quadratic in the depth of a page and in the attributes of one tag, and memory in the product of open
# formatting elements and blocks. The largest of 1,300 real pages has 19,000 tags.
MAX_CHARACTERS = 5_000_000
MAX_TAGS = 50_000  # start and end tags; nested as deep as that they take 3 s
MAX_ATTRIBUTES = 3_000  # of one tag, in 13 ms; SVG paths with broken quotes reach 900
MAX_FORMATTING = 1_000_000  # distinct formatting tags × tags
# Bytes of what may be tags, as far as they would go, in half a second; real pages have 2 million.
MAX_SCANNED = 60_000_000
MAX_REPAIRS = 20

_TAG = re.compile(rb"</?[a-zA-Z]")
# Alike ones without attributes are opened three times at most (WHATWG HTML, 13.2.4.3).
_FORMATTING = re.compile(
    rb"<(?=[bcefinstu])(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s/]", re.IGNORECASE
)
# The same by two bytes: a table of those that such names, or those of other elements, begin with.
_BEGINS_FORMATTING = np.zeros(1 << 16, bool)
for _first, _seconds in {
    "b": "iI",
    "c": "oO",
    "e": "mM",
    "f": "oO",
    "n": "oO",
    "s": "mMtT",
    "t": "tT",
    "i": "",
    "u": "",
}.items():
    for _second in _seconds + (" \t\n\r\f\v/" if _first in "bisu" else ""):
        for _letter in (_first, _first.upper()):
            _BEGINS_FORMATTING[ord(_letter) | ord(_second) << 8] = True
_WHOLE_FORMATTING = re.compile(
    rb"</?(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])[^<>]*+>?", re.IGNORECASE
)

# WHATWG HTML, 13.2.5, as the tokenizer delimits them: an attribute; as many as a tag may have, and the tag's end.
_ATTRIBUTE = rb"(?:[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"?+|'[^']*+'?+|[^\s>\"'][^\s>]*+)?+)?+)"
_ATTRIBUTES = _ATTRIBUTE + b"{0,%d}+" % (MAX_ATTRIBUTES - 1) + rb"[\s/]*+(?:>|\Z)"
_RAW = b"|".join(
    rb"(?i:%b)(?=[\s/>])%b[^<]*+(?:<(?!/(?i:%b)[\s/>])[^<]*+)*+" % (name, _ATTRIBUTES, name)
    for name in b"script style textarea title xmp iframe noembed noframes".split()
)
_COMMENT = rb"!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+)"
# A page to its end, or to the first tag with more attributes. Possessive throughout, so that it takes linear time.
_SOUND = re.compile(
    rb"(?:[^<]*+<(?:(?=[sStTxXiInN])(?:%b)|/?+[a-zA-Z][^\s/>]*+%b|%b|(?:[!?]|/(?![a-zA-Z]))[^>]*+|(?![a-zA-Z/!?])))*+"
    % (_RAW, _ATTRIBUTES, _COMMENT)
)
_OPENED = re.compile(rb"</?+[a-zA-Z][^\s/>]*+" + _ATTRIBUTE + b"*+")
_CLOSES = re.compile(rb"</|--")
_CROWDED = re.compile(rb"</?+[a-zA-Z][^\s/>]*+" + _ATTRIBUTE + b"{%d}+" % MAX_ATTRIBUTES)
_BETWEEN = b" \t\n\r\f\v/\"'"  # one of these stands between two attributes at least
_TRIES = 4


def bounded(html: str | bytes) -> bytes:
    """`html`, text or valid UTF-8, cut where a parser would need more than seconds for it."""
    if isinstance(html, bytes) and len(html) > MAX_CHARACTERS:
        html = html.decode()
    page = html if isinstance(html, bytes) else html[:MAX_CHARACTERS].encode("utf-8", "replace")
    tags = int(np.count_nonzero(np.frombuffer(page, np.uint8) == ord("<")))
    if tags > MAX_TAGS:
        for number, match in enumerate(_TAG.finditer(page)):
            if number == MAX_TAGS:
                page = page[: match.start()]
                break
    page = _uncrowded(page)
    if (
        tags > 2 * MAX_FORMATTING**0.5  # of fewer no split into formatting and others has such a product
        and _most_formatting(page) * tags > MAX_FORMATTING
        and len(_FORMATTING.findall(page)) * tags > MAX_FORMATTING
        and len(set(_WHOLE_FORMATTING.findall(page))) * tags > MAX_FORMATTING
    ):
        page = _WHOLE_FORMATTING.sub(b"", page)
    return page


def _most_formatting(html: bytes) -> int:
    """No less than the matches of _FORMATTING, and found sooner."""
    data = np.frombuffer(html, np.uint8)
    at = np.flatnonzero(data[:-2] == ord("<"))
    return int(np.count_nonzero(_BEGINS_FORMATTING[data[at + 1] | data[at + 2].astype(np.uint16) << 8]))


def _uncrowded(html: bytes) -> bytes:
    """`html` without tags that have too many attributes: cut at the first. What looks like one inside of a script or a
    comment is taken out, because there is content (of SVG, say) in which neither is one."""
    start = end = scanned = 0
    for _ in range(MAX_REPAIRS):
        start, end, scanned = _crowded(html, scanned)
        if start < 0:
            return html
        if scanned > MAX_SCANNED:
            break
        sound = _SOUND.match(html)
        assert sound is not None  # it matches nothing, too
        if html.find(b"<", sound.end()) >= 0:
            html = html[: sound.end()]
        else:
            closes = _CLOSES.search(html, start + 1, end)  # the script, perhaps, or the comment
            html = html[:start] + html[closes.start() if closes else end :]
    return html[:start]


def _crowded(html: bytes, scanned: int) -> tuple[int, int, int]:
    """From where to where there may be a tag with too many attributes, wherever tags begin and end: a "<" that they
    follow if it begins a tag; -1 if there is none. And how many bytes were `scanned` for that, with those before.

    Asked only where no ">" that ends a tag for certain comes within as many bytes as the attributes need at least; to
    know that takes a look at one ">" in some thousand bytes.
    """
    least = 2 * MAX_ATTRIBUTES
    stride = least // 2
    start = -1  # of what may be a tag, not ended yet
    at = searched = _uncrowded_till(html)
    while at < len(html):
        end = html.rfind(b">", at, at + stride)
        at = min(end + 1 if end >= 0 else at + stride, len(html))
        while True:
            if start < 0 and (tag := _TAG.search(html, searched, at)):
                start = tag.start()
            searched = max(searched, at - 1) if start < 0 else start + 1
            if start < 0 or at - start < least:
                break
            opened = _OPENED.match(html, start)
            assert opened is not None
            scanned += opened.end() - start
            if scanned > MAX_SCANNED or _is_crowded(html, start, opened.end()):
                return start, opened.end(), scanned
            start = -1
        if end >= 0 and (start < 0 or not _may_be_quoted(html, start, end)):
            start, searched = -1, at
    return -1, -1, scanned


def _uncrowded_till(html: bytes) -> int:
    """The end of a page of which every tag is short, or a place before the first that may be long; no tag before that
    is crowded, or goes on there. Most pages are told by this."""
    least = 2 * MAX_ATTRIBUTES
    start = 0
    while len(html) - start >= least:
        stop = start + least
        if end := _certain_end(html, start, stop):
            start = end
        elif (at := html.find(b"<", start, stop)) < 0:
            start = stop
        elif (tag := _TAG.search(html, at, stop)) is None:
            start = stop - len("</a") + 1  # where one may begin
        elif tag.start() > start:
            start = tag.start()
        else:
            return start
    return len(html)


def _is_crowded(html: bytes, start: int, end: int) -> bool:
    written = html[start:end]
    if len(written) < 2 * MAX_ATTRIBUTES or len(written) - len(written.translate(None, _BETWEEN)) < MAX_ATTRIBUTES - 1:
        return False
    return _CROWDED.match(html, start) is not None


def _certain_end(html: bytes, start: int, stop: int) -> int:
    """Past a late ">" before `stop` that ends any tag which begins at `start` or later; 0 where none is found."""
    for _ in range(_TRIES):
        stop = html.rfind(b">", start, stop)
        if stop < 0:
            break
        if not _may_be_quoted(html, start, stop):
            return stop + 1
    return 0


def _may_be_quoted(html: bytes, start: int, at: int) -> bool:
    """Whether the character may stand in the quoted value of an attribute of a tag that begins at `start` or later: the
    last quote of a kind is the one that opens it."""
    return _opens(html, start, html.rfind(b"'", start, at)) or _opens(html, start, html.rfind(b'"', start, at))


def _opens(html: bytes, start: int, quote: int) -> bool:
    """Whether the quote, if there is one, may open a value."""
    if quote < 0 or html[quote - 1] not in b"= \t\n\r\f\v":
        return quote == start
    before = html[max(start, quote - 20) : quote].rstrip()
    return not before or before.endswith(b"=")
