"""Documents with seen images in; the same with each picture once, and without those that are everywhere, out."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from filters.verdict import Verdict
from pipeline.document import Document, Image, Node
from pipeline.duplicates import components
from pipeline.hamming import WORDS, apart, band_keys, close_pairs, telling, words
from pipeline.keys import KEYED, keyed_row
from pipeline.stages import numbered
from pipeline.storage import read_table
from pipeline.work import Work, key64

if TYPE_CHECKING:
    from pipeline.config import Duplicates, NearImage
    from pipeline.run import Run
    from pipeline.stages import Answer, Stage, Table

# Of `picture` the bits of its hash; nothing for an image that has no telling one.
_HASH = [(f"h{number}", pa.int64()) for number in range(WORDS)]
IMAGES = pa.schema(
    [("shard", pa.int32()), ("row", pa.int32()), ("position", pa.int32()), ("picture", pa.int64()), *_HASH]
)
BANDS = pa.schema([("band_key", pa.int64()), ("picture", pa.int64())])
EDGES = pa.schema([("child", pa.int64()), ("parent", pa.int64())])
ROWS_A_PART = 2_000_000  # of the bands' table, which a worker holds at once: 100 MB


def near_images(run: "Run", documents: "Stage", settings: "Duplicates") -> "Stage":
    """Takes images for one that are near each other by `settings.near_image`, and decides by content what was decided by
    address before: once in a document, on how many pages, which documents have the same images.

    Pictures (distinct hashes) that share a band are compared; close ones are joined, joined ones are one class. A chain of
    close ones may join two that are not close themselves; a copy within a document is one of its twin, by its own distance.
    """
    near = settings.near_image
    assert near is not None
    hashed = run.each("image_keys", hash_images, near, documents=documents)
    rows = sum(receipt.tables["bands"]["rows"] for receipt in hashed.receipts.values())
    same = classes(run, hashed.table("images"), hashed.table("bands"), rows, near)
    return run.each("unique_images", drop_copies, settings, documents=documents, classes=same)


def classes(run: "Run", images: "Table", bands: "Table", rows: int, near: "NearImage") -> "Answer":
    """The class of each image that is not alone in its; `rows` are those of the table of bands."""
    parts = 1 + rows // ROWS_A_PART
    met = run.sql("near_image/bands", query="image_bands", bands=bands, images=images, parts=parts)
    compared = run.each("near_image/pairs", compare, near, bands=met, parts=numbered("parts", parts))
    edges = run.sql("near_image/edges", by=None, query="image_edges", found=compared.table("edges"))
    joined = components(run, "near_image", edges)
    return run.sql("near_image/classes", query="image_classes", images=images, components=joined.table())


def picture_key(image: Image, kind: str) -> int:
    """One key for all images of one hash; for those whose hash tells nothing, of the same bytes."""
    digits = telling(image, kind)
    return key64(kind, digits) if digits else key64("sha256", image.sha256 or image.url)


def hash_images(work: Work, near: "NearImage") -> None:
    """Writes each image's picture, and for each picture of the shard its bands."""
    images, bands = work.table("images", IMAGES), work.table("bands", BANDS)
    seen: set[int] = set()
    for document in work.documents():
        work.rows_out += 1
        told: list[tuple[int, str]] = []
        for node in document.nodes:
            if node.image is None:
                continue
            picture = picture_key(node.image, near.hash)
            digits = telling(node.image, near.hash)
            values = words([digits])[0].view(np.int64).tolist() if digits else [None] * WORDS
            row = {"shard": document.shard, "row": document.row, "position": node.position, "picture": picture}
            images.write(row | {name: value for (name, _), value in zip(_HASH, values, strict=True)})
            if digits and picture not in seen:
                seen.add(picture)
                told.append((picture, digits))
        if not told:
            continue
        keys = band_keys(words([digits for _, digits in told]), near.hash, near.bands, near.bits)
        for (picture, _), of_picture in zip(told, keys.tolist(), strict=True):
            for key in of_picture:
                bands.write({"band_key": key, "picture": picture})


def compare(work: Work, near: "NearImage") -> None:
    """Compares the pictures of each band of this part; those within the distance are joined."""
    edges = work.table("edges", EDGES)
    files = work.partition("bands")
    if not files:
        return
    table = pa.concat_tables([read_table(file) for file in files])
    columns = {name: table[name].to_numpy() for name in table.column_names if name != "shard"}
    hashes = np.stack([columns[name] for name, _ in _HASH], axis=1).view(np.uint64)
    pairs, work.notes["compared"] = close_pairs(columns["band_key"], hashes, near.distance, near.window)
    pictures = columns["picture"][pairs]
    found = np.unique(np.sort(pictures, axis=1), axis=0)
    for parent, child in found[found[:, 0] != found[:, 1]].tolist():  # two hashes of one key are one picture already
        edges.write({"child": child, "parent": parent})


def drop_copies(work: Work, settings: "Duplicates") -> None:
    """Of the copies within a document the first stays; a picture of too many pages goes. Writes down the sets of pictures
    that are left."""
    near, limit = settings.near_image, settings.image_everywhere
    assert near is not None
    sets = work.table("sets", KEYED)
    classes = {(row["row"], row["position"]): row for row in work.verdicts("classes")}
    for document in work.documents():
        kept: list[Node] = []
        seen: list[Node] = []
        for node in document.nodes:
            if node.image is None:
                kept.append(node)
                continue
            same = classes.get((document.row, node.position))
            if limit and same and same["pages"] > limit.max:
                first = _bits(same, node.image, near)
                verdict = Verdict(False, f"on {same['pages']} pages, first {first}", f"at most {limit.max}")
                work.drop(document, "image", "image_everywhere", verdict, node.image.url, node.position)
            elif settings.image_repeated and (twin := _copy(node.image, seen, near)):
                place = f"{document.shard}:{document.row}:{twin[0].position}, {twin[1]} bits apart"
                verdict = Verdict(False, place, f"once in a document, copies within {near.distance} bits")
                work.drop(document, "image", "image_repeated", verdict, node.image.url, node.position)
            else:
                seen.append(node)
                kept.append(node)
        document.nodes = kept
        if work.keep_whole(document):
            pictures = {_class_of(document, node, classes, near) for node in seen}
            sets.write(keyed_row(document, key64(*sorted(map(str, pictures)))))


def _class_of(document: Document, node: Node, classes: dict[tuple[int, int], dict[str, Any]], near: "NearImage") -> int:
    """The class of an image; one that stands nowhere else is a class of its own and was not told of."""
    assert node.image is not None
    same = classes.get((document.row, node.position))
    return same["class"] if same else picture_key(node.image, near.hash)


def _copy(image: Image, before: list[Node], near: "NearImage") -> tuple[Node, int] | None:
    """The nearest of the images before, the first of those equally near, and how many bits it is away; none beyond the
    distance."""
    digits = telling(image, near.hash)
    best: tuple[Node, int] | None = None
    for node in before:
        assert node.image is not None
        other = telling(node.image, near.hash)
        if image.sha256 is not None and image.sha256 == node.image.sha256:
            bits = 0
        elif digits and other:
            bits = (int(digits, 16) ^ int(other, 16)).bit_count()
        else:
            continue
        if bits <= near.distance and (best is None or bits < best[1]):
            best = node, bits
    return best


def _bits(same: dict[str, Any], image: Image, near: "NearImage") -> str:
    """Where the first image of a class stands, and how far this one is from it, which may be along a chain."""
    place = f"{same['first_shard']}:{same['first_row']}:{same['first_position']}"
    digits = telling(image, near.hash)
    if digits is None or same["h0"] is None:
        return f"{place}, the same bytes"
    first = np.array([same[name] for name, _ in _HASH], np.int64).view(np.uint64)
    return f"{place}, {apart(first, words([digits])[0])} bits apart"
