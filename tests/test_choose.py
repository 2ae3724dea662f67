"""What is chosen from a crawl arrives, all of it and once, however bad the host's day is."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.cli import main
from pipeline.config import Config
from pipeline.documents import read_documents
from pipeline.errors import UserError
from pipeline.run import Run
from pipeline.stages import Stage
from pipeline.storage import read_rows
from pipeline.work import read_receipt
from tests.crawl_host import BAD, CRAWL, PLACE, CrawlHost, publish

QUICK = {"back_off": 0.01, "contact": "crawls@carnac.example"}


@pytest.fixture(scope="module")
def crawl(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("crawl")
    return folder, publish(folder, files=3, pages=40, noise=2000)


@pytest.fixture
def host(crawl: tuple[Path, list[dict[str, Any]]]) -> Iterator[CrawlHost]:
    with CrawlHost(crawl[0]) as made:
        yield made


def read(folder: Path, workers: int = 1, **chosen: Any) -> tuple[Run, Stage]:
    """Runs the first stage over what is chosen."""
    told = {"fetch": QUICK, **chosen}
    config = Config.model_validate(
        {"name": "a", "output": str(folder / "run"), "input": told, "engine": {"workers": workers}}
    )
    with Run(config, "a.yaml") as run:
        return run, run.each("documents", read_documents, config.extract, warc=run.warcs())


def pages(stage: Stage) -> list[tuple[str, str, int, int]]:
    rows = [row for file in stage.table("documents").files if Path(file).exists() for row in read_rows(file)]
    return sorted((r["url"], r["warc_filename"], r["warc_record_offset"], r["warc_record_length"]) for r in rows)


def expected(rows: list[dict[str, Any]]) -> list[tuple[str, str, int, int]]:
    return sorted(
        (r["url"], Path(r["warc_filename"]).name, r["warc_record_offset"], r["warc_record_length"]) for r in rows
    )


@pytest.mark.parametrize("way", ["crawl", "paths", "index", "pointers"])
def test_on_a_bad_day_every_record_arrives_once(
    way: str, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, rows = crawl
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "pointers.parquet")
    with CrawlHost(folder, BAD) as host:
        host.slow = 0.005
        ways: dict[str, dict[str, Any]] = {
            "crawl": {"crawl": {"name": CRAWL}},
            "paths": {"paths": [host.base + name for name in {row["warc_filename"] for row in rows}]},
            "index": {"index": {"crawl": CRAWL, "where": "fetch_status = 200"}},
            "pointers": {"pointers": str(tmp_path / "pointers.parquet")},
        }
        fetch = QUICK | {"at_once": 3, "gap": 0 if way == "pointers" else 65536}
        run, stage = read(tmp_path, 2, base=host.base, split=10_000, fetch=fetch, **ways[way])
    assert not run.failures
    assert pages(stage) == expected(rows)
    assert host.most <= 3
    assert host.early == 0
    assert host.agents == {"carnac/0.1 (+crawls@carnac.example)"}
    assert {403, 503} <= set(host.answered)
    assert host.broken > 0
    assert host.until > 0


def test_a_sample_is_the_same_each_time_and_lies_in_a_larger_one(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    found = [
        {path for _, path, _, _ in pages(read(tmp_path / str(n), base=host.base, crawl=asked)[1])}
        for n, asked in enumerate([{"name": CRAWL, "files": files, "seed": 5} for files in (1, 1, 2, 9)])
    ]
    assert found[0] == found[1]
    assert [len(names) for names in found] == [1, 1, 2, 3]
    assert found[0] < found[2]


def test_a_news_crawl_has_its_list_elsewhere(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, rows = crawl
    news = folder / "crawl-data" / "CC-NEWS" / "2025" / "08"
    news.mkdir(parents=True)
    name = rows[0]["warc_filename"]
    (news / "warc.paths.gz").write_bytes(gzip.compress(name.encode()))
    _, stage = read(tmp_path, base=host.base, crawl={"name": "CC-NEWS-2025-08"})
    assert pages(stage) == expected([row for row in rows if row["warc_filename"] == name])


def test_a_base_may_be_a_folder(crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    folder, rows = crawl
    ways: list[dict[str, Any]] = [{"crawl": {"name": CRAWL}}, {"index": {"crawl": CRAWL}}]
    for number, chosen in enumerate(ways):
        _, stage = read(tmp_path / str(number), base=f"{folder}/", **chosen)
        assert pages(stage) == expected(rows)


def test_a_condition_chooses_records_and_a_limit_draws_from_them(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    _, rows = crawl
    where = "content_languages = 'eng' AND url LIKE '%host1%' -- hosts 1, 10 to 19, 100 to 119"
    wanted = [row for row in rows if row["content_languages"] and "host1" in row["url"]]
    _, stage = read(tmp_path / "all", base=host.base, index={"crawl": CRAWL, "where": where})
    assert pages(stage) == expected(wanted)
    drawn = [
        pages(
            read(tmp_path / str(n), base=host.base, index={"crawl": CRAWL, "where": where, "limit": 7, "seed": seed})[1]
        )
        for n, seed in enumerate((1, 1, 2))
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(len(found) == 7 and set(found) < set(expected(wanted)) for found in drawn)


def test_neighbours_come_in_one_request(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    _, rows = crawl
    every_other = rows[::2]
    pq.write_table(pa.Table.from_pylist(every_other * 2), tmp_path / "pointers.parquet")
    counts = []
    for gap in (0, 10**6):
        host.asked.clear()
        fetch = QUICK | {"gap": gap}
        _, stage = read(tmp_path / str(gap), base=host.base, pointers=str(tmp_path / "pointers.parquet"), fetch=fetch)
        assert pages(stage) == expected(every_other)
        counts.append(len(host.asked))
    assert counts == [60, 3]


def test_one_in_a_hundred_reads_less_than_two_in_a_hundred_of_the_bytes(tmp_path: Path) -> None:
    rows = publish(tmp_path / "crawl", files=2, pages=400, noise=40_000)
    size = sum(path.stat().st_size for path in (tmp_path / "crawl").rglob("*.warc.gz"))
    with CrawlHost(tmp_path / "crawl") as host:
        asked = {"crawl": CRAWL, "where": "regexp_extract(url, 'host([0-9]+)', 1)::INT % 100 = 7"}
        _, stage = read(tmp_path, base=host.base, index=asked, fetch=QUICK | {"gap": 4096})
    wanted = [row for row in rows if int(row["url"].split(".")[0].removeprefix("http://host")) % 100 == 7]
    assert pages(stage) == expected(wanted)
    assert len(wanted) * 100 == len(rows)
    assert host.sent < 0.02 * size


def test_a_file_that_stays_away_is_a_failed_receipt_and_comes_with_the_next_run(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    _, rows = crawl
    host.down = "00001.warc.gz"
    fetch = QUICK | {"retries": 2}
    run, stage = read(tmp_path, base=host.base, crawl={"name": CRAWL}, fetch=fetch)
    [failure] = run.failures
    assert failure.error
    assert f"{host.base}{PLACE}/segments/1754/warc/CC-MAIN-2025-00001.warc.gz: cannot be had: HTTP 503" in failure.error
    assert pages(stage) == expected([row for row in rows if "00001" not in row["warc_filename"]])
    host.down = None
    run, stage = read(tmp_path, base=host.base, crawl={"name": CRAWL}, fetch=fetch)
    assert not run.failures
    assert run.done == 1
    assert pages(stage) == expected(rows)


def test_what_is_done_is_not_asked_for_again_but_for_what_has_changed(tmp_path: Path) -> None:
    rows = publish(tmp_path / "crawl")
    with CrawlHost(tmp_path / "crawl") as host:
        chosen: dict[str, Any] = {"paths": sorted({host.base + row["warc_filename"] for row in rows})}
        read(tmp_path, **chosen)
        assert read(tmp_path, **chosen)[0].done == 0
        path = tmp_path / "crawl" / rows[-1]["warc_filename"]
        path.write_bytes(path.read_bytes() + gzip.compress(b""))
        assert read(tmp_path, **chosen)[0].done == 1
        chosen = {"crawl": {"name": CRAWL}, "base": host.base}
        read(tmp_path / "b", **chosen)
        host.asked.clear()
        assert read(tmp_path / "b", **chosen)[0].done == 0
        assert not host.asked


def test_a_cache_keeps_each_file_once(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    folder, rows = crawl
    chosen: dict[str, Any] = {"base": host.base, "crawl": {"name": CRAWL}, "cache": str(tmp_path / "cache")}
    _, stage = read(tmp_path / "a", 2, **chosen, split=60_000)
    assert pages(stage) == expected(rows)
    kept = sorted(path.read_bytes() for path in (tmp_path / "cache").glob("*.warc.gz"))
    assert kept == sorted(path.read_bytes() for path in folder.rglob("*.warc.gz"))
    starts = Counter(path for path, asked in host.asked if asked.startswith("bytes=0-") and not asked.endswith("-1023"))
    assert {count for path, count in starts.items() if path.endswith(".warc.gz")} <= {1}
    host.asked.clear()
    read(tmp_path / "b", **chosen)
    assert all(asked == "bytes=0-1023" for path, asked in host.asked if path.endswith(".warc.gz"))


def test_offsets_past_the_end_and_lengths_of_nothing_are_told_and_the_rest_is_read(
    host: CrawlHost, crawl: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    rows = crawl[1][:5]
    wrong = [(10**12, 500), (rows[0]["warc_record_offset"] + 3, 400), (-7, 10), (100, 0)]
    bad = [rows[0] | {"warc_record_offset": offset, "warc_record_length": length} for offset, length in wrong]
    pq.write_table(pa.Table.from_pylist(rows + bad), tmp_path / "pointers.parquet")
    _, stage = read(tmp_path, base=host.base, pointers=str(tmp_path / "pointers.parquet"), fetch=QUICK | {"gap": 0})
    assert pages(stage) == expected(rows)
    receipt = read_receipt(Path(stage.prefixes[0][0]))
    assert receipt is not None
    assert receipt.drops["record"] == {"damage": 4}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"crawl": {"name": "CC-MAIN-2025-34"}}, "knows no such crawl; the nearest are CC-MAIN-2025-33, CC-MAIN-20"),
        ({"crawl": {"name": "CC-NEWS-2015-01"}}, "news crawls are CC-NEWS-YYYY-MM"),
        ({"index": {"crawl": "CC-MAIN-2024-99"}}, "knows no such crawl; the nearest are CC-MAIN-2024-"),
        ({"index": {"crawl": CRAWL, "where": "fetch_statsu = 200"}}, 'Referenced column "fetch_statsu" not found'),
        (
            {"index": {"crawl": CRAWL, "where": "fetch_status = 404"}},
            "no record is chosen: input.index.where holds for none",
        ),
        ({"index": {"crawl": CRAWL, "where": "fetch_status ="}}, "yntax error"),
        ({"index": {"files": ["nowhere/*.parquet"]}}, "input.index.files: nowhere/*.parquet: no such file"),
        ({"pointers": "nowhere.parquet"}, "input.pointers: nowhere.parquet: no such file"),
        ({"pointers": "BASE/nowhere.parquet"}, "nowhere.parquet: no such file (HTTP 404)"),
        ({"paths": ["BASE/crawl-data/nowhere.warc.gz"]}, "nowhere.warc.gz: no such file (HTTP 404)"),
        ({"paths": ["BASE/crawl-data/*.warc.gz"]}, "a host lists no files"),
        ({"paths": ["BASE/collinfo.json"]}, "is no WARC or ARC file"),
    ],
)
def test_what_is_not_there_is_one_line(chosen: dict[str, Any], said: str, host: CrawlHost, tmp_path: Path) -> None:
    chosen = json.loads(json.dumps(chosen).replace("BASE/", host.base))
    with pytest.raises(UserError) as caught:
        read(tmp_path, base=host.base, **chosen)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.status == 2


def test_an_index_without_a_needed_column_names_it_and_those_it_has(tmp_path: Path, host: CrawlHost) -> None:
    pq.write_table(pa.table({"url": ["a"], "warc_filename": ["b"], "offset": [1]}), tmp_path / "a.parquet")
    with pytest.raises(
        UserError, match="no column warc_record_offset, warc_record_length; it has url, warc_filename, off"
    ):
        read(tmp_path, pointers=str(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_bytes(b"no table")
    with pytest.raises(UserError, match=r"b\.parquet: "):
        read(tmp_path / "b", pointers=str(tmp_path / "b.parquet"))


def test_images_come_from_the_crawl_and_a_record_can_be_printed_again(
    tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    rows = publish(tmp_path / "crawl", files=2, pages=4, pictures=True)
    with CrawlHost(tmp_path / "crawl") as host:
        for way, chosen in {"crawl": f"{{name: {CRAWL}}}", "index": f"{{crawl: {CRAWL}}}"}.items():
            config = tmp_path / f"{way}.yaml"
            config.write_text(
                f"name: a\noutput: {tmp_path / 'runs' / way}\ninput:\n  base: {host.base}\n  {way}: {chosen}\n"
                "engine: {workers: 1}\nscores: {language: false}\n"
            )
            assert main(["run", str(config)]) == 0
            [shard] = (tmp_path / "runs" / way / "corpus" / "images").rglob("*.parquet")
            assert pq.read_table(shard).num_rows == 8
            assert all(sum(image is not None for image in row["images"]) == 1 for row in read_rows(shard))
            capfdbinary.readouterr()
            assert main(["explain", str(config), "http://host5.example/page", "--record"]) == 0
            [row] = [row for row in rows if row["url"] == "http://host5.example/page"]
            stored = (tmp_path / "crawl" / row["warc_filename"]).read_bytes()[row["warc_record_offset"] :]
            record = gzip.decompress(stored[: row["warc_record_length"]])
            assert capfdbinary.readouterr().out == record.removesuffix(b"\r\n\r\n")
            assert main(["run", str(config)]) == 0
            assert b"Nothing to do" in capfdbinary.readouterr().out
