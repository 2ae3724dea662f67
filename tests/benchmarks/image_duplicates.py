"""Near-duplicate images: copies found by what was done to them, strangers taken for one, hashes a second, memory.

Copies are made of photographs (COCO, scikit-image) and of the pictures of the sample crawl, which are all different by
construction; strangers are all other pairs of these. Plain graphics (stripes, frames, halves, lines) are strangers, too.
"""

import io
import json
import time
from collections.abc import Iterator
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
from pipeline.job import perform
from pipeline.memory import peak
from pipeline.pixels import HASHES, Facts, look
from pipeline.run import Run
from pipeline.sample.crawl import _picture_bytes
from pipeline.sample.definitions import read_pictures
from pipeline.stages import Table
from pipeline.work import read_receipt
from tests.benchmarks.figure import Figure, Given, alone, json_rows
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
    rows = json_rows(material / "images" / "index.jsonl")
    photos = [row["file"] for row in rows if row["kind"] == "good" and row["source"] in SOURCES]
    data = [(material / "images" / file).read_bytes() for file in photos]
    data += [
        _picture_bytes(picture, picture.address.rpartition(".")[2], "march")
        for picture in read_pictures()
        if not (picture.svg or picture.cut or picture.half_of)
    ]
    return [Pillow.open(io.BytesIO(one)).convert("RGB") for one in data]


def quality(pictures: list[Pillow.Image]) -> Iterator[Figure]:
    made = [{name: seen(data) for name, data in copies(picture).items()} for picture in pictures]
    first = [seen(encoded(picture, 95)) for picture in pictures]
    plain = [seen(encoded(picture)) for picture in plain_graphics()]
    for kind in KINDS:
        near = NearImage(hash=kind)  # type: ignore[arg-type]
        print(f"  {kind}, at most {near.distance} of {BITS[kind]} bits, {near.bands} bands of {near.bits}")
        told = [telling(image, kind) for image in first]
        print(f"  {sum(map(bool, told))} of {len(told)} pictures have a hash that tells")
        for name in made[0]:
            pairs = [(one, telling(copy[name], kind)) for one, copy in zip(told, made, strict=True) if one]
            both = [(one, other) for one, other in pairs if other]
            bits = apart(words([one for one, _ in both]), words([other for _, other in both]))
            ours, theirs = (
                band_keys(words(list(side)), kind, near.bands, near.bits) for side in zip(*both, strict=True)
            )
            met = (ours == theirs).any(axis=1)
            close = bits <= near.distance
            print(
                f"  {name}: within the distance {np.sum(close) / len(pairs):.3f}; bits apart: half {np.median(bits):.0f},"
                f" nine tenths {np.quantile(bits, 0.9):.0f}"
            )
            yield Figure(
                f"`{kind}`: recall of copies, {name}, {len(pairs)} pictures", float(np.sum(close & met) / len(pairs))
            )
        for what, hashes in (
            ("strangers taken for one", [telling(image, kind) for image in first + plain]),
            ("the same, did any hash tell", [getattr(image, kind) for image in first + plain]),
        ):
            known = words([digits for digits in hashes if digits])
            taken = sum(int((apart(known[i + 1 :], known[i]) <= near.distance).sum()) for i in range(len(known)))
            yield Figure(f"`{kind}`: {what}, of {len(known) * (len(known) - 1) // 2:,} pairs", taken)


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


def speed(kind: str, count: int, folder: Path) -> Iterator[Figure]:
    folder.mkdir()
    near = NearImage(hash=kind)  # type: ignore[arg-type]
    hashes, pairs = synthetic(kind, near, count)
    pictures = np.arange(count)
    columns = {
        "shard": pictures // 1000,
        "row": pictures % 1000,
        "position": np.zeros_like(pictures),
        "picture": pictures,
    }
    columns |= {f"h{word}": hashes[:, word].view(np.int64) for word in range(WORDS)}
    keys = band_keys(hashes, kind, near.bands, near.bits)
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
        classes(run, images, bands, near.bands * count, near)
    seconds = time.perf_counter() - started
    stages = folder / "out" / "stages" / "near_image"
    notes = [json.loads(file.read_text())["notes"]["compared"] for file in (stages / "pairs").glob("*.json")]
    asked = {
        name: json.loads((stages / name / "query.json").read_text())["seconds"]
        for name in ("bands", "edges", "classes")
    }
    edges = pq.read_table(sorted((stages / "edges" / "answer").rglob("*.parquet"))).to_pydict()
    assert EDGES.names == list(edges)
    found = set(zip(edges["parent"], edges["child"], strict=True))
    hit = sum((one, other) in found for one, other in pairs.tolist())
    part, memory = alone(one_part, near, stages / "bands" / "answer", folder)
    print(
        f"  {kind}: queries {', '.join(f'{name} {spent:.0f} s' for name, spent in asked.items())}; {len(found) - hit} other pairs"
    )
    what = f"`{kind}`: {count:,} hashes, {CROWD:,} of them in one band"
    yield Figure(f"{what}: from bands to classes", seconds, "s")
    yield Figure(f"{what}: parts to compare", len(notes))
    yield Figure(f"{what}: a part", part, "s of a core")
    yield Figure(f"{what}: pairs compared", sum(notes) / len(notes) / part / 1e6, "million/s of a core")
    yield Figure(f"{what}: copies found, of {len(pairs):,} at 1 to {near.distance} bits", hit / len(pairs))
    yield Figure(f"{what}: peak memory with the queries", peak() / 1e9, "GB")
    yield Figure(f"{what}: peak memory of a worker", memory / 1e9, "GB")


def one_part(near: NearImage, bands: Path, folder: Path) -> tuple[float, int]:
    """Seconds on the processor and bytes for one part."""
    one = job(compare, near, folder, bands=tuple(map(str, sorted((bands / "shard=0").glob("*.parquet")))))
    started = time.process_time()
    perform(one)
    spent = time.process_time() - started
    receipt = read_receipt(one.prefix)
    assert receipt is not None
    assert not receipt.error, receipt.error
    return spent, peak()


def figures(given: Given) -> Iterator[Figure]:
    pictures = [picture for picture in originals(given.material) if min(picture.size) >= 150]
    yield from quality(pictures[: 20 if given.quick else None])
    for kind in KINDS:
        yield from speed(kind, 10**5 if given.quick else HASHES_AT_ONCE, given.folder / kind)
