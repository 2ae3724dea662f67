"""Reading for training: images a second of a core, padding, and how long a step that is slower waits.

    python -m tests.benchmarks.loader [--steps 60] [--workers 2] [--slower 2] [MATERIAL]

Shards are made of the material: the texts and the places of images are those that the pipeline finds on its real pages,
the pictures are its photographs and drawings of at least 150 pixels a side, in turn, as the pages' own are not there.
Prints each figure beside its limit; exit status 1 if one is not held. A core's share is processor time, so that what
else runs on the machine does not count; the simulated step sleeps `--slower` times as long as a batch takes to make.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from pipeline.config import Extract
from pipeline.documents import documents_of
from pipeline.training.config import TrainConfig
from pipeline.training.language import language
from pipeline.training.loader import Loader
from tests.conftest import ROOT
from tests.training_shards import Row, tiny, write_shard

IMAGES, PADDING, WAIT = 60.0, 0.03, 0.01  # limits
SIDE, WORDS, MOST = 150, 50, 20  # of a picture; of a page; images of a page


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("material", nargs="?", type=Path, default=ROOT.parent / "shared" / "material")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--slower", type=float, default=2)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = list(pages(args.material))
        for number in range(0, len(rows), 100):
            write_shard(Path(folder) / f"train-{number // 100:05d}-of-00000.parquet", rows[number : number + 100], 25)
        held = [measured for row in rows for measured in row if isinstance(measured, bytes)]
        print(f"{len(rows)} pages, {len(held)} images of {sum(map(len, held)) / len(held) / 1000:.0f} kB")
        return 0 if all([*alone(Path(folder), args.steps), waits(Path(folder), args)]) else 1


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


def alone(folder: Path, steps: int) -> list[bool]:
    """Images a second of a core and padding, in one process."""
    loader = opened(configured(folder, 0, 1))
    tokens = places = 0
    began = time.process_time()
    for step, batch in enumerate(loader, 1):
        tokens, places = tokens + batch.tokens, places + batch.input_ids.numel()
        if step == steps:
            break
    seconds = time.process_time() - began
    counts = loader.counts()["data"]
    print(f"{counts['documents']} documents, {counts['images']} images, {counts['broken_images']} of them broken")
    padding = 1 - tokens / places
    rate = counts["images"] / seconds
    print(f"images a second of a core  {rate:8.1f}  limit at least {IMAGES:g}  (and {tokens / seconds:,.0f} tokens)")
    print(f"padding                    {padding:8.2%}  limit below {PADDING:.0%}")
    return [rate >= IMAGES, padding < PADDING]


def waits(folder: Path, args: argparse.Namespace) -> bool:
    """The share of the time for which a slower step waits for its batch, after the first one."""
    loader = opened(configured(folder, args.workers, args.workers))
    stream, made = iter(loader), list[float]()
    next(stream)
    began = time.perf_counter()
    for _ in range(args.steps // 2):
        next(stream)
    pause = args.slower * (time.perf_counter() - began) / (args.steps // 2)
    began = time.perf_counter()
    for _ in range(args.steps):
        time.sleep(pause)
        asked = time.perf_counter()
        next(stream)
        made.append(time.perf_counter() - asked)
    share = sum(made) / (time.perf_counter() - began)
    loader.close()
    print(
        f"data wait                  {share:8.2%}  limit below {WAIT:.0%}  (step {pause:.2f} s, longest {max(made):.3f} s)"
    )
    return share < WAIT


if __name__ == "__main__":
    sys.exit(main())
