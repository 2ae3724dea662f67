"""The section `input` of a configuration in; the shards of work that it chooses out.

Files of a crawl are known by its list, records by an index or a table of pointers. What was found is kept in the run, since
what is published under such a name does not change.
"""

import difflib
import gzip
import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.asking import NotThere, Unreachable
from pipeline.errors import UserError
from pipeline.pointers import RECORDS, picked, stamp, tables_of, write_places
from pipeline.remote import about, content, is_remote
from pipeline.shards import THREADS, UNKNOWN, Part, Picked, cut, parts_of
from pipeline.storage import list_warcs, read_rows
from pipeline.work import key64

if TYPE_CHECKING:
    from pipeline.config import Crawl, Index
    from pipeline.run import Run

COLLINFO = "https://index.commoncrawl.org/collinfo.json"  # which crawls there are
NEWS = "crawl-data/CC-NEWS/{year}/{month}/warc.paths.gz"
FILES = pa.schema([("file", pa.string()), ("size", pa.int64()), ("etag", pa.string())])


def choose(run: "Run") -> Sequence[Part | Picked]:
    """The shards that a run is to read, in their order.

    Raises:
        UserError: nothing is chosen, or there is no such crawl, index or table; in one line.
    """
    asked = run.config.input
    if asked.paths is not None:
        return parts_of(list_warcs(asked.paths), asked.split)
    if crawl := asked.crawl:
        about_it = [crawl.model_dump(), asked.base]
        found = run.once("input", about_it, lambda folder: _write_files(folder, crawl, asked.base))
        return _parts(found.folder, asked.split)
    if asked.pointers is not None:
        names = tables_of([asked.pointers], "input.pointers")
    else:
        assert asked.index is not None
        names = _index_files(asked.index, asked.base)
    known = [[path] if is_remote(path) else stamp(path) for path in names]
    found = run.once("input", [asked.choice, RECORDS, known], lambda folder: write_places(folder, names, asked))
    return picked(found.folder)


def _write_files(folder: Path, crawl: "Crawl", base: str) -> None:
    names = _names(crawl.name, "warc", base)
    if crawl.files is not None:
        drawn = sorted(names, key=lambda name: key64(str(crawl.seed), name))  # a larger sample holds the smaller
        names = sorted(drawn[: crawl.files])
    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(_about, [base + name for name in names]))
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, FILES), folder / "files.parquet")


def _about(address: str) -> dict[str, Any]:
    """A file that does not answer now may do so when its turn comes."""
    if not is_remote(address):
        size = Path(address).stat().st_size if Path(address).is_file() else UNKNOWN
        return {"file": address, "size": size, "etag": ""}
    try:
        known = about(address)
    except (Unreachable, NotThere):
        return {"file": address, "size": UNKNOWN, "etag": ""}
    return {"file": address, "size": known.size, "etag": known.etag}


def _parts(folder: Path, split: int) -> list[Part]:
    """All published files have a gzip member a record, so they can be cut unseen."""
    found = []
    for row in read_rows(folder / "files.parquet"):
        path, size = row["file"], row["size"]
        mark = f"{path} {size} {row['etag']}"
        found += [Part(path, 0, UNKNOWN, mark)] if size == UNKNOWN else cut(path, size, split, mark)
    return found


def _names(crawl: str, kind: str, base: str) -> list[str]:
    """The files of a crawl as its list of this kind names them, relative to the base."""
    place = f"crawl-data/{crawl}/{kind}.paths.gz"
    if crawl.startswith("CC-NEWS-"):
        year, month = crawl.removeprefix("CC-NEWS-").split("-")
        place = NEWS.format(year=year, month=month)
    try:
        lines = gzip.decompress(_read(base + place)).decode("utf-8").splitlines()
    except (NotThere, Unreachable) as error:  # a store that may not be listed answers 403 for what is not there
        if isinstance(error, Unreachable) and "HTTP 403" not in str(error):
            raise
        raise UserError(f"input: {crawl}: {base} knows no such crawl{_nearest(crawl, base)}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"input: {base + place}: is no list of files: {error}") from None
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise UserError(f"input: {base + place}: names no file")
    return names


def _read(path: str) -> bytes:
    if is_remote(path):
        return content(path)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise NotThere(f"{path}: no such file") from None


def _nearest(crawl: str, base: str) -> str:
    """What is offered instead of a crawl that there is not, as far as a list of them can be had."""
    if crawl.startswith("CC-NEWS-"):
        return "; news crawls are CC-NEWS-YYYY-MM, from 2016-08 on"
    for place in (f"{base}collinfo.json", *([COLLINFO] if "commoncrawl" in base else [])):
        with suppress(UserError, OSError, ValueError, KeyError, TypeError):
            known = [str(entry["id"]) for entry in json.loads(_read(place))]
            near = sorted(known, key=partial(_far, crawl))[:3]
            return f"; the nearest are {', '.join(near)}" if near else ""
    return f"; {COLLINFO} lists them"


def _far(crawl: str, other: str) -> tuple[float, int]:
    """Crawls are alike as their names are; of those that are equally so, by the number of the week."""
    numbers = [int("".join(filter(str.isdigit, name)) or 0) for name in (crawl, other)]
    return -difflib.SequenceMatcher(None, crawl, other).ratio(), abs(numbers[0] - numbers[1])


def _index_files(index: "Index", base: str) -> list[str]:
    if index.files is not None:
        return tables_of(index.files, "input.index.files")
    assert index.crawl is not None
    return [base + name for name in _names(index.crawl, "cc-index-table", base) if "/subset=warc/" in name]
