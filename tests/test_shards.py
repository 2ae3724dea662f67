"""A file that is cut anywhere gives, part by part, what it gives whole."""

import gzip
import io
import itertools
import random
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import warc
from pipeline.errors import UserError
from pipeline.header import opens_record
from pipeline.members import GZIPPED, STORED, border
from pipeline.shards import Part, parts_of
from pipeline.warc import Damage, Record
from tests.test_warc import crawl, record


def whole_and_parts(path: Path, cuts: list[int]) -> tuple[list[Record | Damage], list[Record | Damage]]:
    """What a file gives, and what the parts between `cuts` give one after the other."""
    places = [0, *sorted(cuts), path.stat().st_size]
    pieces = [item for a, b in itertools.pairwise(places) for item in warc.read(str(path), start=a, end=b)]
    return list(warc.read(str(path))), pieces


def records(items: list[Record | Damage]) -> list[tuple[str, int, int, bytes]]:
    return [(item.url, item.offset, item.length, item.body) for item in items if isinstance(item, Record)]


def large(path: Path) -> Path:
    """A crawl in which there is more than STORED between many members: 200 records, about 700 kB."""
    noise = random.Random(2)
    with path.open("wb") as file:
        for number in range(200):
            body = f"<p>page {number} ".encode() + noise.randbytes(noise.choice((10, 300, 5_000, 12_000)))
            file.write(gzip.compress(record(body, WARC_Target_URI=f"https://example.org/{number}"), mtime=0))
    return path


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_record_is_lost_or_read_twice_at_any_cut(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "cuts.warc.gz"
    if not path.exists():
        large(path)
    cuts = data.draw(st.lists(st.integers(0, path.stat().st_size + 10), max_size=6))
    whole, pieces = whole_and_parts(path, cuts)
    assert records(pieces) == records(whole)
    assert len(records(whole)) == 200


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_nor_in_a_damaged_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.warc.gz"
    content = bytearray(large(path).read_bytes())
    for at, many in data.draw(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(1, 9_000)), max_size=4)):
        content[at : at + many] = bytes(len(content[at : at + many]))
    path.write_bytes(content)
    whole, pieces = whole_and_parts(path, data.draw(st.lists(st.integers(0, len(content)), max_size=6)))
    assert records(pieces) == records(whole)
    assert sum(d.length for d in pieces if isinstance(d, Damage)) == sum(
        d.length for d in whole if isinstance(d, Damage)
    )


def nested(path: Path) -> Path:
    """A crawl that captured another crawl's file, which its member holds as it is, in stored blocks."""
    inner = large(path.with_name("inner.warc.gz")).read_bytes()
    outer = record(inner, [("Content-Type", "application/warc")], WARC_Target_URI="https://example.org/crawl.warc.gz")
    pieces = [gzip.compress(record(b"first"), mtime=0), stored(outer)]
    path.write_bytes(b"".join(pieces) + large(path.with_name("more.warc.gz")).read_bytes())
    assert inner[100:20_000] in path.read_bytes()
    return path


def stored(data: bytes) -> bytes:
    """A gzip member without compression: 65,535 bytes a block."""
    blocks = [data[at : at + STORED] for at in range(0, len(data), STORED)]
    deflated = b"".join(
        bytes([block is blocks[-1]])
        + len(block).to_bytes(2, "little")
        + (len(block) ^ 0xFFFF).to_bytes(2, "little")
        + block
        for block in blocks
    )
    return (
        b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        + deflated
        + zlib.crc32(data).to_bytes(4, "little")
        + len(data).to_bytes(4, "little")
    )


def test_a_cut_inside_a_captured_crawl_does_not_read_its_records(tmp_path: Path) -> None:
    path = nested(tmp_path / "outer.warc.gz")
    size = path.stat().st_size
    first = gzip.compress(record(b"first"), mtime=0)
    after = size - (tmp_path / "more.warc.gz").stat().st_size
    noise = random.Random(1)
    with path.open("rb") as file:
        for _ in range(40):
            assert border(file, noise.randrange(len(first) + 1, after), GZIPPED, opens_record) == after
    whole, pieces = whole_and_parts(path, [noise.randrange(size) for _ in range(12)])
    assert records(pieces) == records(whole)
    assert len(records(whole)) == 202


def test_a_large_file_is_cut_evenly_and_numbered_by_file_then_place(tmp_path: Path) -> None:
    a, b = large(tmp_path / "a.warc.gz"), tmp_path / "b.warc.gz"
    crawl(b, 10)
    size = a.stat().st_size
    parts = parts_of([str(a), str(b)], size // 4)
    assert [part.path for part in parts] == [str(a)] * 4 + [str(b)]
    assert [part.start for part in parts] == [0, size // 4, size * 2 // 4, size * 3 // 4, 0]
    assert [part.end for part in parts[:3]] == [part.start for part in parts[1:4]]
    assert parts[3].end == size
    assert all(Part.of(part.inputs) == part for part in parts)
    assert len({part.fingerprint for part in parts}) == 5


def test_what_cannot_be_cut_is_one_part_that_gives_all(tmp_path: Path) -> None:
    import lz4.frame
    from backports import zstd

    members = [gzip.decompress(member) for member in (gzip.compress(record(b"x" * 300)),) * 40]
    plain = b"".join(members)
    files = {
        "a.warc": plain,
        "a.warc.gz": gzip.compress(plain),
        "a.warc.zst": b"".join(zstd.compress(member) for member in members),
        "a.warc.lz4": b"".join(lz4.frame.compress(member) for member in members),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        [part] = parts_of([str(path)], 100)
        assert (part.start, part.end) == (0, len(content))
        whole, pieces = whole_and_parts(path, [50, 200])
        assert records(whole) == records(pieces)
        assert len(records(whole)) == 40


def test_a_part_beyond_the_end_gives_nothing(tmp_path: Path) -> None:
    path = large(tmp_path / "a.warc.gz")
    size = path.stat().st_size
    assert not list(warc.read(str(path), start=size, end=size + 100))
    assert not list(warc.read(str(path), start=size + 10**12))


def wacz(path: Path, method: int = zipfile.ZIP_STORED) -> Path:
    """Two WARC files in a ZIP, one of them large."""
    first = large(path.with_name("first.warc.gz"))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.write(first, "archive/first.warc.gz")
        archive.writestr("archive/deep/second.warc", record(b"<p>second"))
        archive.writestr("pages/pages.jsonl", "{}")
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_wacz_gives_the_records_of_its_files_with_their_places_in_them(tmp_path: Path, method: int) -> None:
    from pipeline.storage import list_warcs

    path = wacz(tmp_path / "crawl.wacz", method)
    second, first = list_warcs([str(path)])
    assert (first, second) == (f"{path}#archive/first.warc.gz", f"{path}#archive/deep/second.warc")
    expected = list(warc.read(str(tmp_path / "first.warc.gz")))
    found = list(warc.read(first))
    assert records(found) == records(expected)
    assert {item.filename for item in found if isinstance(item, Record)} == {"crawl.wacz#archive/first.warc.gz"}
    assert [r.body for r in warc.read(second) if isinstance(r, Record)] == [b"<p>second"]
    one = found[77]
    assert isinstance(one, Record)
    assert warc.read_at(first, one.offset, one.length) == one
    assert len(parts_of([first], 200_000)) == (5 if method == zipfile.ZIP_STORED else 1)


def test_a_wacz_that_is_none_is_the_users_error(tmp_path: Path) -> None:
    from pipeline.archive import open_warc, warcs_inside

    path = tmp_path / "a.wacz"
    path.write_bytes(b"no zip")
    with pytest.raises(UserError, match="is no WACZ"):
        warcs_inside(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/readme.txt", "none")
    with pytest.raises(UserError, match="holds no WARC file under archive"):
        warcs_inside(str(path))
    with pytest.raises(UserError, match=r"holds no archive/b\.warc"):
        open_warc(f"{path}#archive/b.warc")


def test_a_damaged_wacz_says_what_it_lost(tmp_path: Path) -> None:
    path = wacz(tmp_path / "crawl.wacz", zipfile.ZIP_DEFLATED)
    content = bytearray(path.read_bytes())
    content[300_000:300_050] = bytes(50)
    path.write_bytes(content)
    items = list(warc.read(f"{path}#archive/first.warc.gz"))
    assert len(records(items)) > 50
    assert any(isinstance(item, Damage) for item in items)


def test_a_border_needs_a_record_and_what_follows_it_whole(tmp_path: Path) -> None:
    file = io.BytesIO(large(tmp_path / "a.warc.gz").read_bytes())
    places = [item.offset for item in warc.read(str(tmp_path / "a.warc.gz"))]
    assert border(file, 1, GZIPPED, opens_record) == places[1]
    assert border(file, places[7], GZIPPED, opens_record) == places[7]
    assert border(file, places[-1], GZIPPED, opens_record) == places[-1]
    assert border(file, places[-1] + 1, GZIPPED, opens_record) is None
