"""The folder of a finished run, or a corpus alone, in; what is wrong with it out, a line each: file, row group, what."""

import itertools
import multiprocessing
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.chain import EXPORT, Chain, Known, check_receipt
from pipeline.errors import UserError
from pipeline.export import SPLITS, SUMS, checksums, file_name
from pipeline.places import on_store, size_of, sizes
from pipeline.readback import FORMS, Found, check_table
from pipeline.receipts import stage_receipts
from pipeline.run import read_run
from pipeline.work import Receipt, read_receipt
from pipeline.worker import prepare, uninterrupted

if TYPE_CHECKING:
    from pipeline.config import Images

_PUBLISHED = re.compile(r"([a-z]+)-(\d{5})-of-(\d{5})\.parquet")


@dataclass(frozen=True)
class Piece:
    """What one task checks: a receipt and its tables, or a file of a corpus."""

    folder: Path  # of the run or the corpus
    name: str  # of the receipt without its suffix, or of the file; in the folder
    files: tuple[str, ...] = ()  # tables that stand there, in the folder
    said: dict[str, Any] | None = None  # of a file: what is known of it


@dataclass
class Verified:
    """All that was read back. `problems` counts the lines that were told."""

    found: Found = field(default_factory=Found)
    receipts: int = 0
    problems: int = 0


def verify(
    folder: Path,
    images: "Images",
    workers: int,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None] = lambda done, all: None,
) -> Verified:
    """Checks a folder; each problem goes to `tell` as it is found, in the same order whatever the `workers` (none: in this
    process). `images`: bounds for decoding.

    Raises:
        UserError: the folder holds neither a run nor a corpus.
    """
    verified = Verified()

    def told(line: str) -> None:
        verified.problems += 1
        tell(line)

    if read_run(folder) is not None:
        _verify_run(folder, images, workers, verified, told, shown)
    elif _published_there(folder) or size_of(folder / SUMS) is not None:
        _verify_corpus(folder, images, workers, verified, told, shown)
    else:
        raise UserError(f"{folder}: holds neither a run nor a corpus: no run.json, no folder of Parquet files")
    return verified


def _verify_run(
    folder: Path,
    images: "Images",
    workers: int,
    verified: Verified,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None],
) -> None:
    about = read_run(folder)
    assert about is not None
    _tell_leftovers(folder, tell)
    stages = about.get("stages", [])
    if EXPORT not in stages:
        tell("run.json: the run has not come to its end: no stage export; run it again")
    for stage in stages:
        if not on_store(folder) and not (folder / "stages" / stage).is_dir():
            tell(f"stages/{stage}: is missing; run.json names it")
    chain = Chain(bool(about.get("input", {}).get("against")))
    first = range(*about.get("shards", (0, 0)))
    corpus: dict[int, Receipt] = {}
    for stage in stages:
        numbers = set()
        for receipt in stage_receipts(folder / "stages" / stage):
            verified.receipts += 1
            chain.add(receipt)
            numbers.add(receipt.shard)
            if stage == EXPORT and not receipt.error:
                corpus[receipt.shard] = receipt
        chain.close()
        if stage == "documents":
            for shard in sorted(set(first) - numbers):
                tell(f"stages/documents/{shard:05d}.json: is missing; run.json counts {len(first)} shards")
    pieces = itertools.chain(_pieces(folder, stages), _published(folder, corpus, tell))
    schemas: dict[tuple[str, str], tuple[str, str]] = {}
    for done, (piece, found) in enumerate(_each(pieces, workers, chain.known(), images), 1):
        shown(done, verified.receipts)
        for problem in found.problems:
            tell(problem)
        for table, columns in found.schemas.items() if piece.said is None and not piece.name.endswith("query") else ():
            place = piece.name.rpartition("/")[0], table
            name, expected = schemas.setdefault(place, (piece.name, columns))
            if columns != expected:
                tell(f"{piece.name}.{table}.parquet: its columns are not those of {name}.{table}.parquet")
        verified.found.add(Found(files=found.files, rows=found.rows, bytes=found.bytes, images=found.images))


def _pieces(folder: Path, stages: Iterable[str]) -> Iterator[Piece]:
    """Every receipt with the tables beside it; tables without a receipt by the name that it would have."""
    for stage in stages:
        place = folder / "stages" / stage
        files = sorted(_names(place))
        for name, group in itertools.groupby(
            (file for file in files if file.endswith((".json", ".parquet"))), lambda file: file.partition(".")[0]
        ):
            tables = [f"stages/{stage}/{file}" for file in group if file.endswith(".parquet")]
            if name == "query":
                tables += [f"stages/{stage}/answer/{file}" for file in sorted(_names(place / "answer", below=True))]
            yield Piece(folder, f"stages/{stage}/{name}", tuple(tables))


def _published(folder: Path, corpus: dict[int, Receipt], tell: Callable[[str], None]) -> Iterator[Piece]:
    """The files of the corpus that are not second names of tables that are checked anyway."""
    wanted: dict[str, dict[str, Any]] = {}
    for table in (f"{form}-{split}" for form in FORMS for split in SPLITS):
        shards = [shard for shard, receipt in sorted(corpus.items()) if table in receipt.tables]
        for number, shard in enumerate(shards):
            name = f"corpus/{file_name(table, number, len(shards))}"
            wanted[name] = corpus[shard].tables[table]
            source, target = folder / "stages" / EXPORT / f"{shard:05d}.{table}.parquet", folder / name
            if on_store(folder) or not (target.exists() and source.exists() and target.samefile(source)):
                yield Piece(folder, name, said=wanted[name])
    for file in _published_there(folder / "corpus"):
        if (name := f"corpus/{file}") not in wanted:
            tell(f"{name}: no receipt tells of it")
    if not wanted:
        return
    if size_of(folder / "corpus" / "README.md") is None:
        tell("corpus/README.md: is missing")
    said = {name.removeprefix("corpus/"): table["sha256"] for name, table in wanted.items()}
    if _sums(folder / "corpus", lambda line: tell(f"corpus/{line}")) != said:
        tell(f"corpus/{SUMS}: does not say what the receipts say")


def _names(folder: Path, below: bool = False) -> list[str]:
    """The files in a folder, or those `below` it, too, by name in it."""
    if on_store(folder):
        return [name for name in sizes(folder) if below or "/" not in name]
    if not below:
        return [path.name for path in folder.iterdir() if path.is_file()] if folder.is_dir() else []
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _published_there(corpus: Path) -> list[str]:
    """The Parquet files in the folders of a corpus."""
    if on_store(corpus):
        return sorted(name for name in sizes(corpus) if name.count("/") == 1 and name.endswith(".parquet"))
    return sorted(path.relative_to(corpus).as_posix() for path in corpus.glob("*/*.parquet"))


def _tell_leftovers(folder: Path, tell: Callable[[str], None]) -> None:
    """On a store nothing is half written."""
    for path in sorted(folder.rglob(".*.tmp")) if not on_store(folder) else ():
        tell(f"{path.relative_to(folder)}: was left by a process that ended while it wrote")


def _sums(corpus: Path, tell: Callable[[str], None]) -> dict[str, str] | None:
    """What SHA256SUMS says, by name; none where there is none."""
    try:
        return checksums(corpus)
    except FileNotFoundError:
        return None
    except ValueError:
        tell(f"{SUMS}: is damaged")
        return None


def _verify_corpus(
    folder: Path,
    images: "Images",
    workers: int,
    verified: Verified,
    tell: Callable[[str], None],
    shown: Callable[[int, int], None],
) -> None:
    _tell_leftovers(folder, tell)
    sums = _sums(folder, tell)
    if sums is None:
        tell(f"{SUMS}: is missing: whether the files are those that were written is not known")
    names = sorted({*_published_there(folder), *(sums or {})})
    for name in names:
        if sums is not None and name not in sums:
            tell(f"{name}: {SUMS} does not name it")
    series: dict[tuple[str, str], set[tuple[int, int]]] = {}
    for name in names:
        if parts := _PUBLISHED.fullmatch(name.partition("/")[2]):
            series.setdefault((name.partition("/")[0], parts[1]), set()).add((int(parts[2]), int(parts[3])))
    for (form, split), numbers in sorted(series.items()):
        count = max(of for _, of in numbers)
        for number in sorted(set(range(count)) - {number for number, of in numbers if of == count}):
            tell(f"{form}/{split}-{number:05d}-of-{count:05d}.parquet: is missing")
    pieces = [Piece(folder, name, said={"sha256": sums[name]} if sums and name in sums else {}) for name in names]
    rows: dict[str, dict[str, int]] = {}
    for done, (piece, read) in enumerate(_each(pieces, workers, None, images), 1):
        shown(done, len(pieces))
        for problem in read.problems:
            tell(problem)
        form, _, file = piece.name.partition("/")
        if parts := _PUBLISHED.fullmatch(file):
            by_form = rows.setdefault(parts[1], {})
            by_form[form] = by_form.get(form, 0) + read.rows
        verified.found.add(Found(files=read.files, rows=read.rows, bytes=read.bytes, images=read.images))
    for split, by_form in sorted(rows.items()):
        if len(set(by_form.values())) > 1:
            counts = ", ".join(f"{form} {count:,}" for form, count in sorted(by_form.items()))
            tell(f"{split}: not as many rows in each form: {counts}")


class _Here:
    """What the tasks of this process need beside their piece."""

    known: Known | None = None
    images: "Images | None" = None


def _begin(known: Known | None, images: "Images") -> None:
    _Here.known, _Here.images = known, images


def _begin_worker(known: Known | None, images: "Images") -> None:
    prepare(0)  # nobody watches it: a file may be large, and what it does is bounded
    _begin(known, images)


def _each(
    pieces: Iterable[Piece], workers: int, known: Known | None, images: "Images"
) -> Iterator[tuple[Piece, Found]]:
    """What was found of each piece, in their order, a few of them under way. One that ends its process twice is told of."""
    waiting = iter(pieces)
    if not workers:
        _begin(known, images)
        yield from ((piece, check(piece)) for piece in waiting)
        return

    def pool(size: int) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(size, mp_context=spawn, initializer=_begin_worker, initargs=(known, images))

    under_way: deque[tuple[Piece, Future[Found]]] = deque()
    several = pool(workers)
    try:
        while True:
            for piece in itertools.islice(waiting, 4 * workers - len(under_way)):
                with uninterrupted():  # which begins a process, as long as there are fewer than there may be
                    under_way.append((piece, several.submit(check, piece)))
            if not under_way:
                return
            try:
                found = under_way[0][1].result()
                yield under_way.popleft()[0], found
            except BrokenProcessPool:
                several.shutdown()
                for piece, _ in under_way:  # nobody knows which of them it was
                    with pool(1) as alone:
                        with uninterrupted():
                            again = alone.submit(check, piece)
                        try:
                            found = again.result()
                        except BrokenProcessPool:
                            found = Found([f"{piece.name}: reading it ends the process that reads"])
                    yield piece, found
                under_way.clear()
                several = pool(workers)
    finally:
        several.shutdown(cancel_futures=True)


def check(piece: Piece) -> Found:
    """What is wrong with a receipt and its tables, or with a file of a corpus."""
    assert _Here.images is not None
    if piece.said is not None:
        form, _, file = piece.name.removeprefix("corpus/").partition("/")
        found = check_table(piece.folder / piece.name, f"{form}-{file.partition('-')[0]}", piece.said, _Here.images)
        found.problems = [f"{piece.name}: {problem}" for problem in found.problems]
        return found
    stage, _, shard = piece.name.removeprefix("stages/").rpartition("/")
    receipt = read_receipt(piece.folder / piece.name)
    if receipt is None:
        if size_of(piece.folder / f"{piece.name}.json") is not None:
            return Found([f"{piece.name}.json: is no whole receipt"])
        return Found([f"{file}: no receipt tells of it" for file in piece.files])
    found = Found([f"{piece.name}.json: {problem}" for problem in check_receipt(receipt, stage, shard, _Here.known)])
    places = {table: f"{piece.name}.{table}.parquet" for table in receipt.tables}
    if shard == "query":
        places = {table: f"stages/{stage}/answer/{table}" for table in receipt.tables}
    for file in sorted(set(piece.files) - set(places.values())):
        found.problems.append(f"{file}: no receipt tells of it")
    for table, file in places.items():
        one = check_table(piece.folder / file, table, receipt.tables[table], _Here.images)
        one.problems = [f"{file}: {problem}" for problem in one.problems]
        found.add(one)
    return found


def as_line(verified: Verified) -> str:
    """What was done, in one line."""
    from pipeline.report import size

    found = verified.found
    read = f"{found.files:,} files, {found.rows:,} rows, {found.images:,} images, {size(found.bytes)} read back"
    return f"{read}: " + (f"{verified.problems:,} problems" if verified.problems else "all as it was written")
