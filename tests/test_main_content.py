"""Main content with its images: what is kept, in which order, and that the parts agree with plain ways to compute them."""

import gzip
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from selectolax.lexbor import LexborHTMLParser

from pipeline.document import END_OF_DOCUMENT, Node
from pipeline.html.blocks import blocks
from pipeline.html.choose import TEMPERATURE, chosen, once
from pipeline.html.extract import extract
from pipeline.html.features import elements, table
from pipeline.html.lexicon import PART, ROLE, attribute_words, hash_of, lexicon, text_words
from pipeline.html.main import MODEL, judged, model
from pipeline.html.network import probabilities
from pipeline.html.pictures import no_content
from pipeline.html.tags import TAG, TAGS
from tests.crawls import prose

URL = "https://example.org/blog/2024/foxes"
SENTENCE = "The red fox crossed the frozen river before dawn, and nobody on the farm heard it pass by the old barn. "
PAGE = f"""<html><head><title>Foxes</title><meta name="robots" content="noai"></head><body>
<nav class="menu"><ul><li><a href="/">Home</a></li><li><a href="/a">About us</a></li><li><a href="/c">Contact</a></li></ul></nav>
<article class="post entry-content"><h1>Foxes in winter</h1>
<p>{SENTENCE * 3}</p>
<figure><img src="/fox.jpg" alt="A fox" width="800" height="600"><figcaption>A fox in <b>snow</b></figcaption></figure>
<p>{SENTENCE * 2}First line<br>second line.</p>
<p>{SENTENCE * 3}It ends here.</p>
</article>
<footer class="site-footer"><a href="/p">Privacy policy</a> <a href="/t">Terms of use</a> Copyright 2024
<img src="/logo.png" alt="logo"></footer></body></html>"""


def texts(nodes: list[Node]) -> str:
    return "\n\n".join(node.text for node in nodes if node.text is not None)


def test_text_and_image_of_an_article_come_in_dom_order_without_menu_and_footer() -> None:
    nodes = extract(PAGE, URL, "main").nodes
    assert [node.image is not None for node in nodes] == [False, True, False]
    assert [node.position for node in nodes] == [0, 1, 2]
    assert "Home" not in texts(nodes)
    assert "Privacy" not in texts(nodes)
    assert texts(nodes).endswith("It ends here.")


def test_an_image_carries_what_its_markup_says() -> None:
    (image,) = [node.image for node in extract(PAGE, URL, "main").nodes if node.image is not None]
    assert (image.url, image.src, image.alt) == ("https://example.org/fox.jpg", "/fox.jpg", "A fox")
    assert image.caption == "A fox in snow"
    assert (image.rendered_width, image.rendered_height, image.filename) == ("800", "600", "fox")


def test_an_image_that_is_in_no_figure_keeps_no_caption_of_another() -> None:
    depth = 18
    page = PAGE.replace("<figure>", "").replace("<figcaption>A fox in <b>snow</b></figcaption></figure>", "")
    page = page.replace("<article", "<div>" * depth + "<article").replace("</article>", "</article>" + "</div>" * depth)
    page = page.replace("<ul>", "<figure><figcaption>A badger</figcaption></figure><ul>")
    nodes = extract(page, URL, "main").nodes
    assert len([node for node in nodes if node.image is not None]) == 1
    assert "badger" not in texts(nodes)


def test_paragraphs_are_separated_by_blank_lines_and_a_br_breaks_a_line() -> None:
    text = texts(extract(PAGE, URL, "main").nodes)
    assert "First line\nsecond line.\n\nThe red fox" in text


def test_a_link_to_the_rest_ends_a_document() -> None:
    page = PAGE.replace("It ends here.", 'And so <a class="more-link x" href="/rest">Read on</a>')
    text = texts(extract(page, URL, "main").nodes)
    assert text.endswith(f"And so\n\n{END_OF_DOCUMENT}")
    assert "Read on" not in text


def test_a_text_that_a_page_says_twice_is_kept_once() -> None:
    page = PAGE.replace(
        "</article>", "<p>Only this one sentence is here two times, word by word.</p>" * 2 + "</article>"
    )
    assert texts(extract(page, URL, "main").nodes).count("Only this one sentence") == 1


def test_the_signals_of_a_page_survive_its_extraction() -> None:
    assert extract(PAGE, URL, "main").meta == [("robots", "noai")]


@pytest.mark.parametrize(
    "page", ["", "<", "<html>", "<p>", "<img src=a.jpg>", "<!-- x", "<plaintext><p>a", "\0", "<a b<c>d"]
)
def test_pages_without_content_give_no_error(page: str) -> None:
    assert isinstance(extract(page, URL, "main").nodes, list)


@pytest.mark.parametrize(
    ("attributes", "dropped"),
    [
        ({"src": "/a.jpg"}, False),
        ({"src": "/a.jpg", "width": "1", "height": "1"}, True),
        ({"src": "/a.jpg", "width": "16px"}, True),
        ({"src": "/a.jpg", "width": "100%"}, False),
        ({"src": "/a.jpg", "class": "avatar photo"}, True),
        ({"src": "/img/icon-mail.png"}, True),
        ({"src": "/silicon-valley.png"}, False),
        ({"src": "https://facebook.com/tr?id=1"}, True),
        ({"src": "/catalogosaurus.jpg"}, False),
    ],
)
def test_markup_tells_icons_and_counters_from_pictures(attributes: dict[str, str | None], dropped: bool) -> None:
    assert no_content(attributes) is dropped


def test_every_tag_finds_its_partner_and_its_parent() -> None:
    tree = LexborHTMLParser(
        "<div id=a><p>x <b>y</b></p><img src=q><ul><li>1<li>2</ul></div><custom-element>z</custom-element>"
    )
    found = blocks(tree)
    assert found is not None
    names = [TAGS[number] if number < len(TAGS) else "?" for number in found.tag]
    for at, other in enumerate(found.match.tolist()):
        assert found.match[other] == at
        assert found.tag[other] == found.tag[at]
        assert (other == at) == (names[at] == "img")
    assert [names[found.parent[at]] for at in range(len(names)) if names[at] == "li" and not found.closing[at]] == [
        "ul",
        "ul",
    ]
    assert TAG["p"] == found.tag[found.element[0]]


@settings(max_examples=60, deadline=None)
@given(st.text("ab <>/\"'=&;pdivl!-\n", max_size=200))
def test_blocks_hold_the_words_that_the_parser_sees(markup: str) -> None:
    tree = LexborHTMLParser(f"<body>{markup}")
    found = blocks(tree)
    tree.strip_tags(["head"])
    expected = re.findall(r"\w", tree.text(deep=True))
    if found is None:
        assert not expected
        return
    shown = b"".join(
        re.sub(rb"<[^>]*>", b"", found.html[begin:end])
        for begin, end in zip(found.ends[found.first].tolist(), found.starts[found.last].tolist(), strict=True)
    )
    text = shown.replace(b"&amp;", b"").replace(b"&lt;", b"").replace(b"&gt;", b"").replace(b"&nbsp;", b"").decode()
    assert re.findall(r"\w", text) == expected


def test_what_looks_like_a_comment_in_a_tag_is_none() -> None:
    found = blocks(
        LexborHTMLParser("<body><p a <!-- b>one</p><!-- x > y <p> --><div <c>two</div><!----><p>three --> four</p>")
    )
    assert found is not None
    assert [TAGS[found.tag[at]] for at in found.element] == ["p", "div", "p"]
    assert (found.match[found.match] == np.arange(len(found.tag))).all()


@pytest.mark.parametrize(
    "inner", ["<math><img></math>", "<math><mi><meta>x</mi></math>", "<math><annotation><br>y", "<me<select>z"]
)
def test_odd_elements_leave_the_rest_in_place(inner: str) -> None:
    found = blocks(LexborHTMLParser(f"<body><div><p>before</p>{inner}</div><ul><li>after</ul>"))
    assert found is not None
    assert (found.match[found.match] == np.arange(len(found.tag))).all()
    assert (found.tag[found.match] == found.tag).all()
    assert found.tag[found.element[0]] == TAG["p"]


def test_hashes_of_words_are_those_of_their_letters_wherever_they_stand() -> None:
    page = '<p class="entryBody big_post" role="main">Hello You</p> class="liar" <p>you <b>hello</b></p>'
    found = blocks(LexborHTMLParser(page))
    assert found is not None
    _, words = attribute_words(found)
    for word in ("entry", "body", "big", "post"):
        assert hash_of(word, PART) in words.tolist()
    assert hash_of("main", ROLE) in words.tolist()
    assert hash_of("liar", PART) not in words.tolist()
    owner, spoken = text_words(found)
    first, second = (set(spoken[owner == at].tolist()) for at in (0, len(found.first) - 1))
    assert len(first & second) == 2  # the two words; not their order


@pytest.mark.parametrize("size", [0, 1, 50, 5000])
def test_a_lexicon_finds_its_words_and_no_others(size: int) -> None:
    random = np.random.default_rng(size)
    learned = np.unique(random.integers(1 << 63, size=size).astype(np.uint64))
    found = lexicon(learned, np.ones((len(learned), 3), np.float32))
    assert found.find(found.hashes).tolist() == list(range(len(found.hashes)))
    others = np.append(random.integers(1 << 63, 1 << 64, size=20_000, dtype=np.uint64), np.uint64(0))
    others = others[~np.isin(others, found.hashes)]
    assert set(found.find(others).tolist()) == {len(found.hashes)}


@pytest.mark.parametrize("inner", [SENTENCE * 2, "short", f"{SENTENCE * 2}<p>short"])
def test_pages_without_short_or_long_texts_or_attributes_are_judged(inner: str) -> None:
    page = judged(LexborHTMLParser(f"<p>{inner}"), URL)
    assert page is not None
    assert len(page.probability) == inner.count("<p>") + 1


def test_bits_gather_all_elements_around() -> None:
    inner = "<section><div><div><div><div><p>text here</p></div></div></div></div></section>"
    found = blocks(LexborHTMLParser(f"<nav><article>{inner}</article></nav><p>outside</p>"))
    assert found is not None
    words = model()[1]
    features = table(found, elements(found, words), words, URL)
    assert features.rows.shape[0] == len(found.first) == 2
    assert np.isfinite(features.rows).all()
    around = elements(found, words)
    assert around.depth[found.element[0]] - around.depth[found.element[1]] == 7


def test_the_choice_has_the_greatest_expected_f1() -> None:
    found = blocks(LexborHTMLParser("".join(f"<p>{'word ' * n}{n}</p>" for n in (3, 9, 1, 14, 6))))
    assert found is not None
    given_chance = np.array([0.9, 0.4, 0.2, 0.7, 0.05], np.float32)
    words = found.counts[:, 0]
    odds = (given_chance / (1 - given_chance)) ** (1 / TEMPERATURE)
    chance = odds / (1 + odds)

    def expected(kept: NDArray[np.bool_]) -> float:
        return float(2 * (chance * words)[kept].sum() / (words[kept].sum() + (chance * words).sum()))

    best = max(expected(chance >= threshold) for threshold in chance)
    assert expected(chosen(given_chance, found)) == pytest.approx(best)


def test_once_leaves_the_likeliest_of_equal_texts() -> None:
    found = blocks(LexborHTMLParser("<p>one two three four five six</p>" * 3 + "<p>no</p><p>no</p>"))
    assert found is not None
    assert once(np.array([0.1, 0.8, 0.3, 0.5, 0.5], np.float32), found).tolist() == pytest.approx([0, 0.8, 0, 0.5, 0.5])


def test_the_model_is_small_and_says_where_it_is_from() -> None:
    assert MODEL.stat().st_size < 2 << 20
    assert "CC-BY-4.0" in (MODEL.parent / "README.md").read_text()


def test_probabilities_are_the_same_each_time() -> None:
    network, lexicon = model()
    pages = [judged(LexborHTMLParser(PAGE), URL) for _ in range(2)]
    assert pages[0] is not None
    assert pages[1] is not None
    assert (pages[0].probability == pages[1].probability).all()
    found = pages[0].blocks
    again = probabilities(network, table(found, elements(found, lexicon), lexicon, URL))
    assert (again == pages[0].probability).all()


@pytest.mark.material
def test_images_of_reviewed_pages_are_found(material: Path) -> None:
    from tests.benchmarks.extraction import image_counts

    with gzip.open(material / "pages/image_gold.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line) for line in file]
    right, wanted, found = (sum(column) for column in zip(*image_counts("main", pages), strict=True))
    assert right / wanted >= 0.95
    assert right / found >= 0.8


def test_a_book_is_kept_whole_without_its_menu() -> None:
    """Beyond the longest page that the network has seen it would keep a tenth."""
    chapters = "".join(f"<h2>Chapter {n}</h2><p>{' '.join(prose(n, 4))}</p>" for n in range(400))
    menu = "".join(f'<li><a href="/{n}">Other book number {n}</a></li>' for n in range(40))
    html = f"<body><nav><ul>{menu}</ul></nav><div>{chapters}</div></body>"
    text = "\n".join(node.text or "" for node in extract(html, "http://books.example/one", "main").nodes)
    assert all(f"Chapter {n}" in text for n in range(400))
    assert "Other book" not in text
