"""A query and Parquet files in; what Daft answers on a Ray cluster out, a sorted file a shard, as DuckDB writes it."""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import EMPTY

TOGETHER = 64  # shards whose answers one task puts in order
_ORDER = re.compile(r"\bORDER BY ([\w., ]+)$")  # of the whole query; all of ours end so, or say nothing


class Asker:
    """An actor that plans queries; Daft keeps its own workers on the nodes from one to the next."""

    def __init__(self) -> None:
        os.environ |= {"DAFT_ANALYTICS_ENABLED": "0", "DO_NOT_TRACK": "true", "DAFT_PROGRESS_BAR": "0"}
        import daft

        daft.set_runner_ray(noop_if_initialized=True)

    def ask(self, query: str, out: str, by: str | None, tables: dict[str, Sequence[str]]) -> None:
        import daft

        folder = Path(out)
        folder.mkdir(parents=True, exist_ok=True)
        # Its last ORDER BY is kept by shard below, without Daft sorting the whole; what goes on to other queries has no order.
        text = _ORDER.sub("", query.strip())
        answer = daft.sql(text, **{name: daft.read_parquet(list(files)) for name, files in tables.items()})
        if by is None:
            written = answer.write_parquet(out).to_pydict()["path"]
        else:
            raw = folder / ".unsorted.tmp"
            part = daft.col(by).alias("part")
            written = answer.write_parquet(str(raw), partition_cols=[part]).to_pydict()["path"]
            _settle(written, folder, by, order_of(query), answer.schema().column_names())
            shutil.rmtree(raw, ignore_errors=True)
        if not written:  # what reads the answer needs its columns
            pq.write_table(answer.schema().to_pyarrow_schema().empty_table(), folder / EMPTY)


def order_of(query: str) -> list[str]:
    """The columns by which a query's answer is ordered."""
    found = _ORDER.search(query.strip())
    return [name.strip().rpartition(".")[2] for name in found[1].split(",")] if found else []


def _settle(written: Sequence[str], folder: Path, by: str, order: list[str], columns: list[str]) -> None:
    """Has tasks put the answers for each shard in order; what was written is known from Daft, not from a listing."""
    import ray

    parts: dict[str, list[str]] = defaultdict(list)
    for path in written:
        parts[Path(path).parent.name.partition("=")[2]].append(path)
    waiting = sorted(parts.items())
    settle = ray.remote(num_cpus=1, max_retries=3)(settle_parts)
    ray.get(
        [
            settle.remote(waiting[start : start + TOGETHER], str(folder), by, order, columns)
            for start in range(0, len(waiting), TOGETHER)
        ]
    )


def settle_parts(
    parts: Sequence[tuple[str, list[str]]], folder: str, by: str, order: list[str], columns: list[str]
) -> None:
    """Of each part one file folder/`by`=part/data_0.parquet, its rows by `order` and then by all other columns, so that
    their order says nothing of how many nodes there were."""
    for part, files in parts:
        table = pa.concat_tables([pq.ParquetFile(file).read() for file in sorted(files)])
        if by not in table.column_names:
            table = table.append_column(by, pa.array([int(part)] * len(table), pa.int32()))
        table = table.select(columns)
        table = table.cast(pa.schema([_signed(field) for field in table.schema]))
        rest = [name for name in columns if name not in order and not pa.types.is_nested(table.schema.field(name).type)]
        table = table.sort_by([(name, "ascending") for name in (*order, *rest)])
        place = Path(folder) / f"{by}={part}"
        place.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, place / "data_0.parquet")


def _signed(field: Any) -> Any:
    """Daft counts in unsigned numbers, DuckDB in signed ones."""
    return field.with_type(pa.int64()) if field.type == pa.uint64() else field
