"""Keys of all documents in; verdicts a shard out. Near-duplicates: candidates, compared one by one, joined."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.copies import here
from pipeline.minhash import similarity
from pipeline.storage import read_rows
from pipeline.work import Work

if TYPE_CHECKING:
    from pipeline.config import NearDuplicate
    from pipeline.run import Run
    from pipeline.stages import Answer, Stage, Table

MAX_ROUNDS = 40  # large-star and small-star end within log² of the longest chain; this is a chain of millions

EDGES = pa.schema([("child", pa.int64()), ("parent", pa.int64()), ("similarity", pa.float32())])


def near_duplicates(run: "Run", keys: "Stage", older: "Table", settings: "NearDuplicate") -> "Answer":
    """Documents that share a MinHash band are compared; those alike are joined; of a component the latest capture stays."""
    name, signatures, window = "near_duplicate", keys.table("signatures"), settings.window
    copies = run.sql(f"{name}/copies", by=None, query="near_copies", signatures=signatures, gone=older).table()
    candidates = run.sql(
        f"{name}/candidates", by=None, query="near_candidates",
        bands=keys.table("bands"), gone=older, copies=copies, window=window,
    ).table()  # fmt: skip
    pairs = run.sql(f"{name}/pairs", query="near_pairs", candidates=candidates, signatures=signatures)
    verified = run.each(f"{name}/verified", verify, settings, keys=keys, pairs=pairs).table("edges")
    edges = run.sql(f"{name}/edges", by=None, query="near_edges", copies=copies, verified=verified)
    joined = components(run, name, edges)
    return run.sql(f"{name}/verdicts", query=name, components=joined.table(), pages=keys.table("pages"))


def latest_image_set(run: "Run", documents: "Stage", gone: "Table", nobody: "Table") -> "Answer":
    """Of the documents with the same set of images the latest stays; those of earlier runs that are `gone`, or went for
    this reason before, take no part."""
    sets = run.earlier.stage("image_rules").beside(documents).table("sets")
    lost = run.earlier.verdicts("latest_image_set", nobody)
    away = run.sql("gone_before", query="gone", older=gone, twins=lost)
    return run.sql("latest_image_set", query="latest", keyed=sets, gone=away.table())


def components(run: "Run", name: str, edges: "Answer") -> "Answer":
    """Connected components of the edges (child, parent): each member of one as the child of its least. Two queries,
    repeated until nothing changes, below the folder `name`."""
    rounds = 0
    for rounds in range(MAX_ROUNDS):
        large = run.sql(f"{name}/{rounds}/large", by=None, query="large_star", edges=edges.table())
        small = run.sql(f"{name}/{rounds}/small", by=None, query="small_star", edges=large.table())
        before, after = edges.table(), small.table()
        made = run.sql(f"{name}/{rounds}/new", by=None, query="new_edges", before=before, after=after)
        edges = small
        if _number(made.table()) == 0:
            break
    run.forget(f"{name}/{later}" for later in range(rounds + 1, MAX_ROUNDS))
    return edges


def verify(work: Work, settings: "NearDuplicate") -> None:
    """Keeps of the pairs whose later document is in this shard those that are alike: their shingles by the whole
    signature and, where that is asked, their images by the share that the one with fewer has in common."""
    edges = work.table("edges", EDGES)
    own = {row["row"]: row for row in work.rows("keys", "signatures")}
    for batch in _batches(work.partition("pairs")):
        rows, parents = batch["row"].to_pylist(), batch["parent"].to_pylist()
        ours = _signatures([own[row]["signature"] for row in rows])
        alike = similarity(ours, _signatures(batch["signature"].to_pylist()))
        near = alike >= settings.similarity
        if settings.images:
            both = zip(rows, batch["images"].to_pylist(), strict=True)
            near &= np.array([in_common(own[row]["images"], theirs) >= settings.images for row, theirs in both])
        work.units += len(rows)
        for i in np.flatnonzero(near):
            child = work.shard * 2**32 + rows[i]
            edges.write({"child": child, "parent": parents[i], "similarity": float(alike[i])})


def in_common(one: bytes, other: bytes) -> float:
    """The overlap coefficient of two sets of 64-bit keys: what both have, as a share of the smaller; 1 for two empty ones."""
    first, second = set(np.frombuffer(one, "<i8").tolist()), set(np.frombuffer(other, "<i8").tolist())
    if not first or not second:
        return float(first == second)
    return len(first & second) / min(len(first), len(second))


def _signatures(stored: list[bytes]) -> NDArray[np.uint16]:
    return np.frombuffer(b"".join(stored), "<u2").reshape(len(stored), -1)


def _batches(files: list[Path]) -> Iterator[Any]:
    for file in files:
        with here(file) as found, pq.ParquetFile(found) as opened:
            yield from (batch for batch in opened.iter_batches(batch_size=2**14) if batch.num_rows)


def _number(table: "Table") -> int:
    return int(next(row["made"] for file in table.files for row in read_rows(file)))
