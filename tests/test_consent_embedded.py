"""What images say of themselves, format by format: PLUS DataMining in XMP, training assertions of C2PA, and damage.

tests/c2pa holds four images that c2pa-python 0.38.1, the reference implementation, signed.
"""

import io
import json
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import cbor2
import numpy as np
import pytest
from PIL import Image

from pipeline.consent.blocks import MAX_XMP, read_blocks
from pipeline.consent.c2pa import MAX_ASSERTION, c2pa_says
from pipeline.consent.embedded import image_findings
from pipeline.consent.xml import Malformed

SIGNED = Path(__file__).parent / "c2pa"
FORMATS = ["jpeg", "png", "webp"]


def plain(format: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (24, 16), (10, 120, 60)).save(out, format)
    return out.getvalue()


def packet(value: str, style: str = "attribute") -> bytes:
    plus = 'xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/"'
    inner = {
        "attribute": f'<rdf:Description rdf:about="" {plus} plus:DataMining="{value}"/>',
        "element": f"<rdf:Description {plus}><plus:DataMining>{value}</plus:DataMining></rdf:Description>",
        "resource": f'<rdf:Description {plus}><plus:DataMining rdf:resource="{value}"/></rdf:Description>',
        "other prefix": f'<rdf:Description xmlns:p="http://ns.useplus.org/ldf/xmp/1.0/" p:DataMining="{value}"/>',
        "other namespace": f'<rdf:Description xmlns:plus="urn:x" plus:DataMining="{value}"/>',
    }[style]
    rdf = f'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">{inner}</rdf:RDF>'
    meta = f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{rdf}</x:xmpmeta>'
    return f'<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>{meta}<?xpacket end="w"?>'.encode()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def with_xmp(format: str, xmp: bytes) -> bytes:
    image = plain(format)
    if format == "jpeg":
        body = b"http://ns.adobe.com/xap/1.0/\0" + xmp
        return image[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + image[2:]
    if format == "png":
        return image[:33] + chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp) + image[33:]
    return b"RIFF" + struct.pack("<I", 0) + b"WEBP" + image[12:] + riff(b"XMP ", xmp)


def says(data: bytes, signal: str) -> str | None:
    found = list(image_findings(data, [signal]))
    assert all(finding.signal == signal for finding in found)
    order = ["refused", "not_checked", "allowed"]
    return min((finding.says for finding in found), key=order.index, default=None)


VOCABULARY = "http://ns.useplus.org/ldf/vocab/"
MINING = [
    (packet("DMI-PROHIBITED"), "refused"),
    (packet(VOCABULARY + "DMI-PROHIBITED"), "refused"),
    (packet(VOCABULARY + "DMI-PROHIBITED-AIMLTRAINING", "element"), "refused"),
    (packet(VOCABULARY + "DMI-PROHIBITED-GENAIMLTRAINING", "resource"), "refused"),
    (packet(VOCABULARY + "DMI-PROHIBITED-EXCEPTSEARCHENGINEINDEXING"), "refused"),
    (packet(VOCABULARY + "DMI-PROHIBITED-SEECONSTRAINT"), "refused"),
    (packet("dmi-prohibited"), "refused"),
    (packet(" DMI-PROHIBITED\n", "element"), "refused"),
    (packet("DMI-PROHIBITED", "other prefix"), "refused"),
    (packet("DMI-PROHIBITED", "other namespace"), None),
    (packet(VOCABULARY + "DMI-ALLOWED"), "allowed"),
    (packet(VOCABULARY + "DMI-UNSPECIFIED"), None),
    (packet(""), None),
    (packet("perhaps"), "not_checked"),
    (packet("DMI-ALLOWED")[:-40], "not_checked"),
    (packet("DMI-PROHIBITED")[:-40], "refused"),  # damaged, but the word is there
    (b"<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", "not_checked"),
    (b"no XML", "not_checked"),
    (b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>", None),
]


@pytest.mark.parametrize(("xmp", "expected"), MINING)
@pytest.mark.parametrize("format", FORMATS)
def test_data_mining_is_prohibited_in_any_of_the_ways_xmp_is_written(
    format: str, xmp: bytes, expected: str | None
) -> None:
    image = with_xmp(format, xmp)
    assert says(image, "iptc") == expected
    assert list(image_findings(image, ["c2pa"])) == []


@pytest.mark.parametrize("format", ["jpeg", "webp"])
def test_what_pillow_writes_is_read(format: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (24, 16)).save(out, format, xmp=packet("DMI-PROHIBITED"))
    assert says(out.getvalue(), "iptc") == "refused"


def test_xmp_of_several_segments_is_put_together() -> None:
    xmp = packet("DMI-PROHIBITED-AIMLTRAINING", "element")
    image = plain("jpeg")
    for at in (100, 0):  # in any order
        part = xmp[at : at + 100 if at == 0 else None]
        head = b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + struct.pack(">II", len(xmp), at)
        segment = b"\xff\xe1" + struct.pack(">H", len(head) + len(part) + 2) + head + part
        image = image[:2] + segment + image[2:]
    assert says(image, "iptc") == "refused"


def test_compressed_xmp_of_a_png_is_read_and_a_bomb_is_not() -> None:
    def compressed(text: bytes) -> bytes:
        image = plain("png")
        body = b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(text)
        return image[:33] + chunk(b"iTXt", body) + image[33:]

    assert says(compressed(packet("DMI-PROHIBITED")), "iptc") == "refused"
    assert says(compressed(b" " * (MAX_XMP + 1)), "iptc") == "not_checked"


def box(kind: bytes, body: bytes, long: bool = False) -> bytes:
    if long:
        return struct.pack(">I4sQ", 1, kind, len(body) + 16) + body
    return struct.pack(">I4s", len(body) + 8, kind) + body


def superbox(label: str, *boxes: bytes) -> bytes:
    return box(b"jumb", box(b"jumd", b"\0" * 16 + b"\3" + label.encode() + b"\0") + b"".join(boxes))


def entries(**uses: Any) -> dict[str, Any]:
    return {"entries": {f"c2pa.{name}": {"use": use} for name, use in uses.items()}}


def store(content: Any, label: str = "c2pa.training-mining", kind: bytes = b"cbor") -> bytes:
    body = (
        content
        if isinstance(content, bytes)
        else cbor2.dumps(content)
        if kind == b"cbor"
        else json.dumps(content).encode()
    )
    assertions = superbox(
        "c2pa.assertions", superbox("c2pa.hash.data", box(b"cbor", b"\xa0")), superbox(label, box(kind, body))
    )
    return superbox("c2pa", superbox("urn:uuid:1", assertions, superbox("c2pa.claim", box(b"cbor", b"\xa0"))))


def with_c2pa(format: str, jumbf: bytes) -> bytes:
    image = plain(format)
    if format == "jpeg":
        out, header = b"", 8
        for number, at in enumerate(range(header, len(jumbf), 300), 1):
            body = b"JP\0\1" + struct.pack(">I", number) + jumbf[:header] + jumbf[at : at + 300]
            out += b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body
        return image[:2] + out + image[2:]
    if format == "png":
        return image[:33] + chunk(b"caBX", jumbf) + image[33:]
    return b"RIFF" + struct.pack("<I", 0) + b"WEBP" + image[12:] + riff(b"C2PA", jumbf)


ASSERTIONS = [
    (store(entries(ai_training="notAllowed")), "refused"),
    (store(entries(ai_generative_training="notAllowed", data_mining="allowed")), "refused"),
    (store(entries(data_mining="notAllowed")), "refused"),
    (store(entries(ai_inference="constrained")), "refused"),
    (store(entries(ai_training="allowed")), "allowed"),
    (store(entries(ai_training="notAllowed"), label="cawg.training-mining"), "refused"),
    (store(entries(ai_training="notAllowed"), label="c2pa.training-mining__2"), "refused"),
    (store(entries(ai_training="notAllowed"), label="cawg.training-mining.v2"), "refused"),
    (store(entries(ai_training="notAllowed"), kind=b"json"), "refused"),
    (store(entries(ai_training="notAllowed"), label="c2pa.other"), None),
    (store(entries(ai_training="notallowed")), "not_checked"),  # no word of the specification
    (store(entries(ai_training=5)), "not_checked"),
    (store({"entries": {}}), None),
    (store({"entries": ["notAllowed"]}), "not_checked"),
    (store({}), "not_checked"),
    (store(b"\xff\xff"), "not_checked"),
    (store(b""), "not_checked"),
    (store(cbor2.dumps(entries(ai_training="notAllowed"))[:-4]), "not_checked"),
    (store(b"\x81" * 5000), "not_checked"),  # an array in an array in an array
    (store(b"\x9b" + b"\xff" * 8), "not_checked"),  # one of 2^64 items
    (store(b"[" * 5000, kind=b"json"), "not_checked"),
    (store(b"\0" * (MAX_ASSERTION + 1)), "not_checked"),
    (superbox("c2pa", store({}), store(entries(ai_training="notAllowed"))), "refused"),  # the second of two manifests
    (superbox("c2pa"), None),
    (store(entries(ai_training="notAllowed"))[:-10], "not_checked"),
    (b"", None),
]  # fmt: skip


@pytest.mark.parametrize(("jumbf", "expected"), ASSERTIONS)
@pytest.mark.parametrize("format", FORMATS)
def test_an_assertion_of_c2pa_refuses_by_any_entry_that_is_not_allowed(
    format: str, jumbf: bytes, expected: str | None
) -> None:
    assert says(with_c2pa(format, jumbf), "c2pa") == expected


@pytest.mark.parametrize(
    ("name", "expected", "value"),
    [
        ("notAllowed.jpg", "refused", "cawg.training-mining: cawg.ai_training notAllowed"),
        ("notAllowed.png", "refused", "c2pa.training-mining: c2pa.ai_training notAllowed"),
        ("constrained.webp", "refused", "cawg.training-mining: cawg.ai_training constrained"),
        ("allowed.webp", "allowed", "cawg.training-mining: cawg.ai_training allowed"),
    ],
)
def test_images_signed_by_the_reference_implementation_are_read(name: str, expected: str, value: str) -> None:
    [found] = image_findings((SIGNED / name).read_bytes(), ["c2pa", "iptc"])
    assert (found.says, found.signal, found.where, found.value) == (expected, "c2pa", "C2PA manifest", value)


def test_boxes_of_64_bits_length_and_those_that_run_to_the_end_are_read() -> None:
    content = cbor2.dumps(entries(ai_training="notAllowed"))
    inner = box(b"jumd", b"\0" * 16 + b"\3c2pa.training-mining\0") + box(b"cbor", content, long=True)
    assert c2pa_says(box(b"jumb", inner, long=True)) == ("refused", "c2pa.training-mining: c2pa.ai_training notAllowed")
    assert c2pa_says(struct.pack(">I4s", 0, b"jumb") + inner) is not None


@pytest.mark.parametrize(
    "jumbf",
    [
        b"\0\0\0\7jumb", b"\0\0\0\1jumb", b"\xff\xff\xff\xffjumb", b"jumb", box(b"jumb", b"") * 20_000,
        b"\0\0\0\0jumb" * 5_000, b"\0\0\0\1jumb" + b"\xff" * 8,
    ],
)  # fmt: skip
def test_boxes_that_lie_about_their_length_or_go_on_without_end_are_malformed(jumbf: bytes) -> None:
    with pytest.raises(Malformed):
        c2pa_says(jumbf)


def test_a_missing_piece_of_a_manifest_is_not_taken_for_none() -> None:
    image = with_c2pa("jpeg", store(entries(ai_training="notAllowed") | {"x": "y" * 1000}))
    first = image.index(b"\xff\xeb")
    length = 2 + int.from_bytes(image[first + 2 : first + 4], "big")
    second = first + length
    without = image[:second] + image[second + 2 + int.from_bytes(image[second + 2 : second + 4], "big") :]
    assert says(without, "c2pa") in ("not_checked", "refused")


@pytest.mark.parametrize("signal", ["iptc", "c2pa"])
@pytest.mark.parametrize("format", FORMATS)
def test_an_image_without_metadata_says_nothing_and_one_cut_short_is_not_checked(format: str, signal: str) -> None:
    assert says(plain(format), signal) is None
    assert says(with_xmp(format, packet("DMI-ALLOWED"))[:60], signal) == "not_checked"


def test_other_formats_are_looked_through_for_the_words() -> None:
    assert says(b"GIF89a" + packet("DMI-PROHIBITED"), "iptc") == "refused"
    assert says(b"GIF89a" + packet("DMI-ALLOWED"), "iptc") is None
    assert says(b"....ftypavif" + store(entries(ai_training="notAllowed")), "c2pa") == "not_checked"
    assert says(b"no image", "c2pa") is None


def test_a_signal_that_is_not_heeded_is_not_read() -> None:
    assert list(image_findings(with_xmp("jpeg", packet("DMI-PROHIBITED")), ["x_robots_tag"])) == []


@pytest.mark.parametrize("name", ["notAllowed.jpg", "notAllowed.png", "constrained.webp"])
def test_random_damage_never_raises_and_takes_no_time(name: str) -> None:
    good = (SIGNED / name).read_bytes()
    order = np.random.default_rng(5)
    started = time.process_time()
    for _ in range(300):
        bad = bytearray(good)
        for at in order.integers(2, len(bad), 8):
            bad[at] = order.integers(0, 256)
        for finding in image_findings(bytes(bad[: order.integers(20, len(bad))]), ["c2pa", "iptc"]):
            assert finding.says in ("refused", "allowed", "not_checked")
    assert time.process_time() - started < 10
    assert read_blocks(good) is not None
