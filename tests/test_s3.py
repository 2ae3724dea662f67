"""A crawl on S3, as moto's server has it, arrives whole: asked over HTTP, signed by botocore."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import stores, warc
from pipeline.asking import Denied, NotThere
from pipeline.config import Config
from pipeline.documents import read_documents
from pipeline.errors import UserError
from pipeline.remote import fetch
from pipeline.run import Run
from pipeline.storage import list_warcs
from tests.crawl_host import BAD, CRAWL, CrawlHost, Faults, publish
from tests.test_choose import expected, pages
from tests.test_remote import use

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
    server = moto_server.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    address, port = server.get_host_and_port()
    endpoint = f"http://{address}:{port}"
    client = botocore.session.get_session().create_client("s3", "us-east-1", endpoint_url=endpoint)
    client.create_bucket(Bucket="crawl")
    for path in sorted(crawl[0].rglob("*")):
        if path.is_file():
            acl = "public-read" if path.name == "collinfo.json" else "private"
            key = str(path.relative_to(crawl[0]))
            client.put_object(Bucket="crawl", Key=key, Body=path.read_bytes(), ACL=acl)
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
    some = [row for row in rows if way != "one" or row["warc_filename"] == rows[0]["warc_filename"]]
    assert pages(stage) == expected(some)


def test_s3_is_listed_by_folder_and_glob(s3: str, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    use(tmp_path, endpoint=s3)
    names = sorted({f"s3://crawl/{row['warc_filename']}" for row in crawl[1]})
    assert list_warcs(["s3://crawl/crawl-data"]) == names
    assert list_warcs(["s3://crawl/crawl-data/*00001.warc.gz"]) == names[1:2]
    with pytest.raises(UserError, match=r"s3://crawl/cc-index: holds no file named"):
        list_warcs(["s3://crawl/cc-index"])
    with pytest.raises(Denied, match=r"cannot be listed: .*NoSuchBucket"):
        list_warcs(["s3://nowhere/"])
    with pytest.raises(NotThere, match="no such file"):
        list(warc.read("s3://crawl/nowhere.warc.gz"))


def test_without_credentials_s3_says_how_to_go_on(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    stores._client.cache_clear()
    use(tmp_path, endpoint=s3)
    with pytest.raises(Denied, match=r"Unable to locate credentials; set AWS's usual variables, or input\.fetch"):
        fetch("s3://crawl/collinfo.json", 0, 1, bytearray())
    use(tmp_path, endpoint=s3, anonymous=True)
    got = bytearray()
    fetch("s3://crawl/collinfo.json", 0, 1, got)
    assert bytes(got) == b"["
    stores._client.cache_clear()


def test_no_permission_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with CrawlHost(tmp_path, Faults(forbidden=1.0)) as host:
        use(tmp_path, endpoint=host.base.rstrip("/"), anonymous=True)
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
    with CrawlHost(tmp_path / "store", faults) as host:
        use(tmp_path, endpoint=host.base.rstrip("/"), anonymous=True)
        for row in crawl[1]:
            read = warc.read_at(
                f"s3://crawl/{row['warc_filename']}", row["warc_record_offset"], row["warc_record_length"]
            )
            assert read.url == row["url"]
    assert host.answered[503] > 0
    assert host.early == 0
