"""Each document's loss by a trained model, once; and the way back into a run, which drops what was too hard."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.training.config import TrainConfig
from pipeline.training.loop import train
from pipeline.training.score_documents import SETTINGS, score_documents
from tests.crawls import crawl
from tests.test_run import write_configuration
from tests.training_models import configured
from tests.training_shards import picture, prose, tiny, write_corpus, write_shard

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("scoring")
    write_corpus(folder / "data", documents=10)
    rows: list[list[str | bytes]] = [
        [prose(200, 150), picture(3), prose(201, 90)],  # longer than a sequence
        [picture(1)],  # no text
        [prose(202, 12), b"no image", picture(2)],
        ["word " * 9],
    ]
    write_shard(folder / "data" / "train-00002-of-00003.parquet", rows)
    config = tiny(folder / "data", folder / "model", steps=6)
    train(config, lambda _: None)
    return config


def scores(folder: Path) -> dict[str, dict[str, Any]]:
    rows = [row for path in sorted(folder.glob("*/*.parquet")) for row in pq.read_table(path).to_pylist()]
    assert len({row["key"] for row in rows}) == len(rows)
    return {row["key"]: row for row in rows}


def test_every_document_is_scored_once(trained: TrainConfig, tmp_path: Path) -> None:
    said: list[str] = []
    score_documents(trained, tmp_path / "scores", said.append)
    found = scores(tmp_path / "scores")
    paths = sorted(Path(str(trained.data.path)).glob("*.parquet"))
    expected = {f"{path.name}:{row}" for path in paths for row in range(pq.read_metadata(path).num_rows)}
    assert found.keys() == expected
    assert len(found) == 14
    assert said == ["0 of 3 shards are scored", "1 of 3 shards", "2 of 3 shards", "3 of 3 shards"]
    textless = found.pop("train-00002-of-00003.parquet:1")
    assert (textless["loss"], textless["tokens"], textless["images"]) == (None, 0, 0)
    assert all(0 < row["loss"] < 20 and row["z"] > 0 and row["tokens"] > 0 for row in found.values())
    assert found["train-00002-of-00003.parquet:0"]["tokens"] > trained.packing.tokens  # of all its windows
    broken = found["train-00002-of-00003.parquet:2"]
    assert (broken["images"], broken["broken_images"]) == (1, 1)
    assert found["train-00002-of-00003.parquet:3"]["url"] == "https://example.org/train-00002-of-00003.parquet/3"
    assert {row["source"] for row in found.values()} == {"data"}


def test_packed_documents_have_the_loss_of_each_alone(trained: TrainConfig, tmp_path: Path) -> None:
    alone = trained.model_copy(
        update={"packing": trained.packing.model_copy(update={"window": 1}), "micro_batch": 1, "batch_size": 1}
    )
    score_documents(trained, tmp_path / "packed", lambda _: None)
    score_documents(alone, tmp_path / "alone", lambda _: None)
    packed, single = scores(tmp_path / "packed"), scores(tmp_path / "alone")
    for key, row in single.items():
        assert packed[key]["tokens"] == row["tokens"]
        if row["loss"] is not None:
            assert packed[key]["loss"] == pytest.approx(row["loss"], abs=1e-5)
            assert packed[key]["z"] == pytest.approx(row["z"], rel=1e-5)


def test_scores_are_the_same_bytes_and_done_shards_stay(trained: TrainConfig, tmp_path: Path) -> None:
    folder = score_documents(trained, tmp_path / "scores", lambda _: None)
    files = sorted(folder.glob("*/*.parquet"))
    before = [path.read_bytes() for path in files]
    files[1].unlink()
    untouched = files[0].stat().st_mtime_ns
    said: list[str] = []
    score_documents(trained, folder, said.append)
    assert said[0] == "2 of 3 shards are scored"
    assert [path.read_bytes() for path in files] == before
    assert files[0].stat().st_mtime_ns == untouched
    files[2].write_bytes(before[2][:100])  # cut short
    score_documents(trained, folder, said.append)
    assert [path.read_bytes() for path in files] == before
    assert not list(folder.rglob(".*.tmp"))


def test_a_folder_of_another_model_or_with_something_else_is_refused(trained: TrainConfig, tmp_path: Path) -> None:
    folder = score_documents(trained, tmp_path / "scores", lambda _: None)
    settings = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    (folder / SETTINGS).write_text(json.dumps(settings | {"model": ["other"]}), encoding="utf-8")
    with pytest.raises(UserError, match="holds losses of another model"):
        score_documents(trained, folder, lambda _: None)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(UserError, match="holds something that is no scores"):
        score_documents(trained, tmp_path / "notes", lambda _: None)
    with pytest.raises(UserError, match="no trained model in it"):
        score_documents(trained.model_copy(update={"output": str(tmp_path)}), folder, lambda _: None)
    with pytest.raises(UserError, match="cannot be used"):
        score_documents(trained, Path("/proc/scores"), lambda _: None)


def test_what_a_model_found_hard_is_dropped_by_the_next_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crawl(tmp_path / "crawl", files=1, pages=5)
    path = str(write_configuration(tmp_path, engine={"workers": 1}))
    assert main(["run", path, "--set", "export.validation=0"]) == 0
    config = tiny(tmp_path / "out" / "corpus" / "images", tmp_path / "model", steps=1)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    assert main(["train", str(tmp_path / "train.yaml")]) == 0
    assert main(["train", str(tmp_path / "train.yaml"), "--score-documents", str(tmp_path / "scores")]) == 0
    found = sorted(scores(tmp_path / "scores").values(), key=lambda row: row["loss"])
    assert len(found) == 5
    bound = (found[2]["loss"] + found[3]["loss"]) / 2
    known = ["--set", "export.validation=0", "--set", f"scores.training_loss.path={tmp_path / 'scores' / 'data'}"]
    known += ["--set", f"score_rules.document.training_loss.max={bound}"]
    assert main(["run", path, *known]) == 0
    [shard] = (tmp_path / "out" / "corpus" / "urls").glob("*.parquet")
    kept = {json.loads(text)["url"] for text in pq.read_table(shard)["general_metadata"].to_pylist()}
    assert kept == {row["url"] for row in found[:3]}
    capsys.readouterr()
    assert main(["explain", path, found[4]["url"], *known]) == 0
    assert "training_loss" in capsys.readouterr().out


def test_a_source_without_records_has_none_and_is_scored(trained: TrainConfig, tmp_path: Path) -> None:
    lines = [json.dumps({"text": prose(n, 20)}) for n in range(5)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = {"name": "books", "kind": "text", "path": str(tmp_path / "texts.jsonl")}
    raw = trained.model_dump(mode="json") | {"data": {"sources": [source]}}
    folder = score_documents(TrainConfig.model_validate(raw), tmp_path / "scores", lambda _: None)
    rows = pq.read_table(folder / "books" / "000000.parquet")
    assert rows["url"].null_count == len(rows) == 5
    assert pa.types.is_float32(rows.schema.field("loss").type)
    assert min(rows["loss"].to_pylist()) > 0


def test_the_other_families_score_documents_too(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", documents=4, shards=1)
    raw = configured("idefics2").model_dump() | {
        "data": {"path": str(tmp_path / "data")},
        "output": str(tmp_path / "out"),
    }
    config = TrainConfig.model_validate(raw | {"steps": 1})
    train(config, lambda _: None)
    found = scores(score_documents(config, tmp_path / "scores", lambda _: None))
    assert len(found) == 4
    assert all(0 < row["loss"] < 20 for row in found.values())


def torchrun(*arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "pipeline"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], check=True, env=environment, capture_output=True, timeout=250)


@pytest.mark.slow
def test_two_ranks_validate_and_score_as_one(tmp_path: Path) -> None:
    write_corpus(tmp_path / "data", documents=9, shards=3)
    write_shard(
        tmp_path / "data" / "validation-00000-of-00001.parquet",
        [[prose(n, 10), picture(n), prose(n + 40, 12 + n)] for n in range(9)],
    )
    said = []
    for name, shard in (("one", "none"), ("two", "fsdp")):
        config = tiny(
            *(tmp_path / "data", tmp_path / name),
            **{"steps": 2, "batch_size": 4, "micro_batch": 2, "data": {"path": str(tmp_path / "data"), "lanes": 2}},
            packing={"tokens": 64, "images": 4, "window": 2},
            parallel={"shard": shard},
        )
        path = tmp_path / f"{name}.yaml"
        path.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
        run = torchrun if shard == "fsdp" else main
        for more in ([], ["--score-documents", str(tmp_path / f"{name} scores")]):
            call = ["train", str(path), *more]
            assert not (run(*call) if run is torchrun else main(call))
        lines = (tmp_path / name / "train.jsonl").read_text(encoding="utf-8").splitlines()
        said.append(next(line for line in map(json.loads, lines) if line["event"] == "validation"))
    one, two = said
    assert one["tokens"] == two["tokens"]
    assert one["tokens_behind_images"] == two["tokens_behind_images"]
    for name in ("loss", "z_loss", "loss_behind_images", "zeroed"):
        assert two[name] == pytest.approx(one[name], abs=1e-5 * max(1, abs(one[name]))), name
    alone, together = scores(tmp_path / "one scores"), scores(tmp_path / "two scores")
    assert alone.keys() == together.keys()
    for key, row in alone.items():
        assert together[key]["loss"] == pytest.approx(row["loss"], abs=1e-4), key  # of a model trained on two ranks
