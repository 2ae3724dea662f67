"""The text of a page in; as much of it out as parsers read in seconds."""

import re

# lexbor takes time quadratic in the depth of a page and in the attributes of one tag, and memory in the product of open
# formatting elements and blocks. The largest of 1,300 real pages has 19,000 tags.
MAX_CHARACTERS = 5_000_000
MAX_TAGS = 50_000  # start and end tags; nested as deep as that they take 3 s
MAX_ATTRIBUTES = 3_000  # of one tag, in 13 ms; SVG paths with broken quotes reach 900
MAX_FORMATTING = 1_000_000  # distinct formatting tags × tags
MAX_SCANNED = 20_000_000  # characters of what may be tags, as far as they would go; real pages have 2 million
MAX_REPAIRS = 20

_TAG = re.compile(r"</?[a-zA-Z]")
# Alike ones without attributes are opened three times at most (WHATWG HTML, 13.2.4.3).
_FORMATTING = re.compile(
    r"<(?=[bcefinstu])(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)[\s/]", re.IGNORECASE
)
_WHOLE_FORMATTING = re.compile(
    r"</?(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])[^<>]*+>?", re.IGNORECASE
)

# WHATWG HTML, 13.2.5, as the tokenizer delimits them: an attribute; as many as a tag may have, and the tag's end.
_ATTRIBUTE = r"(?:[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"?+|'[^']*+'?+|[^\s>\"'][^\s>]*+)?+)?+)"
_ATTRIBUTES = rf"{_ATTRIBUTE}{{0,{MAX_ATTRIBUTES - 1}}}+[\s/]*+(?:>|\Z)"
_RAW = "|".join(
    rf"(?i:{name})(?=[\s/>]){_ATTRIBUTES}[^<]*+(?:<(?!/(?i:{name})[\s/>])[^<]*+)*+"
    for name in ("script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes")
)
_COMMENT = r"!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+)"
# A page to its end, or to the first tag with more attributes. Possessive throughout, so that it takes linear time.
_SOUND = re.compile(
    rf"(?:[^<]*+<(?:(?=[sStTxXiInN])(?:{_RAW})|/?+[a-zA-Z][^\s/>]*+{_ATTRIBUTES}|{_COMMENT}|(?:[!?]|/(?![a-zA-Z]))[^>]*+|(?![a-zA-Z/!?])))*+"
)
_OPENED = re.compile(rf"</?+[a-zA-Z][^\s/>]*+{_ATTRIBUTE}*+")
_CLOSES = re.compile(r"</|--")
_CROWDED = re.compile(rf"</?+[a-zA-Z][^\s/>]*+{_ATTRIBUTE}{{{MAX_ATTRIBUTES}}}+")


def bounded(html: str) -> str:
    """`html`, cut where a parser would need more than seconds for it."""
    html = html[:MAX_CHARACTERS]
    tags = html.count("<")
    if tags > MAX_TAGS:
        for number, match in enumerate(_TAG.finditer(html)):
            if number == MAX_TAGS:
                html = html[: match.start()]
                break
    html = _uncrowded(html)
    if (
        tags > 2 * MAX_FORMATTING**0.5  # of fewer no split into formatting and others has such a product
        and len(_FORMATTING.findall(html)) * tags > MAX_FORMATTING
        and len(set(_WHOLE_FORMATTING.findall(html))) * tags > MAX_FORMATTING
    ):
        html = _WHOLE_FORMATTING.sub("", html)
    return html


def _uncrowded(html: str) -> str:
    """`html` without tags that have too many attributes: cut at the first. What looks like one inside of a script or a
    comment is taken out, because there is content (of SVG, say) in which neither is one."""
    start = end = 0
    for _ in range(MAX_REPAIRS):
        start, end = _crowded(html)
        if start < 0:
            return html
        sound = _SOUND.match(html)
        assert sound is not None  # it matches nothing, too
        if html.find("<", sound.end()) >= 0:
            html = html[: sound.end()]
        else:
            closes = _CLOSES.search(html, start + 1, end)  # the script, perhaps, or the comment
            html = html[:start] + html[closes.start() if closes else end :]
    return html[:start]


def _crowded(html: str) -> tuple[int, int]:
    """From where to where there may be a tag with too many attributes, wherever tags begin and end: a "<" that they
    follow if it begins a tag; (-1, -1) if there is none.

    Asked only where no ">" that ends a tag for certain comes for as many characters as the attributes need at least; to
    know that takes a look at one ">" in some thousand characters.
    """
    least = 2 * MAX_ATTRIBUTES
    stride = least // 2
    start = -1  # of what may be a tag, not ended yet
    at = searched = scanned = 0
    while at < len(html):
        end = html.rfind(">", at, at + stride)
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
            if scanned > MAX_SCANNED or (opened.end() - start >= least and _CROWDED.match(html, start)):
                return start, opened.end()
            start = -1
        if end >= 0 and (start < 0 or not _may_be_quoted(html, start, end)):
            start, searched = -1, at
    return -1, -1


def _may_be_quoted(html: str, start: int, at: int) -> bool:
    """Whether the character may stand in the quoted value of an attribute of a tag that begins at `start` or later."""
    for quote in ("'", '"'):
        opens = html.rfind(quote, start, at)
        if opens >= 0:
            before = html[max(start, opens - 20) : opens].rstrip()
            if not before or before[-1] == "=":
                return True
    return False
