"""The folder of real pages in; a table of what each extraction method finds of their main text and images, and its time, out.

`python -m tests.benchmarks.extraction MATERIAL [FOLDS]`. The model of `main` has seen the 1,000 pages: with FOLDS, the folder
of models that `python -m pipeline.html.train_main MATERIAL FOLDS` left, each page is given to the one that has not seen its
site. Times are of one process and its processor time: set OMP_NUM_THREADS=1.
"""

import gzip
import json
import re
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
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
    f"trafilatura {trafilatura.__version__}": lambda body, kind, url: (
        trafilatura.extract(decode(body, kind), url=url) or ""
    ),
}


def records(material: Path, pattern: str) -> list[warc.Record]:
    return [
        record
        for path in sorted(material.glob(f"pages/{pattern}.warc.gz"))
        for record in warc.read(str(path))
        if isinstance(record, warc.Record) and record.type == "response"
    ]


def texts(material: Path, folds: Path | None) -> None:
    with gzip.open(material / "pages/ground_truth.jsonl.gz", "rt", encoding="utf-8") as file:
        truths = {row["url"]: row for row in map(json.loads, file)}
    pages = [record for record in records(material, "wcxb-*") if record.url in truths]
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
    seen = "cross-validated over sites" if models else "main has learned from these pages"
    print(f"\nWord F1 on {len(pages)} pages ({seen}), and milliseconds a page")
    print(f"{'':20}", *(f"{kind[:9]:>9}" for kind in ("all", *KINDS)), f"{'ms':>7}")
    for name in METHODS:
        values = (f"{np.mean(scores[name][kind]):9.3f}" for kind in ("all", *KINDS))
        print(f"{name:20}", *values, f"{1000 * seconds[name] / len(pages):7.2f}")


def image_counts(name: str, pages: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Of each page: the images that are found and wanted, wanted, found."""
    counts = []
    for page in pages:
        nodes = extract(page["html"], page["page_url"], name).nodes
        found = {node.image.url for node in nodes if node.image is not None}
        wanted = {urljoin(page["page_url"], address) for address in page["images"]}
        counts.append((len(found & wanted), len(wanted), len(found)))
    return counts


def images(material: Path) -> None:
    with gzip.open(material / "pages/image_gold.jsonl.gz", "rt", encoding="utf-8") as file:
        pages = [json.loads(line) for line in file]
    print(f"\nImages on {len(pages)} pages: recall and precision over all images, and as the means of pages")
    for name in ("main", "obelics"):
        counts = image_counts(name, pages)
        right, wanted, found = (sum(column) for column in zip(*counts, strict=True))
        recall = np.mean([hit / of for hit, of, _ in counts if of])
        precision = np.mean([hit / of for hit, _, of in counts if of])
        print(f"{name:20} {right / wanted:9.3f} {right / found:9.3f} {recall:9.3f} {precision:9.3f}")


def charsets(material: Path) -> None:
    pages = records(material, "other-*")
    bad = [page.url for page in pages if len(_MOJIBAKE.findall(decode(page.body, page.content_type))) > 2]
    print(f"\n{len(bad)} of {len(pages)} pages in other languages decode with more than two wrong characters")


def main() -> None:
    material = Path(sys.argv[1])
    images(material)
    texts(material, Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    charsets(material)


if __name__ == "__main__":
    main()
