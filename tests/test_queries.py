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
        **dict.fromkeys(("warc", "url", "reason", "detail", "headers"), pa.string()),
        "signature": pa.binary(),
        "images": pa.binary(),
    }
    schema = pa.schema([(name, types.get(name, pa.int64())) for name in names])
    return pa.Table.from_pylist([dict(zip(names, value, strict=True)) for value in values], schema=schema)


KEYED = "shard row key crawl_date"
IMAGES = "shard row position page_key url_key"
WANTED = "shard row position url_key crawl_date"
PARAGRAPHS = "shard row position paragraph page_key text_key"
BANDS = "shard row band_key order_key"
SIGNATURES = "shard row signature_key signature images"
GONE = "shard row"
RECORDS = "url_key date warc record_offset record_length payload_key"
ASKED = "shard row position url_key host_key url"
EDGES = "child parent"
PICTURES = "shard row position picture h0 h1 h2 h3"
TWINS = "shard row twin_shard twin_row"
NOBODY = rows(GONE)

CASES: dict[str, tuple[str, dict[str, pa.Table], dict[str, int], list[tuple[Any, ...]]]] = {
    "the latest capture of an address stays": (
        "latest", {"keyed": rows(KEYED, (0, 0, 7, 100), (0, 1, 8, 100), (1, 0, 7, 200)), "gone": NOBODY}, {}, [(0, 0, 1, 0)]
    ),
    "of two captures at one time the later in the crawl stays": (
        "latest",
        {"keyed": rows(KEYED, (0, 0, 7, 100), (0, 1, 7, 100), (0, 2, 7, 50)), "gone": NOBODY},
        {},
        [(0, 0, 0, 1), (0, 2, 0, 1)],
    ),
    "of captures of one page at one time the one in the later shard stays, whatever its row": (
        "latest", {"keyed": rows(KEYED, (3, 9, 7, 100), (4, 0, 7, 100)), "gone": NOBODY}, {}, [(3, 9, 4, 0)]
    ),
    "what is gone wins over nobody": (
        "latest",
        {"keyed": rows(KEYED, (0, 0, 7, 100), (0, 1, 7, 90), (1, 0, 7, 200)), "gone": rows(GONE, (1, 0))},
        {},
        [(0, 1, 0, 0)],
    ),
    "no captures, no verdicts": ("latest", {"keyed": rows(KEYED), "gone": NOBODY}, {}, []),
    "one document is alone": ("latest", {"keyed": rows(KEYED, (0, 0, 7, 100)), "gone": NOBODY}, {}, []),
    "of documents that are all equal one stays": (
        "latest",
        {"keyed": rows(KEYED, *((shard, row, 7, 5) for shard in range(3) for row in range(3))), "gone": NOBODY},
        {},
        [(shard, row, 2, 2) for shard in range(3) for row in range(3) if (shard, row) != (2, 2)],
    ),
    "an image on as many pages as allowed stays": (
        "image_everywhere", {"images": rows(IMAGES, (0, 0, 1, 1, 7), (0, 1, 1, 2, 7))}, {"max": 2}, []
    ),
    "an image on more pages than allowed goes from all, twice on a page counts once": (
        "image_everywhere",
        {"images": rows(IMAGES, (0, 0, 1, 1, 7), (0, 0, 2, 1, 7), (1, 0, 1, 2, 7), (1, 1, 4, 3, 8))},
        {"max": 1},
        [(0, 0, 1, 2), (0, 0, 2, 2), (1, 0, 1, 2)],
    ),
    "an image on two captures of one page is on one page": (
        "image_everywhere", {"images": rows(IMAGES, (0, 0, 1, 1, 7), (5, 0, 1, 1, 7))}, {"max": 1}, []
    ),
    "no images, no verdicts": ("image_everywhere", {"images": rows(IMAGES)}, {"max": 1}, []),
    "a paragraph on two pages of a site goes from both": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 1, 5), (0, 1, 2, 1, 2, 5), (0, 1, 2, 2, 2, 6)), "gone": NOBODY},
        {"max": 1},
        [(0, 0, 0, 0, 2), (0, 1, 2, 1, 2)],
    ),
    "a page that goes itself does not make a paragraph repeated": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 1, 5), (0, 1, 2, 1, 2, 5)), "gone": rows(GONE, (0, 1))},
        {"max": 1},
        [],
    ),
    "twice on one page, or on two captures of it, is not repeated on the site": (
        "paragraph_repeated",
        {"paragraphs": rows(PARAGRAPHS, (0, 0, 0, 0, 1, 5), (0, 0, 0, 3, 1, 5), (2, 0, 0, 0, 1, 5)), "gone": NOBODY},
        {"max": 1},
        [],
    ),
    "no paragraphs, no verdicts": ("paragraph_repeated", {"paragraphs": rows(PARAGRAPHS), "gone": NOBODY}, {"max": 1}, []),
    "an image comes from the record nearest in time, before or after": (
        "nearest_record",
        {
            "wanted": rows(WANTED, (0, 0, 1, 7, 100), (0, 1, 1, 7, 900), (0, 2, 1, 9, 100)),
            "records": rows(RECORDS, (7, 90, "a", 1, 11, 5), (7, 1000, "b", 2, 22, 6), (8, 100, "c", 3, 33, 5)),
        },
        {},
        [(0, 0, 1, "a", 1, 11, 5, False), (0, 1, 1, "b", 2, 22, 6, False)],
    ),
    "records equally near: the later one": (
        "nearest_record",
        {"wanted": rows(WANTED, (0, 0, 1, 7, 100)), "records": rows(RECORDS, (7, 90, "a", 1, 1, 5), (7, 110, "b", 2, 2, 6))},
        {},
        [(0, 0, 1, "b", 2, 2, 6, False)],
    ),
    "a revisit stands for the first record with its payload; without one it is nothing": (
        "nearest_record",
        {
            "wanted": rows(WANTED, (0, 0, 1, 7, 100), (0, 0, 2, 8, 100)),
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
            "wanted": rows(WANTED, (0, 0, 1, 7, 100)),
            "records": rows(RECORDS, (7, 100, "c", 9, 0, 5), (3, 50, "b", 2, 20, 5), (7, 100, "d", 1, 10, 6)),
        },
        {},
        [(0, 0, 1, "d", 1, 10, 6, False)],
    ),
    "documents of one signature are joined to the first of them": (
        "near_copies",
        {
            "signatures": rows(
                SIGNATURES, (0, 0, 5, b"a", b""), (1, 0, 5, b"a", b""), (1, 1, 5, b"a", b""), (1, 2, 6, b"b", b"")
            ),
            "gone": NOBODY,
        },
        {},
        [(ID, 0), (ID + 1, 0)],
    ),
    "an older capture is nobody's copy": (
        "near_copies",
        {"signatures": rows(SIGNATURES, (0, 0, 5, b"a", b""), (1, 0, 5, b"a", b"")), "gone": rows(GONE, (0, 0))},
        {},
        [],
    ),
    "documents that share a band are compared, a pair once": (
        "near_candidates",
        {
            "bands": rows(BANDS, (0, 0, 5, 0), (1, 0, 5, 0), (1, 1, 5, 0), (0, 0, 6, 0), (1, 0, 6, 0), (1, 2, 7, 0)),
            "gone": NOBODY,
            "copies": rows(EDGES),
        },
        {"window": 4},
        [(ID, 0), (ID + 1, 0), (ID + 1, ID)],
    ),
    "an older capture and a copy are compared with nobody": (
        "near_candidates",
        {
            "bands": rows(BANDS, (0, 0, 5, 0), (1, 0, 5, 0), (1, 1, 5, 0), (1, 2, 5, 0)),
            "gone": rows(GONE, (0, 0)),
            "copies": rows(EDGES, (ID + 1, ID)),
        },
        {"window": 4},
        [(ID + 2, ID)],
    ),
    "in a crowded band neighbours in its order are compared, and all with the first": (
        "near_candidates",
        {
            "bands": rows(BANDS, *((0, row, 5, order) for row, order in enumerate((7, 1, 6, 2, 5, 3, 4, 8)))),
            "gone": NOBODY,
            "copies": rows(EDGES),
        },
        {"window": 2},  # in their order: 1 3 | 5 6 | 4 2 | 0 7
        [
            *((3, 1), (5, 1), (6, 1), (5, 3), (6, 3), (6, 5), (5, 4), (5, 2), (6, 4), (6, 2), (4, 2)),
            *((4, 0), (7, 4), (2, 0), (7, 2), (7, 0)),
            *((1, 0), (3, 0), (5, 0), (6, 0)),
        ],
    ),
    "no bands, no pairs": (
        "near_candidates", {"bands": rows(BANDS), "gone": NOBODY, "copies": rows(EDGES)}, {"window": 2}, []
    ),
    "a pair goes to the shard of its later document with the signature of the earlier": (
        "near_pairs",
        {
            "candidates": rows(EDGES, (2 * ID + 7, ID + 3), (2 * ID + 8, 2 * ID + 7)),
            "signatures": rows(SIGNATURES, (1, 3, 5, b"one", b"i"), (2, 7, 6, b"two", b"")),
        },
        {},
        [(2, 7, ID + 3, b"one", b"i"), (2, 8, 2 * ID + 7, b"two", b"")],
    ),
    "copies and pairs found alike are edges": (
        "near_edges",
        {"copies": rows(EDGES, (1, 0)), "verified": rows("child parent similarity", (2, 1, 1))},
        {},
        [(1, 0), (2, 1)],
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
            "pages": rows(KEYED, (0, 0, 1, 10), (0, 1, 2, 30), (1, 0, 3, 20), (1, 1, 4, 50), (1, 2, 5, 50)),
        },
        {},
        [(0, 0, 0, 1), (1, 0, 0, 1), (1, 1, 1, 2)],
    ),
    "a band in which pictures meet goes to its part with their hashes, one of a single picture goes nowhere": (
        "image_bands",
        {
            "bands": rows("band_key picture", (5, 1), (5, 2), (5, 2), (6, 1), (7, 3), (8, 4), (8, 4)),
            "images": rows(PICTURES, (0, 0, 1, 1, 7, 8, 9, 10), (0, 1, 1, 1, 7, 8, 9, 10), (0, 2, 1, 2, 7, 8, 9, 11),
                           (0, 3, 1, 3, 1, 1, 1, 1), (0, 4, 1, 4, 2, 2, 2, 2), (0, 5, 1, 5, None, None, None, None)),
        },
        {"parts": 3},
        [(2, 5, 1, 7, 8, 9, 10), (2, 5, 2, 7, 8, 9, 11)],
    ),
    "a pair that met in two bands is one edge": (
        "image_edges", {"found": rows(EDGES, (2, 1), (3, 1), (2, 1))}, {}, [(2, 1), (3, 1)]
    ),
    "images of one class, near or the same, count its pages and name its first; a single one is not told": (
        "image_classes",
        {
            "images": rows(PICTURES, (0, 0, 1, 5, 7, 0, 0, 0), (0, 0, 3, 6, 8, 0, 0, 0), (1, 0, 2, 6, 8, 0, 0, 0),
                           (1, 1, 1, 9, 1, 1, 1, 1), (2, 0, 0, 4, None, None, None, None), (2, 1, 0, 4, None, None, None, None)),
            "components": rows(EDGES, (6, 5)),
        },
        {},
        [
            (0, 0, 1, 5, 2, 0, 0, 1, 7, 0, 0, 0),
            (0, 0, 3, 5, 2, 0, 0, 1, 7, 0, 0, 0),
            (1, 0, 2, 5, 2, 0, 0, 1, 7, 0, 0, 0),
            (2, 0, 0, 4, 2, 2, 0, 0, None, None, None, None),
            (2, 1, 0, 4, 2, 2, 0, 0, None, None, None, None),
        ],
    ),
    "no images, no classes": ("image_classes", {"images": rows(PICTURES), "components": rows(EDGES)}, {}, []),
    "an n-gram in as many documents as its set allows counts, one in more does not": (
        "contaminated",
        {
            "hits": rows("shard row position paragraph gram item most",
                         (0, 0, 1, 0, 7, 4, 2), (0, 0, 1, 0, 8, 4, 2), (0, 0, 1, 0, 7, 4, 2), (1, 0, 0, 2, 7, 4, 2),
                         (0, 1, 1, 0, 9, 5, 1), (0, 2, 1, 0, 9, 5, 1), (0, 2, 1, 1, 6, 5, 1)),
        },
        {},
        [(0, 0, 1, 0, 4, 3), (1, 0, 0, 2, 4, 1), (0, 2, 1, 1, 5, 1)],
    ),
    "no hit, no verdict": (
        "contaminated", {"hits": rows("shard row position paragraph gram item most")}, {}, []
    ),
    "both kinds of gone are gone": (
        "gone",
        {"older": rows(TWINS, (0, 0, 1, 1)), "twins": rows(TWINS, (2, 0, 1, 1))},
        {},
        [(0, 0), (2, 0)],
    ),
    "an address is on a list by itself or by its host, and the first of its names is told": (
        "listed",
        {
            "keys": rows(
                "shard row position name name_key",
                *((0, 0, -1, 0, 5), (0, 0, -1, 1, 6), (0, 0, -1, 2, 7), (0, 0, 2, 0, 8), (1, 4, 1, 1, 6)),
            ),
            "listed": rows("name_key", (6,), (7,), (6,), (9,)),
        },
        {},
        [(0, 0, -1, 1), (1, 4, 1, 1)],
    ),
    "addresses of one host fall to one of the workers": (
        "by_host",
        {
            "addresses": rows(
                "shard row position url origin origin_key bucket crawl_date licences",
                (0, 0, -1, "p", 1, 1, 5, 9, 0), (3, 1, 2, "q", 1, 1, 5, 9, 0), (0, 0, 4, "r", 2, 2, 6, 9, 0),
            )
        },
        {"buckets": 4},
        [(1, 0, 0, -1, "p", 1, 9, 0), (1, 3, 1, 2, "q", 1, 9, 0), (2, 0, 0, 4, "r", 2, 9, 0)],
    ),
    "captures of those hosts that are asked for, once, with their addresses": (
        "wanted_captures",
        {
            "addresses": rows("shard row origin_key bucket", (0, 0, 1, 5), (0, 1, 1, 5), (1, 0, 2, 6)),
            "captures": rows(
                "origin_key origin date state detail warc record_offset record_length",
                (1, 1, 10, 0, "", "a", 7, 8), (1, 1, 20, 0, "", "a", 9, 8), (3, 3, 10, 0, "", "a", 1, 8),
            ),
        },
        {"buckets": 4},
        [(1, 1, 10, 0, "", "a", 7, 8), (1, 1, 20, 0, "", "a", 9, 8)],
    ),
    "what was said goes back to the shard it is about": (
        "findings",
        {"findings": rows("shard row position signal", (1, 0, 0, 5), (0, 2, -1, 5))},
        {},
        [(1, 0, 0, 5), (0, 2, -1, 5)],
    ),
    "an address is asked for once, in the part of its host, and told if the crawl has it": (
        "addresses",
        {
            "wanted": rows(ASKED, (0, 0, 1, 7, 50, "http://a/7"), (1, 0, 2, 7, 50, "http://a:80/7"), (0, 0, 2, 8, -3, "http://b/8"),
                           (2, 5, 0, 9, -3, "http://b/9")),
            "records": rows("shard row position warc record_offset record_length", (0, 0, 2, "w", 1, 2)),
        },
        {"parts": 4},
        [(2, 7, "http://a/7", 0), (1, 8, "http://b/8", 1), (1, 9, "http://b/9", 0)],
    ),
    "each place of an address has its answer, and one without answer none": (
        "answers",
        {
            "wanted": rows(ASKED, (0, 0, 1, 7, 50, "u"), (1, 3, 2, 7, 50, "u"), (0, 0, 2, 8, 50, "v")),
            "answers": rows("url_key part reason detail headers place size", (7, 1, "ok", "", "[]", 100, 20)),
        },
        {},
        [(0, 0, 1, 1, "ok", "", "[]", 100, 20), (1, 3, 2, 1, "ok", "", "[]", 100, 20)],
    ),
    "an address counts once among all that are named and among those that are wanted": (
        "saving",
        {
            "named": rows("url_key", (7,), (7,), (8,), (9,)),
            "wanted": rows(ASKED, (0, 0, 1, 7, 50, "u"), (1, 3, 2, 7, 50, "u")),
        },
        {},
        [(3, 1)],
    ),
    "no page, no image": ("saving", {"named": rows("url_key"), "wanted": rows(ASKED)}, {}, [(0, 0)]),
    "nobody is nobody": ("nobody", {"pages": rows(KEYED, (0, 0, 7, 100))}, {}, []),
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
