"""Keys: addresses that mean the same are one, texts that are alike share a band, and all is the same every time."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Duplicates, NearDuplicate
from pipeline.document import END_OF_DOCUMENT
from pipeline.keys import band_keys, canonical_url, host_of, image_set_key, make_keys
from pipeline.work import key64
from tests.crawls import prose
from tests.documents import document, image, run_stage

NEAR = NearDuplicate()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://example.com/a", "http://example.com/a"),
        ("HTTP://Example.COM/A", "http://example.com/A"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com:80/", "http://example.com/"),
        ("https://example.com:443/", "https://example.com/"),
        ("https://example.com:80/", "https://example.com:80/"),
        ("http://example.com:8080/", "http://example.com:8080/"),
        ("http://example.com:/", "http://example.com/"),
        ("http://example.com./a", "http://example.com/a"),
        ("http://example.com/a#part", "http://example.com/a"),
        ("http://example.com/a?b=2&a=1#c", "http://example.com/a?b=2&a=1"),
        ("http://example.com/a?B=C", "http://example.com/a?B=C"),
        ("http://example.com/%7Euser/", "http://example.com/%7Euser/"),
        ("  http://example.com/a\n", "http://example.com/a"),
        ("http://[2001:DB8::1]/a", "http://[2001:db8::1]/a"),
        ("http://[2001:DB8::1]:8080/a", "http://[2001:db8::1]:8080/a"),
        ("http://[half/a", "http://[half/a"),
        ("http://example.com:port/", "http://example.com:port/"),
        ("http://example.com:99999/", "http://example.com:99999/"),
        ("", "/"),
    ],
)
def test_addresses_that_mean_the_same_are_written_alike(url: str, expected: str) -> None:
    assert canonical_url(url) == expected
    assert canonical_url(expected) == expected


@given(st.from_regex(r"https?://[a-zA-Z0-9-]{1,9}[a-zA-Z0-9.:@-]{0,20}(/[!-~]{0,20})?", fullmatch=True))
def test_an_address_that_is_written_canonically_stays_as_it_is(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once


@given(st.text(max_size=60) | st.text("htp:/[]@.#?%0\t a℀", max_size=30))
def test_no_text_breaks_it(url: str) -> None:
    assert isinstance(host_of(canonical_url(url)), str)


def test_a_key_is_the_same_on_every_machine_and_fits_sixty_four_bits() -> None:
    assert key64("http://example.com/") == 481213410437047035
    assert key64("a", "b") != key64("ab")
    assert key64("a\ud800") != key64("a")
    assert all(-(2**63) <= key64(str(number)) < 2**63 for number in range(200))


def test_a_set_of_images_is_the_same_in_any_order_and_with_repetitions() -> None:
    a, b = image("http://a.example/1"), image("http://A.example:80/2#x")
    assert image_set_key(document(a, b)) == image_set_key(document(b, a, image("http://a.example/2"), a))
    assert image_set_key(document(a)) != image_set_key(document(a, b))


def text(seed: int, paragraphs: int = 40) -> list[str]:
    return prose(seed, paragraphs)


def shared(one: list[str], other: list[str], near: NearDuplicate = NEAR) -> int:
    """How many bands two texts have in common."""
    pairs = zip(band_keys(document(*one), near), band_keys(document(*other), near), strict=True)
    return sum(a == b for a, b in pairs)


def test_equal_texts_share_every_band_whatever_their_case_white_space_and_images() -> None:
    words = " ".join(text(1)).split()
    assert len(band_keys(document(*text(1)), NEAR)) == NEAR.bands == 16
    assert shared(text(1), [" ".join(words[:50]).upper(), "\n ".join(words[50:])]) == 16
    with_image = document(text(1)[0], image(), *text(1)[1:])
    assert band_keys(with_image, NEAR) == band_keys(document(*text(1)), NEAR)


def test_a_light_edit_leaves_most_bands_and_another_text_none() -> None:
    words = " ".join(text(1)).split()
    edited = [*words[:100], "suddenly", *words[100:]]
    assert shared([" ".join(words)], [" ".join(edited)]) > 8
    assert shared(["one two three four five six seven eight"], ["nine ten eleven twelve thirteen fourteen"]) == 0


def test_bands_are_the_same_for_a_seed_and_others_for_another() -> None:
    assert band_keys(document("the mill stands on the river bank"), NEAR)[:2] == [
        1790384642021460404,
        7222051043197325620,
    ]
    assert shared(text(1), text(1), NearDuplicate(seed=2)) == 16
    assert not set(band_keys(document(*text(1)), NEAR)) & set(band_keys(document(*text(1)), NearDuplicate(seed=2)))


def test_a_text_shorter_than_a_shingle_has_bands_and_one_without_words_has_none() -> None:
    assert shared(["two words"], ["two  words"]) == 16
    assert shared(["two words"], ["two birds"]) == 0
    assert band_keys(document(image(), "  "), NEAR) == []
    assert len(band_keys(document("a \ud800 surrogate"), NEAR)) == 16


def test_each_page_image_and_paragraph_has_a_key_with_its_place(tmp_path: Path) -> None:
    pages = [
        document("one\n\ntwo", image("http://a.example/1"), END_OF_DOCUMENT, "  \n\nthree", url="http://A.example/x#y"),
        document("two", url="http://b.example/", row=3, date=datetime(1970, 1, 2, tzinfo=UTC)),
    ]
    made = run_stage(make_keys, Duplicates(near_duplicate=NearDuplicate(bands=2, rows=2)), pages, tmp_path)
    noon = int(datetime(2026, 3, 10, 12, tzinfo=UTC).timestamp())
    assert made.rows("pages") == [
        {"shard": 0, "row": 0, "url_key": key64("http://a.example/x"), "crawl_date": noon},
        {"shard": 0, "row": 3, "url_key": key64("http://b.example/"), "crawl_date": 86400},
    ]
    assert made.rows("images") == [
        {"shard": 0, "row": 0, "position": 1, "url_key": key64("http://a.example/1"), "crawl_date": noon}
    ]
    places = [(row["row"], row["position"], row["paragraph"]) for row in made.rows("paragraphs")]
    assert places == [(0, 0, 0), (0, 0, 1), (0, 3, 1), (3, 0, 0)]
    assert [(row["row"], row["band"]) for row in made.rows("bands")] == [(0, 0), (0, 1), (3, 0), (3, 1)]
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
    assert run_stage(make_keys, Duplicates(), [document("text")], tmp_path).rows("bands") == []


@pytest.mark.parametrize("url", ["http://[half/page", "http://a℀b.example/", "", "no address", "http://a:99999/"])
def test_a_page_whose_address_cannot_be_split_costs_nothing(url: str, tmp_path: Path) -> None:
    made = run_stage(make_keys, Duplicates(), [document("text", image(), url=url)], tmp_path)
    assert len(made.rows("pages")) == len(made.rows("paragraphs")) == 1
