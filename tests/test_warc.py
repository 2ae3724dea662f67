"""Records survive every way of storing them; damage costs what it touches and is reported."""

import gzip
import json
import random
import zlib
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import brotli
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import payload, warc
from pipeline.errors import UserError
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


def outcome(path: Path) -> tuple[list[Record | Damage], str]:
    """What reading gave, and the message of the UserError that ended it or ""."""
    items: list[Record | Damage] = []
    try:
        items.extend(warc.read(str(path)))
    except UserError as error:
        return items, str(error)
    return items, ""


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
        (gzip.compress(b"<html>"), "is no WARC or ARC file"),
        (b"\x1f\x8b\x08" + b"\0" * 99, "is no WARC or ARC file"),
        (b"PK\x03\x04....", "a ZIP: unpack it"),
        (b"\x28\xb5\x2f\xfd....", "zstd-compressed"),
    ],
)
def test_what_is_no_crawl_is_named_in_one_line(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "x.warc.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        list(warc.read(str(path)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


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
    assert (undated.date, undated.type) == (warc.UNKNOWN_DATE, "response")


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
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE)),
        ([("Content-Encoding", "gzip")], gzip.compress(PAGE[:50]) + gzip.compress(PAGE[50:])),
        ([("Content-Encoding", "GZip")], PAGE),  # undone by the crawler
        ([("content-encoding", "deflate")], zlib.compress(PAGE)),
        ([("Content-Encoding", "deflate")], raw_deflate(PAGE)),
        ([("Content-Encoding", "br")], brotli.compress(PAGE)),
        ([("Content-Encoding", "zstd")], pa.compress(PAGE, codec="zstd", asbytes=True)),
        ([("Content-Encoding", "br")], PAGE),
        ([("Transfer-Encoding", "chunked")], CHUNKED + b"0\r\n\r\n"),
        ([("Transfer-Encoding", "chunked")], PAGE),
        ([("Content-Encoding", "br, gzip")], gzip.compress(brotli.compress(PAGE))),
        (
            [("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")],
            b"%x\r\n%s\r\n0\r\n\r\n" % (len(gzip.compress(PAGE)), gzip.compress(PAGE)),
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
        ("gzip", gzip.compress(bytes(50 << 20))),
        ("deflate", zlib.compress(bytes(50 << 20))),
        ("br", brotli.compress(bytes(50 << 20), quality=1)),
        ("zstd", pa.compress(bytes(50 << 20), codec="zstd", asbytes=True)),
    ],
)
def test_a_bomb_is_cut_at_the_cap(coding: str, stored: bytes) -> None:
    body, cut = payload.decoded(stored, coding, 1 << 20)
    assert 1 << 20 < len(body) < 2 << 20
    assert cut


@pytest.mark.parametrize(("coding", "stored"), [("gzip", gzip.compress(PAGE)), ("chunked", CHUNKED)])
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
    st.binary(max_size=300), st.sampled_from([b"", b"WARC/1.0\r\n", gzip.compress(b"WARC/1.0\r\n\r\n"), record(b"x")])
)
def test_no_file_raises_but_the_users_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, before: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.warc.gz"
    path.write_bytes(before + data)
    items, error = outcome(path)
    assert items or error.startswith(str(path))


@pytest.mark.material
def test_every_odd_file_is_read_or_refused_by_name(material: Path) -> None:
    """Where warcio stumbles over nothing, it counts the same records, but for names of types that it takes literally
    and for records without a length or with one beyond the end of the file."""
    differs = set()
    for line in (material / "warcs" / "index.jsonl").read_text("utf-8").splitlines():
        entry = json.loads(line)
        path = material / "warcs" / entry["file"]
        items, error = outcome(path)
        if error:
            assert error.startswith(str(path))
            assert not entry["records"]
            continue
        counts = Counter(item.type for item in items if isinstance(item, Record))
        if counts != entry["records"] and not entry["warcio_oddities"]:
            differs.add(entry["file"].split("__")[-1])
        if entry["warcio_oddities"] and "invalid" not in entry["file"] and "broken" not in entry["file"]:
            assert sum(counts.values()) >= sum(entry["records"].values())
    assert all(
        any(word in name for word in ("jwat", "invalid", "valid-", "utf8", "Evil", "redirect.warc", "arc-1.0"))
        for name in differs
    )


def test_the_check_before_a_run_refuses_what_reading_refuses(tmp_path: Path) -> None:
    path = tmp_path / "a.warc.gz"
    start, _ = crawl(path, 3)[0]
    data = bytearray(path.read_bytes())
    warc.check(str(path))
    data[start] ^= 0xFF
    path.write_bytes(data)
    warc.check(str(path))
    assert len(parts(path)[0]) == 2
    path.write_bytes(b"<html>")
    with pytest.raises(UserError, match="is no WARC"):
        warc.check(str(path))
