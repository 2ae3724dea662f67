"""Extraction: word F1 of the main text, recall and precision of images, and pages a second, beside trafilatura's.

The model of `main` has learned from the 1,000 pages. With models of `python -m pipeline.html.train_main MATERIAL DIR` (`--folds
DIR`) each page is given to the one that has not seen its site. Times are those of one process on the processor.
"""

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np
import trafilatura

from pipeline import warc
from pipeline.document import Node
from pipeline.html import main as method
from pipeline.html.decode import decode
from pipeline.html.extract import extract
from pipeline.html.ground_truth import fold_of
from pipeline.html.network import load
from tests.benchmarks.figure import Figure, Given, json_rows

KINDS = ("article", "documentation", "service", "forum", "product", "collection", "listing")
_WORD = re.compile(r"\w+")
# Sequences that show UTF-8 read as windows-1252.
_MOJIBAKE = re.compile(r"[ÃÂ][\x80-\xbf€-™]|â€[\x80-\xbf™œ“”¦]|\ufffd")


def f1(text: str, truth: str) -> float:
    found, wanted = (Counter(_WORD.findall(side.lower())) for side in (text, truth))
    total = found.total() + wanted.total()
    return 2 * (found & wanted).total() / total if total else 1.0


def text_of(nodes: Iterable[Node]) -> str:
    return "\n\n".join(node.text for node in nodes if node.text is not None)


def ours(name: str) -> Callable[[bytes, str, str], str]:
    return lambda body, kind, url: text_of(extract(decode(body, kind), url, name).nodes)


METHODS: dict[str, Callable[[bytes, str, str], str]] = {
    "main": ours("main"),
    "obelics": ours("obelics"),
    "trafilatura": lambda body, kind, url: trafilatura.extract(decode(body, kind), url=url) or "",
}


def records(material: Path, pattern: str) -> list[warc.Record]:
    return [
        record
        for path in sorted(material.glob(f"pages/{pattern}.warc.gz"))
        for record in warc.read(str(path))
        if isinstance(record, warc.Record) and record.type == "response"
    ]


def texts(material: Path, folds: Path | None, most: int | None) -> Iterator[Figure]:
    truths = {row["url"]: row for row in json_rows(material / "pages" / "ground_truth.jsonl.gz")}
    pages = [record for record in records(material, "wcxb-*") if record.url in truths][:most]
    models = [load(path) for path in sorted(folds.glob("main-*.npz"))] if folds else []
    scores: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in METHODS}
    seconds = dict.fromkeys(METHODS, 0.0)
    for name, run in METHODS.items():
        run(pages[0].body, pages[0].content_type, pages[0].url)  # loads what it needs
        for page in pages:
            if models:
                fold = models[fold_of(page.url)]
                setattr(method, "model", lambda fold=fold: fold)  # noqa: B010
            start = time.process_time()
            text = run(page.body, page.content_type, page.url)
            seconds[name] += time.process_time() - start
            truth = truths[page.url]
            for kind in ("all", truth["page_type"]):
                scores[name][kind].append(f1(text, truth["main_content"] or ""))
    if not models:
        yield Figure("word F1 of `main` on sites that it has not seen (needs --folds)", None)
    seen = "sites it has not seen" if models else "pages it has learned from"
    for kind in ("all", *KINDS):
        ours, obelics, theirs = (float(np.mean(scores[name][kind])) for name in METHODS)
        what = f"word F1, {kind}, {len(scores['main'][kind])} pages"
        least, beside = (0.92, None) if kind == "all" else (None, 1)
        if not models:  # says nothing of other pages
            least = beside = None
        yield Figure(f"{what}: `main`, {seen}", ours, "", least, None, "trafilatura", theirs, beside)
        yield Figure(f"{what}: `obelics`", obelics, peer="trafilatura", theirs=theirs)
    ours, obelics, theirs = (len(pages) / seconds[name] for name in METHODS)
    yield Figure("pages a second of a core, bytes to text: `main`", ours, peer="trafilatura", theirs=theirs, beside=10)
    yield Figure("pages a second of a core, bytes to text: `obelics`", obelics, peer="trafilatura", theirs=theirs)


def image_counts(name: str, pages: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Of each page: the images that are found and wanted, wanted, found."""
    counts = []
    for page in pages:
        nodes = extract(page["html"], page["page_url"], name).nodes
        found = {node.image.url for node in nodes if node.image is not None}
        wanted = {urljoin(page["page_url"], address) for address in page["images"]}
        counts.append((len(found & wanted), len(wanted), len(found)))
    return counts


def images(material: Path) -> Iterator[Figure]:
    pages = json_rows(material / "pages" / "image_gold.jsonl.gz")
    (right, wanted, found), (theirs, _, more) = (
        [sum(column) for column in zip(*image_counts(name, pages), strict=True)] for name in ("main", "obelics")
    )
    what, peer = f"of the images of {len(pages)} pages", "`obelics`"
    yield Figure(f"image recall {what}: `main`", right / wanted, least=0.95, peer=peer, theirs=theirs / wanted)
    yield Figure(f"image precision {what}: `main`", right / found, least=0.8, peer=peer, theirs=theirs / more)


def charsets(material: Path) -> Figure:
    pages = records(material, "other-*")
    bad = sum(len(_MOJIBAKE.findall(decode(page.body, page.content_type))) > 2 for page in pages)
    what = f"of {len(pages)} pages in other languages, decoded with more than two wrong characters"
    return Figure(what, 100 * bad / len(pages), "%", most=1)


def figures(given: Given) -> Iterator[Figure]:
    yield from images(given.material)
    yield charsets(given.material)
    yield from texts(given.material, given.folds, 50 if given.quick else None)
