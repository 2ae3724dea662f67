"""Records survive every way of storing them; damage costs what it touches and is reported."""

import gzip
import json
import random
import subprocess
import sys
import time
import tracemalloc
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import brotli
import lz4.frame
import pyarrow as pa
import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import payload, warc
from pipeline.archive import warcs_inside
from pipeline.errors import UserError
from pipeline.header import UNKNOWN_DATE
from pipeline.shards import check
from pipeline.stored import stored_record
from pipeline.warc import Damage, Record


def record(body: bytes, headers: list[tuple[str, str]] | None = None, kind: str = "response", **fields: str) -> bytes:
    """One uncompressed WARC record."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers or [("Content-Type", "text/html")])
    block = (b"HTTP/1.1 200 OK\r\n" + head.encode() + b"\r\n" if kind == "response" else b"") + body
    named = {"WARC-Type": kind, "WARC-Target-URI": "https://example.org/", "WARC-Date": "2023-02-01T10:00:00Z"} | {
        name.replace("_", "-"): value for name, value in fields.items()
    }
    named.setdefault("Content-Length", str(len(block)))
    return b"WARC/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in named.items()).encode() + b"\r\n" + block + b"\r\n\r\n"


def crawl(path: Path, count: int = 400, compress: bool = True) -> list[tuple[int, int]]:
    """Writes `count` responses; returns where each begins and how many bytes it takes."""
    places = []
    noise = random.Random(5)
    with path.open("wb") as file:
        for number in range(count):
            start = file.tell()
            body = f"<p>page {number} ".encode() + noise.randbytes(600)
            one = record(body, WARC_Target_URI=f"https://example.org/{number}")
            file.write(gzip.compress(one, mtime=0) if compress else one)
            places.append((start, file.tell() - start))
    return places


def parts(path: Path) -> tuple[list[Record], list[Damage]]:
    items = list(warc.read(str(path)))
    return [x for x in items if isinstance(x, Record)], [x for x in items if isinstance(x, Damage)]


@pytest.mark.parametrize("compress", [True, False])
def test_a_record_is_read_again_by_its_pointer(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.warc.gz"
    places = crawl(path, 20, compress)
    records, damages = parts(path)
    assert not damages
    assert [r.url for r in records] == [f"https://example.org/{n}" for n in range(20)]
    for one, (offset, length) in zip(records, places, strict=True):
        assert one.offset == offset
        assert one.length <= length  # blank lines follow an uncompressed record
        assert warc.read_at(str(path), one.offset, one.length) == one


def test_a_file_that_is_gzipped_whole_gives_the_same_records_without_pointers(tmp_path: Path) -> None:
    plain, whole = tmp_path / "a.warc", tmp_path / "b.warc.gz"
    crawl(plain, 30, compress=False)
    whole.write_bytes(gzip.compress(plain.read_bytes()))
    expected, _ = parts(plain)
    records, damages = parts(whole)
    assert not damages
    assert [(r.url, r.body) for r in records] == [(r.url, r.body) for r in expected]
    assert {r.length for r in records} == {0}


def test_twelve_flipped_bytes_cost_one_record(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    start, length = crawl(path)[120]
    data = bytearray(path.read_bytes())
    for at in range(start + length // 2, start + length // 2 + 12):
        data[at] ^= 0xFF
    path.write_bytes(data)
    records, damages = parts(path)
    assert [r.url for r in records] == [f"https://example.org/{n}" for n in range(400) if n != 120]
    assert [(d.offset, d.length) for d in damages] == [(start, length)]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 39), st.integers(0, 600), st.integers(1, 40))
def test_flips_anywhere_cost_only_the_records_they_touch(
    tmp_path_factory: pytest.TempPathFactory, number: int, within: int, many: int
) -> None:
    path = tmp_path_factory.mktemp("flips") / "a.warc.gz"
    places = crawl(path, 40)
    data = bytearray(path.read_bytes())
    first = places[number][0] + min(within, places[number][1] - 1)
    for at in range(first, min(first + many, len(data))):
        data[at] ^= 0x55
    path.write_bytes(data)
    touched = {n for n, (start, length) in enumerate(places) if first < start + length and start < first + many}
    records, damages = parts(path)
    kept = {int(r.url.rsplit("/", 1)[1]) for r in records}
    assert set(range(40)) - kept <= touched
    assert len(records) == len(kept)
    assert damages or len(kept) == 40


@pytest.mark.parametrize("compress", [True, False])
def test_a_cut_file_gives_what_is_whole(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.warc.gz"
    start, length = crawl(path, compress=compress)[240]
    path.write_bytes(path.read_bytes()[: start + length // 2])
    records, damages = parts(path)
    assert len(records) == 240
    assert [d.offset for d in damages] == [start]


def test_wrong_lengths_cost_their_record_only(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(
        record(b"one")
        + record(b"two" * 500, Content_Length="200000")
        + record(b"three")
        + record(b"four" * 50, Content_Length="700")
        + record(b"five" * 200)
        + record(b"six" * 50, Content_Length="60")
        + record(b"seven", Content_Length="many")
        + record(b"eight")
    )
    records, damages = parts(path)
    assert [r.body[:5] for r in records] == [b"one", b"three", b"fivef", b"sixsi", b"eight"]
    assert len(damages) == 4


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it is empty"),
        (b"<html><p>no crawl</p></html>", "is no WARC or ARC file"),
        (gzip.compress(b"<html>", mtime=0), "is no WARC or ARC file"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "is no WARC or ARC file"),
        (b"PK\x03\x04....", "is a ZIP: a WACZ is read if"),
        (b"\x28\xb5\x2f\xfd....", "is no WARC or ARC file"),
        (b"\x04\x22\x4d\x18....", "is no WARC or ARC file"),
    ],
)
def test_what_is_no_crawl_is_one_damage_that_says_so(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(content)
    records, [damage] = parts(path)
    assert not records
    assert (damage.offset, damage.length, damage.records) == (0, len(content), 0)
    assert says in damage.reason
    assert "\n" not in damage.reason


def test_pointers_that_name_nothing_are_the_users_error(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    places = crawl(path, 3)
    for offset, length in [(-1, 5), (0, 0), (7, 100), (places[1][0], places[1][1] - 9), (10**9, 10)]:
        with pytest.raises(UserError, match=r"a\.warc\.gz"):
            warc.read_at(str(path), offset, length)
    with pytest.raises(UserError, match="cannot be read"):
        list(warc.read(str(tmp_path / "none.warc.gz")))


def test_what_a_record_says_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(
        record(b"asked", kind="request")
        + record(
            b"<p>", [("Content-type", "text/html; charset=x-odd"), ("X-Robots-Tag", "NoAI"), ("x-robots-tag", "é")]
        )
        + record(b"\x89PNG", kind="resource", Content_Type="image/png", WARC_Target_URI="<https://example.org/i>")
        + record(b"", WARC_Date="2018", WARC_Truncated="length")
        + record(b"", WARC_Date="not a day", WARC_Type="Response")
    )
    (request, page, image, cut, undated), damages = parts(path)
    assert not damages
    assert (request.type, request.body) == ("request", b"")
    assert page.status == 200
    assert page.content_type == "text/html; charset=x-odd"
    assert page.headers[1:] == [("X-Robots-Tag", "NoAI"), ("x-robots-tag", "é")]
    assert page.date == datetime(2023, 2, 1, 10, tzinfo=UTC)
    assert (image.url, image.content_type, image.body) == ("https://example.org/i", "image/png", b"\x89PNG")
    assert (cut.date, cut.truncated) == (datetime(2018, 1, 1, tzinfo=UTC), True)
    assert (undated.date, undated.type) == (UNKNOWN_DATE, "response")


def raw_deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(wbits=-15)
    return engine.compress(data) + engine.flush()


PAGE = b"<p>" + b"A page of some length. " * 400
CHUNKED = b"".join(
    b"%x;a=b\r\n%s\r\n" % (len(PAGE[at : at + 999]), PAGE[at : at + 999]) for at in range(0, len(PAGE), 999)
)


@pytest.mark.parametrize(
    ("headers", "stored"),
    [
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE, mtime=0)),
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE[:50], mtime=0) + gzip.compress(PAGE[50:], mtime=0)),
        ([("Content-Encoding", "GZip")], PAGE),  # undone by the crawler
        ([("content-encoding", "deflate")], zlib.compress(PAGE)),
        ([("Content-Encoding", "deflate")], raw_deflate(PAGE)),
        ([("Content-Encoding", "br")], brotli.compress(PAGE)),
        ([("Content-Encoding", "zstd")], pa.compress(PAGE, codec="zstd", asbytes=True)),
        ([("Content-Encoding", "br")], PAGE),
        ([("Transfer-Encoding", "chunked")], CHUNKED + b"0\r\n\r\n"),
        ([("Transfer-Encoding", "chunked")], PAGE),
        ([("Content-Encoding", "br, gzip")], gzip.compress(brotli.compress(PAGE), mtime=0)),
        (
            [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")],
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(gzip.compress(PAGE, mtime=0)), gzip.compress(PAGE, mtime=0)),
        ),
        ([("Content-Encoding", "x-unheard-of")], PAGE),
    ],
)
def test_codings_are_undone(tmp_path: Path, headers: list[tuple[str, str]], stored: bytes) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(record(stored, headers))
    ((one,), damages) = parts(path)
    assert not damages
    assert (one.body, one.truncated) == (PAGE, False)


@pytest.mark.parametrize(
    ("coding", "stored"),
    [
        ("gzip", gzip.compress(bytes(50 << 20), mtime=0)),
        ("deflate", zlib.compress(bytes(50 << 20))),
        ("br", brotli.compress(bytes(50 << 20), quality=1)),
        ("zstd", pa.compress(bytes(50 << 20), codec="zstd", asbytes=True)),
    ],
)
def test_a_bomb_is_cut_at_the_cap(coding: str, stored: bytes) -> None:
    body, cut = payload.decoded(stored, coding, 1 << 20)
    assert 1 << 20 < len(body) < 2 << 20
    assert cut


@pytest.mark.parametrize(("coding", "stored"), [("gzip", gzip.compress(PAGE, mtime=0)), ("chunked", CHUNKED)])
def test_a_broken_coding_keeps_what_can_be_read(coding: str, stored: bytes) -> None:
    body, cut = payload.decoded(stored[: len(stored) * 2 // 3], coding, 1 << 20)
    assert body
    assert PAGE.startswith(body)
    assert cut


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["gzip", "deflate", "br", "chunked", "zstd", "", "identity"]))
def test_no_payload_raises(data: bytes, coding: str) -> None:
    payload.decoded(data, coding, 1000)
    payload.response(b"HTTP/1.1 " + data, 1000)
    payload.response(b"HTTP/1.1 200\r\nContent-Encoding: " + coding.encode() + b"\r\n\r\n" + data, 1000)


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"WARC/1.0\r\n", gzip.compress(b"WARC/1.0\r\n\r\n", mtime=0), record(b"x")]),
)
def test_no_file_raises_but_the_users_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, before: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.warc.gz"
    path.write_bytes(before + data)
    assert list(warc.read(str(path)))


# Of the files in the material where warcio or FastWARC counts more records than come out here: what is reported instead.
NO_LENGTH = "Content-Length is 'missing', not a number of bytes"
REPORTED = {
    "netarchivesuite__jwat__invalid-warcfile-lonely-warcinfo-metadata.warc": [NO_LENGTH] * 2,
    "netarchivesuite__jwat__invalid-warcfile-lonely-monkeys.warc": [NO_LENGTH],
    "netarchivesuite__jwat__invalid-warcfile-lonely-continuation.warc": [NO_LENGTH],
    "netarchivesuite__jwat__invalid-warcfile-lonely-request-response-resource-conversion.warc": [NO_LENGTH] * 4,
    "netarchivesuite__jwat__invalid-warcfile-fields-invalidformat.warc": [
        "Content-Length is 'very lengthy', not a number of bytes"
    ],
    "netarchivesuite__jwat__test-arc-1.0-invalid-fields.arc": ["no record header", "bytes that belong to no record"],
    "netarchivesuite__jwat__invalid-warcfile-record-then-garbage.warc": ["bytes that belong to no record"],
    "netarchivesuite__solrwayback__Evil-Warc-Headers.warc": ["it says 6000 bytes where the file has 827"],
    "oduwsdl__ipwb__redirect.warc": ["it says 265 bytes where the file has 256"],
    "oduwsdl__ipwb__broken.warc": ["bytes that belong to no record"],
}


@pytest.mark.material
def test_every_odd_file_gives_what_warcio_or_fastwarc_read_of_it_or_says_why_not(material: Path) -> None:
    fewer = {}
    entries = [json.loads(line) for line in (material / "warcs" / "index.jsonl").read_text("utf-8").splitlines()]
    assert len(entries) == 114
    for entry in entries:
        path = material / "warcs" / entry["file"]
        inside = (
            warcs_inside(str(path)) if path.suffix == ".wacz" and "invalid_example" not in path.name else [str(path)]
        )
        items = [item for file in inside for item in warc.read(file)]
        records = sum(isinstance(item, Record) for item in items)
        if records < max(sum(entry["records"].values()), entry["fastwarc_records"] or 0):
            fewer[entry["file"]] = [item.reason for item in items if isinstance(item, Damage)]
        assert items
    assert fewer == REPORTED


def test_the_check_before_a_run_refuses_what_reading_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    start, _ = crawl(path, 3)[0]
    data = bytearray(path.read_bytes())
    check(str(path))
    data[start] ^= 0xFF
    path.write_bytes(data)
    check(str(path))
    assert len(parts(path)[0]) == 2
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match="is no WARC"):
        check(str(path))


def broken(path: Path, damage: Callable[[bytearray], None]) -> tuple[list[Record], list[Damage]]:
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    return parts(path)


def test_a_record_of_zeros_costs_one_and_a_cut_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    start, length = crawl(path)[120]

    def zero(data: bytearray) -> None:
        data[start : start + length] = bytes(length)

    records, [damage] = broken(path, zero)
    assert len(records) == 399
    assert (damage.offset, damage.length, damage.records) == (start, length, 1)
    crawl(path)
    size = path.stat().st_size

    def cut(data: bytearray) -> None:
        del data[size * 6 // 10 :]

    records, [damage] = broken(path, cut)
    assert len(records) == 240 - (damage.offset == size * 6 // 10)
    assert damage.offset + damage.length == size * 6 // 10
    assert damage.reason == "the file ends inside a gzip member"


@pytest.mark.parametrize("compress", [True, False])
def test_a_hundred_damages_cost_no_record_that_they_do_not_touch(tmp_path: Path, compress: bool) -> None:
    path = tmp_path / "a.warc.gz"
    places = crawl(path, compress=compress)
    noise = random.Random(11)
    data = bytearray(path.read_bytes())
    hit = set()
    for _ in range(100):
        at, many = noise.randrange(len(data)), noise.choice((1, 2, 12, 500, 3000))
        data[at : at + many] = noise.randbytes(min(many, len(data) - at))
        hit |= {n for n, (start, length) in enumerate(places) if at < start + length and start < at + many}
    path.write_bytes(data)
    records, damages = parts(path)
    kept = [int(record.url.rsplit("/", 1)[1]) for record in records if record.url.startswith("https://example.org/")]
    assert set(range(400)) - set(kept) <= hit
    assert len(set(kept)) == len(kept)
    assert damages


def test_what_a_stretch_took_is_estimated_by_the_records_before(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    places = crawl(path)

    def zero(data: bytearray) -> None:
        data[places[100][0] : places[130][0]] = bytes(places[130][0] - places[100][0])

    records, [damage] = broken(path, zero)
    assert len(records) == 370
    assert 29 <= damage.records <= 31


def bgzipped(data: bytes, size: int = 1000) -> bytes:
    """Members cut anywhere, as by bgzip, which only makes them larger."""
    return b"".join(gzip.compress(data[at : at + size], mtime=0) for at in range(0, len(data), size))


@pytest.mark.parametrize("size", [37, 1000, 65_280])
def test_records_that_go_on_in_the_next_member_are_whole(tmp_path: Path, size: int) -> None:
    plain, path = tmp_path / "a.warc", tmp_path / "b.warc.gz"
    crawl(plain, 60, compress=False)
    path.write_bytes(bgzipped(plain.read_bytes(), size))
    records, damages = parts(path)
    assert not damages
    assert [(r.url, r.body, r.truncated) for r in records] == [(r.url, r.body, False) for r in parts(plain)[0]]


def test_damage_among_members_that_are_cut_anywhere_costs_what_it_touches(tmp_path: Path) -> None:
    plain, path = tmp_path / "a.warc", tmp_path / "b.warc.gz"
    crawl(plain, 60, compress=False)
    path.write_bytes(bgzipped(plain.read_bytes()))

    def flip(data: bytearray) -> None:
        data[30_000] ^= 0xFF

    records, damages = broken(path, flip)
    assert len(records) >= 57
    assert damages


CHECKED = {int(zstd.CompressionParameter.checksum_flag): 1}  # as the command zstd has it


def with_dictionary(members: list[bytes], packed: bool) -> bytes:
    dictionary = zstd.train_dict(members, 4000)
    content = zstd.compress(dictionary.dict_content) if packed else dictionary.dict_content
    frames = [zstd.compress(member, options=CHECKED, zstd_dict=dictionary) for member in members]
    return b"\x5d\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content + b"".join(frames)


@pytest.mark.parametrize("form", ["frames", "dictionary", "packed dictionary", "whole", "lz4"])
def test_other_compressions_give_the_same_records(tmp_path: Path, form: str) -> None:
    plain, path = tmp_path / "a.warc", tmp_path / "b.warc.zst"
    places = crawl(plain, 60, compress=False)
    data = plain.read_bytes()
    members = [data[start : start + length] for start, length in places]
    path.write_bytes(
        {
            "frames": lambda: b"".join(zstd.compress(member, options=CHECKED) for member in members),
            "dictionary": lambda: with_dictionary(members, packed=False),
            "packed dictionary": lambda: with_dictionary(members, packed=True),
            "whole": lambda: zstd.compress(data),
            "lz4": lambda: b"".join(map(lz4.frame.compress, members)),
        }[form]()
    )
    check(str(path))
    records, damages = parts(path)
    assert not damages
    assert [(r.url, r.body) for r in records] == [(r.url, r.body) for r in parts(plain)[0]]
    if form != "whole":
        assert all(warc.read_at(str(path), r.offset, r.length) == r for r in records)
        with path.open("r+b") as file:
            file.seek(records[30].offset + 20)
            file.write(bytes(40))
        assert len(parts(path)[0]) == 59


def test_an_arc_of_either_version_gives_its_pages(tmp_path: Path) -> None:
    block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>page"
    first = b"1 0 Archive\nURL IP-address Archive-date Content-type Archive-length\n"
    one = b"filedesc://a.arc 0.0.0.0 20010203040506 text/plain %d\n%s\n" % (len(first), first)
    one += b"http://a.example/ 10.0.0.1 20010203040506 text/html %d\n%s\n" % (len(block), block)
    second = (
        b"2 0 Archive\nURL IP-address Archive-date Content-type Result-code Checksum Location Offset Filename Length\n"
    )
    two = b"filedesc://b.arc 0.0.0.0 20010203040506 text/plain 200 - - 0 b.arc %d\n%s\n" % (len(second), second)
    two += b"http://a.example/ 10.0.0.1 20010203040506 text/html 200 abc - 120 b.arc %d\n%s\n" % (len(block), block)
    for content in (one, two):
        path = tmp_path / "a.arc"
        path.write_bytes(content)
        (_, page), damages = parts(path)
        assert not damages
        assert (page.url, page.status, page.body) == ("http://a.example/", 200, b"<p>page")
        assert page.date == datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_folded_and_lower_case_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    path.write_bytes(
        b"warc/1.0\r\nwarc-type: response\r\nWARC-TARGET-URI:\r\n  https://example.org/\r\nWARC-Date: 2023-02-01T10:00:00Z\r\n"
        b"content-length: 72\r\n\r\nHTTP/1.1 200 OK\r\ncontent-type: text/html;\r\n charset=utf-8\r\n\r\n<p>folded!!\r\n\r\n"
    )
    [one], damages = parts(path)
    assert not damages
    assert (one.url, one.content_type) == ("https://example.org/", "text/html; charset=utf-8")
    assert one.body == b"<p>folded!!"


@pytest.mark.parametrize(
    ("codings", "stored"),
    [
        ("gzip", b"<p>not at all"),
        ("gzip, br, zstd, deflate", PAGE),
        ("deflate, gzip", gzip.compress(zlib.compress(PAGE), mtime=0)),
        ("gzip, gzip", gzip.compress(gzip.compress(PAGE, mtime=0), mtime=0)),
        ("zstd", zstd.compress(PAGE[:100]) + zstd.compress(PAGE[100:])),
        ("", gzip.compress(PAGE, mtime=0)),
    ],
)
def test_a_coding_is_undone_where_the_bytes_show_it_said_or_not(codings: str, stored: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
    head += b"Content-Encoding: %s\r\n" % codings.encode() if codings else b""
    body = payload.response(head + b"\r\n" + stored, 1 << 20).body
    assert body == (stored if stored.startswith(b"<p>not") else PAGE)


def test_a_record_of_five_gigabytes_is_cut_and_the_next_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    size = 5 << 30
    head = record(b"", kind="resource", Content_Length=str(size)).removesuffix(b"\r\n\r\n")
    with path.open("wb") as file:
        file.write(head)
        file.seek(size, 1)
        file.write(b"\r\n\r\n" + record(b"after"))
    tracemalloc.start()
    (large, after), damages = parts(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert not damages
    assert (len(large.body), large.truncated) == (warc.MAX_BODY, True)
    assert after.body == b"after"
    assert peak < 200 << 20


def test_a_large_record_in_a_member_is_cut_and_the_next_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    size = 300 << 20
    head = record(b"", kind="resource", Content_Length=str(size)).removesuffix(b"\r\n\r\n")
    with path.open("wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as member:
            member.write(head)
            for _ in range(size >> 20):
                member.write(bytes(1 << 20))
            member.write(b"\r\n\r\n")
        file.write(gzip.compress(record(b"after")))
    (large, after), damages = parts(path)
    assert not damages
    assert (len(large.body), large.truncated) == (warc.MAX_BODY, True)
    assert after.body == b"after"


def test_lengths_that_hide_each_other_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Length: 900000\r\n\r\n"
    path.write_bytes(head * 5_000 + b"x" * 1_000_000)
    started = time.process_time()
    items = list(warc.read(str(path)))
    assert len(items) == 5_001
    assert time.process_time() - started < 10


def mutated(noise: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(noise.choice((1, 1, 2, 5, 20))):
        at = noise.randrange(len(changed) + 1)
        what = noise.randrange(5)
        if what == 0:
            changed[at : at + 1] = noise.randbytes(1)
        elif what == 1:
            del changed[at : at + noise.randrange(1, 12)]
        elif what == 2:
            changed[at:at] = changed[max(0, at - noise.randrange(1, 200)) : at]
        elif what == 3:
            changed[at:at] = noise.choice(
                (b"\r\n", b"\n", b" ", b":", b"\0", b"99999999999999", b"WARC/1.0\r\n", b"0\r\n")
            )
        else:
            changed[at : at + 4] = noise.choice((b"-1", b"fffffff", b"\xff\xfe", b"\r\n\r\n", b"\t x"))
    return bytes(changed)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [1_000, pytest.param(50_000, marks=pytest.mark.slow)])
def test_no_mutated_header_or_chunked_body_crashes_hangs_or_fills_the_memory(tmp_path: Path, count: int) -> None:
    """Run on its own, so that the memory is that of reading."""
    script = (
        "import gzip, random, sys, time\n"
        "from pipeline import payload, warc\n"
        "from pipeline.memory import peak\n"
        "from tests.test_warc import CHUNKED, mutated, record\n"
        "noise = random.Random(3)\n"
        "one = record(CHUNKED, [('Transfer-Encoding', 'chunked'), ('Content-Type', 'text/html')])\n"
        "for number in range(int(sys.argv[2])):\n"
        "    data = mutated(noise, one[:600] if number % 2 else one)\n"
        "    data = data + record(b'next')\n"
        "    open(sys.argv[1], 'wb').write(gzip.compress(data, 1) if number % 3 == 0 else data)\n"
        "    started = time.process_time()\n"
        "    assert list(warc.read(sys.argv[1]))\n"
        "    head = b'HTTP/1.1 200 OK\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n'\n"
        "    payload.response(head + mutated(noise, CHUNKED), 1 << 20)\n"
        "    assert time.process_time() - started < 2\n"
        "print(peak())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x.warc.gz"), str(count)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 300 * 10**6


def test_the_record_is_had_again_as_it_was_written(tmp_path: Path) -> None:
    for name, compress in (("a.warc.gz", True), ("a.warc", False)):
        path = tmp_path / name
        crawl(path, 5, compress)
        for one in parts(path)[0]:
            again = b"".join(stored_record(str(path), one.offset, one.url))
            assert again.startswith(b"WARC/1.0\r\nWARC-Type: response\r\n")
            assert again.endswith(bytes(one.block))
            assert b"\r\n\r\n" + bytes(one.block) in again
    whole = tmp_path / "b.warc.gz"
    whole.write_bytes(gzip.compress(path.read_bytes()))
    assert b"".join(stored_record(str(whole), 0, "https://example.org/3")).endswith(bytes(parts(path)[0][3].block))
    for offset, url in ((0, "https://example.org/nowhere"), (10**9, "https://example.org/3")):
        with pytest.raises(UserError, match=r"b\.warc\.gz"):
            list(stored_record(str(whole), offset, url))
