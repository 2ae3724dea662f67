"""The funnel adds up receipts; `explain` tells of a page what the ledgers hold, from its captures to its fate."""

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.config import Duplicates, Extract, RuleSet
from pipeline.documents import read_documents
from pipeline.errors import UserError
from pipeline.explain import explain, sample_of_rule
from pipeline.final import finish
from pipeline.funnel import as_json, funnel, print_funnel, size
from pipeline.job import Job, perform
from pipeline.judge import judge
from pipeline.storage import write_json
from pipeline.verdicts import apply_verdicts
from pipeline.work import Receipt, read_receipt, write_receipt
from tests.crawls import page, prose, write_warc
from tests.documents import Task, write_verdicts

RULES = RuleSet.model_validate(
    {
        "image": {"rendered_size": {"min": 150, "max": 20000}},
        "paragraph": {"number_of_words": {"min": 4, "max": 1000}},
        "document": {"number_of_images": {"min": 1, "max": 30}},
    }
)
STAGES = ["documents", "text", "latest_url", "unique", "final", "export"]


def stage(folder: Path, name: str, task: Task, settings: Any, shard: int, **inputs: tuple[str, ...]) -> tuple[str, ...]:
    prefix = folder / "stages" / name / f"{shard:05d}"
    prefix.parent.mkdir(parents=True, exist_ok=True)
    perform(Job(name, shard, prefix, "f", task, settings, inputs, folder / ".counters", 0))
    receipt = read_receipt(prefix)
    assert receipt is not None
    assert receipt.error is None, receipt.trace
    return (str(prefix),)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run over two dates, as far as the table of stages goes; the last stage is one that failed."""
    folder = tmp_path / "out"
    html = "text/html; charset=utf-8"
    good = page([prose(1)[0], "Too short", prose(1)[1]], ["/a.png"], '<meta name="x" content="y">')
    responses = [
        ("http://a.example/good", html, good.replace(b"</body>", b'<img src="/icon.png" width="16"></body>')),
        ("http://a.example/paper", "application/pdf", b"%PDF"),
        ("http://a.example/bare", html, page(prose(2))),
        ("http://a.example/twice", html, page(prose(3), ["/b.png"])),
    ]
    for shard, date in enumerate(("2025-05-01T10:00:00Z", "2026-03-10T12:00:00Z")):
        path = write_warc(tmp_path / f"{shard}.warc.gz", responses[3 * shard :], date)
        documents = stage(folder, "documents", read_documents, Extract(method="obelics"), shard, warc=(str(path),))
        text = stage(folder, "text", judge, RULES, shard, documents=documents)
        older = write_verdicts(tmp_path / "older", 0, [{"row": 3, "twin_shard": 1, "twin_row": 0}])
        unique = stage(folder, "unique", apply_verdicts, Duplicates(), shard, documents=text, latest_url=older)
        stage(folder, "final", finish, RuleSet(), shard, documents=unique)
    (folder / "stages" / "latest_url").mkdir()
    write_receipt(folder / "stages" / "latest_url" / "query", Receipt("latest_url", -1, "f", seconds=1.5, bytes=2048))
    (folder / "stages" / "export").mkdir()
    write_receipt(folder / "stages" / "export" / "00000", Receipt("export", 0, "f", rows_in=9, error="ValueError: no"))
    write_json(folder / "run.json", {"name": "t", "input": {"paths": ["x"]}, "stages": STAGES})
    return folder


def test_the_funnel_adds_up_what_the_shards_say_in_the_order_of_the_run(run: Path) -> None:
    summaries = {summary.stage: summary for summary in funnel(run)}
    assert list(summaries) == STAGES
    rows = {name: (s.shards, s.rows_in, s.rows_out, s.failed) for name, s in summaries.items() if not s.query}
    assert rows == {
        "documents": (2, 5, 4, 0),
        "text": (2, 4, 3, 0),
        "unique": (2, 3, 2, 0),
        "final": (2, 2, 2, 0),
        "export": (1, 9, 0, 1),
    }
    assert summaries["documents"].drops == {"document": {"not_html": 1}}
    assert summaries["text"].drops == {
        "document": {"number_of_images": 1},
        "paragraph": {"number_of_words": 1},
        "image": {"rendered_size": 1},
    }
    assert summaries["export"].errors == ["shard 0: ValueError: no"]
    assert [name for name, summary in summaries.items() if summary.query] == ["latest_url"]
    assert summaries["text"].bytes == sum(path.stat().st_size for path in (run / "stages" / "text").glob("*.parquet"))


def test_what_comes_out_of_a_stage_is_what_goes_into_the_next_less_what_was_dropped(run: Path) -> None:
    stages = [summary for summary in funnel(run) if not summary.query][:-1]
    for summary in stages:
        assert summary.rows_in - summary.rows_out == sum(summary.drops.get("document", {}).values())
    for before, after in pairwise(stages):
        assert before.rows_out == after.rows_in


def test_the_funnel_is_json_for_other_programs(run: Path) -> None:
    read = json.loads(json.dumps(as_json(funnel(run))))
    assert [summary["stage"] for summary in read] == STAGES
    assert read[1]["drops"]["paragraph"] == {"number_of_words": 1}
    assert set(read[0]) == {
        *("stage", "shards", "failed", "rows_in", "rows_out", "seconds", "bytes", "drops", "errors", "query"),
        *("reasons", "named", "wanted", "not_checked", "processor"),
        *("lost", "wrong_digests"),
    }


def printed(run: Path, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    print_funnel(funnel(run), console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_names_every_reason_and_failure_and_sums_up_the_queries(run: Path) -> None:
    lines = printed(run, 120).splitlines()
    assert lines[0].split() == ["stage", "in", "out", "dropped,", "by", "reason", "seconds", "size"]
    text = "\n".join(lines)
    for fragment in (
        "documents not_html 1",
        "paragraphs number_of_words 1",
        "images rendered_size 1",
        "1 of 1 shard failed",
    ):
        assert fragment in text
    last = lines[-1].split()
    assert last[:2] == ["1", "query"]
    assert last[2:] == ["1.5", "2.0", "kB"]


@pytest.mark.parametrize("width", [70, 200])
def test_no_reason_is_cut_off_whatever_the_width(width: int, run: Path) -> None:
    text = printed(run, width)
    for reason in ("not_html 1", "number_of_images 1", "number_of_words 1", "rendered_size 1", "latest_url 1"):
        assert reason in text
    assert "…" not in text


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1234567, "1.2 MB"), (5 * 10**10, "50.0 GB")]
)
def test_sizes_are_written_for_reading(count: int, expected: str) -> None:
    assert size(count) == expected


def test_a_kept_page_is_explained_with_what_it_lost_and_what_is_left(run: Path) -> None:
    lines = list(explain(run, "http://a.example/good"))
    assert lines[0] == "http://a.example/good"
    assert lines[1].startswith("  captured 2025-05-01 10:00:00")
    assert lines[1].endswith(" of 0.warc.gz")
    assert lines[2:-2] == [
        "  text          paragraph at 0.1 dropped by number_of_words: 2 (expected at least 4)",
        "                  Too short",
        "  text          image at 2 dropped by rendered_size: 16 x unknown (expected at least 150)",
        "                  http://a.example/icon.png",
    ]
    words = sum(len(text.split()) for text in (prose(1)[0], prose(1)[1]))
    assert lines[-2:] == [f"  kept: 2 nodes, {words} words, 1 image", "    http://a.example/a.png"]


def test_a_page_that_was_dropped_is_explained_up_to_the_rule_that_dropped_it(run: Path) -> None:
    lines = list(explain(run, "http://a.example/bare"))
    assert lines[-1] == "  text          document dropped by number_of_images: 0 (expected at least 1)"
    assert len(lines) == 3


def test_each_capture_of_an_address_is_explained_and_a_twin_is_named_by_its_address(run: Path) -> None:
    lines = list(explain(run, "http://a.example/twice"))
    assert lines.count("http://a.example/twice") == 2
    older, newer = lines[: lines.index("http://a.example/twice", 1)], lines[lines.index("http://a.example/twice", 1) :]
    assert older[1].startswith("  captured 2025-05-01 10:00:00")
    assert older[2].startswith(
        "  unique        document dropped by latest_url: for http://a.example/twice, captured 2026-03-10 12:00"
    )
    assert newer[1].startswith("  captured 2026-03-10 12:00:00")
    assert newer[2].startswith("  kept: ")


def test_what_a_rule_dropped_names_a_twin_by_its_address_too(run: Path) -> None:
    [line] = sample_of_rule(run, "latest_url", 5)
    assert line.startswith("for http://a.example/twice, captured 2026-03-10 12:00")
    assert line.endswith("  unique, document  http://a.example/twice")


def test_a_record_that_was_no_page_is_explained(run: Path) -> None:
    assert list(explain(run, "http://a.example/paper"))[-1].endswith(
        "dropped by not_html: application/pdf (expected text/html)"
    )


@pytest.mark.parametrize("url", ["http://a.example/other", "", "' OR 1 = 1 --"])
def test_an_address_that_the_run_has_not_seen_is_one_line(url: str, run: Path) -> None:
    with pytest.raises(
        UserError, match=r"no page of this address was read in .*; addresses are as the crawl writes them$"
    ):
        list(explain(run, url))


def test_where_there_is_no_run_that_is_said(tmp_path: Path) -> None:
    for ask in (lambda: funnel(tmp_path), lambda: list(explain(tmp_path, "http://a.example/"))):
        with pytest.raises(UserError, match=r": no run here yet; `carnac run` makes one$"):
            ask()
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(UserError, match=r"run\.json: damaged; remove the folder or choose another output$"):
        funnel(tmp_path)
