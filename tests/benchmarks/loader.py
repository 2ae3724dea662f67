"""Data to train on: images a second of a core, padding, and how long a step that is slower waits.

Shards are made of the material: the texts and the places of images are those that the pipeline finds on its real pages,
the pictures are its photographs and drawings of at least 150 pixels a side, in turn, as the pages' own are not there.
A core's share is processor time; the simulated step sleeps SLOWER times as long as a batch takes to make.
"""

import json
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

from pipeline.config import Extract
from pipeline.documents import documents_of
from pipeline.training.config import TrainConfig
from pipeline.training.language import language
from pipeline.training.loader import Loader
from tests.benchmarks.figure import Figure, Given
from tests.training_shards import Row, tiny, write_shard

STEPS, WORKERS, SLOWER = 60, 2, 2
SIDE, WORDS, MOST = 150, 50, 20  # of a picture; of a page; images of a page


def figures(given: Given) -> Iterator[Figure]:
    rows, steps = list(pages(given.material)), 10 if given.quick else STEPS
    for number in range(0, len(rows), 100):
        write_shard(given.folder / f"train-{number // 100:05d}-of-00000.parquet", rows[number : number + 100], 25)
    held = [measured for row in rows for measured in row if isinstance(measured, bytes)]
    print(f"  {len(rows)} pages, {len(held)} images of {sum(map(len, held)) / len(held) / 1000:.0f} kB")
    yield from alone(given.folder, steps)
    yield Figure("data wait of a step twice as slow as the data", 100 * waits(given.folder, steps), "%", most=1)


def pages(material: Path) -> Iterator[Row]:
    """Pages with text and at least one image, as rows."""
    index = [json.loads(line) for line in (material / "images" / "index.jsonl").read_text("utf-8").splitlines()]
    drawn = [r for r in index if r["kind"] == "good" and r["format"] in {"JPEG", "PNG", "WEBP"}]
    large = [r for r in drawn if min(r["width"], r["height"]) >= SIDE]
    pictures = cycle([(material / "images" / row["file"]).read_bytes() for row in large])
    for path in sorted((material / "pages").glob("wcxb-0[01].warc.gz")):
        for document in documents_of(str(path), Extract()):
            words = sum(len((node.text or "").split()) for node in document.nodes)
            if words >= WORDS and 0 < len(document.images) <= MOST:
                yield [next(pictures) if node.text is None else node.text for node in document.nodes]


def configured(folder: Path, workers: int, lanes: int) -> TrainConfig:
    """Sequences and pictures of the published size; the model's other sizes do not matter here."""
    base = tiny(folder, folder).model_dump()
    base["model"] |= {"vision": base["model"]["vision"] | {"image_size": 224}, "max_position_embeddings": 1024}
    base |= {
        "packing": {"tokens": 1024, "images": 20, "window": 64},
        "tokenizer": {"vocab_size": 8192, "documents": 300},
    }
    data = {"path": str(folder), "workers": workers, "lanes": lanes}
    return TrainConfig.model_validate(base | {"data": data, "micro_batch": 4, "batch_size": 4})


def opened(config: TrainConfig) -> Loader:
    return Loader(config, language(config))


def alone(folder: Path, steps: int) -> Iterator[Figure]:
    """In one process."""
    loader = opened(configured(folder, 0, 1))
    tokens = places = 0
    began = time.process_time()
    for batch in islice(loader, steps):
        tokens, places = tokens + batch.tokens, places + batch.input_ids.numel()
    seconds = time.process_time() - began
    counts = loader.counts()["data"]
    print(f"  {counts['documents']} documents, {counts['images']} images, {counts['broken_images']} of them broken")
    yield Figure("images read, decoded, packed, tokenized", counts["images"] / seconds, "/s of a core", least=60)
    yield Figure("tokens beside them", tokens / seconds, "/s of a core")
    yield Figure("padding", 100 * (1 - tokens / places), "%", most=3)


def waits(folder: Path, steps: int) -> float:
    """The share of the time for which a slower step waits for its batch, once the first ones are there."""
    loader = opened(configured(folder, WORKERS, WORKERS))
    stream, waited = iter(loader), 0.0
    next(stream)
    began = time.perf_counter()
    for _ in range(steps // 2):
        next(stream)
    pause = SLOWER * (time.perf_counter() - began) / (steps // 2)
    began = time.perf_counter()
    for _ in range(steps):
        time.sleep(pause)
        asked = time.perf_counter()
        next(stream)
        waited += time.perf_counter() - asked
    share = waited / (time.perf_counter() - began)
    loader.close()
    return share
