"""Near-duplicate images: recall by what was done to a copy, strangers taken for one, pairs a second, memory.

    python -m tests.benchmarks.image_duplicates [MATERIAL]  # the folder of real images; by default ../shared/material

Copies are made of 61 photographs (COCO, scikit-image) and of the pictures of the sample crawl, which are all different by
construction; strangers are all other pairs of these. Plain graphics (stripes, frames, halves, lines) are strangers, too.
"""

import io
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image as Pillow
from PIL import ImageDraw, ImageEnhance

from pipeline.config import Config, NearImage
from pipeline.document import Image
from pipeline.hamming import BITS, WORDS, Words, _draw, apart, band_keys, telling, words
from pipeline.image_duplicates import EDGES, IMAGES, classes, compare
from pipeline.job import Job, perform
from pipeline.pixels import HASHES, Facts, look
from pipeline.run import Run
from pipeline.sample.crawl import _picture_bytes
from pipeline.sample.definitions import read_pictures
from pipeline.stages import Table
from tests.conftest import ROOT
from tests.documents import job

KINDS = ("pdq", "phash")
SOURCES = ("lightly-ai/coco128_yolo", "scikit-image/scikit-image")
HASHES_AT_ONCE = 10**6
CROWD = 50_000  # hashes of one band


def encoded(picture: Pillow.Image, quality: int = 90) -> bytes:
    out = io.BytesIO()
    picture.save(out, "jpeg", quality=quality)
    return out.getvalue()


def copies(picture: Pillow.Image) -> dict[str, bytes]:
    """What becomes of a photo on its way through the web."""
    width, height = picture.size

    def cropped(share: float) -> Pillow.Image:
        x, y = round(width * share / 2), round(height * share / 2)
        return picture.crop((x, y, width - x, height - y))

    def resized(factor: int) -> Pillow.Image:
        return picture.resize((width // factor, height // factor), Pillow.Resampling.LANCZOS)

    marked = picture.copy()
    box = [width * 0.8, height * 0.92, width * 0.97, height * 0.97]
    ImageDraw.Draw(marked).rectangle(box, fill="white")
    return {
        "JPEG, quality 75": encoded(picture, 75),
        "JPEG, quality 30": encoded(picture, 30),
        "half the size": encoded(resized(2)),
        "a quarter of the size": encoded(resized(4)),
        "2 % cropped": encoded(cropped(0.02)),
        "5 % cropped": encoded(cropped(0.05)),
        "brighter by a tenth": encoded(ImageEnhance.Brightness(picture).enhance(1.1)),
        "a label in a corner": encoded(marked),
    }


def plain_graphics(count: int = 120) -> list[Pillow.Image]:
    """Stripes, frames, halves, lines and steps of grey, no two alike."""
    draw = np.random.default_rng(4)
    made = []
    for number in range(count):
        picture = Pillow.new("RGB", (320, 240), tuple(draw.integers(0, 256, 3).tolist()))
        pen = ImageDraw.Draw(picture)
        colour = tuple(draw.integers(0, 256, 3).tolist())
        x, y, step = (int(value) for value in draw.integers(20, 110, 3))
        if number % 5 == 0:
            pen.rectangle([x, y, 320 - x, 240 - y], fill=colour)
        elif number % 5 == 1:
            for left in range(0, 320, step):
                pen.rectangle([left, 0, left + step // 2, 240], fill=colour)
        elif number % 5 == 2:
            pen.rectangle([0, 0, 320, 2 * y], fill=colour)
        elif number % 5 == 3:
            pen.line([0, 2 * y, 320, 2 * y], fill=colour, width=1 + number % 4)
        else:
            for top in range(0, 240, step):
                pen.rectangle([0, top, 320, top + step], fill=(top, top, top))
        made.append(picture)
    return made


def seen(data: bytes) -> Image:
    facts = look(data, max_bytes=10**8, max_pixels=10**8, seconds=60, readers=[HASHES])
    assert isinstance(facts, Facts)
    return Image("", "", sha256=facts.sha256, phash=facts.phash, pdq=facts.pdq)


def originals(material: Path) -> list[Pillow.Image]:
    """Pictures of which no two are the same."""
    rows = [json.loads(line) for line in (material / "images" / "index.jsonl").read_text().splitlines()]
    photos = [row["file"] for row in rows if row["kind"] == "good" and row["source"] in SOURCES]
    data = [(material / "images" / file).read_bytes() for file in photos]
    data += [
        _picture_bytes(picture, picture.address.rpartition(".")[2], "march")
        for picture in read_pictures()
        if not (picture.svg or picture.cut or picture.half_of)
    ]
    return [Pillow.open(io.BytesIO(one)).convert("RGB") for one in data]


def quality(material: Path) -> list[str]:
    pictures = [picture for picture in originals(material) if min(picture.size) >= 150]
    made = [{name: seen(data) for name, data in copies(picture).items()} for picture in pictures]
    first = [seen(encoded(picture, 95)) for picture in pictures]
    plain = [seen(encoded(picture)) for picture in plain_graphics()]
    lines = []
    for kind in KINDS:
        near = NearImage(hash=kind)  # type: ignore[arg-type]
        lines.append(f"{kind}, at most {near.distance} of {BITS[kind]} bits, {near.bands} bands of {near.bits}")
        told = [telling(image, kind) for image in first]
        lines.append(f"  {sum(map(bool, told))} of {len(told)} pictures have a hash that tells")
        for name in made[0]:
            pairs = [(one, telling(copy[name], kind)) for one, copy in zip(told, made, strict=True) if one]
            both = [(one, other) for one, other in pairs if other]
            bits = apart(words([one for one, _ in both]), words([other for _, other in both]))
            ours, theirs = (
                band_keys(words(list(side)), kind, near.bands, near.bits) for side in zip(*both, strict=True)
            )
            met = (ours == theirs).any(axis=1)
            close = bits <= near.distance
            lines.append(
                f"  {name:<24} recall {np.sum(close & met) / len(pairs):.3f}, all within the distance"
                f" {np.sum(close) / len(pairs):.3f}; bits apart: half {np.median(bits):.0f}, nine tenths"
                f" {np.quantile(bits, 0.9):.0f}"
            )
        strangers = [telling(image, kind) for image in first + plain]
        lines.append(f"  strangers taken for one:  {_close(strangers, near.distance)} (with plain graphics)")
        unguarded = [getattr(image, kind) for image in first + plain]
        lines.append(f"  … if any hash told:       {_close(unguarded, near.distance)}")
    return lines


def _close(hashes: list[str | None], distance: int) -> str:
    known = words([digits for digits in hashes if digits])
    found = sum(int((apart(known[i + 1 :], known[i]) <= distance).sum()) for i in range(len(known)))
    return f"{found} of {len(known) * (len(known) - 1) // 2} pairs"


def synthetic(kind: str, near: NearImage, count: int) -> tuple[Words, np.ndarray[Any, Any]]:
    """Hashes, and pairs of rows that are copies: a tenth of all, at distances spread over those that are allowed; a crowd
    shares a band."""
    draw = np.random.default_rng(6)
    size = BITS[kind]
    made = np.zeros((count, WORDS), np.uint64)
    made[:, : size // 64] = draw.integers(0, 2**64, (count, size // 64), np.uint64)
    for bit in _draw(size, near.bands, near.bits)[0]:
        word, mask = bit // 64, np.uint64(1 << 63 - bit % 64)
        made[:CROWD, word] = made[:CROWD, word] & ~mask | made[0, word] & mask
    half = count // 20
    pairs = np.stack([np.arange(count - 2 * half, count - half), np.arange(count - half, count)], axis=1)
    for one, other in pairs.tolist():
        value = int.from_bytes(made[one].astype(">u8").tobytes(), "big")
        for bit in draw.choice(size, int(draw.integers(1, near.distance + 1)), replace=False).tolist():
            value ^= 1 << (64 * WORDS - 1 - bit)
        made[other] = np.frombuffer(value.to_bytes(8 * WORDS, "big"), ">u8")
    return made, pairs


def speed(kind: str, folder: Path) -> list[str]:
    near = NearImage(hash=kind)  # type: ignore[arg-type]
    hashes, pairs = synthetic(kind, near, HASHES_AT_ONCE)
    pictures = np.arange(len(hashes))
    columns = {
        "shard": pictures // 1000,
        "row": pictures % 1000,
        "position": np.zeros_like(pictures),
        "picture": pictures,
    }
    columns |= {f"h{word}": hashes[:, word].view(np.int64) for word in range(WORDS)}
    started = time.process_time()
    keys = band_keys(hashes, kind, near.bands, near.bits)
    banding = time.process_time() - started
    pq.write_table(
        pa.table({name: pa.array(columns[name], IMAGES.field(name).type) for name in IMAGES.names}), folder / "i"
    )
    flat = {"band_key": keys.ravel(), "picture": np.repeat(pictures, near.bands)}
    pq.write_table(pa.table(flat), folder / "b")
    del flat, keys, columns
    settings = Config.model_validate({"name": "b", "output": str(folder / "out"), "input": {"paths": ["x"]}})
    started = time.perf_counter()
    with Run(settings, "benchmark") as run:
        images, bands = Table([str(folder / "i")], "i"), Table([str(folder / "b")], "b")
        answer = classes(run, images, bands, near.bands * len(hashes), near)
    seconds = time.perf_counter() - started
    stages = folder / "out" / "stages" / "near_image"
    compared = sum(json.loads(file.read_text())["notes"]["compared"] for file in (stages / "pairs").glob("*.json"))
    parts = len(list((stages / "pairs").glob("*.json")))
    told = {
        name: json.loads((stages / name / "query.json").read_text())["seconds"]
        for name in ("bands", "edges", "classes")
    }
    edges = pq.read_table(sorted((stages / "edges" / "answer").rglob("*.parquet"))).to_pydict()
    assert EDGES.names == list(edges)
    found = set(zip(edges["parent"], edges["child"], strict=True))
    hit = sum((one, other) in found for one, other in pairs.tolist())
    rows = sum(pq.read_metadata(file).num_rows for file in answer.folder.rglob("*.parquet"))
    worker, part = _one_part(near, answer.folder.parent.parent / "bands" / "answer", folder)
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return [
        f"{kind}: {len(hashes):,} hashes, {CROWD:,} of them in one band: {seconds:.0f} s from bands to classes"
        f" ({', '.join(f'{name} {value:.0f} s' for name, value in told.items())}), banding {banding:.1f} s of processor time",
        f"  {compared / 1e6:.1f} million pairs compared in {parts} parts; {part:.1f} s of processor time for one:"
        f" {compared / parts / part / 1e6:.1f} million pairs/s, {len(hashes) / parts / part:,.0f} hashes/s a core",
        f"  copies found {hit / len(pairs):.4f} of {len(pairs):,} at 1 … {near.distance} bits, {len(found) - hit} other pairs,"
        f" {rows:,} images in classes",
        f"  peak memory {own:.1f} GB for this process with its queries (engine.memory 4 GB), {worker:.1f} GB for a worker",
    ]


def _one_part(near: NearImage, bands: Path, folder: Path) -> tuple[float, float]:
    """Gigabytes and seconds on the processor for one part, by a process of its own: what getrusage tells of children
    begins with what their parent had."""
    one = job(compare, near, folder, bands=(str(bands),))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_perform_and_tell, args=(one, theirs))
    process.start()
    told: tuple[float, float] = ours.recv()
    process.join()
    return told


def _perform_and_tell(one: Job, answer: Connection) -> None:
    started = time.process_time()
    perform(one)
    seconds = time.process_time() - started
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    answer.send((int(line.split()[1]) / 1e6, seconds))


def main(material: Path) -> int:
    print("\n".join(quality(material)))
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            print("\n".join(speed(kind, Path(folder))))
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT.parent / "shared" / "material"))
