"""The bytes of an image in; the XMP packets and C2PA manifest stores that stand in it out. No pixel is decoded."""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from pipeline.consent.xml import Malformed

MAX_XMP = 4 * 10**6  # bytes of all packets
MAX_CHUNKS = 100_000

_XMP = b"http://ns.adobe.com/xap/1.0/\0"  # XMP specification part 3, 1.1.3
_MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"  # then GUID (32 bytes), full length (4), offset (4)


@dataclass
class Blocks:
    """`error`: the file or a block of it ends too early, so that there may have been more."""

    xmp: list[bytes] = field(default_factory=list)
    c2pa: list[bytes] = field(default_factory=list)  # JUMBF
    error: str = ""


def read_blocks(data: bytes) -> Blocks | None:
    """The blocks of a JPEG, PNG or WebP; None for other formats."""
    blocks = Blocks()
    try:
        if data.startswith(b"\xff\xd8\xff"):
            _jpeg(data, blocks)
        elif data.startswith(b"\x89PNG\r\n\x1a\n"):
            _png(data, blocks)
        elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            _webp(data, blocks)
        else:
            return None
    except Malformed as error:
        blocks.error = str(error)
    if sum(map(len, blocks.xmp)) > MAX_XMP:
        blocks.xmp, blocks.error = [], f"more than {MAX_XMP} bytes of XMP"
    return blocks


def _jpeg(data: bytes, blocks: Blocks) -> None:
    """Segments up to the first scan (ITU-T T.81, B.1.1); APP1 holds XMP, APP11 pieces of JUMBF boxes (ISO 19566-5)."""
    extended: dict[bytes, list[tuple[int, bytes]]] = {}
    boxes: dict[bytes, list[tuple[int, bytes]]] = {}
    for marker, body in _segments(data):
        if marker == 0xE1 and body.startswith(_XMP):
            blocks.xmp.append(body[len(_XMP) :])
        elif marker == 0xE1 and body.startswith(_MORE_XMP):
            head = body[len(_MORE_XMP) : len(_MORE_XMP) + 40]
            extended.setdefault(head[:32], []).append((int.from_bytes(head[36:40], "big"), body[len(_MORE_XMP) + 40 :]))
        elif marker == 0xEB and body.startswith(b"JP") and len(body) >= 16:
            # Two bytes name the box, four count its pieces, each of which repeats the box's own header.
            boxes.setdefault(body[2:4], []).append((int.from_bytes(body[4:8], "big"), body[8:]))
    blocks.xmp += [b"".join(part for _, part in sorted(parts, key=_number)) for parts in extended.values()]
    for pieces in boxes.values():
        pieces.sort(key=_number)
        if [number for number, _ in pieces] != list(range(pieces[0][0], pieces[0][0] + len(pieces))):
            blocks.error = blocks.error or "a piece of a JUMBF box is missing"
        first = pieces[0][1]
        header = 16 if first.startswith(b"\0\0\0\1") else 8
        blocks.c2pa.append(first + b"".join(piece[header:] for _, piece in pieces[1:]))


def _number(piece: tuple[int, bytes]) -> int:
    return piece[0]


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            raise Malformed(f"no JPEG marker at byte {at}")
        marker = data[at + 1] if at + 1 < len(data) else 0xD9
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:  # markers without a length
            at += 2
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if length < 2 or at + 2 + length > len(data):
            raise Malformed(f"a JPEG segment at byte {at} ends too early")
        yield marker, data[at + 4 : at + 2 + length]
        at += 2 + length


def _chunks(data: bytes, at: int, name: str) -> Iterator[tuple[bytes, bytes]]:
    """The kinds and bodies of the chunks of a PNG (a checksum follows each) or a WebP (padded to even lengths)."""
    for _ in range(MAX_CHUNKS):
        if at + 8 > len(data):
            return
        if name == "PNG":
            length, kind = struct.unpack_from(">I4s", data, at)
            after = 4
        else:
            kind, length = struct.unpack_from("<4sI", data, at)
            after = length % 2
        body = data[at + 8 : at + 8 + length]
        if len(body) < length:
            raise Malformed(f"a {name} chunk at byte {at} ends too early")
        yield kind, body
        at += 8 + length + after


def _png(data: bytes, blocks: Blocks) -> None:
    for kind, body in _chunks(data, 8, "PNG"):
        if kind == b"caBX":
            blocks.c2pa.append(body)
        elif kind == b"iTXt" and body.startswith(b"XML:com.adobe.xmp\0"):
            blocks.xmp.append(_international_text(body))
        elif kind == b"IEND":
            return


def _international_text(body: bytes) -> bytes:
    """The text of an iTXt chunk: keyword, compression flag and method, language, translated keyword, text."""
    keyword_end = body.index(b"\0")
    compressed = body[keyword_end + 1 : keyword_end + 2] == b"\1"
    try:
        _, _, text = body[keyword_end + 3 :].split(b"\0", 2)
        if compressed:
            inflater = zlib.decompressobj()
            text = inflater.decompress(text, MAX_XMP)
            if not inflater.eof:
                raise Malformed("compressed XMP that ends too early or never")
    except (ValueError, zlib.error) as error:
        raise Malformed(f"an iTXt chunk: {error}") from None
    return text


def _webp(data: bytes, blocks: Blocks) -> None:
    for kind, body in _chunks(data, 12, "WebP"):
        if kind == b"XMP ":
            blocks.xmp.append(body)
        elif kind == b"C2PA":
            blocks.c2pa.append(body)
