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
    joined = components(run, "near_duplicate", edges)
    return run.sql("near_duplicate/verdicts", query="near_duplicate", components=joined.table(), pages=pages)


def components(run: "Run", name: str, edges: "Answer") -> "Answer":
    """Connected components of the edges (child, parent): each member of one as the child of its least. Two queries,
    repeated until nothing changes, below the folder `name`."""
    for i in range(MAX_ROUNDS):
        large = run.sql(f"{name}/{i}/large", by=None, query="large_star", edges=edges.table())
        small = run.sql(f"{name}/{i}/small", by=None, query="small_star", edges=large.table())
        before, after = edges.table(), small.table()
        made = run.sql(f"{name}/{i}/new", by=None, query="new_edges", before=before, after=after)
        edges = small
        if _number(made.table()) == 0:
            break
    return edges


def _number(table: "Table") -> int:
    return int(next(row["made"] for file in table.files for row in read_rows(Path(file))))
