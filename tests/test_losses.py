"""A model's losses come back as a score: joined by record, held against bounds, told like any other rule."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from filters.training_loss import training_loss
from pipeline import config
from pipeline.cli import main
from pipeline.config import TrainingLoss
from pipeline.errors import UserError
from pipeline.losses import add_losses, write_index
from tests.crawls import crawl
from tests.documents import document, image, run_stage
from tests.test_run import receipts, write_configuration

SCHEMA = pa.schema(
    [("url", pa.string()), ("warc_filename", pa.string()), ("warc_record_offset", pa.int64()), ("loss", pa.float32())]
)


def write_losses(path: Path, rows: Sequence[tuple[str, str | None, int | None, float | None]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table([list(column) for column in zip(*rows, strict=True)], schema=SCHEMA), path)
    return path


def test_a_loss_goes_to_the_document_of_its_record(tmp_path: Path) -> None:
    one, two = document("a", image(), url="http://h.example/a", row=1), document("b", image(), url="http://h.example/b")
    files = [
        write_losses(tmp_path / "0.parquet", [("http://h.example/a", "0.warc.gz", 100, 2.5)]),
        write_losses(
            tmp_path / "1.parquet",
            [
                ("http://h.example/a", "0.warc.gz", 100, 9.0),  # once more: the first counts
                ("http://h.example/b", "0.warc.gz", 7, 3.0),  # another capture
                ("http://h.example/b", "0.warc.gz", 0, None),  # nothing to learn from
                ("http://h.example/b", None, None, 1.0),
            ],
        ),
    ]
    write_index(files, tmp_path / "index")
    settings = TrainingLoss(path=str(tmp_path))
    index = tuple(map(str, sorted((tmp_path / "index").iterdir())))
    outcome = run_stage(add_losses, settings, [one, two], tmp_path / "run", losses=index)
    assert [page.scores for page in outcome.kept] == [{"training_loss": 2.5}, {}]
    assert outcome.receipt.notes == {"scored": 1}


def test_documents_within_the_bounds_are_kept() -> None:
    page = document("text")
    page.scores["training_loss"] = 3.5
    assert training_loss(page, max=3.5).keep
    assert training_loss(page, min=1, max=3) == (False, 3.5, "at most 3")
    assert training_loss(page, min=4, max=5) == (False, 3.5, "at least 4")
    assert training_loss(document("text"), max=1).keep
    assert training_loss(document("text"), max=1, unscored=False) == (False, "not scored", "scored")


def exported(folder: Path) -> list[dict[str, Any]]:
    [file] = sorted((folder / "corpus" / "urls").glob("train-*.parquet"))
    return [json.loads(text) for text in pq.read_table(file)["general_metadata"].to_pylist()]


def test_a_run_drops_what_the_model_could_not_read_and_asks_no_model_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    crawl(tmp_path / "crawl", files=1, pages=6)
    path = str(write_configuration(tmp_path, engine={"workers": 1}))
    assert main(["run", path]) == 0
    before = exported(tmp_path / "out")
    asked = receipts(tmp_path / "out", "scores")
    rows = [(r["url"], r["warc_filename"], r["warc_record_offset"], float(n)) for n, r in enumerate(before)]
    write_losses(tmp_path / "losses" / "train-00000.parquet", rows[:-1])
    scored = [path, "--set", f"scores.training_loss.path={tmp_path / 'losses'}"]
    rule = ["--set", "score_rules.document.training_loss.max=2.5"]
    assert main(["run", *scored, *rule]) == 0
    kept = [row["url"] for row in exported(tmp_path / "out")]
    assert kept == [row["url"] for row in before[:3] + before[-1:]]  # the last one has no loss
    assert receipts(tmp_path / "out", "scores") == asked
    joined = receipts(tmp_path / "out", "training_loss")
    assert sum(receipt["notes"]["scored"] for receipt in joined.values()) == len(before) - 1  # type: ignore[index]

    capsys.readouterr()
    assert main(["explain", path, before[3]["url"], *scored[1:], *rule]) == 0
    told = capsys.readouterr().out
    assert "training_loss" in told
    assert "at most 2.5" in told

    write_losses(tmp_path / "losses" / "train-00000.parquet", [(*row[:3], 9.0) for row in rows])
    assert main(["run", *scored, "--set", "score_rules.document.training_loss.min=8"]) == 0
    assert receipts(tmp_path / "out", "training_loss") != joined
    assert receipts(tmp_path / "out", "scores") == asked
    assert len(exported(tmp_path / "out")) == 6


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"score_rules.document.training_loss": "{max: 3}"}, "set scores.training_loss"),
        ({"scores.training_loss.path": "none"}, "no readable Parquet file"),
        ({"scores.training_loss.path": "."}, "no Parquet file in it"),
        ({"scores.training_loss.path": "bad.parquet"}, "bad.parquet: no column url (its columns: loss)"),
        ({"scores.training_loss.path": "odd.parquet"}, "column loss: expected float, found double"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(
    sections: dict[str, str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_configuration(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    if sections.get("scores.training_loss.path") != ".":
        pq.write_table(pa.table({"loss": pa.array([1.0], pa.float32())}), "bad.parquet")
        columns = {name: pa.array([], SCHEMA.field(name).type) for name in SCHEMA.names[:3]}
        pq.write_table(pa.table({**columns, "loss": pa.array([], pa.float64())}), "odd.parquet")
    with pytest.raises(UserError) as caught:
        config.load(str(path), [f"{key}={value}" for key, value in sections.items()])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
