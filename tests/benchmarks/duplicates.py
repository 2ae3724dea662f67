"""Near-duplicates: which copies of real texts are found, which strangers are joined, and signatures a second of a core."""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipeline.config import Config, NearDuplicate
from pipeline.document import Document
from pipeline.duplicates import near_duplicates
from pipeline.keys import make_keys
from pipeline.minhash import curve, shingles, signature
from pipeline.run import Run
from pipeline.stages import Stage
from tests.benchmarks.figure import Figure, Given, fastest
from tests.benchmarks.filters import Texts
from tests.documents import document, image, write_documents

RATES = (2, 5, 10, 20, 40)
ALONE = NearDuplicate()
NEAR = {"text": ALONE, "text and images": NearDuplicate(images=0.5)}


class Pair(NamedTuple):
    """Two texts with the images of each, and whether they are one document."""

    one: str
    other: str
    images: tuple[list[str], list[str]]
    same: bool


def pages_of(material: Path) -> list[str]:
    """The texts that the rules of configs/obelics.yaml let a document have: 50 to 2,000 words."""
    texts = [" ".join(text.split()) for text in Texts.of(material).documents]
    return sorted({text for text in texts if 50 <= len(text.split()) <= 2000})


def scattered(text: str, share: float, draw: np.random.Generator, vocabulary: Sequence[str]) -> str:
    """A share of the words replaced, each on its own."""
    words = text.split()
    for place in draw.choice(len(words), round(share * len(words)), replace=False):
        words[place] = vocabulary[int(draw.integers(len(vocabulary)))]
    return " ".join(words)


def rewritten(text: str, share: float, draw: np.random.Generator, vocabulary: Sequence[str]) -> str:
    """A share of the words replaced in one run: a sentence or a paragraph that was written anew."""
    words = text.split()
    count = round(share * len(words))
    start = int(draw.integers(len(words) - count + 1))
    words[start : start + count] = [vocabulary[i] for i in draw.integers(len(vocabulary), size=count)]
    return " ".join(words)


def labelled(texts: list[str]) -> dict[str, list[Pair]]:
    """Pairs by how the second was made of the first."""
    draw = np.random.default_rng(1)
    vocabulary = sorted({word for text in texts for word in text.split()})
    images = [[f"http://host{n}.example/{i}.jpg" for i in range(1 + n % 5)] for n in range(len(texts))]
    kinds: dict[str, list[Pair]] = {}
    for n, text in enumerate(texts):
        mine, words = images[n], text.split()
        fewer = mine[: max(1, len(mine) - 1)]
        for rate in RATES:
            kinds.setdefault(f"{rate} % of the words, scattered", []).append(
                Pair(text, scattered(text, rate / 100, draw, vocabulary), (mine, fewer), True)
            )
            kinds.setdefault(f"{rate} % of the words, in one run", []).append(
                Pair(text, rewritten(text, rate / 100, draw, vocabulary), (mine, fewer), True)
            )
        for cut in (10, 20, 50):
            part = " ".join(words[: round(len(words) * (1 - cut / 100))])
            kinds.setdefault(f"the last {cut} % cut off", []).append(Pair(text, part, (mine, fewer), True))
        others = [f"http://other{n}.example/{i}.jpg" for i in range(1 + n % 5)]
        kinds.setdefault("product variants: 2 %, other images", []).append(
            Pair(text, scattered(text, 0.02, draw, vocabulary), (mine, others), False)
        )
    # One host's pages: a template makes two thirds of each, the rest is its own; neighbours are labelled as strangers.
    template = texts[0].split()[:150]
    own = [" ".join([*template, *text.split()[:75]]) for text in texts[1:] if len(text.split()) >= 75]
    kinds["pages of one template"] = [
        Pair(a, b, ([f"http://t.example/{n}.jpg"], [f"http://t.example/{n + 1}.jpg"]), False)
        for n, (a, b) in enumerate(zip(own[::2], own[1::2], strict=False))
    ]
    return kinds


def jaccard(pair: Pair) -> float:
    one, other = (set(shingles(text, ALONE.shingle).tolist()) for text in (pair.one, pair.other))
    return len(one & other) / len(one | other)


def found(pairs: list[Pair], near: NearDuplicate) -> tuple[list[bool], int]:
    """Which pairs a run takes for one document, and how many documents go for one that is no partner of theirs."""
    made: list[Document] = []
    for n, pair in enumerate(pairs):
        for k, (text, addresses) in enumerate(zip((pair.one, pair.other), pair.images, strict=True)):
            made.append(document(text, *map(image, addresses), row=2 * n + k))
    with tempfile.TemporaryDirectory() as folder, redirect_stderr(io.StringIO()):  # thirty runs' progress
        settings = {"name": "q", "output": f"{folder}/run", "input": {"paths": ["x"]}, "engine": {"workers": 1}}
        prefix = write_documents(Path(folder) / "in" / "00000", made)
        with Run(Config.model_validate(settings), "q.yaml") as run:
            duplicates = run.config.duplicates.model_copy(update={"near_duplicate": near})
            keys = run.each("keys", make_keys, duplicates, documents=Stage("documents", {0: prefix}, {0: "f"}))
            nobody = run.sql("nobody", pages=keys.table("pages")).table()
            files = near_duplicates(run, keys, nobody, near).table().files
            rows = [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]
    twins = {row["row"]: row["twin_row"] for row in rows}
    strangers = sum(row // 2 != twin // 2 for row, twin in twins.items())
    return [twins.get(2 * n) == 2 * n + 1 or (2 * n in twins and twins.get(2 * n) == twins.get(2 * n + 1))
            for n in range(len(pairs))], strangers  # fmt: skip


def quality(texts: list[str]) -> Iterator[Figure]:
    kinds = labelled(texts)
    print("\n".join(curve(ALONE)))
    glued = dict.fromkeys(NEAR, 0)
    counts = {name: np.zeros(4, int) for name in NEAR}  # right, taken, found above 0.8, all above it
    for kind, pairs in kinds.items():
        alike = [jaccard(pair) for pair in pairs]
        for name, near in NEAR.items():
            taken, strangers = found(pairs, near)
            if near is ALONE or not pairs[0].same:
                what = f"{kind}: joined of {len(pairs)} pairs of a Jaccard of {np.mean(alike):.2f}, by {name}"
                yield Figure(what, 100 * sum(taken) / len(pairs), "%")
            glued[name] += strangers
            if "variants" in kind and near is ALONE:  # one document, as far as text can say
                continue
            high = [was for was, pair, s in zip(taken, pairs, alike, strict=True) if pair.same and s > 0.8]
            right = sum(was for was, pair in zip(taken, pairs, strict=True) if pair.same)
            counts[name] += (right, sum(taken) + strangers, sum(high), len(high))
    for name, (right, all_taken, above, all_above) in counts.items():
        yield Figure(f"near-duplicates: documents joined with one that is no partner of theirs, by {name}", glued[name])
        yield Figure(f"near-duplicates: precision, by {name}", float(right / all_taken), least=0.99)
        what = f"near-duplicates: recall of {all_above} pairs above a Jaccard of 0.8, by {name}"
        yield Figure(what, float(above / all_above), least=0.95)


def speed(texts: list[str]) -> Iterator[Figure]:
    """Signatures a second on one core, ours and those of libraries, over the same texts."""

    def rate(make: Callable[[str], object], times: int) -> float:
        return len(texts) / fastest(lambda: [make(text) for text in texts], times)

    ours = rate(lambda text: signature(text, ALONE), 5)
    what = f"signatures of texts of {np.mean([len(text.split()) for text in texts]):.0f} words each"
    for name, peer in (("datasketch", by_datasketch), ("rensa", by_rensa)):
        try:
            theirs = rate(peer(), 2)
        except ImportError:
            theirs = None
        yield Figure(what, ours, "documents/s", least=6000, peer=name, theirs=theirs)


def by_datasketch() -> Callable[[str], object]:
    from datasketch import MinHash

    blank = MinHash(num_perm=128, seed=1, scheme="affine32")

    def make(text: str) -> object:
        words = text.lower().split()
        made = blank.copy()
        made.update_batch({" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)})
        return made

    return make


def by_rensa() -> Callable[[str], object]:
    from rensa import RMinHash

    def make(text: str) -> object:
        words = text.lower().split()
        made = RMinHash(num_perm=128, seed=1)
        made.update([" ".join(words[i : i + 5]) for i in range(len(words) - 4)])
        return made.digest()

    return make


def figures(given: Given) -> Iterator[Figure]:
    texts = pages_of(given.material)[: 60 if given.quick else None]
    yield from quality(texts)
    yield from speed(texts)
