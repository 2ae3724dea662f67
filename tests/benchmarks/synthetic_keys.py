"""Sizes in; key tables of a crawl that never was, and what each decision over them takes, out.

Each measurement runs in a process of its own, whose peak memory is what the kernel says of it and of its children:

    python -m tests.benchmarks.synthetic_keys query NAME FOLDER     # prints one line of JSON
    python -m tests.benchmarks.synthetic_keys cluster FOLDER
"""

import json
import resource
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config import Config, EngineSettings, NearDuplicate
from pipeline.duplicates import near_duplicates
from pipeline.engine import LocalEngine
from pipeline.keys import BANDS, KEYED, SIGNATURES
from pipeline.run import QUERIES, Run
from pipeline.stages import Stage
from pipeline.work import Receipt, write_receipt
from tests.conftest import ROOT

MEMORY = 4 * 10**9
WORKERS = 2
SHARD = 100_000  # documents of a shard
# Query, its tables and their numbers; `{n}` keys of each table.
ASKED: dict[str, tuple[str, dict[str, str], dict[str, int]]] = {
    "latest_url": ("latest", {"keyed": "pages", "gone": "none"}, {}),
    "latest_image_set": ("latest", {"keyed": "sets", "gone": "none"}, {}),
    "image_everywhere": ("image_everywhere", {"images": "images"}, {"max": 10}),
    "paragraph_repeated": ("paragraph_repeated", {"paragraphs": "paragraphs", "gone": "none"}, {"max": 1}),
}
_PLACE = "CAST(i // {per} // 100000 AS INT) AS shard, CAST(i // {per} % 100000 AS INT) AS row"
# A third of the captures have an address that another has, too, as in OBELICS; of images one in seven is one of few
# thousand icons, some of which stand on a share of all pages; of paragraphs one in four stands on several pages of its site.
TABLES = {
    "pages": _PLACE.format(per=1) + ", CAST(hash(CASE WHEN hash(i) % 100 < 33 THEN hash(i) % ({n} * 2 // 3) ELSE i END) // 2 "
    "AS BIGINT) AS key, CAST(1700000000 + hash(i * 7) % 30000000 AS BIGINT) AS crawl_date",
    "sets": _PLACE.format(per=1) + ", CAST(hash(CASE WHEN hash(i) % 100 < 11 THEN i - i % 7 ELSE i END) // 2 AS BIGINT) AS key, "
    "CAST(1700000000 + hash(i * 7) % 30000000 AS BIGINT) AS crawl_date",
    "images": _PLACE.format(per=5) + ", CAST(i % 5 AS INT) AS position, CAST(hash(i // 5) // 2 AS BIGINT) AS page_key, "
    "CAST(hash(CASE WHEN hash(i) % 7 = 0 THEN CAST(pow((hash(i * 3) % 1000003) / 1000003.0, 4) * 5000 AS BIGINT) "
    "ELSE i + 10000 END) // 2 AS BIGINT) AS url_key",
    "paragraphs": _PLACE.format(per=8) + ", CAST(0 AS INT) AS position, CAST(i % 8 AS INT) AS paragraph, "
    "CAST(hash(i // 8) // 2 AS BIGINT) AS page_key, "
    "CAST(hash(CASE WHEN hash(i) % 4 = 0 THEN i // 800 * 10 + hash(i * 3) % 10 ELSE i + 3000000000 END) // 2 AS BIGINT) "
    "AS text_key",
}  # fmt: skip


def make(table: str, count: int, folder: Path) -> None:
    """Writes `count` keys as the stage `keys` would: one file a shard of SHARD pages, or fewer files of more."""
    connection = duckdb.connect()
    connection.sql(f"SET threads = {WORKERS}; SET memory_limit = '{MEMORY}B'")
    (folder / table).mkdir(parents=True)
    step = 10**7
    for start in range(0, count, step):
        rows = f"SELECT {TABLES[table].format(n=count)} FROM range({start}, {min(count, start + step)}) AS t(i)"
        connection.sql(
            f"COPY ({rows}) TO '{folder}/{table}/{start // step:05d}.parquet' (FORMAT parquet, COMPRESSION zstd)"
        )
    connection.close()


def files_of(folder: Path, table: str) -> list[str]:
    if table == "none":
        pq.write_table(
            pa.table({"shard": pa.array([], pa.int32()), "row": pa.array([], pa.int32())}), folder / "none.parquet"
        )
        return [str(folder / "none.parquet")]
    return sorted(map(str, (folder / table).glob("*.parquet")))


def text_of(name: str) -> str:
    query, _, numbers = ASKED[name]
    return string.Template((QUERIES / f"{query}.sql").read_text(encoding="utf-8")).substitute(numbers)


def settings() -> EngineSettings:
    return EngineSettings(workers=WORKERS, memory=MEMORY)


def ask(name: str, folder: Path) -> None:
    files = {key: files_of(folder, table) for key, table in ASKED[name][1].items()}
    text = "\n".join(line for line in text_of(name).splitlines() if not line.startswith("--"))
    out = folder / "out" / name
    shutil.rmtree(out, ignore_errors=True)
    with LocalEngine(settings(), folder / "spill") as engine:
        engine.sql(text, out, "shard", **files)
    shutil.rmtree(out)


def make_signatures(count: int, folder: Path) -> None:
    """Keys of `count` documents, as of a real crawl: a tenth of them are of one text, a tenth are pages of templates that
    share 70 % of their signature (10,000 pages a template), a seventh are near copies in groups whose sizes fall by a power
    law, the rest stand alone."""
    settings = NearDuplicate()
    (folder / "keys").mkdir(parents=True)
    for shard in range(-(-count // SHARD)):
        ids = np.arange(shard * SHARD, min(count, (shard + 1) * SHARD), dtype=np.uint64)
        kind = _mixed(ids) % np.uint64(70)
        values = _of_documents(ids, kind)
        bands = _mixed_rows(
            values[:, : settings.bands * settings.rows].reshape(len(ids), settings.bands, settings.rows)
        )
        after = (np.arange(1, settings.bands + 1)[:, None] * settings.rows + np.arange(4)) % settings.permutations
        orders = np.ascontiguousarray(values[:, after] & 0xFFFF, ">u2").view(">i8").astype("<i8")
        place = {"shard": np.full(len(ids), shard, np.int32), "row": np.arange(len(ids), dtype=np.int32)}
        prefix = folder / "keys" / f"{shard:05d}"
        dates = 1_700_000_000 + (_mixed(ids) % np.uint64(10**7)).astype(np.int64)
        _write(prefix, "pages", KEYED, place | {"key": ids.astype(np.int64), "crawl_date": dates})
        repeated = {name: np.repeat(column, settings.bands) for name, column in place.items()}
        _write(prefix, "bands", BANDS, repeated | {"band_key": bands.ravel(), "order_key": orders.ravel()})
        stored = (values & 0xFFFF).astype("<u2").tobytes()
        size = 2 * settings.permutations
        signatures = [stored[i : i + size] for i in range(0, len(stored), size)]
        keys = _mixed_rows(values)
        _write(prefix, "signatures", SIGNATURES,
               place | {"signature_key": keys, "signature": signatures, "images": [b""] * len(ids)})  # fmt: skip
        write_receipt(prefix, Receipt("keys", shard, "f", rows_out=len(ids)))


def _of_documents(ids: NDArray[np.uint64], kind: NDArray[np.uint64]) -> NDArray[np.uint32]:
    own = _mixed(ids)
    group = own.copy()
    group[kind < 7] = 1
    template = (kind >= 7) & (kind < 14)
    group[template] = 1000 + ids[template] // np.uint64(100_000)
    near = (kind >= 14) & (kind < 24)
    size = np.minimum(
        1000, np.maximum(2, (1 / np.maximum(1e-3, (_mixed(ids // 1000 + 5) % 1000) / 1000)).astype(np.uint64))
    )
    group[near] = 10**6 + ids[near] // (7 * size[near])
    share = np.where(kind < 7, 1.0, np.where(template, 0.7, np.where(near, 0.95, 0.0)))
    places = np.arange(128, dtype=np.uint64)
    from_own = _mixed(own[:, None] + (places + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15))
    from_group = _mixed(group[:, None] * np.uint64(0xC2B2AE3D27D4EB4F) + places)
    theirs = (from_own >> np.uint64(40)).astype(np.float64) / 2**24 < share[:, None]
    return np.where(theirs, from_group, from_own).astype(np.uint32)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values * np.uint64(0x9E3779B97F4A7C15) + np.uint64(0x632BE59BD9B4E019)
    values ^= values >> np.uint64(32)
    values *= np.uint64(0xD6E8FEB86659FD93)
    return values ^ (values >> np.uint64(32))


def _mixed_rows(values: NDArray[np.uint32]) -> NDArray[np.int64]:
    """One key of the values along the last axis; along the one before, equal rows at different places differ."""
    total = np.zeros(values.shape[:-1], np.uint64)
    total += np.arange(values.shape[-2], dtype=np.uint64) if values.ndim == 3 else np.uint64(0)
    for i in range(values.shape[-1]):
        total = _mixed(total) + values[..., i]
    return _mixed(total).view(np.int64)


def _write(prefix: Path, name: str, schema: pa.Schema, columns: dict[str, Any]) -> None:
    arrays = [pa.array(columns[field.name], field.type) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), f"{prefix}.{name}.parquet", compression="zstd")


def cluster(folder: Path) -> dict[str, float]:
    """Near-duplicates as a run asks for them: copies, candidates, comparisons, components, survivors."""
    raw = {"name": "c", "output": str(folder / "run"), "input": {"paths": ["x"]}}
    engine = {"engine": {"workers": WORKERS, "memory": MEMORY}}
    prefixes = {int(path.stem): (str(path.with_suffix("")),) for path in (folder / "keys").glob("*.json")}
    keys = Stage("keys", dict(sorted(prefixes.items())), dict.fromkeys(prefixes, "f"))
    with Run(Config.model_validate(raw | engine), "c.yaml") as run:
        nobody = run.sql("nobody", pages=keys.table("pages"))
        answer = near_duplicates(run, keys, nobody.table(), NearDuplicate())
        parts = {
            path.parent.relative_to(run.folder / "stages").as_posix(): json.loads(path.read_text())["seconds"]
            for path in (run.folder / "stages").rglob("query.json")
        }
        gone = sum(pq.ParquetFile(file).metadata.num_rows for file in answer.table().files)
    return parts | {"dropped": gone}


def measured(work: Callable[[], object]) -> dict[str, Any]:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    result = work()
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime + children.ru_utime + children.ru_stime
    return {
        "seconds": time.perf_counter() - started,
        "busy": busy,
        "peak_gb": max(own.ru_maxrss, children.ru_maxrss) / 10**6,  # of this process, or of the largest of its workers
        "result": result,
    }


def in_a_child(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.synthetic_keys", *words]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def queries(count: int, folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each query over `count` keys, its tables made before and removed after it."""
    for name, (_, tables, _) in ASKED.items():
        for table in set(tables.values()) - {"none"}:
            make(table, count, folder)
        yield name, in_a_child("query", name, str(folder))
        for table in set(tables.values()) - {"none"}:
            shutil.rmtree(folder / table)


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "query":
        print(json.dumps(measured(lambda: ask(rest[0], Path(rest[1])))))
    else:
        print(json.dumps(measured(lambda: cluster(Path(rest[0])))))
