"""Crawls: how fast real pages are read beside FastWARC and warcio, what damage and a bad host cost, what an index reads.

Times are processor time, the best of rounds in which the readers take turns.
"""

import gzip
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fastwarc.warc import ArchiveIterator as FastIterator
from warcio.archiveiterator import ArchiveIterator

from pipeline import warc
from pipeline.config import Config
from pipeline.documents import read_documents
from pipeline.run import Run
from pipeline.stages import Stage
from pipeline.storage import read_rows
from pipeline.warc import Damage, Record
from tests.benchmarks.figure import Figure, Given
from tests.crawl_host import BAD, CRAWL, CrawlHost, publish

ROUNDS = 5
Count = tuple[int, int]  # records, bytes of bodies


def carnac(paths: list[Path]) -> Count:
    items = [(1, len(item.body)) for path in paths for item in warc.read(str(path)) if isinstance(item, Record)]
    return len(items), sum(size for _, size in items)


def fastwarc(paths: list[Path]) -> Count:
    records = size = 0
    for path in paths:
        with path.open("rb") as file:
            for record in FastIterator(file, parse_http=True, auto_decode="all"):
                records += 1
                if record.is_http:
                    size += len(record.reader.read())
    return records, size


def warcio(paths: list[Path]) -> Count:
    records = size = 0
    for path in paths:
        with path.open("rb") as file:
            for record in ArchiveIterator(file):
                records += 1
                if record.rec_type == "response":
                    size += len(record.content_stream().read())
    return records, size


def measure(paths: list[Path]) -> dict[str, float]:
    """Seconds of processor time of each reader, the best of ROUNDS that take turns. Raises AssertionError where they do
    not read the same."""
    readers: dict[str, Callable[[list[Path]], Count]] = {"carnac": carnac, "FastWARC": fastwarc, "warcio": warcio}
    best = dict.fromkeys(readers, float("inf"))
    counts = set()
    for _ in range(ROUNDS):
        for name, reader in readers.items():
            started = time.process_time()
            counts.add(reader(paths))
            best[name] = min(best[name], time.process_time() - started)
    assert len(counts) == 1, counts
    return best


def salvage(folder: Path) -> dict[str, tuple[int, int]]:
    """Records of a file of 400 that are read after each kind of damage, and those that it did not touch."""
    noise = random.Random(5)
    pieces = []
    for number in range(400):
        block = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + noise.randbytes(600)
        head = f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: http://a.example/{number}\r\nContent-Length: {len(block)}"
        pieces.append(gzip.compress(head.encode() + b"\r\n\r\n" + block + b"\r\n\r\n", mtime=0))
    whole = b"".join(pieces)
    starts = [sum(map(len, pieces[:number])) for number in range(401)]

    def read(data: bytes) -> int:
        path = folder / "a.warc.gz"
        path.write_bytes(data)
        items = list(warc.read(str(path)))
        assert data == whole or any(isinstance(item, Damage) for item in items)
        return sum(isinstance(item, Record) for item in items)

    middle = starts[120] + 300
    flipped = bytes(byte ^ 0xFF for byte in whole[middle : middle + 12])
    zeros = bytes(len(pieces[120]))
    cut = len(whole) * 6 // 10
    told = {
        "12 bytes flipped": (read(whole[:middle] + flipped + whole[middle + 12 :]), 399),
        "a record zeroed": (read(whole[: starts[120]] + zeros + whole[starts[121] :]), 399),
        "cut at 60 %": (read(whole[:cut]), sum(end <= cut for end in starts[1:])),
    }
    worst = (400, 400)
    for _ in range(100):
        at, many = noise.randrange(len(whole)), noise.choice((1, 12, 500, 5000))
        data = whole[:at] + noise.randbytes(len(whole[at : at + many])) + whole[at + many :]
        untouched = sum(not (start < at + many and at < end) for start, end in itertools.pairwise(starts))
        worst = min(worst, (read(data), untouched), key=lambda pair: pair[0] - pair[1])
    return told | {"the worst of 100 random damages": worst}


def bad_day(folder: Path) -> Iterator[Figure]:
    """Whether every record arrived once from a host with 10 % 503, 5 % 403, 2 % resets and 2 % short reads, and how it was
    treated; prints what it answered."""
    rows = publish(folder / "crawl", files=4, pages=60, noise=4000)
    ways: list[dict[str, Any]] = [{"pointers": f"{folder / 'crawl'}/cc-index/**/*.parquet"}, {"crawl": {"name": CRAWL}}]
    for number, chosen in enumerate(ways):
        with CrawlHost(folder / "crawl", BAD) as host:
            host.slow = 0.005
            fetch = {"at_once": 3, "back_off": 0.01, "gap": 0}
            stage = chosen_pages(folder / f"bad-{number}", host, chosen | {"fetch": fetch, "split": 10_000})
        arrived = read_places(stage)
        wanted = sorted((Path(row["warc_filename"]).name, row["warc_record_offset"]) for row in rows)
        times = Counter(arrived)
        once = sum(times[place] == 1 for place in wanted)
        way = next(iter(chosen))
        print(
            f"  {len(host.asked)} requests, answered {dict(sorted(host.answered.items()))}, {host.broken} of these broken off"
        )
        yield Figure(f"a bad host, by {way}: records that came once, of {len(rows)}", once, least=len(rows))
        yield Figure(f"a bad host, by {way}: most requests at once", host.most, most=3)
        yield Figure(f"a bad host, by {way}: requests before its Retry-After", host.early, most=0)


def one_in_a_hundred(folder: Path) -> Figure:
    """The share of the bytes that an index query for a hundredth of the records reads, the index included."""
    rows = publish(folder / "crawl", files=2, pages=400, noise=40_000)
    size = sum(path.stat().st_size for path in (folder / "crawl").rglob("*.warc.gz"))
    with CrawlHost(folder / "crawl") as host:
        where = "regexp_extract(url, 'host([0-9]+)', 1)::INT % 100 = 7"
        asked: dict[str, Any] = {"index": {"crawl": CRAWL, "where": where}, "fetch": {"gap": 4096}}
        arrived = read_places(chosen_pages(folder / "run", host, asked))
    what = f"bytes read for {len(arrived)} of {len(rows)} records by an index, index included"
    return Figure(what, 100 * host.sent / size, "%", most=2)


def chosen_pages(folder: Path, host: CrawlHost, chosen: dict[str, Any]) -> Stage:
    told = {"name": "a", "output": str(folder), "input": {"base": host.base} | chosen, "engine": {"workers": 2}}
    with Run(Config.model_validate(told), "a.yaml") as run:
        stage = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    assert not run.failures, run.failures
    return stage


def read_places(stage: Stage) -> list[tuple[str, int]]:
    files = [file for file in stage.table("documents").files if Path(file).exists()]
    return sorted((row["warc_filename"], row["warc_record_offset"]) for file in files for row in read_rows(file))


def figures(given: Given) -> Iterator[Figure]:
    paths = sorted(given.material.glob("pages/*.warc.gz"))[: 2 if given.quick else None]
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    ours, *theirs = measure(paths).items()
    for (peer, seconds), share in zip(theirs, (0.8, 1.5), strict=True):
        what = f"reading {megabytes:.0f} MB of real pages, bodies decoded"
        yield Figure(what, megabytes / ours[1], "MB/s", peer=peer, theirs=megabytes / seconds, beside=share)
    for damage, (read, untouched) in salvage(given.folder).items():
        yield Figure(f"records read of a file of 400, {damage}", read, least=untouched)
    for part in ("bad", "index"):
        (given.folder / part).mkdir()
    yield from bad_day(given.folder / "bad")
    yield one_in_a_hundred(given.folder / "index")
