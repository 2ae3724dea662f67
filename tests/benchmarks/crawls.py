"""The folder of real pages in; how fast they are read beside FastWARC and warcio, what damage and a bad host cost, out.

`python -m tests.benchmarks.crawls [MATERIAL]`. Times are processor time, the best of rounds in which the readers take turns.
"""

import gzip
import itertools
import random
import sys
import tempfile
import time
from collections.abc import Callable
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


def bad_day(folder: Path) -> list[str]:
    """What a host with 10 % 503, 5 % 403, 2 % resets and 2 % short reads saw, and whether every record arrived once."""
    rows = publish(folder / "crawl", files=4, pages=60, noise=4000)
    ways: list[dict[str, Any]] = [{"pointers": f"{folder / 'crawl'}/cc-index/**/*.parquet"}, {"crawl": {"name": CRAWL}}]
    lines = []
    for number, chosen in enumerate(ways):
        with CrawlHost(folder / "crawl", BAD) as host:
            host.slow = 0.005
            fetch = {"at_once": 3, "back_off": 0.01, "gap": 0}
            stage = chosen_pages(folder / f"bad-{number}", host, chosen | {"fetch": fetch, "split": 10_000})
        arrived = read_places(stage)
        wanted = sorted((Path(row["warc_filename"]).name, row["warc_record_offset"]) for row in rows)
        lines.append(
            f"a bad day, {next(iter(chosen))}: {len(arrived)} of {len(rows)} records, {len(arrived) - len(set(arrived))} twice, "
            f"{'the same' if arrived == wanted else 'NOT the same'} as published; {len(host.asked)} requests, answered "
            f"{dict(sorted(host.answered.items()))}, {host.broken} of these broken off, "
            f"{host.most} at once of 3, {host.early} before their Retry-After"
        )
    return lines


def one_in_a_hundred(folder: Path) -> str:
    """The share of the bytes that an index query for a hundredth of the records reads, the index included."""
    rows = publish(folder / "crawl", files=2, pages=400, noise=40_000)
    size = sum(path.stat().st_size for path in (folder / "crawl").rglob("*.warc.gz"))
    with CrawlHost(folder / "crawl") as host:
        where = "regexp_extract(url, 'host([0-9]+)', 1)::INT % 100 = 7"
        asked: dict[str, Any] = {"index": {"crawl": CRAWL, "where": where}, "fetch": {"gap": 4096}}
        arrived = read_places(chosen_pages(folder / "run", host, asked))
    return (
        f"an index query for {len(arrived)} of {len(rows)} records: {host.sent:,} bytes read of {size:,}, "
        f"{host.sent / size:.2%}, in {len(host.asked)} requests"
    )


def chosen_pages(folder: Path, host: CrawlHost, chosen: dict[str, Any]) -> Stage:
    told = {"name": "a", "output": str(folder), "input": {"base": host.base} | chosen, "engine": {"workers": 2}}
    with Run(Config.model_validate(told), "a.yaml") as run:
        stage = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    assert not run.failures, run.failures
    return stage


def read_places(stage: Stage) -> list[tuple[str, int]]:
    files = [file for file in stage.table("documents").files if Path(file).exists()]
    return sorted((row["warc_filename"], row["warc_record_offset"]) for file in files for row in read_rows(file))


def main() -> None:
    material = Path(sys.argv[1] if len(sys.argv) > 1 else "../shared/material")
    paths = sorted(material.glob("pages/*.warc.gz"))
    best = measure(paths)
    megabytes = sum(path.stat().st_size for path in paths) / 1e6
    for name, seconds in best.items():
        print(f"{name:<10} {seconds:6.2f} s  {megabytes / seconds:6.0f} MB/s of gzip'd WARC")
    print(
        f"carnac: {best['FastWARC'] / best['carnac']:.2f} of FastWARC's speed, {best['warcio'] / best['carnac']:.2f} of warcio's"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name, (read, untouched) in salvage(Path(folder)).items():
            print(f"{name:<32} {read} of {untouched} untouched records read")
    with tempfile.TemporaryDirectory() as folder:
        for line in bad_day(Path(folder)):
            print(line)
    with tempfile.TemporaryDirectory() as folder:
        print(one_in_a_hundred(Path(folder)))


if __name__ == "__main__":
    main()
