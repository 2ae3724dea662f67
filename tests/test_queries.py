"""Every query as a table of rows in and rows out, with the same answer from DuckDB and from Daft."""

import re
import string
from pathlib import Path
from typing import Any

import daft
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import EngineSettings
from pipeline.engine import LocalEngine
from pipeline.run import QUERIES

ID = 4294967296  # the document in row 0 of shard 1

Rows = list[dict[str, Any]]


def rows(columns: str, *values: tuple[Any, ...]) -> pa.Table:
    names = columns.split()
    types = {
        "shard": pa.int32(),
        "row": pa.int32(),
        "position": pa.int32(),
        "paragraph": pa.int32(),
        "warc": pa.string(),
    }
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in names])
    return pa.Table.from_pylist([dict(zip(names, value, strict=True)) for value in values], schema=schema)


PAGES = "shard row url_key crawl_date"
IMAGES = "shard row position url_key crawl_date"
PARAGRAPHS = "shard row position paragraph text_key"
GONE = "shard row"
RECORDS = "url_key date warc record_offset record_length payload_key"
EDGES = "child parent"
TWINS = "shard row twin_shard twin_row"

CASES: dict[str, tuple[str, dict[str, pa.Table], dict[str, int], list[tuple[Any, ...]]]] = {
    "the latest capture of an address stays": (
        "latest_url", {"pages": rows(PAGES, (0, 0, 7, 100), (0, 1, 8, 100), (1, 0, 7, 200))}, {}, [(0, 0, 1, 0)]
    ),
    "of two captures at one time the later in the crawl stays": (
        "latest_url", {"pages": rows(PAGES, (0, 0, 7, 100), (0, 1, 7, 100), (0, 2, 7, 50))}, {}, [(0, 0, 0, 1), (0, 2, 0, 1)]
    ),
    "no captures, no verdicts": ("latest_url", {"pages": rows(PAGES)}, {}, []),
    "an image on as many pages as allowed stays": (
        "image_everywhere", {"images": rows(IMAGES, (0, 0, 1, 7, 0), (0, 1, 1, 7, 0))}, {"max": 2}, []
    ),
    "an image on more pages than allowed goes from all, twice on a page counts once": (
        "image_everywhere",
        {"images": rows(IMAGES, (0, 0, 1, 7, 0), (0, 0, 2, 7, 0), (1, 0, 1, 7, 0), (1, 1, 4, 8, 0))},
        {"max": 1},
        [(0, 0, 1, 2), (0, 0, 2, 2), (1, 0, 1, 2)],
    ),
    "a paragraph on two pages of a host goes from both": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 5), (0, 1, 2, 1, 5), (0, 1, 2, 2, 6)), "gone": rows(GONE)},
        {"max": 1},
        [(0, 0, 0, 0, 2), (0, 1, 2, 1, 2)],
    ),
    "a page that goes itself does not make a paragraph repeated": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 5), (0, 1, 2, 1, 5)), "gone": rows(GONE, (0, 1))},
        {"max": 1},
        [],
    ),
    "twice on one page is not repeated on the host": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 5), (0, 0, 0, 3, 5)), "gone": rows(GONE)},
        {"max": 1},
        [],
    ),
    "of documents with one set of images the latest stays": (
        "latest_image_set",
        {"sets": rows("shard row set_key crawl_date", (0, 0, 3, 10), (1, 4, 3, 20), (1, 5, 4, 20))},
        {},
        [(0, 0, 1, 4)],
    ),
    "an image comes from the record nearest in time, before or after": (
        "nearest_record",
        {
            "wanted": rows(IMAGES, (0, 0, 1, 7, 100), (0, 1, 1, 7, 900), (0, 2, 1, 9, 100)),
            "records": rows(RECORDS, (7, 90, "a", 1, 11, 5), (7, 1000, "b", 2, 22, 6), (8, 100, "c", 3, 33, 5)),
        },
        {},
        [(0, 0, 1, "a", 1, 11, 5, False), (0, 1, 1, "b", 2, 22, 6, False)],
    ),
    "records equally near: the later one": (
        "nearest_record",
        {"wanted": rows(IMAGES, (0, 0, 1, 7, 100)), "records": rows(RECORDS, (7, 90, "a", 1, 1, 5), (7, 110, "b", 2, 2, 6))},
        {},
        [(0, 0, 1, "b", 2, 2, 6, False)],
    ),
    "a revisit stands for the first record with its payload; without one it is nothing": (
        "nearest_record",
        {
            "wanted": rows(IMAGES, (0, 0, 1, 7, 100), (0, 0, 2, 8, 100)),
            "records": rows(
                RECORDS, (7, 100, "c", 9, 0, 5), (3, 50, "b", 2, 20, 5), (4, 40, "a", 1, 10, 5), (8, 100, "c", 9, 0, 6)
            ),
        },
        {},
        [(0, 0, 1, "a", 1, 10, 5, True)],
    ),
    "a record of the address itself comes before a revisit of the same time": (
        "nearest_record",
        {
            "wanted": rows(IMAGES, (0, 0, 1, 7, 100)),
            "records": rows(RECORDS, (7, 100, "c", 9, 0, 5), (3, 50, "b", 2, 20, 5), (7, 100, "d", 1, 10, 6)),
        },
        {},
        [(0, 0, 1, "d", 1, 10, 6, False)],
    ),
    "documents that share a band are joined to the smallest": (
        "near_edges",
        {
            "bands": rows("shard row band band_key", (0, 0, 0, 5), (1, 0, 0, 5), (1, 1, 0, 5), (1, 1, 1, 6), (1, 2, 0, 6)),
            "gone": rows(GONE),
        },
        {},
        [(ID, 0), (ID + 1, 0)],
    ),
    "an older capture joins nobody": (
        "near_edges",
        {"bands": rows("shard row band band_key", (0, 0, 0, 5), (1, 0, 0, 5)), "gone": rows(GONE, (0, 0))},
        {},
        [],
    ),
    "large-star joins larger neighbours to the smallest": (
        "large_star", {"edges": rows(EDGES, (2, 1), (3, 2), (4, 3))}, {}, [(2, 1), (3, 1), (4, 2)]
    ),
    "small-star joins smaller neighbours to the smallest": (
        "small_star", {"edges": rows(EDGES, (3, 1), (3, 2))}, {}, [(2, 1), (3, 1)]
    ),
    "a round that makes nothing new": (
        "new_edges", {"before": rows(EDGES, (2, 1)), "after": rows(EDGES, (2, 1))}, {}, [(0,)]
    ),
    "of a component the latest capture stays, of one date the last in the crawl": (
        "near_duplicate",
        {
            "components": rows(EDGES, (1, 0), (ID, 0), (ID + 2, ID + 1)),
            "pages": rows(PAGES, (0, 0, 1, 10), (0, 1, 2, 30), (1, 0, 3, 20), (1, 1, 4, 50), (1, 2, 5, 50)),
        },
        {},
        [(0, 0, 0, 1), (1, 0, 0, 1), (1, 1, 1, 2)],
    ),
    "both kinds of gone are gone": (
        "gone",
        {"older": rows(TWINS, (0, 0, 1, 1)), "twins": rows(TWINS, (2, 0, 1, 1))},
        {},
        [(0, 0), (2, 0)],
    ),
    "nobody is nobody": ("nobody", {"pages": rows(PAGES, (0, 0, 7, 100))}, {}, []),
}  # fmt: skip


def text_of(query: str, numbers: dict[str, int]) -> str:
    text = string.Template((QUERIES / f"{query}.sql").read_text(encoding="utf-8")).substitute(numbers)
    return re.sub(r"--.*", "", text).strip()


@pytest.mark.parametrize("case", CASES)
def test_query_answers_the_same_on_both_engines(case: str, tmp_path: Path) -> None:
    query, tables, numbers, expected = CASES[case]
    files = {}
    for name, table in tables.items():
        files[name] = [str(tmp_path / f"{name}.parquet")]
        pq.write_table(table, files[name][0])
    text = text_of(query, numbers)
    by = "shard" if re.search(r"SELECT[^()]*\bshard\b[^()]*$", text) else None
    with LocalEngine(EngineSettings(workers=1), tmp_path / "spill") as engine:
        engine.sql(text, tmp_path / "out", by, **files)
    duck = [
        row for file in sorted((tmp_path / "out").rglob("*.parquet")) for row in pq.ParquetFile(file).read().to_pylist()
    ]
    on_daft = daft.sql(text, **{name: daft.read_parquet(paths) for name, paths in files.items()}).to_pylist()
    assert sorted(tuple(row.values()) for row in duck) == sorted(expected)
    assert sorted(tuple(row.values()) for row in on_daft) == sorted(expected)


def test_every_query_has_a_case() -> None:
    assert {query for query, *_ in CASES.values()} == {path.stem for path in QUERIES.glob("*.sql")}


def test_components_of_a_long_chain_are_found(tmp_path: Path) -> None:
    """Large-star and small-star on the worst shape, a path through 200 documents."""
    chain = [(i + 1, i) for i in range(200)]
    edges = str(tmp_path / "edges.parquet")
    pq.write_table(rows(EDGES, *chain), edges)
    with LocalEngine(EngineSettings(workers=1), tmp_path / "spill") as engine:
        for i in range(20):
            engine.sql(text_of("large_star", {}), tmp_path / f"large{i}", None, edges=[edges])
            engine.sql(
                text_of("small_star", {}), tmp_path / f"small{i}", None, edges=[str(tmp_path / f"large{i}/all.parquet")]
            )
            edges = str(tmp_path / f"small{i}" / "all.parquet")
            found = pq.ParquetFile(edges).read().to_pylist()
            if all(row["parent"] == 0 for row in found):
                break
    assert sorted(row["child"] for row in found) == list(range(1, 201))
    assert {row["parent"] for row in found} == {0}
