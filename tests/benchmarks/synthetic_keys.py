"""Sizes in; key tables of a crawl that never was out."""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.config import NearDuplicate
from pipeline.keys import BANDS, KEYED, SIGNATURES
from pipeline.work import Receipt, write_receipt

MEMORY = 4 * 10**9
WORKERS = 2
SHARD = 100_000  # documents of a shard
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


def make_signatures(count: int, folder: Path) -> None:
    """Keys of `count` documents, as of a real crawl: a tenth of them are of one text, a tenth are pages of templates that
    share 70 % of their signature (10,000 pages a template), a seventh are near copies in groups whose sizes fall by a power
    law, the rest stand alone."""
    (folder / "keys").mkdir(parents=True)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(_make_shard, count=count, folder=folder), range(-(-count // SHARD))))


def _make_shard(shard: int, count: int, folder: Path) -> None:
    settings = NearDuplicate()
    ids = np.arange(shard * SHARD, min(count, (shard + 1) * SHARD), dtype=np.uint64)
    kind = _mixed(ids) % np.uint64(70)
    values = _of_documents(ids, kind)
    bands = _mixed_rows(values[:, : settings.bands * settings.rows].reshape(len(ids), settings.bands, settings.rows))
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
