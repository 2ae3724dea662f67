"""Keys of all documents in; verdicts a shard out. Each decision is one query, near-duplicates a loop of two."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.storage import read_rows

if TYPE_CHECKING:
    from pipeline.run import Answer, Run, Table

MAX_ROUNDS = 40  # large-star and small-star end within log² of the longest chain; this is a chain of millions


def near_duplicates(run: "Run", bands: "Table", pages: "Table", older: "Table") -> "Answer":
    """Documents that share a MinHash band are joined, joined ones are one component, its latest capture stays."""
    edges = run.sql("near_duplicate/edges", by=None, query="near_edges", bands=bands, gone=older)
    for i in range(MAX_ROUNDS):
        large = run.sql(f"near_duplicate/{i}/large", by=None, query="large_star", edges=edges.table())
        small = run.sql(f"near_duplicate/{i}/small", by=None, query="small_star", edges=large.table())
        before, after = edges.table(), small.table()
        made = run.sql(f"near_duplicate/{i}/new", by=None, query="new_edges", before=before, after=after)
        edges = small
        if _number(made.table()) == 0:
            break
    return run.sql("near_duplicate/verdicts", query="near_duplicate", components=edges.table(), pages=pages)


def _number(table: "Table") -> int:
    return int(next(row["made"] for file in table.files for row in read_rows(Path(file))))
