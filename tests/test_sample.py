"""The sample crawl: the same bytes each time, readable by any WARC reader, and a table that names every rule."""

import base64
import hashlib
import io
import json
import re
import subprocess
import sys
import warnings
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from PIL import Image, UnidentifiedImageError
from warcio.archiveiterator import ArchiveIterator

from pipeline.errors import UserError
from pipeline.sample import ROBOTS, Written, write
from pipeline.sample.definitions import DATES, expand, read_hosts, read_pages, read_pictures
from pipeline.sample.fates import STAGES
from pipeline.sample.markup import page_html

DOCUMENT_RULES = {*STAGES}
PARAGRAPH_RULES = {
    "number_of_words",
    "character_repetition",
    "word_repetition",
    "special_characters",
    "stop_words",
    "flagged_words",
    "punctuation",
    "common_words",
    "paragraph_repeated",
    "web_chrome_words",
}
IMAGE_RULES = {
    "kept",
    "image_everywhere",
    "image_repeated",
    "image_missing",
    "image_broken",
    "image_format",
    "image_size",
    "aspect_ratio",
    "rendered_size",
    "opt_out_list",
    "x_robots_tag",
    "iptc",
}


class Record(NamedTuple):
    type: str
    url: str | None
    date: str
    id: str
    headers: dict[str, str]
    status: str | None
    http: dict[str, str]
    raw: bytes  # as it stands in the file
    body: bytes  # without its codings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def written(folder: Path) -> Written:
    return write(folder)


@pytest.fixture(scope="module")
def records(written: Written) -> dict[Path, list[Record]]:
    return {path: list(_read(path)) for path in written.warcs}


@pytest.fixture(scope="module")
def responses(records: dict[Path, list[Record]]) -> list[Record]:
    return [record for of_file in records.values() for record in of_file if record.type == "response"]


@pytest.fixture(scope="module")
def fates(written: Written, folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "fates.jsonl").read_text("utf-8").splitlines()]


def _read(path: Path) -> list[Record]:
    raw_bodies = []
    with path.open("rb") as file:
        for record in ArchiveIterator(file, no_record_parse=False):
            raw_bodies.append(record.raw_stream.read())
    records = []
    with path.open("rb") as file:
        for raw, record in zip(raw_bodies, ArchiveIterator(file, check_digests="raise"), strict=True):
            headers = dict(record.rec_headers.headers)
            http = record.http_headers
            body = record.content_stream().read()
            records.append(
                Record(
                    record.rec_type,
                    headers.get("WARC-Target-URI"),
                    headers["WARC-Date"],
                    headers["WARC-Record-ID"],
                    headers,
                    http.get_statuscode() if http and record.rec_type == "response" else None,
                    dict(http.headers) if http else {},
                    raw,
                    body,
                )
            )
    return records


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(written: Written, folder: Path, tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from pipeline.sample import write; write(Path(sys.argv[1]))"
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PATH": "/usr/bin:/bin"}
    root = Path(__file__).resolve().parent.parent
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, cwd=root, env=environment)
    assert _digests(tmp_path) == _digests(folder)
    assert len(_digests(folder)) == len(written.warcs) + 3


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_it_is_as_large_and_as_varied_as_a_tour_of_the_pipeline_needs(
    written: Written, responses: list[Record], fates: list[dict[str, Any]]
) -> None:
    pages = [record for record in responses if record.http["Content-Type"].startswith("text/html")]
    assert len({page.url for page in pages}) >= 60
    assert written.hosts >= 6
    assert {page.date[:7] for page in pages} == {"2026-03", "2026-09"}
    images = [record for record in responses if record.http["Content-Type"].startswith("image/")]
    large = {hashlib.sha256(image.body).digest() for image in images if _longest_side(image.body) > 320}
    assert len(large) >= 80
    formats = Counter(image.http["Content-Type"] for image in images)
    assert {"image/jpeg", "image/png", "image/webp", "image/gif", "image/svg+xml"} == set(formats)
    assert sum(row["fate"] == "kept" for row in fates) >= 45
    assert {path.parent.name for path in written.warcs} == {"2026-03", "2026-09"}
    assert 6 <= len(written.warcs) <= 8


def _longest_side(body: bytes) -> int:
    try:
        with Image.open(io.BytesIO(body)) as image:
            return max(image.size)
    except UnidentifiedImageError:
        return 0


def test_a_member_of_the_gzip_file_is_a_record_and_carries_no_time(
    written: Written, records: dict[Path, list[Record]]
) -> None:
    for path in written.warcs:
        with path.open("rb") as file:
            iterator = ArchiveIterator(file)
            offsets = [iterator.get_record_offset() for _ in iterator]
        content = path.read_bytes()
        assert len(offsets) == len(records[path])
        assert {content[offset : offset + 8] for offset in offsets} == {b"\x1f\x8b\x08\x00\x00\x00\x00\x00"}
        assert all(first < second for first, second in pairwise(offsets))


def test_each_response_is_followed_by_its_request_and_its_metadata(records: dict[Path, list[Record]]) -> None:
    ids = [record.id for of_file in records.values() for record in of_file]
    assert len(set(ids)) == len(ids)
    for path, of_file in records.items():
        info, *rest = of_file
        assert info.type == "warcinfo"
        assert info.headers["WARC-Filename"] == path.name
        assert len(rest) % 3 == 0
        for response, request, metadata in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
            assert [response.type, request.type, metadata.type] == ["response", "request", "metadata"]
            assert response.url == request.url == metadata.url
            assert request.headers["WARC-Concurrent-To"] == response.id == metadata.headers["WARC-Concurrent-To"]


def test_payload_digests_and_lengths_are_those_of_the_payload(responses: list[Record]) -> None:
    for record in responses:
        digest = base64.b32encode(hashlib.sha1(record.raw).digest()).decode()
        assert record.headers["WARC-Payload-Digest"] == f"sha1:{digest}"
        assert int(record.http.get("Content-Length", len(record.raw))) == len(record.raw)


def test_content_and_transfer_codings_of_the_web_occur(responses: list[Record]) -> None:
    coded = [record for record in responses if record.raw != record.body]
    assert {record.http.get("Content-Encoding") for record in coded} == {"gzip", None}
    assert {record.http.get("Transfer-Encoding") for record in coded} == {"chunked", None}
    assert all(record.body.startswith((b"<!", b"{")) for record in coded)


def test_the_table_has_a_row_for_every_capture_that_is_no_image(
    responses: list[Record], fates: list[dict[str, Any]]
) -> None:
    captures = [
        (record.url, record.date) for record in responses if not record.http["Content-Type"].startswith("image/")
    ]
    rows = [(row["url"], row["crawl_date"]) for row in fates]
    assert sorted(rows) == sorted(captures)
    assert len(set(rows)) == len(rows)


def test_every_rule_stands_in_the_table_and_no_other(fates: list[dict[str, Any]]) -> None:
    assert {row["fate"] for row in fates} == {"kept", *DOCUMENT_RULES}
    assert {rule for row in fates for rule in row.get("paragraphs", {}).values()} == PARAGRAPH_RULES
    assert {rule for row in fates for rule in row.get("images", {}).values()} == IMAGE_RULES
    for row in fates:
        usual = None if row["fate"] == "kept" else STAGES[row["fate"]]
        assert row["stage"] == ("unique" if "/fr/" in row["url"] else usual)
        assert len(row["made_for"].split()) >= 4


def test_what_the_table_says_of_a_page_is_on_it(responses: list[Record], fates: list[dict[str, Any]]) -> None:
    captured = {(record.url, record.date): record.body for record in responses}
    held = {record.url for record in responses}
    for row in fates:
        charset = "windows-1252" if "spoke-and-chain" in row["url"] else "utf-8"
        page = captured[row["url"], row["crawl_date"]].decode(charset)
        for start in row.get("paragraphs", {}):
            assert 0 < len(start) <= 60
            assert start in page
        for words in row.get("contains", []):
            assert words == "END_OF_DOCUMENT_TOKEN_TO_BE_REPLACED" or words in page
        for words in row.get("lacks", []):
            assert words in page
        for address, rule in row.get("images", {}).items():
            assert address.rpartition("/")[2] in page
            assert (address in held) == (rule != "image_missing")


def test_one_address_shows_another_picture_at_the_other_date(
    responses: list[Record], fates: list[dict[str, Any]]
) -> None:
    wanted = [
        (row["crawl_date"][:7], address, digest) for row in fates for address, digest in row.get("digests", {}).items()
    ]
    stored = {(record.date[:7], record.url, hashlib.sha256(record.body).hexdigest()) for record in responses}
    assert len(wanted) == 2
    assert len({digest for _, _, digest in wanted}) == 2
    assert len({address for _, address, _ in wanted}) == 1
    assert set(wanted) <= stored


def test_wrongly_declared_pages_do_not_read_as_declared(responses: list[Record]) -> None:
    pages = {record.url: record for record in responses if record.date.startswith(("2026-03", "2026-09"))}
    latin = pages["http://spoke-and-chain.example/wheels.html"]
    assert latin.http["Content-Type"] == "text/html; charset=utf-8"
    with pytest.raises(UnicodeDecodeError):
        latin.body.decode("utf-8")
    utf8 = pages["https://rivermaps.example/cities/lost-rivers"]
    assert utf8.http["Content-Type"] == "text/html; charset=iso-8859-1"
    assert "Příkopě" in utf8.body.decode("utf-8")
    assert "ZÃ¼rich" in utf8.body.decode("iso-8859-1")


def test_every_image_decodes_but_those_made_not_to(responses: list[Record]) -> None:
    broken = set()
    for record in responses:
        if record.http["Content-Type"] in ("image/jpeg", "image/png", "image/webp", "image/gif"):
            with warnings.catch_warnings(), Image.open(io.BytesIO(record.body)) as image:
                try:
                    image.load()
                except OSError:
                    broken.add(record.url)
    assert broken == {"https://rivermaps.example/sheets/springs-pool.jpg"}


def test_an_image_is_fetched_once_at_each_date_and_none_in_vain(responses: list[Record]) -> None:
    images = [(record.date[:7], record.url) for record in responses if record.http["Content-Type"].startswith("image/")]
    assert len(set(images)) == len(images)
    assert {url for _, url in images} == {picture.address for picture in read_pictures()}


def test_the_common_image_stands_on_more_than_ten_kept_pages(fates: list[dict[str, Any]]) -> None:
    with_ring = {page.url for page in read_pages() if page.ring}
    assert sum(row["url"] in with_ring and row["fate"] == "kept" for row in fates) > 10


def test_the_list_of_opt_outs_names_a_page_an_image_and_a_host(written: Written, folder: Path) -> None:
    lines = (folder / "opt-out.txt").read_text("utf-8").splitlines()
    hosts = [line for line in lines if "/" not in line]
    assert len(hosts) == 1
    assert hosts[0] in read_hosts()
    assert any(line.endswith(".jpg") for line in lines)
    assert any(line in {page.url for page in read_pages()} for line in lines)


def test_every_host_was_asked_for_its_robots_txt_before_the_crawl(written: Written, folder: Path) -> None:
    captures = [record for record in _read(folder / ROBOTS) if record.type == "response"]
    before = {str(record.url).removesuffix("/robots.txt") for record in captures if record.date < "2026-03-10T09"}
    hosts = {"/".join(picture.address.split("/")[:3]) for picture in read_pictures()}
    hosts |= {f"{page.scheme}://{page.host}" for page in read_pages()}
    assert before == hosts
    assert {record.status for record in captures} == {"200", "404"}


def test_kept_pages_are_prose_of_a_readable_length() -> None:
    for page in read_pages():
        if set(page.fates.values()) & {"kept", "near_duplicate", "latest_image_set"} and page.language == "en":
            other = ("!", "<", "#", *page.paragraphs.values())
            paragraphs = [block for block in page.body.split("\n\n")[1:] if not block.startswith(other)]
            words = sum(len(paragraph.split()) for paragraph in paragraphs)
            assert 120 <= words <= 350, page.url
            assert "lorem ipsum" not in page.body.lower()
            title = page.body.partition("\n")[0]
            assert title.startswith("# ")
            sentences = re.split(r"[.?!:;]\s", " ".join(paragraphs))
            assert 8 <= words / len(sentences) <= 30, page.url


def test_no_two_articles_share_a_sentence() -> None:
    seen: dict[str, str] = {}
    for page in read_pages():
        if page.text_of or "word_repetition" in [*page.fates.values(), *page.paragraphs]:
            continue
        for sentence in re.split(r"(?<=[.?!])\s", page.body):
            if len(sentence.split()) >= 6 and not sentence.startswith(("!", "<")):
                assert sentence not in seen, f"{page.url} and {seen.get(sentence)}: {sentence}"
                seen[sentence] = page.url


def test_no_placeholder_of_a_template_is_left() -> None:
    hosts = read_hosts()
    for page in read_pages():
        if page.is_html:
            text = page_html(page, hosts[page.host], DATES["march"])
            assert "{{" not in text
            assert page.body.startswith("<!DOCTYPE") or text.count("<h1") + text.count("<H1") == 1


def test_a_range_gives_a_line_for_each_number() -> None:
    assert expand("a{08..11}-{08..11}") == ["a08-08", "a09-09", "a10-10", "a11-11"]
    assert expand("no range") == ["no range"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError, match=r"taken.*cannot be written"):
        write(tmp_path / "taken")
