"""Scores are columns: models are asked once, and rules hold thresholds against what they said."""

from pathlib import Path

import pytest

from filters.language import language
from pipeline import config
from pipeline.cli import main
from pipeline.config import ScoreRules, TextScores
from pipeline.errors import UserError
from pipeline.judge import judge
from pipeline.scores import score_texts
from tests.crawls import crawl, prose
from tests.documents import document, image, run_stage
from tests.test_run import receipts, write_configuration


def test_the_language_of_a_document_is_written_down(tmp_path: Path) -> None:
    [kept] = run_stage(score_texts, TextScores(), [document(*prose(1), image())], tmp_path).kept
    assert kept.language == "en"
    assert 0.5 < (kept.language_score or 0) <= 1


def test_how_much_of_a_document_is_read_for_its_language_is_a_setting(tmp_path: Path) -> None:
    text = " ".join(
        ["The river rises in the hills above the old town."] * 20 + ["Der Fluss entspringt in den Hügeln."] * 200
    )
    asked = [TextScores.model_validate({"language": value}) for value in (True, {"max_characters": None}, False)]
    read = [run_stage(score_texts, scores, [document(text, image())], tmp_path).kept[0] for scores in asked]
    assert [page.language for page in read] == ["de", "de", None]
    assert read[0].language_score != read[1].language_score
    with pytest.raises(ValueError, match="max_characters"):
        TextScores.model_validate({"language": {"max_characters": 7}})


def test_what_nobody_asked_for_is_not_scored(tmp_path: Path) -> None:
    [kept] = run_stage(score_texts, TextScores(language=None), [document(*prose(1), image())], tmp_path).kept
    assert (kept.language, kept.language_score, kept.scores) == (None, None, {})


def test_a_threshold_is_held_against_the_column(tmp_path: Path) -> None:
    made = document(*prose(1), image())
    made.language, made.language_score = "fr", 0.75
    asked = ScoreRules(document={"language": {"labels": ["fr"], "min": 0.8}})
    [line] = run_stage(judge, asked, [made], tmp_path).ledger
    assert (line["rule"], line["value"], line["bound"]) == ("language", "fr 0.75", "fr, at least 0.8")


def test_a_document_that_was_not_scored_is_not_kept_by_a_rule_on_scores() -> None:
    assert not language(document("text"), labels=["en"], min=0.0).keep


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        (
            {"score_rules.document.language": "{labels: [en], min: 0.8}", "scores.language": "false"},
            "set scores.language",
        ),
        ({"text.document.language": "{labels: [en], min: 0.8}"}, "unknown document rule language"),
    ],
)
def test_a_rule_on_a_score_that_is_not_made_is_refused(sections: dict[str, str], said: str, tmp_path: Path) -> None:
    path = write_configuration(tmp_path)
    with pytest.raises(UserError, match=said):
        config.load(str(path), [f"{key}={value}" for key, value in sections.items()])


def test_a_changed_threshold_judges_again_and_asks_no_model(tmp_path: Path) -> None:
    crawl(tmp_path / "crawl", files=2, pages=3)
    path = str(write_configuration(tmp_path))
    assert main(["run", path]) == 0
    before = receipts(tmp_path / "out", "scores"), receipts(tmp_path / "out", "images")
    judged = receipts(tmp_path / "out", "score_rules")
    changes = ["score_rules.document.language.min=0.5", "image_rules.image.image_size.min=100"]
    assert main(["run", path, *(part for change in changes for part in ("--set", change))]) == 0
    assert receipts(tmp_path / "out", "score_rules") != judged
    assert receipts(tmp_path / "out", "scores") == before[0]


def test_a_changed_threshold_for_images_asks_for_no_image_again(tmp_path: Path) -> None:
    crawl(tmp_path / "crawl", files=2, pages=3)
    path = str(write_configuration(tmp_path))
    assert main(["run", path]) == 0
    before = receipts(tmp_path / "out", "images")
    assert main(["run", path, "--set", "image_rules.image.image_size.min=180"]) == 0
    assert receipts(tmp_path / "out", "images") == before
    assert any(receipt["drops"] for receipt in receipts(tmp_path / "out", "image_rules").values())


def test_a_rule_that_fails_on_too_many_pages_stops_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    crawl(tmp_path / "crawl", files=1, pages=4)
    path = str(write_configuration(tmp_path))
    (tmp_path / "hosts.txt").write_bytes(b"\xff\xfe no text at all")
    broken = ["run", path, "--set", f"text.document.blocked_hosts={{files: [{tmp_path / 'hosts.txt'}]}}"]
    assert main(broken) == 1
    told = capfd.readouterr().err
    assert "text: 4 of 4 documents are quarantined" in told
    assert main(["explain", path, "--rule", "quarantined"]) == 0
    assert "blocked_hosts: " in capfd.readouterr().out
    assert main([*broken, "--set", "max_quarantined=1"]) == 0
