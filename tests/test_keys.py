"""Keys: each page, image and paragraph has one with its place, and all is the same every time."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from pipeline.config import Duplicates, NearDuplicate, Paragraphs
from pipeline.document import END_OF_DOCUMENT
from pipeline.keys import MOST_IMAGES, image_key, image_set_key, make_keys, sign
from pipeline.work import key64
from tests.documents import document, image, run_stage


def test_a_key_is_the_same_on_every_machine_and_fits_sixty_four_bits() -> None:
    assert key64("http://example.com/") == 481213410437047035
    assert key64("a", "b") != key64("ab")
    assert key64("a\ud800") != key64("a")
    assert all(-(2**63) <= key64(str(number)) < 2**63 for number in range(200))


def test_a_set_of_images_is_the_same_in_any_order_and_with_repetitions() -> None:
    a, b = image("http://a.example/1"), image("http://A.example:80/2#x")
    assert image_set_key(document(a, b)) == image_set_key(document(b, a, image("http://a.example/2"), a))
    assert image_set_key(document(a)) != image_set_key(document(a, b))


def test_each_page_image_and_paragraph_has_a_key_with_its_place(tmp_path: Path) -> None:
    pages = [
        document("one\n\ntwo", image("http://a.example/1"), END_OF_DOCUMENT, "  \n\nthree", url="http://A.example/x#y"),
        document("two", url="http://b.example/", row=3, date=datetime(1970, 1, 2, tzinfo=UTC)),
    ]
    made = run_stage(
        make_keys, Duplicates(near_duplicate=NearDuplicate(permutations=8, bands=2, rows=2)), pages, tmp_path
    )
    noon = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp())
    assert made.rows("pages") == [
        {"shard": 0, "row": 0, "key": key64("http://a.example/x"), "crawl_date": noon},
        {"shard": 0, "row": 3, "key": key64("http://b.example/"), "crawl_date": 86400},
    ]
    assert made.rows("images") == [
        {
            "shard": 0,
            "row": 0,
            "position": 1,
            "page_key": key64("http://a.example/x"),
            "url_key": key64("http://a.example/1"),
        }
    ]
    places = [(row["row"], row["position"], row["paragraph"]) for row in made.rows("paragraphs")]
    assert places == [(0, 0, 0), (0, 0, 1), (0, 3, 1), (3, 0, 0)]
    assert [row["row"] for row in made.rows("bands")] == [0, 0, 3, 3]
    assert [row["row"] for row in made.rows("signatures")] == [0, 3]
    assert (made.receipt.rows_in, made.receipt.rows_out) == (2, 2)


def test_a_paragraph_has_one_key_within_a_host_and_another_on_another_host(tmp_path: Path) -> None:
    pages = [
        document("the same words", url="http://a.example/1"),
        document("  the same words\n", url="http://A.example:80/2", row=1),
        document("the same words", url="http://b.example/1", row=2),
    ]
    first, second, third = (
        row["text_key"] for row in run_stage(make_keys, Duplicates(), pages, tmp_path).rows("paragraphs")
    )
    assert first == second
    assert first != third


def test_no_bands_are_made_where_near_duplicates_are_not_asked_for(tmp_path: Path) -> None:
    made = run_stage(make_keys, Duplicates(), [document("text")], tmp_path)
    assert made.rows("bands") == made.rows("signatures") == []


@pytest.mark.parametrize("url", ["http://[half/page", "http://a℀b.example/", "", "no address", "http://a:99999/"])
def test_a_page_whose_address_cannot_be_split_costs_nothing(url: str, tmp_path: Path) -> None:
    made = run_stage(make_keys, Duplicates(), [document("text", image(), url=url)], tmp_path)
    assert len(made.rows("pages")) == len(made.rows("paragraphs")) == 1


def test_captures_whose_addresses_differ_by_what_tells_nothing_have_one_key(tmp_path: Path) -> None:
    pages = [
        document("text", url="http://a.example/x"),
        document("text", url="http://A.example/x?utm_source=b#c", row=1),
    ]
    one, other = (row["key"] for row in run_stage(make_keys, Duplicates(), pages, tmp_path).rows("pages"))
    assert one == other
    as_written = run_stage(make_keys, Duplicates.model_validate({"canonical": "as_written"}), pages, tmp_path).rows(
        "pages"
    )
    assert len({row["key"] for row in as_written}) == 2


def test_a_paragraph_has_one_key_within_a_registered_domain_where_that_is_asked(tmp_path: Path) -> None:
    urls = ("http://a.example.co.uk/", "http://b.example.co.uk/", "http://a.github.io/", "http://b.github.io/")
    pages = [document("the same words", url=url, row=row) for row, url in enumerate(urls)]
    settings = Duplicates(paragraph_repeated=Paragraphs(max=1, by="registered_domain"))
    first, second, third, fourth = (
        row["text_key"] for row in run_stage(make_keys, settings, pages, tmp_path).rows("paragraphs")
    )
    assert first == second
    assert len({first, third, fourth}) == 3


def test_a_document_without_text_or_without_images_has_the_keys_of_what_it_has(tmp_path: Path) -> None:
    pages = [document(image()), document("some words", row=1), document(row=2)]
    settings = Duplicates(near_duplicate=NearDuplicate(images=0.5))
    made = run_stage(make_keys, settings, pages, tmp_path)
    assert len(made.rows("pages")) == 3
    assert [row["row"] for row in made.rows("images")] == [0]
    assert [(row["row"], row["images"]) for row in made.rows("signatures")] == [(1, b"")]


def test_images_stand_beside_a_signature_where_they_count_and_at_most_so_many() -> None:
    addresses = [f"http://a.example/{number}.png" for number in range(MOST_IMAGES + 9)]
    made = document("some words", *map(image, addresses), image(addresses[0]))
    counted, alone = sign(made, NearDuplicate(images=0.5)), sign(made, NearDuplicate())
    assert counted is not None
    assert alone is not None
    assert np.frombuffer(counted[0]["images"], "<i8").tolist() == sorted(map(image_key, addresses))[:MOST_IMAGES]
    assert alone[0]["images"] == b""
    assert counted[0]["signature"] == alone[0]["signature"]
    assert counted[0]["signature_key"] != alone[0]["signature_key"]
    assert counted[1] == alone[1]
