"""Decisions over the whole corpus, applied to a shard: each verdict takes what it names and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.config import Duplicates
from pipeline.stages import Answer
from pipeline.verdicts import apply_verdicts
from tests.documents import document, image, pieces, run_stage, write_verdicts

ALL = Duplicates.model_validate(
    {
        "image_repeated": True,
        "image_everywhere": {"max": 10},
        "latest_url": True,
        "near_duplicate": {},
        "paragraph_repeated": {"max": 1},
    }
)
A, B = image("http://host.example/a.png"), image("http://host.example/b.png")


def said(folder: Path, rule: str, *rows: dict[str, Any], shard: int = 0) -> dict[str, tuple[str, ...]]:
    """Verdicts of a rule on a shard, as the input of a job."""
    return {rule: write_verdicts(folder / rule, shard, rows)}


def test_without_verdicts_every_document_stays_as_it_is(tmp_path: Path) -> None:
    made = [document("one\n\ntwo", A, "three", B, row=row) for row in range(3)]
    done = run_stage(apply_verdicts, ALL, made, tmp_path)
    assert done.kept == made
    assert done.ledger == []


@pytest.mark.parametrize("rule", ["latest_url", "near_duplicate"])
def test_a_document_goes_for_its_twin_and_the_ledger_names_the_twin(rule: str, tmp_path: Path) -> None:
    pages = [document("text", A, row=row) for row in (4, 5, 6)]
    verdicts = said(tmp_path, rule, {"row": 5, "twin_shard": 2, "twin_row": 31})
    done = run_stage(apply_verdicts, ALL, pages, tmp_path, **verdicts)
    assert [page.row for page in done.kept] == [4, 6]
    [line] = done.ledger
    assert (line["row"], line["level"], line["rule"]) == (5, "document", rule)
    assert (line["value"], line["bound"]) == ("2:31", "one copy")


def test_an_older_capture_that_is_a_near_duplicate_too_goes_as_an_older_capture(tmp_path: Path) -> None:
    twin = {"row": 0, "twin_shard": 0, "twin_row": 9}
    verdicts = said(tmp_path, "latest_url", twin) | said(tmp_path, "near_duplicate", twin)
    assert run_stage(apply_verdicts, ALL, [document("text", A)], tmp_path, **verdicts).dropped == [
        ("document", "latest_url")
    ]


def test_verdicts_on_another_shard_say_nothing_about_this_one(tmp_path: Path) -> None:
    files: dict[int | None, tuple[str, ...]] = {n: (f"shard={n}/data_0.parquet",) for n in (1, 10)}
    [other] = said(tmp_path, "latest_url", {"row": 0, "twin_shard": 0, "twin_row": 1}, shard=1)["latest_url"]
    answer = Answer(tmp_path / "latest_url", "f", files)
    assert answer.of(1) == (other,)
    verdicts = {"latest_url": answer.of(0)}
    assert len(run_stage(apply_verdicts, ALL, [document("text", A)], tmp_path, **verdicts).kept) == 1


def test_an_image_that_is_everywhere_goes_from_its_place(tmp_path: Path) -> None:
    verdicts = said(tmp_path, "image_everywhere", {"row": 0, "position": 0, "pages": 12})
    done = run_stage(apply_verdicts, ALL, [document(A, "text", B), document(A, "text", B, row=1)], tmp_path, **verdicts)
    assert [pieces(page) for page in done.kept] == [["text", B.url], [A.url, "text", B.url]]
    [line] = done.ledger
    assert (line["level"], line["rule"], line["row"], line["position"]) == ("image", "image_everywhere", 0, 0)
    assert (line["value"], line["bound"], line["excerpt"]) == ("on 12 pages", "at most 10", A.url)


def test_of_an_image_that_is_repeated_in_a_document_the_first_stays(tmp_path: Path) -> None:
    again = image("HTTP://host.example:80/a.png#top")
    done = run_stage(apply_verdicts, ALL, [document(A, "text", again, B, A), document(A, "text", row=1)], tmp_path)
    assert [pieces(page) for page in done.kept] == [[A.url, "text", B.url], [A.url, "text"]]
    assert [(line["rule"], line["position"], line["excerpt"]) for line in done.ledger] == [
        ("image_repeated", 2, again.url),
        ("image_repeated", 4, A.url),
    ]


def test_a_repeated_image_stays_where_that_decision_is_not_taken(tmp_path: Path) -> None:
    made = document(A, "text", A)
    assert run_stage(apply_verdicts, Duplicates(), [made], tmp_path).kept == [made]


def test_an_image_whose_first_place_is_dropped_stays_at_its_second(tmp_path: Path) -> None:
    verdicts = said(tmp_path, "image_everywhere", {"row": 0, "position": 0, "pages": 12})
    [kept] = run_stage(apply_verdicts, ALL, [document(A, "text", A)], tmp_path, **verdicts).kept
    assert pieces(kept) == ["text", A.url]


def test_a_repeated_paragraph_goes_and_leaves_the_others(tmp_path: Path) -> None:
    verdicts = said(
        tmp_path,
        "paragraph_repeated",
        {"row": 0, "position": 0, "paragraph": 1, "pages": 3},
        {"row": 0, "position": 2, "paragraph": 0, "pages": 2},
    )
    done = run_stage(apply_verdicts, ALL, [document("one\n\ntwo\n\nthree", A, "four", "five")], tmp_path, **verdicts)
    [kept] = done.kept
    assert [(node.position, node.text) for node in kept.nodes] == [(0, "one\n\nthree"), (1, None), (3, "five")]
    assert [(line["position"], line["paragraph"], line["value"], line["excerpt"]) for line in done.ledger] == [
        (0, 1, "on 3 pages of the host", "two"),
        (2, 0, "on 2 pages of the host", "four"),
    ]
    assert {line["bound"] for line in done.ledger} == {"at most 1"}


def test_a_document_that_is_left_with_text_or_images_alone_goes(tmp_path: Path) -> None:
    verdicts = said(tmp_path, "image_everywhere", {"row": 0, "position": 1, "pages": 12})
    verdicts |= said(tmp_path, "paragraph_repeated", {"row": 1, "position": 0, "paragraph": 0, "pages": 2})
    pages = [document("text", A), document("text", A, row=1), document("text", A, row=2)]
    done = run_stage(apply_verdicts, ALL, pages, tmp_path, **verdicts)
    assert [page.row for page in done.kept] == [2]
    assert done.dropped == [
        ("image", "image_everywhere"),
        ("document", "text_and_image"),
        ("paragraph", "paragraph_repeated"),
        ("document", "text_and_image"),
    ]
    assert [line["value"] for line in done.ledger if line["level"] == "document"] == [
        "1 texts, 0 images",
        "0 texts, 1 images",
    ]
