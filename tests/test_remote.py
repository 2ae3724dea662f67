"""A file on a host or a store is read like one on the disk, with patience for what passes and within every bound."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import asking, warc
from pipeline.asking import NotThere, Unreachable
from pipeline.config import Fetch
from pipeline.remote import BLOCK, RemoteFile, about, fetch, open_remote
from pipeline.shards import parts_of
from pipeline.storage import list_warcs
from tests.crawl_host import CrawlHost, Faults, publish
from tests.test_shards import records, wacz


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CrawlHost]:
    (tmp_path / "files").mkdir()
    with CrawlHost(tmp_path / "files") as made:
        yield made


def use(tmp_path: Path, **settings: Any) -> None:
    about.cache_clear()
    asking.use(Fetch.model_validate({"back_off": 0.01} | settings), None, tmp_path / "hosts")


def put(host: CrawlHost, name: str, content: bytes) -> str:
    (host.folder / name).write_bytes(content)
    return host.base + name


def test_what_breaks_off_goes_on_at_the_byte(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, retries=30)
    content = bytes(range(256)) * 400
    address = put(host, "a", content)
    host.faults = Faults(short=0.4, reset=0.3)
    got = bytearray()
    assert fetch(address, 100, 90_000, got)[0] == len(content)
    assert bytes(got) == content[100:90_000]
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for _, asked in host.asked]
    assert len(starts) > 1
    assert starts == sorted(starts)
    assert starts[-1] > 100


def test_any_reads_give_what_a_local_file_gives_and_large_stretches_come_at_once(
    host: CrawlHost, tmp_path: Path
) -> None:
    use(tmp_path)
    content = bytes(i * i % 251 for i in range(400_000))
    address = put(host, "a", content)
    for position, size in ((0, 10), (399_990, 100), (5_000, 70_000), (4_000, 2_000), (900_000, 5), (0, 400_000)):
        with open_remote(address, (0, 0)) as file:
            file.seek(position)
            assert file.read(size) == content[position : position + size]
    host.asked.clear()
    with open_remote(address, (1_000, 300_000)) as file:
        file.seek(1_000)
        while file.tell() < 300_000 and file.read(7_000):
            pass
    assert host.asked[0] == ("/a", "bytes=1000-299999")
    assert RemoteFile(address, (0, None)).wanted == (0, None)
    assert len(content) < BLOCK


def test_a_host_that_says_when_is_left_alone_until_then_by_all(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, at_once=4)
    host.faults = Faults(unavailable=0.3, seed=3)
    host.slow = 0.01
    address = put(host, "a", bytes(20_000))

    def ask(number: int) -> int:
        got = bytearray()
        fetch(address, number * 500, number * 500 + 500, got)
        return len(got)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(ask, range(40))) == {500}
    assert host.until > 0
    assert (host.early, host.most) == (0, 4)


def test_a_wait_beyond_patience_is_not_waited_for(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, patience=0.5)
    host.faults = Faults(unavailable=1.0, seed=0)
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"HTTP 503: the host wants to be left alone for 1 s|asked \d times in a row"):
        fetch(put(host, "a", b"x"), 0, 1, bytearray())
    assert time.monotonic() - started < 5


def test_a_host_that_never_answers_costs_the_deadline_and_no_more(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, silence=0.2, deadline=1)
    host.slow = 3
    started = time.monotonic()
    with pytest.raises(Unreachable, match=r"cannot be had: ReadTimeoutError|TimeoutError"):
        fetch(put(host, "a", b"x"), 0, 1, bytearray())
    assert time.monotonic() - started < 3
    with pytest.raises(Unreachable, match=r"cannot be had: NewConnectionError|refused"):
        fetch("http://127.0.0.1:9/a", 0, 1, bytearray())


def test_a_file_that_changes_while_it_is_read_is_not_read_on(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path)
    address = put(host, "a", bytes(200_000))
    file = RemoteFile(address)
    file.seek(150_000)
    file.read(1)
    put(host, "a", bytes(200_001))
    file.seek(5_000)
    with pytest.raises(Unreachable, match="changed while it was read"):
        file.read(1)


def test_a_wacz_on_a_host_is_read_where_it_lies(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path)
    path = wacz(host.folder / "a.wacz")
    names = list_warcs([f"{host.base}a.wacz"])
    assert names == [f"{host.base}a.wacz#archive/{name}" for name in ("deep/second.warc", "first.warc.gz")]
    [small, *large] = parts_of(names, 200_000)
    assert len(large) == 5
    found = [item for part in (small, *large) for _, item in part.items()]
    assert records(found) == records([item for name in list_warcs([str(path)]) for item in warc.read(name)])
    assert len({part.fingerprint for part in (small, *large)}) == 6


def test_a_place_is_given_back_by_a_thread_that_fails(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, at_once=1)
    for _ in range(3):
        with pytest.raises(NotThere):
            fetch(host.base + "nowhere", 0, 1, bytearray())
    assert threading.active_count() < 50


def test_any_store_of_fsspec_can_be_read(tmp_path: Path) -> None:
    import fsspec

    use(tmp_path)
    store = fsspec.filesystem("memory")
    [row, *_] = publish(tmp_path / "crawl", files=1, pages=10)
    store.pipe_file("/crawl/a.warc.gz", (tmp_path / "crawl" / row["warc_filename"]).read_bytes())
    assert list_warcs(["memory://crawl/"]) == ["memory:///crawl/a.warc.gz"]
    assert len(list(warc.read("memory://crawl/a.warc.gz"))) == 10
    with pytest.raises(NotThere):
        list(warc.read("memory://crawl/b.warc.gz"))
