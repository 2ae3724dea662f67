"""`carnac extract --html` shows what was kept and what was dropped, and nothing of a page does anything there."""

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cli import main
from pipeline.config import Extract
from pipeline.document import Image, Node
from pipeline.errors import UserError
from pipeline.html.extract import METHODS, extract, parse
from pipeline.html.view import compare, write_view
from pipeline.html.walk import walk
from tests.crawls import page, picture, prose, write_warc

URL = "https://example.org/a/"
HOSTILE = (
    "<p>one <b>two</b></p><script>alert(1)</script><p>&lt;script&gt;alert(2)&lt;/script&gt;</p>"
    "<img src='a.jpg?\"onload=alert(3)' alt='\"&gt;&lt;img src=x onerror=alert(4)&gt;'>"
    "<p onclick=alert(5)>\u202eright to left</p>"
    "<style>body{display:none}</style><a href='javascript:alert(6)'>link</a><iframe src=//x.example></iframe>&#1;"
)


class Tags(HTMLParser):
    """All elements of a page with their attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def view(path: Path, method: str = "obelics", url: str = URL) -> str:
    out = io.StringIO()
    write_view(out, [str(path)], Extract.model_validate({"method": method}), url)
    return out.getvalue()


def shown(html: str, method: str = "obelics") -> list[tuple[list[tuple[str, bool]], list[int]]]:
    """The rows: runs of words and file names of images, each kept or not, and the positions of the nodes beside them."""
    rows = compare(walk(*parse(html, URL), whole=True), extract(html, URL, method).nodes)
    return [
        (
            [
                run
                for block in row.blocks
                for run in (block.words or [((block.image or Image("", "")).filename, block.kept)])
            ],
            [node.position for node in row.nodes],
        )
        for row in rows
    ]


def test_what_was_kept_stands_beside_its_node() -> None:
    html = "<nav>Menu of the page</nav><p>First words</p><ul><li>a list</ul><img src=a.jpg><p>Last words</p><footer>End</footer>"
    assert shown(html) == [
        ([("Menu of the page", False)], []),
        ([("First words", True)], [0]),
        ([("a list", False)], []),
        ([("a", True)], [1]),
        ([("Last words", True)], [2]),
        ([("End", False)], []),
    ]


def test_words_that_go_from_within_a_paragraph_are_told_apart() -> None:
    assert shown("<p>one two three <button>four five</button></p><p>six</p>")[0] == (
        [("one two three", True), ("four five", False), ("six", True)],
        [0],
    )


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["word ", "other words ", "<p>", "</p>", "<nav>", "</nav>", "<img src=a>", "<img src=b>", "<li>", "- "]
        ),
        max_size=25,
    )
)
def test_every_node_and_every_block_is_shown_once(pieces: list[str]) -> None:
    html = "".join(pieces)
    whole = walk(*parse(html, URL), whole=True)
    kept = extract(html, URL).nodes
    rows = compare(whole, kept)
    assert [node for row in rows for node in row.nodes] == kept
    text = " ".join(run for row in rows for block in row.blocks for run, _ in block.words)
    assert text.split() == " ".join(node.text or "" for node in whole).split()
    images = [block for row in rows for block in row.blocks if block.image]
    assert [block.image for block in images] == [node.image for node in whole if node.image]
    assert sum(block.kept for block in images) == sum(node.image is not None for node in kept)


def test_nodes_that_are_not_found_are_shown_all_the_same() -> None:
    kept = [Node(0, text="never seen"), Node(1, image=Image("http://x.example/", ""))]
    assert [node for row in compare([], kept) for node in row.nodes] == kept
    assert [node for row in compare([Node(0, text="a page")], kept) for node in row.nodes] == kept


@pytest.mark.parametrize("method", METHODS)
def test_a_hostile_page_does_nothing_and_fetches_nothing(method: str, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(HOSTILE, encoding="utf-8")
    html = view(tmp_path / "page.html", method, URL + '"><script>alert(7)</script>')
    tags = Tags(html)
    allowed = "html head meta title style body main h1 p ins del details summary b span div article figure figcaption i code img"
    assert {tag for tag, _ in tags.found} <= set(allowed.split())
    for tag, attributes in tags.found:
        assert not {name for name in attributes if name.startswith("on")}
        assert "href" not in attributes
        assert tag != "img" or str(attributes["src"]).startswith("data:image/jpeg;base64,")
    policy = [attributes for tag, attributes in tags.found if tag == "meta" and "http-equiv" in attributes]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert "alert(2)" in tags.text
    assert not re.search(r"[\x00-\x08]", html)
    assert html.count("<style>") == 1


def test_images_of_the_same_file_are_shown_and_others_named(tmp_path: Path) -> None:
    body = page(prose(1), ["/here.png", "/broken.png", "http://elsewhere.example/there.png"])
    responses = [
        ("http://one.example/", "text/html", body),
        ("http://one.example/here.png", "image/png", picture(1)),
        ("http://one.example/broken.png", "image/png", picture(2)[:500]),
    ]
    html = view(write_warc(tmp_path / "a.warc.gz", responses))
    images = [attributes["src"] for tag, attributes in Tags(html).found if tag == "img"]
    assert len(images) == 2  # of the page, and of its nodes
    assert "http://elsewhere.example/there.png" in html
    assert "3 of 3 images kept" in html


def test_a_page_of_which_nothing_is_kept_is_shown(tmp_path: Path) -> None:
    (tmp_path / "menu.html").write_text("<nav>Only a menu</nav>")
    html = view(tmp_path / "menu.html")
    assert "Only a menu" in html
    assert "Nothing of this page was kept." in html


def test_files_without_a_page_are_the_users_error(tmp_path: Path) -> None:
    path = write_warc(tmp_path / "a.warc.gz", [("http://one.example/a.png", "image/png", picture(1))])
    out = io.StringIO()
    with pytest.raises(UserError, match=r"a\.warc\.gz: no page that could be shown"):
        write_view(out, [str(path)], Extract(), "")
    assert out.getvalue() == ""


def test_the_command_takes_a_method_and_the_address_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.html").write_bytes(page(prose(1, 4), ["b.jpg"]))
    for method in METHODS:
        assert main(["extract", "--method", method, "--url", URL, str(tmp_path / "page.html")]) == 0
        assert f'"url": "{URL}"' in capsys.readouterr().out
        assert main(["extract", "--html", "--method", method, "--url", URL, str(tmp_path / "page.html")]) == 0
        assert f"method {method}</span>" in capsys.readouterr().out
    assert main(["extract", "--url", URL, str(tmp_path / "page.html")]) == 0
    assert f'"{URL}b.jpg"' in capsys.readouterr().out
