"""A page becomes text and image nodes in DOM order, by the rules of OBELICS and without its defects."""

import base64
import gzip
import json
import re
import time
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import warc
from pipeline.document import END_OF_DOCUMENT, Image
from pipeline.errors import UserError
from pipeline.html.address import inline_image
from pipeline.html.decode import decode
from pipeline.html.extract import Page, extract
from pipeline.html.walk import MAX_NODES
from tests.crawls import page, picture, prose

URL = "https://example.org/a/page.html"


def shown(html: str, url: str = URL) -> list[str]:
    """The nodes of a page: a text as it is, an image as "[last part of its address]"."""
    return [
        f"[{node.image.url.rsplit('/', 1)[1]}]" if node.image is not None else node.text or ""
        for node in extract(html, url).nodes
    ]


def the_image(html: str) -> Image:
    (image,) = [node.image for node in extract(html, URL).nodes if node.image]
    return image


@pytest.mark.parametrize(
    ("html", "nodes"),
    [
        ("<p>One</p><p>two</p>", ["One\n\ntwo"]),
        ("<div>One</div><div>two</div>", ["One\ntwo"]),
        ("<div>One</div><div><p>two</p></div>", ["One\n\ntwo"]),
        ("One<br>two", ["One\ntwo"]),
        ("One<br> <br>two<br><br><br>three", ["One\n\ntwo\n\nthree"]),
        ("<div>One<br></div><div>two</div>", ["One\ntwo"]),
        ("<b>One</b><i>two</i> <a href=x>three</a>\n four", ["Onetwo three four"]),
        ("<p> One \n\t two&nbsp; three </p>", ["One two three"]),
        ("<p>One</p><img src=a.jpg><p>two</p>", ["One", "[a.jpg]", "two"]),
        (
            "<p>One <img src=a.jpg> two <img src=b.jpg><img src=c.jpg></p>",
            ["One", "[a.jpg]", "two", "[b.jpg]", "[c.jpg]"],
        ),
        ("<h1>T</h1><blockquote>q</blockquote>", ["T\n\nq"]),
        ("<p>One<script>x</script><style>y</style><button>z</button></p>", ["One"]),
        ("<table><tr><td>gone</table><ul><li>gone</ul><form>gone</form>kept", ["kept"]),
        ("<header>gone</header><nav>gone</nav><footer>gone</footer><p>kept", ["kept"]),
        ("<p class='x footer'>gone</p><p class='site-info'>gone</p><p class=footers>kept</p>", ["kept"]),
        (
            "<div id=menu>gone</div><div class=nav>gone</div><div class='nav bar'>kept</div><p id=menu>too</p>",
            ["kept\n\ntoo"],
        ),
        ("<div class=post-date>gone <b>gone</b><p>kept</p><img src=a.jpg></div>", ["kept", "[a.jpg]"]),
        ("<div>a</div><my-card><p>kept</p></my-card>", ["a\n\nkept"]),
        ("<!-- gone --><p>kept<!-- gone --></p>", ["kept"]),
        ("<title>gone</title><body>kept", ["kept"]),
        ("<svg><title>gone</title><text>gone</text></svg><template>gone</template>kept", ["kept"]),
        ("<p>One</p><a class='x more-link' href=y>Read <img src=a.jpg></a>two", [f"One\n\n{END_OF_DOCUMENT}\n\ntwo"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_text_and_images_stand_in_dom_order(html: str, nodes: list[str]) -> None:
    assert shown(html) == nodes


def test_positions_are_indices() -> None:
    page = extract("a<img src=a>b<noscript><img src=c></noscript><img src=c><p>d</p>", URL)
    assert [node.position for node in page.nodes] == list(range(len(page.nodes)))


@pytest.mark.parametrize(
    ("html", "nodes"),
    [
        ("<img src=spacer.gif data-src=a.jpg>", ["[a.jpg]"]),
        ("<img src=spacer.gif>", []),
        ("<img srcset='a.jpg 400w, b.jpg 800w, c.jpg 4000w'>", ["[b.jpg]"]),
        ("<picture><source srcset='a.avif' type=image/avif><source srcset=b.webp><img alt=x></picture>", ["[b.webp]"]),
        ("<picture><source srcset=a.webp></picture><img alt=x>", []),
        ("<picture><source srcset=a.webp><img src=b.jpg></picture>", ["[b.jpg]"]),
        ("<img src='data:,' class=lazy><noscript><img src=a.jpg></noscript>", ["[a.jpg]"]),
        ("<img src='data:,' data-src=a.jpg><noscript><img src=a.jpg>gone</noscript>", ["[a.jpg]"]),
        ("<p><noscript><img src=a.jpg></noscript><img src='data:,' data-src=a.jpg>", ["[a.jpg]"]),
        ("<img src=/60/a.jpg><noscript><img src=/900/a.jpg></noscript>", ["[a.jpg]"]),
        ("<p>t</p><noscript><img src=//t.example/c height=1 width=1></noscript>", ["t"]),
        (
            "<div><noscript><img src=a.jpg></noscript></div><div><noscript><img src=b.jpg></noscript></div>",
            ["[a.jpg]", "[b.jpg]"],
        ),
    ],
)
def test_an_image_is_found_however_it_is_loaded(html: str, nodes: list[str]) -> None:
    assert shown(html) == nodes


def test_of_a_preview_and_its_fallback_the_fallback_stays() -> None:
    image = the_image("<img src=/60/a.jpg><noscript><img src=/900/a.jpg></noscript>")
    assert image.url == "https://example.org/900/a.jpg"


def test_the_base_element_moves_relative_addresses() -> None:
    assert the_image("<base href='/c/d/'><img src=a.jpg>").url == "https://example.org/c/d/a.jpg"
    assert the_image("<base href='javascript:1'><img src=a.jpg>").url == "https://example.org/a/a.jpg"
    assert the_image("<base href='//cdn.example/'><img src=../a.jpg>").url == "https://cdn.example/a.jpg"


def test_an_image_keeps_what_the_page_says_of_it() -> None:
    html = (
        "<figure><div><img src='../Red_fox-in snow.jpg' alt=' A  fox ' title=Fox width=640 height='50%'></div>"
        "<figcaption>A <b>red</b> fox<p>in snow</p></figcaption></figure>"
    )
    page = extract(html, URL)
    assert page.nodes[0].image == Image(
        url="https://example.org/Red_fox-in%20snow.jpg",
        src="../Red_fox-in snow.jpg",
        attribute="src",
        alt="A fox",
        title="Fox",
        caption="A red fox in snow",
        filename="Red fox in snow",
        rendered_width="640",
        rendered_height="50%",
    )
    assert [node.text for node in page.nodes[1:]] == ["A red fox\n\nin snow"]
    odd = the_image("<img src=a width='calc(1px)' height=auto>")
    assert (odd.rendered_width, odd.rendered_height) == ("", "")


def test_a_caption_belongs_to_its_own_figure() -> None:
    html = (
        "<figure><figcaption>outer</figcaption><img src=a>"
        "<figure><img src=b><figcaption>inner</figcaption></figure><figure><img src=c></figure></figure><img src=d>"
    )
    captions = {node.image.src: node.image.caption for node in extract(html, URL).nodes if node.image}
    assert captions == {"a": "outer", "b": "inner", "c": "outer", "d": ""}


def test_meta_elements_are_handed_on() -> None:
    html = (
        "<meta charset=utf-8><meta name=Robots content='noai, NoImageAI'><META HTTP-EQUIV='tdm-reservation' content=1>"
        "<meta property=og:title content=' T '><body><meta name=robots content=index>" + "<meta name=x>" * 999
    )
    page = extract(html, URL)
    assert page.meta[:4] == [
        ("robots", "noai, NoImageAI"),
        ("tdm-reservation", "1"),
        ("og:title", "T"),
        ("robots", "index"),
    ]
    assert len(page.meta) < 300


def test_an_unknown_method_is_the_users_error() -> None:
    with pytest.raises(UserError, match=r"'best' is unknown: use one of .*obelics"):
        extract("<p>", URL, method="best")


HOSTILE = {
    "deep div": "<div>" * 100_000 + "deep",
    "deep list": "<ul><li>" * 500_000,
    "deep link": "<a href=x><div>" * 300_000,
    "end tags": "<div>" * 25_000 + "</span>" * 600_000,
    "formatting": "<div>" + "".join(f"<font color={n}>" for n in range(300)) + "</div>" + "<div>x</div>" * 24_000,
    "attributes": "<p " + " ".join(f"a{n}='>'" for n in range(400_000)) + ">",
    "hidden attributes": '<script><p a="</script><p ' + " ".join(f"a{n}" for n in range(600_000)) + ">",
    "long attribute": '<img src="' + "x" * 10_000_000 + '">',
    "long srcset": "<img srcset='" + "a 1w," * 900_000 + "'>",
    "open quotes": "<p a='" * 800_000,
    "open comments": "<!--" * 1_200_000,
    "open scripts": "<script" * 700_000,
    "nul": "\0" * 5_000_000,
    "less than": "<" * 5_000_000,
    "images": "<img src=a><p>x</p>" * 20_000,
    "figures": "<figure><img src=a><figcaption>x" * 20_000,
    "noscript": "<noscript><img src=a>" * 20_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pages_take_seconds_at_most(name: str) -> None:
    start = time.process_time()
    page = extract(HOSTILE[name], URL)
    assert time.process_time() - start < 15
    assert len(page.nodes) <= MAX_NODES


def test_deep_pages_are_read_to_the_bottom() -> None:
    assert shown("<div>" * 9_000 + "deep" + "</div>" * 9_000 + "after") == ["deep\nafter"]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=6),
            st.sampled_from(
                "<p> </p> <div> </div> <b> </b> <br> <img¬src=a> <img¬src> <picture> <source¬srcset=b> </picture> <figure> "
                "</figure> <figcaption> </figcaption> <noscript> </noscript> <table> <td> <!-- --> <svg> <template> "
                "<a¬class=more-link> <div¬class=date> &#0; &#xD800; \0 <base¬href=//[> <plaintext> <select>".split()
            ).map(lambda tag: tag.replace("¬", " ")),
        ),
        max_size=30,
    )
)
def test_any_markup_gives_clean_nodes(pieces: list[str]) -> None:
    page: Page = extract("".join(pieces).encode("utf-8", "replace").decode(), URL)
    assert [node.position for node in page.nodes] == list(range(len(page.nodes)))
    for before, node in zip([None, *page.nodes], page.nodes, strict=False):
        assert (node.text is None) != (node.image is None)
        if node.text is not None:
            assert node.text == node.text.strip() != ""
            assert "\0" not in node.text
            assert not re.search(r"  | \n|\n | \n\n\n", node.text)
            assert before is None or before.text is None


def overlap(ours: str, theirs: str) -> float:
    """F1 of the two multisets of words."""
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (ours, theirs))
    return 2 * (a & b).total() / (a.total() + b.total()) if a or b else 1.0


@pytest.mark.material
def test_text_is_what_the_published_code_extracts(material: Path) -> None:
    """But for custom elements, whose content that code throws away."""
    with gzip.open(material / "reference" / "obelics-pages.jsonl.gz", "rt", encoding="utf-8") as lines:
        reference = {page["url"]: page["texts"] for page in map(json.loads, lines) if page["texts"]}
    scores = []
    for item in warc.read(str(material / "pages" / "wcxb-00.warc.gz")):
        if isinstance(item, warc.Record) and item.type == "response" and item.url in reference:
            page = extract(decode(item.body, item.content_type), item.url)
            ours = " ".join(node.text for node in page.nodes if node.text)
            scores.append(overlap(ours, " ".join(text for text in reference[item.url] if text)))
    assert len(scores) > 50
    assert sum(scores) / len(scores) > 0.97


@pytest.mark.material
def test_images_of_the_main_content_are_found(material: Path) -> None:
    """OBELICS's published code has recall 0.51 and precision 0.46 on these pages."""
    recall, precision = [], []
    with gzip.open(material / "pages" / "image_gold.jsonl.gz", "rt", encoding="utf-8") as lines:
        for entry in map(json.loads, lines):
            gold = {unquote(url.partition(":")[2]) for url in entry["images"]}
            images = [node.image for node in extract(entry["html"], entry["page_url"]).nodes if node.image]
            found = {unquote(image.url.partition(":")[2]) for image in images}
            recall.append(len(gold & found) / len(gold) if gold else 1.0)
            precision.append(len(gold & found) / len(found) if found else 0.0)
    assert sum(recall) / len(recall) > 0.8
    assert sum(precision) / len(precision) > 0.48


@pytest.mark.parametrize("method", ["main", "obelics", "trafilatura"])
def test_an_image_inside_of_its_address_is_kept_up_to_the_configured_size(method: str) -> None:
    held = base64.b64encode(picture(1)).decode()
    html = page(prose(1)).decode().replace("</p>", f'</p><img src="data:image/jpeg;base64,{held}" alt="held">', 1)
    for inline, kept in ((0, []), (len(picture(1)) - 1, []), (len(picture(1)), [picture(1)])):
        nodes = extract(html, "https://example.org/a", method, inline).nodes
        images = [node.image.url for node in nodes if node.image and node.image.alt == "held"]
        assert [inline_image(url) for url in images] == kept


def test_a_preview_inside_of_an_address_gives_way_to_the_image_that_is_loaded_later() -> None:
    held = base64.b64encode(picture(1)).decode()
    html = f'<p>Text<img src="data:image/jpeg;base64,{held}" data-src="/a.jpg"><img src="data:image/png;base64,AAAA">'
    nodes = extract(html, "https://example.org/", "obelics", 10**6).nodes
    assert [node.image.url for node in nodes if node.image] == ["https://example.org/a.jpg"]
