"""The bytes of a page and its Content-Type in; its text out, whatever the page declares."""

import codecs
import re

import numpy as np
import pyarrow as pa

DECLARED_WITHIN = 1024  # bytes; WHATWG HTML, "prescan a byte stream to determine its encoding"
SAMPLE = 1 << 16  # bytes that detection looks at
MAX_MENDED = 500_000  # characters that are searched for what was encoded twice, which takes up to 1.2 s
_BEYOND = re.compile(r"[^\0-\x7f][^\0-\x1f!-\x7f]++")  # where it can stand: it has no ASCII but spaces

# What was read as windows-1252 or Latin-1 once and is UTF-8 now shows in one of these: "Ã", "Â" before a character of the
# upper half, "â€" and the same with a control character.
ENCODED_TWICE = re.compile(b"\xc3(?:\x83|\x82\xc2|\xa2(?:\xe2\x82\xac|\xc2\x80))")

# WHATWG Encoding Standard, section 4.2: encoding (as Python calls its superset) and the labels that mean it.
_LABELS = {
    "utf-8": "unicode-1-1-utf-8 unicode11utf8 unicode20utf8 utf-8 utf8 x-unicode20utf8",
    "cp866": "866 cp866 csibm866 ibm866",
    "iso8859_2": "csisolatin2 iso-8859-2 iso-ir-101 iso8859-2 iso88592 iso_8859-2 iso_8859-2:1987 l2 latin2",
    "iso8859_3": "csisolatin3 iso-8859-3 iso-ir-109 iso8859-3 iso88593 iso_8859-3 iso_8859-3:1988 l3 latin3",
    "iso8859_4": "csisolatin4 iso-8859-4 iso-ir-110 iso8859-4 iso88594 iso_8859-4 iso_8859-4:1988 l4 latin4",
    "iso8859_5": "csisolatincyrillic cyrillic iso-8859-5 iso-ir-144 iso8859-5 iso88595 iso_8859-5 iso_8859-5:1988",
    "iso8859_6": "arabic asmo-708 csisolatinarabic ecma-114 iso-8859-6 iso-8859-6-e iso-8859-6-i iso8859-6 iso_8859-6",
    "iso8859_7": "csisolatingreek ecma-118 elot_928 greek greek8 iso-8859-7 iso-ir-126 iso8859-7 iso_8859-7 sun_eu_greek",
    "iso8859_8": "csisolatinhebrew hebrew iso-8859-8 iso-8859-8-e iso-8859-8-i iso-ir-138 iso8859-8 iso_8859-8 logical visual",
    "iso8859_10": "csisolatin6 iso-8859-10 iso-ir-157 iso8859-10 iso885910 l6 latin6",
    "iso8859_13": "iso-8859-13 iso8859-13 iso885913",
    "iso8859_14": "iso-8859-14 iso8859-14 iso885914",
    "iso8859_15": "csisolatin9 iso-8859-15 iso8859-15 iso885915 iso_8859-15 l9",
    "iso8859_16": "iso-8859-16",
    "koi8_r": "cskoi8r koi koi8 koi8-r koi8_r",
    "koi8_u": "koi8-ru koi8-u",
    "mac_roman": "csmacintosh mac macintosh x-mac-roman",
    "mac_cyrillic": "x-mac-cyrillic x-mac-ukrainian",
    "cp874": "dos-874 iso-8859-11 iso8859-11 iso885911 tis-620 windows-874",
    "cp1250": "cp1250 windows-1250 x-cp1250",
    "cp1251": "cp1251 windows-1251 x-cp1251",
    "cp1252": "ansi_x3.4-1968 ascii cp1252 cp819 csisolatin1 ibm819 iso-8859-1 iso-ir-100 iso8859-1 iso88591 iso_8859-1 "
    "iso_8859-1:1987 l1 latin1 latin-1 us-ascii windows-1252 x-cp1252 x-user-defined",
    "cp1253": "cp1253 windows-1253 x-cp1253",
    "cp1254": "cp1254 csisolatin5 iso-8859-9 iso-ir-148 iso8859-9 iso88599 iso_8859-9 l5 latin5 windows-1254 x-cp1254",
    "cp1255": "cp1255 windows-1255 x-cp1255",
    "cp1256": "cp1256 windows-1256 x-cp1256",
    "cp1257": "cp1257 windows-1257 x-cp1257",
    "cp1258": "cp1258 windows-1258 x-cp1258",
    "gb18030": "chinese csgb2312 csiso58gb231280 gb2312 gb_2312 gb_2312-80 gbk iso-ir-58 x-gbk gb18030",
    "big5hkscs": "big5 big5-hkscs cn-big5 csbig5 x-x-big5",
    "euc_jp": "cseucpkdfmtjapanese euc-jp x-euc-jp",
    "iso2022_jp_ext": "csiso2022jp iso-2022-jp",
    "cp932": "csshiftjis ms932 ms_kanji shift-jis shift_jis sjis windows-31j x-sjis",
    "cp949": "cseuckr csksc56011987 euc-kr iso-ir-149 korean ks_c_5601-1987 ks_c_5601-1989 ksc5601 ksc_5601 windows-949",
    "utf-16-be": "unicodefffe utf-16be",
    "utf-16-le": "csunicode iso-10646-ucs-2 ucs-2 unicode unicodefeff utf-16 utf-16le",
}
CODECS = {label: codec for codec, labels in _LABELS.items() for label in labels.split()}

# The commonest characters of what is written in each encoding: what a right guess shows and a wrong one does not.
_COMMON = {
    "cp1252": "éèàâêîôçüöäßñáíóúãõøåæ’‘“”–—•…«»°©®·€\xa0",
    "cp932": "のにはをたがでてとしれさいるあっかなりらもすこまンスルーイトリア、。",
    "euc_jp": "のにはをたがでてとしれさいるあっかなりらもすこまンスルーイトリア、。",
    "gb18030": "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也年，。",
    "big5hkscs": "的一是不了在人有我他這個們中來上大為和國地到以說時要就出會可也年，。",
    "cp949": "이다의는에을가로고하지한은기도를리아사인나자대시어라해그정으서일",
    "cp1251": "оеаинтсрвлкмдпуяыьгзбчй",
    "koi8_r": "оеаинтсрвлкмдпуяыьгзбчй",
    "cp1250": "ąćęłńóśźżáčďéěíňřšťúůýžőűăâîșț„”–",
    "cp1253": "αβγδεζηθικλμνξοπρστυφχψωςάίέόήύώ",
    "cp1254": "ışğüöçİ",
    "cp1255": "יוהלאתרמבשםנעדחקפגטזכסןצ",
    "cp1256": "اليمونرتبةعدسفهكقحجشصأطخ",
    "cp874": "านรกอเงมยลวดทสต่ปบคหแจพชขใไ้็ัีู์",
}

_COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
_META = re.compile(rb"<meta[\s/][^>]{0,300}?charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{1,40})", re.IGNORECASE)
_XML = re.compile(rb"\s{0,99}<\?xml[^>]{0,99}?encoding\s{0,9}=\s{0,9}[\"']([\w.:-]{1,40})", re.IGNORECASE)
_HEADER = re.compile(r"charset\s{0,9}=\s{0,9}[\"']?\s{0,9}([\w.:-]{1,40})", re.IGNORECASE)


def decode(body: bytes, content_type: str) -> str:
    """`body` as text without NUL and lone surrogates. Never raises.

    In this order: a byte order mark; UTF-8 if the bytes are valid as such, for nothing else looks like it; the charset
    of the Content-Type header; that of a `<meta>` or XML declaration; detection. A declared charset that cannot read a
    tenth of the characters beyond ASCII is passed over. What a server has encoded twice ("Ã¼" for "ü"), as on every
    hundredth page, is mended.
    """
    return recoded(body, content_type).decode()


def recoded(body: bytes, content_type: str) -> bytes:
    """The same in UTF-8, which most pages are in already: their bytes are handed on as they came."""
    plain = not (b"\0" in body or b"\x1b" in body or body.startswith(codecs.BOM_UTF8)) and _is_utf8(body)
    text = body if plain else _decode(body, content_type).replace("\0", "").encode("utf-8", "replace")
    return _mended(text.decode()).encode() if b"\xc3" in text and ENCODED_TWICE.search(text) else text


def _mended(text: str) -> str:
    from ftfy.fixes import decode_inconsistent_utf8

    # What it looks for it searches slowly, so it is given a stretch after the other; the mark says that there is more.
    start, rest = text[:MAX_MENDED], text[MAX_MENDED:]
    return _BEYOND.sub(lambda found: str(decode_inconsistent_utf8(f"{found[0]}|"))[:-1], start) + rest


def _is_utf8(body: bytes) -> bool:
    """Whether the bytes are valid UTF-8, told five times sooner than by decoding them."""
    ends = np.array([0, len(body)], np.int64)
    text = pa.LargeStringArray.from_buffers(1, pa.py_buffer(ends), pa.py_buffer(body))
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _decode(body: bytes, content_type: str) -> str:
    for mark, codec in (
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ):
        if body.startswith(mark):
            return _scalars(body[len(mark) :].decode(codec, "replace"))
    first, second = body[0:40:2].count(0), body[1:40:2].count(0)
    wide = "utf-16-le" if second > 15 and not first else "utf-16-be" if first > 15 and not second else ""
    if wide:
        return _scalars(body.decode(wide, "replace"))
    escapes = b"\x1b" in body  # the seven bits of ISO-2022-JP are valid UTF-8, too
    text = None if escapes else _utf8(body)
    if text is not None:
        return text
    declared = _declared(body, content_type)
    if "iso2022_jp_ext" in declared or b"\x1b$B" in body:
        declared.insert(0, "iso2022_jp_ext")
    elif escapes and (text := _utf8(body)) is not None:
        return text
    best = ""
    least = 2.0
    for codec in declared:
        # A declaration inside the bytes is readable, so it cannot mean UTF-16 (WHATWG takes UTF-8).
        text, unreadable = _read(body, "utf-8" if codec.startswith("utf-16") else codec)
        if unreadable <= 0.1:
            return text
        if unreadable < least:
            best, least = text, unreadable
    text, unreadable = _read(body, _detected(body))
    return text if unreadable < least else best


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _declared(body: bytes, content_type: str) -> list[str]:
    labels = [match[1] for match in [_HEADER.search(content_type[:1000])] if match]
    start = body[:SAMPLE]
    xml = _XML.match(start)
    # Browsers look no further than the first kilobyte; pages that declare later mean it all the same.
    meta = _META.search(_COMMENT.sub(b"", start[:DECLARED_WITHIN])) or _META.search(_COMMENT.sub(b"", start))
    labels += [match[1].decode("ascii", "replace") for match in (meta, xml) if match]
    return list(dict.fromkeys(CODECS[label.lower()] for label in labels if label.lower() in CODECS))


def _read(body: bytes, codec: str) -> tuple[str, float]:
    """The text under `codec`, and the share of its characters beyond ASCII that could not be read."""
    if codec == "cp1252":
        text = body.decode(codec, "c1")
        wrong = sum(text.count(chr(byte)) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
    else:
        text = body.decode(codec, "replace")
        wrong = text.count("\ufffd")
    beyond = len(text) - len(text.encode("ascii", "ignore"))
    return text, wrong / beyond if beyond else 0.0


def _detected(body: bytes) -> str:
    """The codec under which the characters beyond ASCII are those that its languages use most; cp1252 failing that."""
    sample = body[:SAMPLE]
    if sample.isascii():
        sample = body.translate(None, bytes(range(128)))[:SAMPLE]
    if _read(sample, "utf-8")[1] < 0.3:
        return "utf-8"
    scores = {}
    for codec, common in _COMMON.items():
        text, unreadable = _read(sample, codec)
        beyond = [char for char in text if char > "\x7f"]
        # A few stray bytes are more often a copyright sign than Thai.
        if codec == "cp1252" or len(beyond) >= 8:
            scores[codec] = sum(map(common.__contains__, beyond)) / max(len(beyond), 1) - 2 * unreadable
    scores["cp1252"] += 0.1
    return max(scores, key=lambda codec: scores[codec])


def _scalars(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def _c1(error: UnicodeError) -> tuple[str, int]:
    """Bytes that windows-1252 leaves open stand for the C1 controls of the same number (WHATWG)."""
    assert isinstance(error, UnicodeDecodeError)
    return "".join(map(chr, error.object[error.start : error.end])), error.end


codecs.register_error("c1", _c1)
