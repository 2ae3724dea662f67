"""Receipts with their tables, or files of a corpus, in; what is wrong with each out, in their order, by several processes."""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.chain import Marks, check_receipt
from pipeline.places import size_of
from pipeline.readback import Found, check_table
from pipeline.work import read_receipt
from pipeline.worker import Crew, Died

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

    # Nobody watches them: a file may be large, and what they do is bounded.
    crew = Crew(0, first=partial(_begin, known, images))

    def asked(piece: Piece) -> Found:
        for _ in range(2):
            with suppress(Died):
                return crew.ask(partial(_check, piece))
        return Found([f"{piece.name}: reading it ends the process that reads"])

    asking = ThreadPoolExecutor(workers)  # each thread waits for one process
    under_way: deque[tuple[Piece, Future[Found]]] = deque()
    try:
        while True:
            for piece in itertools.islice(waiting, 4 * workers - len(under_way)):
                under_way.append((piece, asking.submit(asked, piece)))
            if not under_way:
                return
            piece, found = under_way.popleft()
            yield piece, found.result()
    finally:
        asking.shutdown(cancel_futures=True)
        crew.end()


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
