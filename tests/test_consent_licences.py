"""Documents beside a page: RSL licences and tdmrep.json, case by case, and XML that was written to do harm."""

import json
import time
from typing import Any

import pytest

from pipeline.consent.rsl import licence_says, read_licence
from pipeline.consent.tdmrep import read_tdmrep, tdmrep_says
from pipeline.consent.xml import MAX_DEPTH, Malformed

URL = "https://host.example/images/a.png"


def rsl(content: str, url: str = "/", namespace: str = "https://rslstandard.org/rsl") -> bytes:
    return f'<rsl xmlns="{namespace}"><content url="{url}"><license>{content}</license></content></rsl>'.encode()


def no(uses: str) -> str:
    return f'<prohibits type="usage">{uses}</prohibits>'


LICENCES = [
    (rsl(no("ai-train")), "refused"),
    (rsl(no("ai-all")), "refused"),
    (rsl(no("all")), "refused"),
    (rsl(no("AI-Train")), "refused"),
    (rsl(no("search ai-train ai-input")), "refused"),
    (rsl(no("search, ai-train")), "refused"),
    (rsl(no("train-ai")), "refused"),  # of the drafts
    (rsl(no("search")), "allowed"),
    (rsl(no("ai-trainer")), "allowed"),
    (rsl('<prohibits type="user">ai-train</prohibits>'), "allowed"),
    (rsl('<permits type="usage">ai-train</permits>'), "allowed"),
    (rsl('<permits type="usage">all</permits>' + no("ai-train")), "refused"),
    (rsl(no("ai-train"), url="/images/"), "refused"),
    (rsl(no("ai-train"), url="/images/*.png$"), "refused"),
    (rsl(no("ai-train"), url="*.png"), "refused"),
    (rsl(no("ai-train"), url=URL), "refused"),
    (rsl(no("ai-train"), url="HTTPS://HOST.example/images/"), "refused"),
    (rsl(no("ai-train"), url="/text/"), None),
    (rsl(no("ai-train"), url="https://other.example/images/"), None),
    (rsl(no("ai-train"), namespace="urn:another"), "refused"),
    (b'<r><content url="/text/"/><content url="/images/">' + no("all").encode() + b"</content></r>", "refused"),
    (b'<r><content url="/"><license/></content><content url="/"><x>' + no("all").encode() + b"</x></content></r>", "refused"),
    (rsl("") + b"<!-- the end -->", "allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("document", "says"), LICENCES)
def test_a_licence_refuses_what_it_keeps_from_training(document: bytes, says: str | None) -> None:
    answer = licence_says(read_licence(document), URL)
    assert (answer[0] if answer else None) == says


BOMB = (
    b'<!DOCTYPE rsl [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY a%d "%s">' % (i, b"&a%d;" % (i - 1) * 10 if i else b"&a;" * 10) for i in range(9))
    + b"]><rsl>&a8;</rsl>"
)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "no element found"),
        (b"<html><p>Not found", "no element found"),
        (b"<rsl></rsl>", "no <content>"),
        (b"<rsl><content url='/'>", "no element found"),
        (b"\xff\xfe\x00", "unclosed token"),
        (b'<?xml version="1.0" encoding="klingon"?><rsl/>', "unknown encoding"),
        (b'<!DOCTYPE rsl SYSTEM "file:///etc/passwd"><rsl/>', "document type"),
        (b'<!DOCTYPE r [<!ENTITY x SYSTEM "file:///etc/passwd">]><r>&x;</r>', "document type"),
        (BOMB, "document type"),
        (b"<a>" * (MAX_DEPTH + 1), "deeper"),
        (b"<a>" * 10**5, "deeper"),
        (b"<rsl>" + b" " * 600_000 + b"</rsl>", "at most"),
    ],
)
def test_what_is_no_licence_is_malformed_in_no_time(document: bytes, why: str) -> None:
    started = time.process_time()
    with pytest.raises(Malformed, match=why):
        read_licence(document)
    assert time.process_time() - started < 1


def rule(location: str, reservation: Any = 1) -> dict[str, Any]:
    return {"location": location, "tdm-reservation": reservation}


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ([rule("/")], "refused"),
        ([rule("/images/*.png")], "refused"),
        ([rule("/images/*.png$")], "refused"),
        ([rule("/", "1")], "refused"),
        ([rule("*")], "refused"),
        ([rule("/", 0)], "allowed"),
        ([rule("/"), rule("/images/", 0)], "allowed"),  # the longest
        ([rule("/images/"), rule("/", 0)], "refused"),
        ([rule("/images/", 0), rule("/images/", 1)], "refused"),
        ([rule("/text/")], None),
        ([rule("/IMAGES/")], None),
        ([rule("/", True)], None),
        ([rule("/", 2)], None),
        ([rule("/", "yes")], None),
        ([rule("/", None)], None),
        ([{"location": "/", "tdm-policy": "https://host.example/policy.json"}], None),
        ([], None),
    ],
)
def test_the_longest_location_of_a_tdmrep_file_decides(rules: list[dict[str, Any]], says: str | None) -> None:
    answer = tdmrep_says(read_tdmrep(json.dumps(rules).encode()), URL)
    assert (answer[0] if answer else None) == says


@pytest.mark.parametrize(
    "data",
    [
        b"", b"<html>", b"{}", b'"1"', b"[1]", b'[{"tdm-reservation": 1}]', b'[{"location": 5}]', b"\xff", b"[" * 10**5,
        b"[" + b" " * 600_000 + b"]",
    ],
)  # fmt: skip
def test_what_is_no_tdmrep_file_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_tdmrep(data)


def test_a_byte_order_mark_does_no_harm() -> None:
    assert read_tdmrep(b'\xef\xbb\xbf[{"location": "/", "tdm-reservation": 1}]') == [("/", 1)]
