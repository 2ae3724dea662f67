"""Decisions over the keys of a whole crawl: seconds and memory of each query and of near-duplicates; the same rows by Daft.

The keys are made up (`synthetic_keys.py`). Queries have 4 GB and two cores, each in a process of its own. Takes some 20 GB of the
disk in TMPDIR.
"""

import re
import resource
import shutil
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.config import Config, EngineSettings, NearDuplicate
from pipeline.duplicates import near_duplicates
from pipeline.engine import LocalEngine
from pipeline.memory import peak
from pipeline.run import QUERIES, Run
from pipeline.stages import Stage
from tests.benchmarks.figure import Figure, Given, alone
from tests.benchmarks.synthetic_keys import MEMORY, WORKERS, make, make_signatures

FEW = 10**6  # keys, beside whose cost that of a key of many is held
KEYS, DOCUMENTS, ON_DAFT = 10**8, 10**7, 10**6
# Query, its tables and their numbers.
ASKED: dict[str, tuple[str, dict[str, str], dict[str, int]]] = {
    "latest_url": ("latest", {"keyed": "pages", "gone": "none"}, {}),
    "latest_image_set": ("latest", {"keyed": "sets", "gone": "none"}, {}),
    "image_everywhere": ("image_everywhere", {"images": "images"}, {"max": 10}),
    "paragraph_repeated": ("paragraph_repeated", {"paragraphs": "paragraphs", "gone": "none"}, {"max": 1}),
}
ENGINE = EngineSettings(workers=WORKERS, memory=MEMORY)


@dataclass(frozen=True, slots=True)
class Taken:
    """What work took: seconds by the clock and of processors, bytes at most of this process or the largest of its workers."""

    seconds: float
    busy: float
    memory: int


def taken(work: Callable[..., object], *arguments: object) -> Taken:
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    work(*arguments)
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = own.ru_utime + own.ru_stime - before.ru_utime - before.ru_stime + children.ru_utime + children.ru_stime
    return Taken(time.perf_counter() - started, busy, max(peak(), 1024 * children.ru_maxrss))


def files_of(folder: Path, table: str) -> list[str]:
    if table == "none":
        empty = pa.table({"shard": pa.array([], pa.int32()), "row": pa.array([], pa.int32())})
        pq.write_table(empty, folder / "none.parquet")
        return [str(folder / "none.parquet")]
    return sorted(map(str, (folder / table).glob("*.parquet")))


def text_of(name: str) -> str:
    query, _, numbers = ASKED[name]
    text = string.Template((QUERIES / f"{query}.sql").read_text(encoding="utf-8")).substitute(numbers)
    return re.sub(r"--.*", "", text)


def tables_of(name: str) -> set[str]:
    return set(ASKED[name][1].values()) - {"none"}


def ask(name: str, folder: Path) -> None:
    files = {key: files_of(folder, table) for key, table in ASKED[name][1].items()}
    with LocalEngine(ENGINE, folder / "spill") as engine:
        engine.sql(text_of(name), folder / "out", "shard", **files)
    shutil.rmtree(folder / "out")


def queries(keys: int, folder: Path) -> Iterator[Figure]:
    """Each query over so many keys, and the cost of a key beside that of few."""
    for name in ASKED:
        spent = {}
        for count in (FEW, keys):
            for table in tables_of(name):
                make(table, count, folder)
            spent[count] = alone(taken, ask, name, folder)
            for table in tables_of(name):
                shutil.rmtree(folder / table)
        many = spent[keys]
        print(f"  {name}: both cores were busy for {many.busy / WORKERS:.0f} s")
        yield Figure(f"{name} over {keys:.0e} keys", many.seconds, "s", most=120)
        yield Figure(f"{name} over {keys:.0e} keys, peak memory", many.memory / 1e9, "GB", most=5)
        ratio = many.busy / keys / (spent[FEW].busy / FEW)
        yield Figure(f"{name}: processor time of a key of {keys:.0e} over that of one of {FEW:.0e}", ratio, most=1.5)


def cluster(folder: Path) -> None:
    """Near-duplicates as a run asks for them: copies, candidates, comparisons, components, survivors."""
    raw = {"name": "c", "output": str(folder / "run"), "input": {"paths": ["x"]}}
    prefixes = {int(path.stem): (str(path.with_suffix("")),) for path in (folder / "keys").glob("*.json")}
    keys = Stage("keys", dict(sorted(prefixes.items())), dict.fromkeys(prefixes, "f"))
    with Run(Config.model_validate(raw | {"engine": {"workers": WORKERS, "memory": MEMORY}}), "c.yaml") as run:
        nobody = run.sql("nobody", pages=keys.table("pages"))
        near_duplicates(run, keys, nobody.table(), NearDuplicate())


def clustered(documents: int, folder: Path) -> Iterator[Figure]:
    folder.mkdir()
    make_signatures(documents, folder)
    spent = alone(taken, cluster, folder)
    print(f"  both cores were busy for {spent.busy / WORKERS:.0f} s")
    yield Figure(f"near-duplicates of {documents:.0e} documents", spent.seconds, "s", most=600)
    yield Figure(f"near-duplicates of {documents:.0e} documents, peak memory", spent.memory / 1e9, "GB", most=5)
    shutil.rmtree(folder)


def on_daft(keys: int, folder: Path) -> Iterator[Figure]:
    """The same rows from Daft's own engine."""
    import daft

    folder.mkdir()
    for name, (_, tables, _) in ASKED.items():
        for table in tables_of(name):
            make(table, keys, folder)
        files = {key: files_of(folder, table) for key, table in tables.items()}
        started = time.perf_counter()
        with LocalEngine(ENGINE, folder / "spill") as engine:
            engine.sql(text_of(name), folder / name, None, **files)
        ours = time.perf_counter() - started
        started = time.perf_counter()
        read = {key: daft.read_parquet(paths) for key, paths in files.items()}
        theirs = daft.sql(text_of(name), **read).to_arrow()
        seconds = time.perf_counter() - started
        answer = pq.ParquetFile(folder / name / "all.parquet").read()
        order = [(column, "ascending") for column in answer.column_names]
        assert answer.sort_by(order).equals(theirs.cast(answer.schema).sort_by(order)), name
        what = f"{name} over {keys:.0e} keys, the same {answer.num_rows:,} rows by both engines"
        yield Figure(what, ours, "s", peer="daft", theirs=seconds)
        for table in tables_of(name):
            shutil.rmtree(folder / table)


def figures(given: Given) -> Iterator[Figure]:
    share = 100 if given.quick else 1
    yield from on_daft(ON_DAFT // share, given.folder / "daft")
    yield from queries(KEYS // share, given.folder)
    yield from clustered(DOCUMENTS // share, given.folder / "signatures")
