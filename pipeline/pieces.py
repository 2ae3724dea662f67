"""Receipts with their tables, or files of a corpus, in; what is wrong with each out, in their order, by several processes."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.chain import Marks, check_receipt
from pipeline.places import size_of
from pipeline.readback import Found, check_table
from pipeline.work import read_receipt
from pipeline.worker import SPAWN, prepare

if TYPE_CHECKING:
    from pipeline.config import Images


@dataclass(frozen=True)
class Piece:
    """What one task checks: a receipt and its tables, or a file of a corpus."""

    folder: Path  # of the run or the corpus
    name: str  # of the receipt without its suffix, or of the file; in the folder
    files: tuple[str, ...] = ()  # tables that stand there, in the folder
    said: dict[str, Any] | None = None  # of a file: what is known of it


def check_each(
    pieces: Iterable[Piece], workers: int, known: Marks | None, images: "Images"
) -> Iterator[tuple[Piece, Found]]:
    """What was found of each piece, in their order, a few of them under way. One that ends its process twice is told of."""
    waiting = iter(pieces)
    if not workers:
        _begin(known, images)
        yield from ((piece, _check(piece)) for piece in waiting)
        return

    def pool(size: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(size, mp_context=SPAWN, initializer=_begin_worker, initargs=(known, images))

    under_way: deque[Piece] = deque()
    answers: deque[Future[Found]] = deque()  # of the first of them, which are all but where a pool broke
    several = pool(workers)
    try:
        while True:
            under_way += itertools.islice(waiting, 4 * workers - len(under_way))
            if not under_way:
                return
            try:
                for piece in itertools.islice(under_way, len(answers), None):
                    answers.append(several.submit(_check, piece))
                found = answers[0].result()
            except BrokenProcessPool:
                several.shutdown()
                for piece in under_way:  # nobody knows which of them it was
                    with pool(1) as alone:
                        try:
                            found = alone.submit(_check, piece).result()
                        except BrokenProcessPool:
                            found = Found([f"{piece.name}: reading it ends the process that reads"])
                    yield piece, found
                under_way.clear()
                answers.clear()
                several = pool(workers)
            else:
                answers.popleft()
                yield under_way.popleft(), found
    finally:
        several.shutdown(cancel_futures=True)


def _check(piece: Piece) -> Found:
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


class _Here:
    """What the tasks of this process need beside their piece."""

    known: Marks | None = None
    images: "Images | None" = None


def _begin(known: Marks | None, images: "Images") -> None:
    _Here.known, _Here.images = known, images


def _begin_worker(known: Marks | None, images: "Images") -> None:
    prepare(0)  # nobody watches it: a file may be large, and what it does is bounded
    _begin(known, images)
