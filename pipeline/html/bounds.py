"""The text of a page in; as much of it out as parsers read in seconds."""

import re

# The parser takes time quadratic in the depth of a page and in the attributes of one tag, and memory in the product of
# open formatting elements and blocks. The largest of 1,300 real pages has 19,000 tags.
MAX_CHARACTERS = 5_000_000
MAX_TAGS = 50_000  # start and end tags; nested as deep as that they take 3 s
MAX_ATTRIBUTES = 2_000  # of one tag; SVG paths with broken quotes reach 900
MAX_FORMATTING = 1_000_000  # distinct formatting tags × tags

_TAG = re.compile(r"<[a-zA-Z/]")
_FORMATTING = re.compile(
    r"</?(?:b|big|code|em|font|i|nobr|s|small|strike|strong|tt|u)(?=[\s/>])[^<>]*+>?", re.IGNORECASE
)
# WHATWG HTML, 13.2.5: a tag with too many attributes, as the tokenizer delimits them, or else raw text and comments, in
# which nothing is a tag. Possessive throughout, so that the search is linear.
_CROWDED = re.compile(
    r"<(?:(?P<crowded>[a-zA-Z][^\s/>]*+"
    r"(?:[\s/]*+[^\s/>][^\s/>=]*+(?:\s*+=\s*+(?:\"[^\"]*+\"?|'[^']*+'?|[^\s>\"'][^\s>]*+)?+)?+)"
    rf"{{{MAX_ATTRIBUTES}}}+)"
    r"|(?P<raw>(?i:script|style|textarea|title|xmp|iframe|noembed|noframes))\b[^<]*+(?:<(?!/(?i:(?P=raw)))[^<]*+)*+"
    r"|!--(?:-?>|[^-]*+(?:-(?!-!?>)[^-]*+)*+))"
)


def bounded(html: str) -> str:
    """`html`, cut where the parser would need more than seconds for it."""
    html = html[:MAX_CHARACTERS]
    tags = html.count("<")
    if tags > MAX_TAGS:
        for number, match in enumerate(_TAG.finditer(html)):
            if number == MAX_TAGS:
                html = html[: match.start()]
                break
    for match in _CROWDED.finditer(html):
        if match["crowded"]:
            html = html[: match.start()]
            break
    if tags > MAX_FORMATTING**0.5 and len(set(_FORMATTING.findall(html))) * tags > MAX_FORMATTING:
        html = _FORMATTING.sub("", html)
    return html
