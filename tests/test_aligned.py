"""Trafilatura's text comes with the page's images, each between the paragraphs where it stands in the DOM."""

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trafilatura import extract as trafilatura

from pipeline import warc
from pipeline.html.align import align, bare
from pipeline.html.decode import decode
from pipeline.html.extract import extract
from tests.crawls import prose

URL = "https://example.org/a/page.html"
FIRST, SECOND, THIRD, FOURTH = prose(7, 4)
MENU = "<nav><ul><li><a href=/>Home</a><li><a href=/about>About us</a></ul><img src=logo.png></nav>"
FOOTER = "<footer><p>All rights reserved.</p><img src=badge.png></footer>"


def shown(body: Sequence[str]) -> list[str]:
    nodes = extract(f"<html><body>{''.join(body)}</body></html>", URL, "trafilatura").nodes
    assert [node.position for node in nodes] == list(range(len(nodes)))
    return [f"[{node.image.url.rsplit('/', 1)[1]}]" if node.image else node.text or "" for node in nodes]


def article(*inside: str) -> list[str]:
    return ["<article>", *(part if part.startswith("<") else f"<p>{part}</p>" for part in inside), "</article>"]


def test_images_stand_between_their_paragraphs() -> None:
    body = article(
        FIRST, "<img src=a.jpg>", "<figure><img src=b.jpg></figure>", SECOND, THIRD, "<img src=c.jpg>", FOURTH
    )
    assert shown(body) == [FIRST, "[a.jpg]", "[b.jpg]", f"{SECOND}\n\n{THIRD}", "[c.jpg]", FOURTH]


def test_an_image_inside_a_paragraph_follows_it_and_one_that_opens_it_goes_before() -> None:
    words = SECOND.split(" ")
    inside = f"<p>{' '.join(words[:9])} <img src=a.jpg> {' '.join(words[9:])}</p>"
    assert shown(article(FIRST, inside, THIRD)) == [f"{FIRST}\n\n{SECOND}", "[a.jpg]", THIRD]
    assert shown(article(FIRST, f"<p><img src=a.jpg> {SECOND}</p>", THIRD)) == [
        FIRST,
        "[a.jpg]",
        f"{SECOND}\n\n{THIRD}",
    ]


def test_the_lead_image_stays_and_the_images_around_the_text_go() -> None:
    lead = ["<h1>Title</h1>", "<img src=lead.jpg>", "<div>By a writer</div>"]
    kept = shown([MENU, *article(*lead, FIRST, "<img src=a.jpg>", SECOND, THIRD), FOOTER])
    assert [node for node in kept if node.startswith("[")] == ["[lead.jpg]", "[a.jpg]"]
    assert kept.index("[lead.jpg]") < kept.index("[a.jpg]")
    distant = f"<div>{'<a href=x>Something else</a> ' * 40}</div>"
    assert "[logo.png]" not in shown([MENU, distant, *article(FIRST, SECOND, THIRD)])


def test_images_inside_a_dropped_part_go_with_it() -> None:
    related = "".join(
        f"<li><a href={n}>Some other story number {n} of ours</a><img src={n}.jpg></li>" for n in range(40)
    )
    kept = shown(
        article(FIRST, SECOND, f"<div class=related><ul>{related}</ul></div>", THIRD, "<img src=a.jpg>", FOURTH)
    )
    assert "[20.jpg]" not in kept
    assert "[a.jpg]" in kept


def test_a_page_without_text_has_no_nodes() -> None:
    assert shown(["<img src=a.jpg>"]) == []
    assert extract("", URL, "trafilatura").nodes == []


def test_lines_that_stand_twice_are_found_between_their_neighbours() -> None:
    page = "menuread" + "firstsentenceofthepage" + "read" + "secondsentenceofthepage" + "read"
    lines = ["firstsentenceofthepage", "read", "secondsentenceofthepage", "notinthepage", "read"]
    places = align(lines, page)
    assert [place and page[slice(*place)] for place in places] == [*lines[:3], None, "read"]
    assert places[1] == (30, 34)
    assert align(["read", *lines[:1]], "read" + page)[0] == (8, 12)  # the nearer one


def test_a_line_out_of_order_moves_no_other() -> None:
    lines = [bare(text) for text in (FIRST, SECOND, THIRD, FOURTH)]
    page = "".join(lines)
    places = align([lines[0], lines[1], lines[3], lines[2]], page)
    assert sum(place is not None for place in places) == 3
    starts = [place[0] for place in places if place]
    assert starts == sorted(starts)


@given(st.lists(st.text("ab", max_size=30), max_size=12), st.text("ab", max_size=200))
def test_places_lie_in_the_page_and_in_order(lines: list[str], page: str) -> None:
    places = align(lines, page)
    assert len(places) == len(lines)
    found = [place for place in places if place]
    assert [start for start, _ in found] == sorted(start for start, _ in found)
    for line, place in zip(lines, places, strict=True):
        if place:
            assert 0 <= place[0] < place[1] <= len(page)
            assert page.startswith(line[:24], place[0])


@pytest.mark.material
def test_text_is_what_trafilatura_extracts(material: Path) -> None:
    pages = 0
    for item in warc.read(str(material / "pages" / "other-00.warc.gz")):
        if isinstance(item, warc.Record) and item.type == "response" and len(item.body) < 200_000 and pages < 40:
            html = decode(item.body, item.content_type)
            ours = " ".join(node.text for node in extract(html, item.url, "trafilatura").nodes if node.text)
            assert ours.split() == (trafilatura(html) or "").split()
            pages += 1
    assert pages == 40


@pytest.mark.material
def test_most_images_of_the_main_content_are_put_back(material: Path) -> None:
    recall, precision = [], []
    with gzip.open(material / "pages" / "image_gold.jsonl.gz", "rt", encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            gold = {unquote(url.partition(":")[2]) for url in entry["images"]}
            nodes = extract(entry["html"], entry["page_url"], "trafilatura").nodes
            found = {unquote(node.image.url.partition(":")[2]) for node in nodes if node.image}
            recall.append(len(gold & found) / len(gold) if gold else 1.0)
            precision.append(len(gold & found) / len(found) if found else 0.0)
    assert sum(recall) / len(recall) > 0.94
    assert sum(precision) / len(precision) > 0.74
