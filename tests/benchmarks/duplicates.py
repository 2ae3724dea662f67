"""Near-duplicates and the decisions over all keys, measured: what is found, how fast, in how much memory.

    python -m tests.benchmarks.duplicates [PART …] [--material DIR] [--keys N] [--documents N]

Parts: quality, speed, queries, cluster, daft; all of them by default, small. The figures at scale are those of
--keys 100000000 --documents 10000000: some 20 GB of disk in TMPDIR. Queries have 4 GB of memory and two cores. Prints each
figure beside its limit; exit status 1 if one is not held.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from pipeline.config import Config, NearDuplicate
from pipeline.document import Document
from pipeline.duplicates import near_duplicates
from pipeline.engine import LocalEngine
from pipeline.keys import make_keys
from pipeline.minhash import curve, shingles, signature
from pipeline.run import Run
from pipeline.stages import Stage
from tests.benchmarks import synthetic_keys
from tests.benchmarks.filters import Texts, fastest
from tests.conftest import ROOT
from tests.documents import document, image, write_documents

RATES = (2, 5, 10, 20, 40)
ALONE, BOTH = NearDuplicate(), NearDuplicate(images=0.5)


class Figure(NamedTuple):
    name: str
    value: float
    limit: float = 0.0
    most: bool = False  # the limit is an upper one

    @property
    def held(self) -> bool:
        return not self.limit or (self.value <= self.limit if self.most else self.value >= self.limit)


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
    with tempfile.TemporaryDirectory() as folder:
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


def quality(material: Path) -> Iterator[Figure]:
    kinds = labelled(pages_of(material))
    print("\n".join(curve(ALONE)))
    print(
        f"\n{'the second of a pair':<40}{'pairs':>7}{'Jaccard':>9}{'text':>8}{'text and images':>17}{'strangers':>11}"
    )
    counts = {
        "text alone": [0, 0, 0, 0],
        "text and images": [0, 0, 0, 0],
    }  # right, taken, found above 0.8, all above it
    for kind, pairs in kinds.items():
        alike, shown, glued = [jaccard(pair) for pair in pairs], [], 0
        for name, near in (("text alone", ALONE), ("text and images", BOTH)):
            taken, strangers = found(pairs, near)
            shown.append(sum(taken) / len(pairs))
            glued += strangers
            if "variants" in kind and near is ALONE:  # one document, as far as text can say
                continue
            high = [was for was, pair, s in zip(taken, pairs, alike, strict=True) if pair.same and s > 0.8]
            right = sum(was for was, pair in zip(taken, pairs, strict=True) if pair.same)
            made = (right, sum(taken) + strangers, sum(high), len(high))
            counts[name] = [before + more for before, more in zip(counts[name], made, strict=True)]
        print(f"{kind:<40}{len(pairs):>7}{np.mean(alike):>9.2f}{shown[0]:>8.1%}{shown[1]:>17.1%}{glued:>11}")
    for name, (right, all_taken, above, all_above) in counts.items():
        yield Figure(f"precision, {name}", right / all_taken, 0.99)
        yield Figure(f"recall of {all_above} pairs above Jaccard 0.8, {name}", above / all_above, 0.95)


def speed(material: Path) -> Iterator[Figure]:
    """Signatures a second on one core, ours and those of libraries, over the same texts."""
    texts = pages_of(material)
    mean = np.mean([len(text.split()) for text in texts])
    count = len(texts)
    ours = fastest(lambda: [signature(text, ALONE) for text in texts])
    yield Figure(f"documents/s, signatures of {mean:.0f} words each", count / ours, 6000)
    for name, reference in references():
        yield Figure(f"documents/s, {name}", count / fastest(partial(_all, reference, texts), 2))


def _all(make: Callable[[str], object], texts: list[str]) -> None:
    for text in texts:
        make(text)


def references() -> Iterator[tuple[str, Callable[[str], object]]]:
    from datasketch import MinHash

    blank = MinHash(num_perm=128, seed=1, scheme="affine32")

    def by_datasketch(text: str) -> object:
        words = text.lower().split()
        made = blank.copy()
        made.update_batch({" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)})
        return made

    yield "datasketch's update_batch", by_datasketch
    try:
        from rensa import RMinHash
    except ImportError:
        return

    def by_rensa(text: str) -> object:
        words = text.lower().split()
        made = RMinHash(num_perm=128, seed=1)
        made.update([" ".join(words[i : i + 5]) for i in range(len(words) - 4)])
        return made.digest()

    yield "rensa's RMinHash", by_rensa


def queries(keys: int, folder: Path) -> Iterator[Figure]:
    """Each query at the number of keys that is asked for, and the cost of a key beside that at a million."""
    least = dict(synthetic_keys.queries(10**6, folder))
    for name, taken in synthetic_keys.queries(keys, folder):
        yield Figure(f"{name}, {keys:.0e} keys: seconds", taken["seconds"], 120, most=True)
        yield Figure(f"{name}: processor seconds over both cores", taken["busy"] / synthetic_keys.WORKERS)
        yield Figure(f"{name}: peak memory, GB", taken["peak_gb"], 5, most=True)
        ratio = taken["busy"] / keys / (least[name]["busy"] / 10**6)
        yield Figure(f"{name}: cost of a key beside that at 1e+06", ratio, 1.5, most=True)


def cluster(documents: int, folder: Path) -> Iterator[Figure]:
    synthetic_keys.make_signatures(documents, folder)
    taken = synthetic_keys.in_a_child("cluster", str(folder))
    for part, seconds in taken["result"].items():
        yield Figure(f"  {part}", seconds)
    yield Figure(f"near-duplicates of {documents:.0e} documents: seconds", taken["seconds"], 600, most=True)
    yield Figure("processor seconds over both cores", taken["busy"] / synthetic_keys.WORKERS)
    yield Figure("peak memory, GB", taken["peak_gb"], 5, most=True)


def on_daft(keys: int, folder: Path) -> Iterator[Figure]:
    """The same rows from Daft's own engine."""
    import daft

    for name, (_, tables, _) in synthetic_keys.ASKED.items():
        for table in set(tables.values()) - {"none"}:
            synthetic_keys.make(table, keys, folder)
        files = {key: synthetic_keys.files_of(folder, table) for key, table in tables.items()}
        text = re.sub(r"--.*", "", synthetic_keys.text_of(name))
        with LocalEngine(synthetic_keys.settings(), folder / "spill") as engine:
            engine.sql(text, folder / name, None, **files)
        ours = pq.ParquetFile(folder / name / "all.parquet").read()
        started = time.perf_counter()
        theirs = daft.sql(text, **{key: daft.read_parquet(paths) for key, paths in files.items()}).to_arrow()
        order = [(column, "ascending") for column in ours.column_names]
        equal = ours.sort_by(order).equals(theirs.cast(ours.schema).sort_by(order))
        yield Figure(f"{name} on Daft: {ours.num_rows} rows, equal", float(equal), 1)
        yield Figure(f"{name} on Daft: seconds", time.perf_counter() - started)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", default=["quality", "speed", "queries", "cluster", "daft"], metavar="PART")
    parser.add_argument("--material", type=Path, default=ROOT.parent / "shared" / "material")
    parser.add_argument("--keys", type=int, default=10**6)
    parser.add_argument("--documents", type=int, default=10**5)
    asked = parser.parse_args()
    held = True
    for part in asked.parts:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            figures = {
                "quality": partial(quality, asked.material),
                "speed": partial(speed, asked.material),
                "queries": partial(queries, asked.keys, folder),
                "cluster": partial(cluster, asked.documents, folder),
                "daft": partial(on_daft, min(asked.keys, 10**6), folder),
            }[part]()
            for figure in figures:
                told = "held" if figure.held else "NOT HELD"
                limit = f"   limit {figure.limit:g}   {told}" if figure.limit else ""
                print(f"{figure.name:<62} {figure.value:12.3f}{limit}", flush=True)
                held &= figure.held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
