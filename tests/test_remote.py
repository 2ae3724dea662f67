"""A file on a host or on S3 is read like one on the disk: bounded in requests, honest, and patient with what passes."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pipeline import remote, warc
from pipeline.config import Config, Fetch
from pipeline.documents import read_documents
from pipeline.errors import UserError
from pipeline.remote import BLOCK, Denied, NotThere, RemoteFile, Unreachable, fetch, open_remote
from pipeline.run import Run
from pipeline.storage import list_warcs
from tests.crawl_host import BAD, CRAWL, CrawlHost, Faults, publish, serving


@pytest.fixture
def host(tmp_path: Path) -> Iterator[CrawlHost]:
    (tmp_path / "files").mkdir()
    with serving(CrawlHost(tmp_path / "files")) as made:
        yield made


def use(tmp_path: Path, **settings: Any) -> None:
    remote.use(Fetch.model_validate({"back_off": 0.01} | settings), None, tmp_path / "hosts")


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
    with pytest.raises(Unreachable, match="cannot be had: ReadTimeoutError|TimeoutError"):
        fetch(put(host, "a", b"x"), 0, 1, bytearray())
    assert time.monotonic() - started < 3
    with pytest.raises(Unreachable, match="cannot be had: NewConnectionError|refused"):
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


def test_a_place_is_given_back_by_a_thread_that_fails(host: CrawlHost, tmp_path: Path) -> None:
    use(tmp_path, at_once=1)
    for _ in range(3):
        with pytest.raises(NotThere):
            fetch(host.base + "nowhere", 0, 1, bytearray())
    assert threading.active_count() < 50


# S3, as moto has it: real requests, signed by botocore.

moto_server = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'carnac[test]'")


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("crawl")
    return folder, publish(folder, files=3, pages=10)


@pytest.fixture(scope="module")
def s3(crawl: tuple[Path, list[dict[str, Any]]]) -> Iterator[str]:
    import botocore.session

    patch = pytest.MonkeyPatch()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        patch.setenv(name, "testing")
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = moto_server.ThreadedMotoServer(port=0)
    server.start()
    address, port = server.get_host_and_port()
    endpoint = f"http://{address}:{port}"
    client = botocore.session.get_session().create_client("s3", "us-east-1", endpoint_url=endpoint)
    client.create_bucket(Bucket="crawl")
    for path in sorted(crawl[0].rglob("*")):
        if path.is_file():
            client.put_object(Bucket="crawl", Key=str(path.relative_to(crawl[0])), Body=path.read_bytes())
    yield endpoint
    server.stop()
    patch.undo()


@pytest.mark.parametrize("way", ["crawl", "index", "paths", "one"])
def test_every_record_arrives_from_s3_once(
    way: str, s3: str, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    rows = crawl[1]
    ways: dict[str, dict[str, Any]] = {
        "crawl": {"crawl": {"name": CRAWL}},
        "index": {"index": {"crawl": CRAWL}},
        "paths": {"paths": ["s3://crawl/crawl-data/"]},
        "one": {"paths": [f"s3://crawl/{rows[0]['warc_filename']}"]},
    }
    chosen = ways[way] | {"base": "s3://crawl/", "fetch": {"endpoint": s3, "back_off": 0.01}, "split": 5_000}
    told = {"name": "a", "output": str(tmp_path / "run"), "input": chosen, "engine": {"workers": 2}}
    with Run(Config.model_validate(told), "a.yaml") as run:
        stage = run.each("documents", read_documents, run.config.extract, warc=run.warcs())
    assert not run.failures
    from tests.test_choose import expected, pages

    some = [row for row in rows if way != "one" or row["warc_filename"] == rows[0]["warc_filename"]]
    assert pages(stage) == expected(some)


def test_s3_is_listed_by_folder_and_glob(s3: str, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    use(tmp_path, endpoint=s3)
    names = sorted({f"s3://crawl/{row['warc_filename']}" for row in crawl[1]})
    assert list_warcs(["s3://crawl/crawl-data"]) == names
    assert list_warcs(["s3://crawl/crawl-data/*00001.warc.gz"]) == names[1:2]
    with pytest.raises(UserError, match=r"s3://crawl/cc-index: holds no file named"):
        list_warcs(["s3://crawl/cc-index"])
    with pytest.raises(Denied, match="cannot be listed: .*NoSuchBucket"):
        list_warcs(["s3://nowhere/"])
    with pytest.raises(NotThere, match="no such file"):
        list(warc.read("s3://crawl/nowhere.warc.gz"))


def test_without_credentials_s3_says_how_to_go_on(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    remote._client.cache_clear()
    use(tmp_path, endpoint=s3)
    with pytest.raises(
        Denied, match="Unable to locate credentials; set AWS's usual variables, or input.fetch.anonymous"
    ):
        fetch("s3://crawl/collinfo.json", 0, 1, bytearray())
    use(tmp_path, endpoint=s3, anonymous=True)
    got = bytearray()
    fetch("s3://crawl/collinfo.json", 0, 1, got)
    assert bytes(got) == b"["
    remote._client.cache_clear()


def test_no_permission_is_told_at_once(host: CrawlHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    use(tmp_path, endpoint=host.base.rstrip("/"), anonymous=True)
    host.faults = Faults(forbidden=1.0)
    with pytest.raises(Denied, match=r"s3://crawl/a: no permission \(HTTP 403\)"):
        fetch("s3://crawl/a", 0, 1, bytearray())
    assert len(host.asked) == 1


def test_s3_has_its_bad_days_too(
    crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "crawl").symlink_to(crawl[0])
    faults = Faults(BAD.unavailable, 0, 0.1, 0.1)
    with serving(CrawlHost(tmp_path / "store", faults)) as host:
        use(tmp_path, endpoint=host.base.rstrip("/"), anonymous=True)
        for row in crawl[1]:
            read = warc.read_at(
                f"s3://crawl/{row['warc_filename']}", row["warc_record_offset"], row["warc_record_length"]
            )
            assert read.url == row["url"]
    assert host.answered[503] > 0
    assert host.early == 0


def test_any_store_of_fsspec_can_be_read(crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    import fsspec

    use(tmp_path)
    store = fsspec.filesystem("memory")
    row = crawl[1][3]
    store.pipe_file("/crawl/a.warc.gz", (crawl[0] / row["warc_filename"]).read_bytes())
    assert list_warcs(["memory://crawl/"]) == ["memory:///crawl/a.warc.gz"]
    assert len(list(warc.read("memory://crawl/a.warc.gz"))) == 10
    with pytest.raises(NotThere):
        list(warc.read("memory://crawl/b.warc.gz"))
