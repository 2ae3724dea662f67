"""Months one by one: a crawl judged against earlier runs leaves, with what it retracts of them, what one run of all leaves."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cli import main
from pipeline.storage import read_rows
from tests.crawls import Response, page, picture, prose, write_warc

HTML = "text/html; charset=utf-8"
ICON = "http://icons.example/icon.png"
SAME = "http://same.example/same.png"
OURS = "This paragraph stands at the foot of every page of the house, and nobody has read it in years."
DATES = ["2026-03-10T12:00:00Z", "2026-04-10T12:00:00Z", "2026-05-10T12:00:00Z"]

Corpus = dict[tuple[str, str], list[str]]


def of(url: str, text: Sequence[str], *images: str) -> list[Response]:
    """A page with its own picture or those named, and their bytes."""
    named = images or (f"{url}.png",)
    seeds = [int(hashlib.sha256(name.encode()).hexdigest()[:6], 16) for name in named]
    return [(url, HTML, page(text, named))] + [
        (name, "image/png", picture(seed)) for name, seed in zip(named, seeds, strict=True)
    ]


def near(seed: int) -> list[str]:
    """Nearly the text of that seed."""
    first, *rest = prose(seed)
    return [first.replace("house", "barn", 1), *rest]


FIRST = [
    *of("http://a.example/updated", prose(1)),
    *of("http://b.example/copied-later", prose(2)),
    *of("http://d.example/one", [*prose(3), OURS]),
    *of("http://i.example/one", prose(4), ICON, "http://i.example/4.png"),
    *of("http://j.example/two", prose(5), ICON, "http://j.example/5.png"),
    *of("http://s.example/set", prose(6), SAME),
    *of("http://g.example/copied", prose(7)),  # goes for the next one, and comes back when that is another text
    *of("http://h.example/copy", near(7)),
    *of("http://k.example/undisturbed", prose(8)),
    *of("http://d.example/two", [*prose(9), "These words are on two pages of the house from the very first month on."]),
    *of(
        "http://d.example/three",
        [*prose(10), "These words are on two pages of the house from the very first month on."],
    ),
]
SECOND = [
    *of("http://a.example/updated", prose(21)),
    *of("http://c.example/copy", near(2)),
    *of("http://d.example/four", [*prose(23), OURS]),
    *of("http://l.example/three", prose(24), ICON, "http://l.example/24.png"),
    *of("http://t.example/set", prose(25), SAME),
    *of("http://h.example/copy", prose(27)),
    *of("http://m.example/new", prose(28)),
]
THIRD = [
    *of("http://n.example/copy", near(28)),
    *of("http://g.example/copied", prose(31)),
    *of("http://h.example/copy", prose(27)),
    *of("http://o.example/new", prose(32)),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three months of a crawl, a run of each against those before it, and a run of the first two and of all at once."""
    folder = tmp_path_factory.mktemp("months")
    for month, (responses, date) in enumerate(zip((FIRST, SECOND, THIRD), DATES, strict=True), 1):
        half = len(responses) // 2 // 2 * 2
        write_warc(folder / f"crawl{month}" / "0.warc.gz", responses[:half], date)
        write_warc(folder / f"crawl{month}" / "1.warc.gz", responses[half:], date)
    run(folder, "1", [1])
    run(folder, "2", [2], ["1"])
    run(folder, "3", [3], ["2", "1"])
    run(folder, "12", [1, 2])
    run(folder, "123", [1, 2, 3])
    return folder


def configuration(folder: Path, name: str, months: Sequence[int], against: Sequence[str], **changes: Any) -> str:
    duplicates = {
        "image_everywhere": {"max": 2}, "latest_url": True, "near_duplicate": {}, "paragraph_repeated": {"max": 1},
        "latest_image_set": True,
    }  # fmt: skip
    raw = {
        "name": "months",
        "output": str(folder / name),
        "input": {
            "paths": [str(folder / f"crawl{month}") for month in months],
            "against": [str(folder / earlier) for earlier in against],
        },
        "engine": {"workers": 1},
        "extract": {"method": "obelics"},
        "duplicates": duplicates | changes,
        "images": {"scores": {"hashes": False}},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw))
    return str(path)


def run(folder: Path, name: str, months: Sequence[int], against: Sequence[str] = (), **changes: Any) -> int:
    return main(["run", configuration(folder, name, months, against, **changes)])


def corpus(folder: Path) -> Corpus:
    """By address and date the paragraphs and images of the documents that a run has left."""
    found: Corpus = {}
    for file in sorted((folder / "stages" / "final").glob("*.documents.parquet")):
        for row in read_rows(file):
            parts = [
                p
                for node in row["nodes"]
                for p in ([node["image"]["url"]] if node["image"] else node["text"].split("\n\n"))
            ]
            assert (row["url"], str(row["crawl_date"])) not in found
            found[row["url"], str(row["crawl_date"])] = parts
    return found


def without(corpus: Corpus, retracted: list[dict[str, Any]]) -> Corpus:
    """What is left of a corpus when it is brought up to date."""
    left = {key: list(parts) for key, parts in corpus.items()}
    for row in retracted:
        key = row["url"], str(row["crawl_date"])
        if row["level"] == "document":
            left.pop(key, None)
        elif key in left:
            left[key].remove(row["what"])
    return {key: parts for key, parts in left.items() if len({part.startswith("http") for part in parts}) == 2}


def retracted(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(folder / "corpus" / "retracted.parquet").read().to_pylist()
    return rows


def test_two_crawls_one_after_the_other_leave_what_both_at_once_leave(folder: Path) -> None:
    once = corpus(folder / "12")
    assert without(corpus(folder / "1"), retracted(folder / "2")) | corpus(folder / "2") == once
    assert len(once) == 14


def test_so_do_three(folder: Path) -> None:
    months = corpus(folder / "1") | corpus(folder / "2")
    gone = retracted(folder / "2") + retracted(folder / "3")
    assert without(months, gone) | corpus(folder / "3") == corpus(folder / "123")


def test_each_decision_retracts_what_falls_now_and_nothing_that_had_fallen_before(folder: Path) -> None:
    told = {(row["level"], row["url"], row["rule"]) for row in retracted(folder / "2")}
    assert told == {
        ("document", "http://a.example/updated", "latest_url"),
        ("document", "http://h.example/copy", "latest_url"),
        ("document", "http://b.example/copied-later", "near_duplicate"),
        ("document", "http://s.example/set", "latest_image_set"),
        ("image", "http://i.example/one", "image_everywhere"),
        ("image", "http://j.example/two", "image_everywhere"),
        ("paragraph", "http://d.example/one", "paragraph_repeated"),
    }
    rows = {row["level"]: row for row in retracted(folder / "2")}
    assert (rows["image"]["what"], rows["paragraph"]["what"]) == (ICON, OURS)
    assert rows["paragraph"]["place"] == "0.3"


def test_a_document_that_fell_for_one_that_has_fallen_since_comes_back(folder: Path) -> None:
    key = ("http://g.example/copied", "2026-03-10 12:00:00+00:00")
    assert key not in corpus(folder / "1")
    assert key in corpus(folder / "2")
    assert ("http://g.example/copied", "latest_url") in {(row["url"], row["rule"]) for row in retracted(folder / "3")}


def test_shards_are_numbered_after_those_of_earlier_runs_which_are_left_as_they_are(folder: Path) -> None:
    ranges = [json.loads((folder / name / "run.json").read_text())["shards"] for name in "123"]
    assert ranges == [[0, 2], [2, 4], [4, 6]]
    assert {path.name[:5] for path in (folder / "2" / "stages" / "documents").iterdir()} == {"00002", "00003"}
    state = {path: path.stat().st_mtime_ns for path in (folder / "1").rglob("*") if path.is_file()}
    assert run(folder, "2", [2], ["1"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (folder / "1").rglob("*") if path.is_file()} == state


def test_explain_names_a_twin_in_an_earlier_run(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_warc(folder / "crawl4" / "0.warc.gz", of("http://p.example/old", near(8)), "2026-01-01T00:00:00Z")
    assert run(folder, "4", [4], ["1", "2", "3"]) == 0
    capfd.readouterr()
    assert main(["explain", str(folder / "4.yaml"), "http://p.example/old"]) == 0
    told = capfd.readouterr().out
    assert "dropped by near_duplicate: for http://k.example/undisturbed, captured 2026-03-10" in told
    assert ", similarity 0.9" in told
    assert corpus(folder / "4") == {}
    assert retracted(folder / "4") == []


@pytest.mark.parametrize(
    ("against", "changes", "expected"),
    [
        (
            ["1"],
            {"near_duplicate": {"permutations": 256}},
            r"its keys were made otherwise: near_duplicate was \{.*128.*256",
        ),
        (["1"], {"canonical": "as_written"}, "its keys were made otherwise: canonical was"),
        (
            ["1"],
            {"paragraph_repeated": {"max": 1, "by": "registered_domain"}},
            "keys were made otherwise: paragraph_repeated",
        ),
        (["1", "12"], {}, r"numbers its shards as .* does; make one of them against the other"),
        (["2"], {}, r"was itself made against .*/1: name that, too"),
        (["9"], {}, "no run here"),
    ],
)
def test_an_earlier_run_that_cannot_be_compared_with_is_refused_in_one_line(
    against: list[str], changes: dict[str, Any], expected: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "refused", [3], against, **changes) == 2
    [line] = capfd.readouterr().err.splitlines()
    assert "input.against: " in line
    assert re.search(expected, line)
    assert not (folder / "refused").exists()


def test_a_run_that_has_not_come_to_its_end_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "half").mkdir()
    (folder / "half" / "run.json").write_text(json.dumps({"stages": ["documents"], "shards": [0, 1], "keys": {}}))
    assert run(folder, "refused", [3], ["half"]) == 2
    assert "its run has not come to its end; finish it first" in capfd.readouterr().err
