"""Whatever the bytes of a page are, it costs itself at most: clean nodes or a drop, within seconds and memory."""

import multiprocessing
import os
import random
import re
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from pipeline import warc
from pipeline.cli import main
from pipeline.config import Extract
from pipeline.document import Document, Node
from pipeline.documents import fill
from pipeline.funnel import as_json, funnel
from pipeline.header import UNKNOWN_DATE
from pipeline.html import extract as extraction
from pipeline.html.bounds import MAX_ATTRIBUTES, bounded
from pipeline.html.decode import CODECS, decode
from pipeline.html.extract import METHODS, extract
from pipeline.html.walk import MAX_NODES
from pipeline.memory import peak
from tests.crawls import page, prose, write_warc

URL = "https://example.org/a/page.html"
MINUTES = 8
SECONDS = 10  # of one mutated page, before the process is ended
MEMORY = 1 << 30  # bytes of a process that has extracted thousands of mutated pages


def assert_clean(nodes: list[Node]) -> None:
    assert len(nodes) <= MAX_NODES
    assert [node.position for node in nodes] == list(range(len(nodes)))
    for node in nodes:
        assert (node.text is None) != (node.image is None)
        values = [node.text] if node.image is None else astuple(node.image)
        for value in (value for value in values if isinstance(value, str)):
            assert "\0" not in value
            value.encode("utf-8")  # raises for a lone surrogate
        if node.image is None:
            assert node.text
            assert node.text == node.text.strip()
        else:
            assert re.match(r"https?://[^/]", node.image.url)


PIECES = [
    piece.encode()
    for piece in (
        *"<p> </p> <div> </div> <b> <br> <ul> <li> <table> <tr> <td> </table> <h1> </h1> <article> </article>".split(),
        *"<picture> </picture> <figure> </figure> <figcaption> <noscript> </noscript> <script> </script> <style>".split(),
        *"<!-- --> <![CDATA[ ]]> <?xml <svg> <math> <template> </template> <select> <plaintext> <frameset>".split(),
        *"&#0; &#xD800; &#xDFFF; &#x110000; &nbsp; &amp &lt; > < \" '".split(),
        "<img src=a.jpg>", "<img src='http://[::1'>", "<img src=\"java\tscript:1\">", "<img srcset='a 1w, b 2x,,'>",
        "<img src=data:image/png;base64,AAAA>", "<img src='//h\udcff/é'>".encode("utf-8", "replace").decode(),
        "<source srcset=b.webp>", "<base href=//[>", "<base href='//h.example/x/'>", "<a class=more-link>",
        "<div class=date>", "<meta charset=utf-16>", "<meta charset=shift_jis>", "some words of a sentence. ",
    )
]  # fmt: skip
ODD_BYTES = [b"\0", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xfe\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\x1b$B"]
CONTENT_TYPES = ["text/html", "", "text/html; charset=utf-16", *(f"text/html; charset={label}" for label in CODECS)]


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(st.one_of(st.sampled_from(PIECES + ODD_BYTES), st.binary(max_size=4)), max_size=40).map(b"".join),
    ),
    st.sampled_from(CONTENT_TYPES),
)
def test_any_bytes_give_clean_nodes_and_the_same_ones_again(method: str, body: bytes, content_type: str) -> None:
    nodes = extract(decode(body, content_type), URL, method).nodes
    assert_clean(nodes)
    assert extract(decode(body, content_type), URL, method).nodes == nodes


PROSE = "<h1>Title</h1>" + "".join(f"<p>{text}</p><img src={n}.jpg>" for n, text in enumerate(prose(1, 4)))
HOSTILE = {
    "nul": "\0" * 1_000_000 + PROSE + "\0",
    "deep": "<div>" * 100_000 + PROSE,
    "deep and closed": "<div><span>" * 50_000 + PROSE + "</span></div>" * 50_000,
    "deep lists": PROSE + "<ul><li>" * 100_000,
    "deep tables": PROSE + "<table><tr><td>" * 30_000,
    "long attribute": PROSE + '<p title="' + "x" * 10_000_000 + '">' + PROSE,
    "long address": PROSE + '<img src="' + "x" * 10_000_000 + '">',
    "long word": PROSE + "<p>" + "x" * 10_000_000,
    "many words": PROSE + "<p>" + "x " * 5_000_000,
    "surrogates": PROSE.replace("e", "\ud800") + "<p>&#xD800;&#xDFFF;\udfff<img alt='\ud800&#xD801;' src='\ud800.jpg'>",
    "paragraphs": "<p>x</p>" * 500_000,
    "same paragraphs": PROSE * 2_000,
    "links": "<ul>" + "<li><a href=x>some words in a link</a>" * 50_000,
    "line breaks": PROSE + "x<br>" * 100_000,
    "cells": "<table>" + "<tr><td>some words<td>of a table" * 20_000,
    "crossed": "<b><p></b><i></p></i>" * 100_000,
    "classes": "".join(f"<div class='comment share nav-{n}'><p>some words here</p></div>" for n in range(30_000)),
    "images": "<p>some words of a sentence, and some more</p><img src=a>" * 20_000,
    "json": '<script type="application/ld+json">' + '{"articleBody":"' + "[" * 1_000_000 + "</script>" + PROSE,
    "frames": "<iframe><p>" * 100_000,
    "unclosed": "<p " * 1_000_000,
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_page_costs_itself_at_most(name: str, method: str) -> None:
    start = time.process_time()
    record = warc.Record("resource", URL, UNKNOWN_DATE, "", 0, 0, content_type="text/html")
    record.body = HOSTILE[name].encode("utf-8", "surrogatepass")
    document = Document(0, 0, URL, "", 0, 0, UNKNOWN_DATE, [])
    dropped = fill(document, record, Extract.model_validate({"method": method, "seconds": 10}))
    assert time.process_time() - start < 20
    assert dropped is None or dropped[0] in ("too_slow", "no_content")
    assert_clean(document.nodes)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["nul", "long attribute", "surrogates", "unclosed"])
def test_what_is_odd_beside_the_text_does_not_take_it_along(name: str, method: str) -> None:
    html = PROSE + HOSTILE[name] if name == "unclosed" else HOSTILE[name]
    text = " ".join(node.text or "" for node in extract(decode(html.encode("utf-8", "replace"), ""), URL, method).nodes)
    assert prose(1, 4)[2].replace("e", "?" if name == "surrogates" else "e") in text


NAMES = " ".join(f"a{n}" for n in range(50_000))
VALUES = " ".join(f"a{n}='>'" for n in range(50_000))
CROWDED = {
    "names": f"<p {NAMES}>",
    "values": f"<p {VALUES}>",
    "end tag": f"</p {NAMES}>",
    "slashes": f"<p/{NAMES.replace(' ', '/')}>",
    "no space": f"<p {VALUES.replace(' ', '')}>",
    "wide space": "<p " + VALUES.replace("=", " = \n" + 40 * " ") + ">",
    "after a value": "<p a='" + "<p>" * 100_000 + f"' {NAMES}>",
    "inside out": "<p a='" + "".join(f"><p b=' c{n}='" for n in range(50_000)) + "'>",
    "script in a value": f"<p a='<script>'>x</p><p {NAMES}>",
    "after a script": f"<script>a<b && '</p>'</script><p {NAMES}>",
    "after a comment": f"<!-- <p ' --><p {NAMES}>",
    "scripts": f"<script {NAMES}></script>",
    "image title": f"<svg><title><p {NAMES}></title></svg>",
    "character data": f"<svg><![CDATA[ > <!-- ]]><p {NAMES}></svg>",
    "script in a script": f"<script><!--<script></script><!-- </script><p {NAMES}>",
    "letters": "<p " + " ".join(chr(0x4E00 + n) for n in range(20_000)) + ">",
}


@pytest.mark.parametrize("name", CROWDED)
def test_a_tag_with_too_many_attributes_ends_the_page(name: str) -> None:
    html = f"<p>kept</p>{CROWDED[name]}lost"
    cut = bounded(html)
    assert len(cut) < len(html) - 2 * MAX_ATTRIBUTES
    assert cut.startswith(b"<p>kept</p>")
    start = time.process_time()
    LexborHTMLParser(cut)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "html",
    [
        "<p data-x='" + 'a b=">" ' * 50_000 + "'></p>",
        "<p>1 < 2 " + NAMES + "</p>",
        "<p " + " ".join(f"a{n}" for n in range(MAX_ATTRIBUTES - 1)) + "></p>",
        "<!-- <p -->" + NAMES,
    ],
    ids=["value", "text", "just enough", "comment"],
)
def test_what_only_looks_like_a_crowded_tag_stays(html: str) -> None:
    assert bounded(f"{html}<p>kept</p>") == f"{html}<p>kept</p>".encode()


@pytest.mark.parametrize(
    "html",
    [
        "<script>if (a<b) {" + "word 'a' = /x/ " * 50_000 + "}</script>",
        "<style><p " + NAMES + "</style>",
        "<!-- <p " + NAMES + " -->",
    ],
    ids=["script", "style", "comment"],
)
def test_what_stands_behind_a_long_script_stays(html: str) -> None:
    nodes = extract(f"<p>before</p>{html}<p>behind</p>", URL, "obelics").nodes
    assert [node.text for node in nodes] == ["before\n\nbehind"]


def test_a_slow_page_is_dropped_and_the_run_goes_on(tmp_path: Path) -> None:
    slow = ("http://slow.example/", "text/html", b"<div>" * 49_000 + b"<p>deep")
    good = [(f"http://{n}.example/", "text/html", page(prose(n))) for n in range(2)]
    write_warc(tmp_path / "crawl" / "0.warc.gz", [good[0], slow, good[1]])
    config = {
        "name": "slow",
        "output": str(tmp_path / "run"),
        "input": {"paths": [str(tmp_path / "crawl")]},
        "engine": {"workers": 1},
        "extract": {"seconds": 0.3},
    }
    (tmp_path / "slow.yaml").write_text(yaml.safe_dump(config))
    assert main(["run", str(tmp_path / "slow.yaml")]) == 0
    documents = as_json(funnel(tmp_path / "run"))[0]
    assert documents["rows_in"] == 3
    assert documents["rows_out"] == 2
    assert documents["drops"] == {"document": {"too_slow": 1}}


def test_a_page_that_breaks_the_parser_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page is known that does."""

    def breaks(tree: LexborHTMLParser, base: str, inline: int) -> list[Node]:
        raise RecursionError("deep")

    monkeypatch.setitem(extraction.METHODS, "main", breaks)
    record = warc.Record("resource", URL, UNKNOWN_DATE, "", 0, 0, content_type="text/html", body=b"<p>x")
    dropped = fill(Document(0, 0, URL, "", 0, 0, UNKNOWN_DATE, []), record, Extract())
    assert dropped is not None
    assert dropped[0] == "unreadable"
    assert dropped[1].value == "RecursionError"


def mutated(body: bytes, order: random.Random) -> bytes:
    """A stretch of a page with up to six things wrong with it."""
    size = min(int(400 * 2 ** (order.random() * 4)), len(body))
    start = order.randrange(len(body) - size + 1)
    page = bytearray(body[start : start + size])
    for _ in range(order.randint(1, 6)):
        at = order.randrange(len(page) + 1)
        kind = order.randrange(9)
        tags = [match.span() for match in re.finditer(rb"<[^>]{0,500}>", bytes(page))] if kind in (1, 2, 3, 4) else []
        first, last = order.choice(tags) if tags else (at, at)
        tag = bytes(page[first:last])
        if kind == 0:
            for _ in range(order.randint(1, 20)):
                if page:
                    page[order.randrange(len(page))] = order.randrange(256)
        elif kind == 1:
            del page[first:last]
        elif kind == 2:
            page[at:at] = tag * order.choice((1, 2, 10, 300))
        elif kind == 3:  # nested, or ended often
            opening = order.choice(
                (tag, b"<div>", b"<table><tr><td>", b"<b><p>", b"<ul><li>", b"<svg>", b"<a href=x>", b"</p>")
            )
            page[at:at] = opening * order.choice((1, 5, 50, 600))
        elif kind == 4 and tag:
            attributes = b" ".join(b"a%d='>%d'" % (number, number) for number in range(order.choice((1, 50, 3500))))
            long = b" title='" + b"x" * order.choice((10, 5_000, 100_000)) + order.choice((b"'", b'"', b""))
            page[last - 1 : last - 1] = order.choice((b" " + attributes, long))
        elif kind == 5:
            page[at:at] = b"".join(order.choice(PIECES + ODD_BYTES) for _ in range(order.randint(1, 8)))
        elif kind == 6:
            codec = order.choice(["utf-16-le", "utf-16-be", "utf-8", "cp1252", "cp932", "gb18030", "utf-7", "cp500"])
            page = bytearray(
                bytes(page).decode(order.choice(["utf-8", "cp1252", "cp932"]), "replace").encode(codec, "replace")
            )
        elif kind == 7:
            end = min(len(page), at + order.randint(1, 400))
            page[at:end] = page[at:end] * order.choice((0, 2, 20))
        else:
            del page[at:]
    return bytes(page)


def fuzz(seeds: range, folder: str, culprit: str) -> int:
    """Extracts mutated pages, one a seed; the bytes that the process took at most. The seed that is under way stands in
    `culprit`; a page that takes too long, in whatever code, ends the process."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    bodies = pages(folder)
    note = os.open(culprit, os.O_WRONLY | os.O_CREAT)
    for seed in seeds:
        os.pwrite(note, b"%09d" % seed, 0)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        order = random.Random(seed)
        content_type = order.choice(CONTENT_TYPES)
        html = decode(mutated(order.choice(bodies), order), content_type)
        for method in METHODS:
            # It takes a hundred times as long as the others.
            if method != "trafilatura" or seed % 20 == 0:
                nodes = extract(html, URL, method).nodes
                assert_clean(nodes)
                if seed % 50 == 0:
                    assert extract(html, URL, method).nodes == nodes
    signal.setitimer(signal.ITIMER_REAL, 0)
    os.close(note)
    return peak()


def pages(folder: str) -> list[bytes]:
    found = []
    for name in ("wcxb-00", "other-00"):
        items = (item for item in warc.read(f"{folder}/pages/{name}.warc.gz") if isinstance(item, warc.Record))
        bodies = [item.body for item in items if item.type == "response" and 2_000 < len(item.body) < 300_000]
        found += bodies[:100]
    return found


def fuzz_all(count: int, material: Path, tmp_path: Path) -> None:
    step = 1_000
    culprits = []
    jobs = []
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for start in range(0, count, step):
            culprits.append(tmp_path / f"{start}")
            jobs.append(pool.submit(fuzz, range(start, min(start + step, count)), str(material), str(culprits[-1])))
        try:
            memory = max(job.result() for job in jobs)
        except BrokenProcessPool:
            under_way = [
                path.read_text() for path, job in zip(culprits, jobs, strict=True) if path.exists() and job.exception()
            ]
            pytest.fail(f"a process ended; the seeds that were under way: {', '.join(under_way)}")
    assert memory < MEMORY


@pytest.mark.material
def test_mutated_pages_give_clean_nodes(material: Path, tmp_path: Path) -> None:
    fuzz_all(2_000, material, tmp_path)


@pytest.mark.material
def test_blocks_stay_apart_where_a_tag_does_not_end(material: Path) -> None:
    """Pages that the long run found."""
    for seed in (50_995, 95_258):
        order = random.Random(seed)
        content_type = order.choice(CONTENT_TYPES)
        html = decode(mutated(order.choice(pages(str(material))), order), content_type)
        assert_clean(extract(html, URL, "main").nodes)


@pytest.mark.slow
@pytest.mark.material
@pytest.mark.timeout(MINUTES * 60 * 2)
def test_a_hundred_thousand_mutated_pages_give_clean_nodes(material: Path, tmp_path: Path) -> None:
    fuzz_all(100_000, material, tmp_path)
