"""Documents in; the same without what evaluation sets hold out: texts that share an n-gram, images that are near one."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from filters.verdict import Verdict
from pipeline.benchmarks import files_beside, index_set, write_index
from pipeline.document import END_OF_DOCUMENT, Image, Node, paragraphs
from pipeline.errors import UserError
from pipeline.hamming import Words, apart, telling, words
from pipeline.keys import KEYED, image_set_key, keyed_row
from pipeline.lookup import Sorted
from pipeline.ngrams import ngram_keys, word_keys
from pipeline.ngrams import words as spelled
from pipeline.storage import identity, sha256_of
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Benchmark
    from pipeline.run import Run
    from pipeline.stages import Answer, Stage

    Sets = tuple[Benchmark, ...]

RULE = "decontaminate"
HITS = pa.schema(
    [
        *((name, pa.int32()) for name in ("shard", "row", "position", "paragraph")),
        ("gram", pa.int64()),
        ("item", pa.int64()),
        ("most", pa.int64()),  # documents in which the n-gram may stand before it is taken for a common phrase
    ]
)
_ANY = 2**62


def read_benchmarks(run: "Run", sets: "Sets") -> "Answer":
    """The index of all sets, read once a run, and again when what a set or a file beside it holds has changed.

    Raises:
        UserError: a set that cannot be read; nothing is said to be clean that was not compared.
    """
    from pipeline.stages import Stage

    paths: dict[int, tuple[str, ...]] = {number: (benchmark.path,) for number, benchmark in enumerate(sets)}
    read = run.each("benchmarks", index_set, sets, set=Stage("sets", paths, dict(enumerate(map(_content, sets)))))
    for number, benchmark in enumerate(sets):
        if number not in read.receipts:
            failed = next(receipt for receipt in run.failures if receipt.stage == "benchmarks")
            raise UserError(f"decontaminate: {benchmark.name}: {failed.error}")
    prefixes = [read.prefixes[number][0] for number in range(len(sets))]
    about = ["index", [benchmark.name for benchmark in sets], sorted(read.fingerprints.items())]
    return run.once("benchmarks/index", about, lambda folder: write_index(prefixes, sets, folder))


def _content(benchmark: "Benchmark") -> str:
    digest = hashlib.sha256(sha256_of(Path(benchmark.path)).encode())
    for file in files_beside(benchmark):
        digest.update(identity(str(file)).encode() if file.is_file() else b"none")
    return digest.hexdigest()


def without_benchmark_text(run: "Run", index: "Answer", sets: "Sets", documents: "Stage") -> "Stage":
    """Drops each paragraph or its document, as the set says, that shares an n-gram with a set; but for n-grams that stand
    in very many documents."""
    found = run.each("decontaminate/hits", find_ngrams, sets, documents=documents, index=index)
    verdicts = run.sql("decontaminate/verdicts", query="contaminated", hits=found.table("hits"))
    return run.each(RULE, drop_texts, sets, documents=documents, index=index, contaminated=verdicts)


def without_benchmark_images(run: "Run", index: "Answer", sets: "Sets", documents: "Stage") -> "Stage":
    return run.each("decontaminate_images", drop_images, sets, documents=documents, index=index)


class _Index:
    """The index as a worker sees it; large arrays are memory maps."""

    def __init__(self, work: Work, sets: "Sets") -> None:
        self.folder = work.folder("index")
        self.by_name = {benchmark.name: benchmark for benchmark in sets}
        items = pq.read_table(self.folder / "items.parquet", partitioning=None)
        self.sets, self.ids, self.fields = (items[name] for name in ("set", "id", "field"))

    def set_of(self, item: int) -> "Benchmark":
        name: str = self.sets[item].as_py()
        return self.by_name[name]

    def name(self, item: int) -> str:
        return f"{self.sets[item]}:{self.ids[item]} {self.fields[item]}"


def find_ngrams(work: Work, sets: "Sets") -> None:
    """Writes down each n-gram of a set that a document holds, wherever it runs over paragraphs or images, for each of the
    paragraphs it touches."""
    index, hits = _Index(work, sets), work.table("hits", HITS)
    lengths = sorted({benchmark.n for benchmark in sets if benchmark.text})
    grams = {n: Sorted.open(index.folder, f"grams-{n}") for n in lengths}
    for document in work.documents():
        work.rows_out += 1
        places: list[tuple[int, int]] = []
        counts: list[int] = []
        text: list[str] = []
        for node in document.nodes:
            for number, paragraph in enumerate(paragraphs(node.text or "")):
                if paragraph != END_OF_DOCUMENT and (found := spelled(paragraph)):
                    places.append((node.position, number))
                    counts.append(len(found))
                    text += found
        of_words = word_keys(text)
        ends = np.cumsum(counts)
        for n in lengths:
            keys = ngram_keys(of_words, n)
            for start, item in zip(*grams[n].find(keys), strict=True):
                most = index.set_of(item).max_documents or _ANY
                first, last = np.searchsorted(ends, [start, start + n - 1], side="right")
                for position, number in places[first : last + 1]:
                    row = {"shard": document.shard, "row": document.row, "position": position, "paragraph": number}
                    gram = int(keys[start : start + 1].view(np.int64)[0])
                    hits.write(row | {"gram": gram, "item": item, "most": most})


def drop_texts(work: Work, sets: "Sets") -> None:
    index = _Index(work, sets)
    told: dict[int, list[dict[str, Any]]] = {}
    for row in work.verdicts("contaminated"):
        told.setdefault(row["row"], []).append(row)
    for document in work.documents():
        hits = sorted(told.get(document.row, []), key=lambda hit: (hit["position"], hit["paragraph"], hit["item"]))
        text = {
            (node.position, number): paragraph
            for node in document.nodes
            for number, paragraph in enumerate(paragraphs(node.text or ""))
        }
        whole = next((hit for hit in hits if index.set_of(hit["item"]).drop == "document"), None)
        gone: dict[tuple[int, int], dict[str, Any]] = {}
        for hit in hits:
            gone.setdefault((hit["position"], hit["paragraph"]), hit)
        if whole:
            excerpt = text[whole["position"], whole["paragraph"]]
            work.drop(document, "document", RULE, _shared(index, whole), excerpt, whole["position"], whole["paragraph"])
            continue
        for (position, number), hit in gone.items():
            work.drop(document, "paragraph", RULE, _shared(index, hit), text[position, number], position, number)
        document.nodes = [left for node in document.nodes if (left := _without(node, gone))]
        work.keep_whole(document)


def _shared(index: _Index, hit: dict[str, Any]) -> Verdict:
    n = index.set_of(hit["item"]).n
    return Verdict(False, f"{index.name(hit['item'])}, {hit['grams']} shared", f"no {n}-gram of an evaluation set")


def _without(node: Node, gone: dict[tuple[int, int], dict[str, Any]]) -> Node | None:
    if node.text is None or not gone:
        return node
    left = [text for number, text in enumerate(paragraphs(node.text)) if (node.position, number) not in gone]
    return Node(node.position, "\n\n".join(left)) if left else None


class _Hashes(NamedTuple):
    hashes: Words
    items: np.ndarray[tuple[int, ...], np.dtype[np.uint32]]
    within: np.ndarray[tuple[int, ...], np.dtype[np.int64]]  # bits, of each


def drop_images(work: Work, sets: "Sets") -> None:
    """An image goes that is within the distance of one of a set, or has its bytes; the nearest is named. All images of all
    sets are compared with, so that none is missed: about a millisecond for each hundred thousand of them."""
    index, image_sets = _Index(work, sets), work.table("sets", KEYED)
    known: dict[str, _Hashes] = {}
    for kind in ("pdq", "phash"):
        items = np.load(index.folder / f"{kind}.items.npy")
        names = index.sets.take(items).to_pylist()
        within = np.array([getattr(index.by_name[name], kind) for name in names], np.int64)
        known[kind] = _Hashes(np.load(index.folder / f"{kind}.npy", mmap_mode="r"), items, within)
    same_bytes = Sorted.open(index.folder, "sha256")
    for document in work.documents():
        kept = []
        for node in document.nodes:
            if node.image is not None and (no := _seen(index, known, same_bytes, node.image)):
                work.drop(document, "image", RULE, no, node.image.url, node.position)
            else:
                kept.append(node)
        document.nodes = kept
        if work.keep_whole(document):
            image_sets.write(keyed_row(document, image_set_key(document)))


def _seen(index: _Index, known: dict[str, _Hashes], same_bytes: Sorted, image: Image) -> Verdict | None:
    if image.sha256 is not None:
        digest = np.array([key64(image.sha256)], np.int64).view(np.uint64)
        for item in same_bytes.find(digest)[1]:
            return Verdict(False, f"{index.name(item)}, the same bytes", "no image of an evaluation set")
    for kind, (hashes, items, within) in known.items():
        digits = telling(image, kind)
        if digits is None or not len(items):
            continue
        bits = apart(hashes, words([digits]))
        nearest = int(np.argmin(np.where(bits <= within, bits, _ANY)))
        if bits[nearest] <= within[nearest]:
            found = f"{index.name(int(items[nearest]))}, {bits[nearest]} bits apart"
            return Verdict(False, found, f"more than {within[nearest]} bits of {kind} from an evaluation set")
    return None
