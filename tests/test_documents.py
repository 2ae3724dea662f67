"""From WARC records to documents: digests, revisits, losses and parts of a file."""

import base64
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipeline import warc
from pipeline.cli import main
from pipeline.config import Extract
from pipeline.digests import payload_digest
from pipeline.documents import read_documents
from pipeline.warc import Record
from tests.crawls import page, picture, prose
from tests.documents import Outcome, run_stage
from tests.test_warc import CHUNKED, PAGE, record

HTML = [("Content-Type", "text/html; charset=utf-8")]
SETTINGS = Extract(method="obelics")


def sha1(data: bytes) -> str:
    return "sha1:" + base64.b32encode(hashlib.sha1(data).digest()).decode()


def first(path: Path, data: bytes) -> Record:
    path.write_bytes(data)
    [one] = warc.read(str(path))
    assert isinstance(one, Record)
    return one


WIRE = CHUNKED + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "written",
    [
        sha1(WIRE),
        sha1(PAGE),
        "sha256:" + hashlib.sha256(PAGE).hexdigest(),
        "SHA-256:" + base64.b32encode(hashlib.sha256(PAGE).digest()).decode().rstrip("="),
        "md5:" + hashlib.md5(WIRE).hexdigest(),
        sha1(PAGE).removeprefix("sha1:"),
        "blake9:abc",
    ],
)
def test_a_digest_of_any_form_of_the_payload_is_right(tmp_path: Path, written: str) -> None:
    chunked = [*HTML, ("Transfer-Encoding", "chunked")]
    one = first(tmp_path / "a.warc", record(WIRE, chunked, WARC_Payload_Digest=written))
    assert payload_digest(one) == (written, False)


def test_a_wrong_digest_is_told_and_a_missing_one_computed(tmp_path: Path) -> None:
    path = tmp_path / "a.warc"
    assert payload_digest(first(path, record(PAGE, HTML))) == (sha1(PAGE), False)
    assert payload_digest(first(path, record(PAGE, HTML, WARC_Payload_Digest=sha1(b"other")))).wrong
    assert payload_digest(first(path, record(PAGE, HTML, WARC_Block_Digest=sha1(b"other")))).wrong
    cut = record(PAGE, HTML, WARC_Payload_Digest=sha1(b"other"), WARC_Truncated="length")
    assert not payload_digest(first(path, cut)).wrong


def revisit(url: str, **fields: str) -> bytes:
    return record(b"", None, "revisit", WARC_Target_URI=url, WARC_Profile="identical-payload-digest", **fields)


def html(seed: int) -> bytes:
    return page(prose(seed), ["/picture.png"])


def read(tmp_path: Path, *records: bytes) -> Outcome:
    path = tmp_path / "crawl.warc.gz"
    path.write_bytes(b"".join(gzip.compress(one, mtime=0) for one in records))
    return run_stage(read_documents, SETTINGS, [], tmp_path, warc=(str(path),))


def test_a_document_keeps_file_place_and_digest_and_wrong_ones_are_noted(tmp_path: Path) -> None:
    good, bad = record(html(1), HTML), record(html(2), HTML, WARC_Payload_Digest=sha1(b"x"))
    done = read(tmp_path, good, bad)
    assert [document.payload_digest for document in done.kept] == [sha1(html(1)), sha1(b"x")]
    assert {document.warc_filename for document in done.kept} == {"crawl.warc.gz"}
    assert done.receipt.notes["wrong_digests"] == {"records": 1, "at": [done.kept[1].warc_record_offset]}
    assert done.receipt.notes["files"] == {str(tmp_path / "crawl.warc.gz"): []}


def test_a_revisit_is_the_page_it_refers_to_at_its_own_address_and_date(tmp_path: Path) -> None:
    done = read(
        tmp_path,
        record(html(1), HTML, WARC_Target_URI="http://a.example/1"),
        revisit("http://a.example/again", WARC_Payload_Digest=sha1(html(1)), WARC_Date="2024-01-01T00:00:00Z"),
        revisit(
            "http://a.example/2",
            WARC_Refers_To_Target_URI="http://a.example/1", WARC_Refers_To_Date="2023-02-01T10:00:00Z",
        ),
        revisit("http://a.example/3", WARC_Payload_Digest=sha1(b"of another file")),
    )  # fmt: skip
    one, again, two = done.kept
    assert [document.url for document in done.kept] == ["http://a.example/" + name for name in ("1", "again", "2")]
    assert again.crawl_date.year == 2024
    assert again.nodes[0].text == one.nodes[0].text == two.nodes[0].text
    assert again.warc_record_offset > one.warc_record_offset
    assert done.receipt.notes["revisits"] == {"resolved": 2, "elsewhere": 1}
    assert [(row["record_length"]) for row in done.rows("records")] == [0]


def configuration(folder: Path, **more: Any) -> str:
    path = folder / "run.yaml"
    settings = {
        "name": "t", "output": str(folder / "run"), "input": {"paths": [str(folder / "crawl")]},
        "extract": {"method": "obelics"}, "images": {"scores": {"hashes": False}},
    }  # fmt: skip
    path.write_text(json.dumps(settings | more))
    return str(path)


def write(folder: Path, name: str, *records: bytes) -> Path:
    (folder / "crawl").mkdir(exist_ok=True)
    path = folder / "crawl" / name
    path.write_bytes(b"".join(gzip.compress(one, mtime=0) for one in records))
    return path


def test_an_image_that_is_a_revisit_comes_from_the_record_of_another_file(tmp_path: Path) -> None:
    image = picture(1)
    write(tmp_path, "0.warc.gz", record(html(1), HTML, WARC_Target_URI="http://a.example/page"))
    write(
        tmp_path, "1.warc.gz", revisit("http://a.example/picture.png", WARC_Payload_Digest=sha1(image)),
        record(image, [("Content-Type", "image/png")], WARC_Target_URI="http://b.example/first.png"),
    )  # fmt: skip
    assert main(["run", configuration(tmp_path)]) == 0
    [file] = (tmp_path / "run" / "corpus" / "images").glob("*.parquet")
    [row] = pq.read_table(file).to_pylist()
    assert [entry["bytes"] for entry in row["images"] if entry] == [image]


def test_what_was_lost_is_in_the_receipt_the_ledger_and_the_reports(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    records = [record(html(n), HTML, WARC_Target_URI=f"http://a.example/{n}") for n in range(6)]
    path = write(tmp_path, "0.warc.gz", *records)
    data = bytearray(path.read_bytes())
    start = len(gzip.compress(records[0], mtime=0))
    length = len(gzip.compress(records[1], mtime=0))
    data[start + 50 : start + 62] = bytes(12)
    path.write_bytes(data)
    config = configuration(tmp_path)
    for command in ("run", "status"):
        main([command, config])
        told = capfdbinary.readouterr().err.decode()
        assert f"lost: 1 damaged stretch of the input, {length} B, about 1 record;" in told
    main(["explain", config, "--rule", "damage"])
    assert f"0.warc.gz: byte {start}, {length} bytes, about 1 records" in capfdbinary.readouterr().out.decode()
    receipt = json.loads((tmp_path / "run" / "stages" / "documents" / "00000.json").read_text())
    assert receipt["notes"]["lost"] == {"stretches": 1, "bytes": length, "records": 1}


def test_the_record_of_a_page_is_printed_again(tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    one, gone = (
        record(html(1), HTML, WARC_Target_URI="http://a.example/1"),
        record(b"no page", WARC_Target_URI="http://a.example/2"),
    )
    write(tmp_path, "0.warc.gz", one, gone)
    config = configuration(tmp_path)
    main(["run", config])
    capfdbinary.readouterr()
    for url, wanted in (("http://a.example/1", one), ("http://a.example/2", gone)):
        assert main(["explain", config, url, "--record"]) == 0
        assert capfdbinary.readouterr().out == wanted.removesuffix(b"\r\n\r\n")
    assert main(["explain", config, "http://a.example/3", "--record"]) == 2
    assert main(["explain", config, "--record"]) == 2


def test_a_file_in_parts_gives_the_same_documents_whatever_the_workers(tmp_path: Path) -> None:
    records = [record(html(n), HTML, WARC_Target_URI=f"http://a{n}.example/") for n in range(60)]
    noise = [record(hashlib.shake_256(bytes([n])).digest(9_000), [("Content-Type", "image/png")]) for n in range(60)]
    path = write(tmp_path, "0.warc.gz", *(one for pair in zip(records, noise, strict=True) for one in pair))
    found = {}
    for name, split, workers in (
        ("whole", 10**9, 1),
        ("parts", path.stat().st_size // 4, 1),
        ("more", path.stat().st_size // 4, 2),
    ):
        config = configuration(
            tmp_path,
            output=str(tmp_path / name),
            input={"paths": [str(path)], "split": split},
            engine={"workers": workers},
        )
        assert main(["run", config]) == 0
        files = sorted((tmp_path / name / "stages" / "documents").glob("*.documents.parquet"))
        rows = [row for file in files for row in pq.read_table(file).to_pylist()]
        found[name] = (
            [(row["url"], row["warc_record_offset"], row["nodes"]) for row in rows],
            [f.read_bytes() for f in files],
        )
    assert found["whole"][0] == found["parts"][0]
    assert len(found["parts"][1]) > 2
    assert found["parts"] == found["more"]
