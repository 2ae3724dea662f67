"""The section `input` of a configuration in; the shards of work that it chooses out.

Files of a crawl are known by its list, records by an index or a table of pointers. What was found is kept in the run, since
what is published under such a name does not change.
"""

import difflib
import glob
import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec import AbstractFileSystem

from pipeline.errors import UserError
from pipeline.remote import NotThere, RemoteFile, Unreachable, about, content, is_remote, listed
from pipeline.shards import THREADS, UNKNOWN, Part, Picked, cut, parts_of
from pipeline.storage import list_warcs
from pipeline.work import key64

if TYPE_CHECKING:
    from pipeline.config import Crawl, Index, Input
    from pipeline.run import Run

COLLINFO = "https://index.commoncrawl.org/collinfo.json"  # which crawls there are
NEWS = "crawl-data/CC-NEWS/{year}/{month}/warc.paths.gz"
POINTER = ("warc_filename", "warc_record_offset", "warc_record_length")
RECORDS = 1000  # of a shard at most: each may be a request of its own
FILES = pa.schema([("file", pa.string()), ("size", pa.int64()), ("etag", pa.string())])
PLACES = pa.schema([("file", pa.string()), ("offset", pa.int64()), ("length", pa.int64())])


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
        names = _tables([asked.pointers], "input.pointers")
    else:
        assert asked.index is not None
        names = _index_files(asked.index, asked.base)
    known = [[path] if is_remote(path) else _stamp(path) for path in names]
    found = run.once("input", [asked.choice, RECORDS, known], lambda folder: _write_places(folder, names, asked))
    return _picked(found.folder)


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
    for row in pq.read_table(folder / "files.parquet").to_pylist():
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
        return _tables(index.files, "input.index.files")
    assert index.crawl is not None
    return [base + name for name in _names(index.crawl, "cc-index-table", base) if "/subset=warc/" in name]


def _tables(paths: Sequence[str], key: str) -> list[str]:
    found: list[str] = []
    for path in paths:
        web = path.startswith(("http://", "https://"))
        some = listed(path) if is_remote(path) and not web and "*" in path else [path]
        if not is_remote(path):
            some = sorted(glob.glob(path, recursive=True)) if glob.has_magic(path) else [path]
            some = [file for file in some if Path(file).is_file()]
        if not some:
            raise UserError(f"{key}: {path}: no such file")
        found += sorted(some)
    return found


def _stamp(path: str) -> list[Any]:
    stat = Path(path).stat()
    return [path, stat.st_size, stat.st_mtime_ns]


def _write_places(folder: Path, names: Sequence[str], asked: "Input") -> None:
    """Puts the pointers that are wanted into one table, sorted, and beside it where shards begin and end."""
    index = asked.index
    where, limit, seed = (index.where, index.limit, index.seed) if index else ("true", None, 0)
    folder.mkdir(parents=True)

    def ask(numbered: tuple[int, str]) -> None:
        number, path = numbered
        _ask(path, where, folder / f"part-{number:05d}.parquet", "input.index" if index else "input.pointers")

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(ask, enumerate(names)))
    parts = sorted(folder.glob("part-*.parquet"))
    drawn = f"ORDER BY md5('{seed} ' || file || ' ' || \"offset\"), file, \"offset\" LIMIT {limit}" if limit else ""
    rows = f'SELECT DISTINCT file, "offset", length FROM read_parquet({[str(part) for part in parts]}) {drawn}'
    base = asked.base.replace("'", "''")
    query = f'SELECT \'{base}\' || file AS file, "offset", length FROM ({rows}) ORDER BY file, "offset", length'
    target = str(folder / "places.parquet").replace("'", "''")
    with _connection() as connection:
        connection.sql(f"COPY ({query}) TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE 100000)")
    for part in parts:
        part.unlink()
    cuts = list(_cuts(folder / "places.parquet", asked.split))
    if not cuts:
        raise UserError(
            f"input: no record is chosen: {'input.index.where holds for none' if index else 'the table is empty'}"
        )
    (folder / "cuts.json").write_text(json.dumps(cuts), encoding="utf-8")


def _cuts(table: Path, split: int) -> Iterator[tuple[int, int, int, str]]:
    """First and last row of each shard, its bytes, and what tells it from another."""
    row = first = size = 0
    digest = hashlib.sha256()
    with pq.ParquetFile(table) as file:
        for batch in file.iter_batches():
            for path, offset, length in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if row > first and (size + length > split or row - first >= RECORDS):
                    yield first, row, size, digest.hexdigest()[:24]
                    first, size, digest = row, 0, hashlib.sha256()
                digest.update(f"{path} {offset} {length}\n".encode())
                size += length
                row += 1
    if row > first:
        yield first, row, size, digest.hexdigest()[:24]


def _picked(folder: Path) -> list[Picked]:
    table = str(folder / "places.parquet")
    cuts = json.loads((folder / "cuts.json").read_text(encoding="utf-8"))
    return [Picked(table, *values) for values in cuts]


def _ask(path: str, where: str, out: Path, key: str) -> None:
    """The pointers of one Parquet file for which the condition holds."""
    import duckdb

    with _connection() as connection:
        store = _Store()
        if is_remote(path):
            connection.register_filesystem(store)
        source = (
            f"read_parquet(['{(store.protocol + '://' if is_remote(path) else '') + path}'], hive_partitioning = true)"
        )
        try:
            columns = [row[0] for row in connection.sql(f"DESCRIBE SELECT * FROM {source}").fetchall()]
            if missing := [name for name in POINTER if name not in columns]:
                raise UserError(f"{key}: {path}: has no column {', '.join(missing)}; it has {', '.join(columns)}")
            file, offset, length = POINTER
            query = (
                f'SELECT {file}::VARCHAR AS file, {offset}::BIGINT AS "offset", {length}::BIGINT AS length '
                f"FROM {source} WHERE ({where}\n)"
            )
            connection.sql(f"COPY ({query}) TO '{out}' (FORMAT parquet)")
        except duckdb.Error as error:
            if store.failed is not None:
                raise store.failed from None
            raise UserError(f"{key}: {path}: {' '.join(str(error).split())[:300]}") from None


def _connection() -> Any:
    """DuckDB that fetches no extensions."""
    import duckdb

    connection = duckdb.connect()
    connection.sql("SET autoinstall_known_extensions = false")
    connection.sql("SET autoload_known_extensions = false")
    connection.sql("SET threads = 1")  # files are asked side by side
    return connection


class _Store(AbstractFileSystem):  # type: ignore[misc]
    """Remote files as DuckDB reads them: under our limits and retries. DuckDB tells an error by its text alone, so what
    failed is kept."""

    protocol = "carnac"
    cachable = False

    def __init__(self) -> None:
        super().__init__()
        self.failed: UserError | None = None

    def _told(self, ask: Callable[[], Any]) -> Any:
        try:
            return ask()
        except UserError as error:
            self.failed = error
            raise OSError(str(error)) from None

    def _open(self, path: str, mode: str = "rb", **options: Any) -> RemoteFile:
        file: RemoteFile = self._told(lambda: _Told(path, self._told))
        return file

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        size = self._told(lambda: about(self._strip_protocol(path)).size)
        return {"name": path, "size": size, "type": "file"}

    def modified(self, path: str) -> datetime:
        return datetime(2000, 1, 1)

    def glob(self, path: str, **options: Any) -> list[str]:
        return [path]


class _Told(RemoteFile):
    """A read gives all that was asked for, as DuckDB expects."""

    def __init__(self, address: str, told: Callable[[Callable[[], Any]], Any]) -> None:
        super().__init__(address)
        self._told = told

    def _at(self, position: int, size: int) -> bytes:
        data: bytes = self._told(lambda: super(_Told, self)._at(position, size))
        return data

    def read(self, size: int = -1) -> bytes:
        found = bytearray()
        while len(found) < size and (part := super().read(size - len(found))):
            found += part
        return bytes(found)
