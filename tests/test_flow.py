"""The sample crawl through the whole flow: every page comes to the end that the table of fates names."""

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.cli import main
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sample crawl, the quickstart's configuration for it and a finished run."""
    folder = tmp_path_factory.mktemp("quickstart")
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    raw["input"]["paths"] = [str(folder / "sample" / month) for month in ("2026-03", "2026-09")]
    raw["consent"]["robots"]["captures"] = [str(folder / "sample" / "robotstxt")]
    raw["consent"]["lists"] = [str(folder / "sample" / "opt-out.txt")]
    raw["output"] = str(folder / "run")
    (folder / "quickstart.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert main(["sample", str(folder / "sample")]) == 0
    assert main(["run", str(folder / "quickstart.yaml")]) == 0
    return folder


def run(*arguments: str) -> str:
    command = [sys.executable, "-m", "pipeline", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_every_page_comes_to_the_end_that_the_table_names(quickstart: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(quickstart / "sample"), "--check", str(quickstart / "quickstart.yaml")]) == 0
    assert capfd.readouterr().out == "95 of 95 captures came to the end that the table of fates names\n"


def test_a_fate_that_is_not_met_is_told(quickstart: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = [json.loads(line) for line in (quickstart / "sample" / "fates.jsonl").read_text().splitlines()]
    kept = next(row for row in rows if row["fate"] == "kept")
    kept["fate"], kept["stage"] = "stop_words", "text"
    kept["contains"] = ["never written"]
    (tmp_path / "fates.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["sample", str(tmp_path), "--check", str(quickstart / "quickstart.yaml")]) == 1
    told = capfd.readouterr().out
    assert f"{kept['url']} of {kept['crawl_date'][:10]}: expected stop_words at text, found kept at None" in told
    assert "94 of 95 captures" in told


def test_every_row_of_the_corpus_has_the_published_form(quickstart: Path) -> None:
    rows = 0
    for form in ("images", "urls"):
        files = sorted((quickstart / "run" / "corpus" / form).glob("*.parquet"))
        for row in (row for file in files for row in pq.read_table(file).to_pylist()):
            metadata, general = json.loads(row["metadata"]), json.loads(row["general_metadata"])
            assert len(row["images"]) == len(row["texts"]) == len(metadata)
            assert all(
                (image is None) != (text is None) for image, text in zip(row["images"], row["texts"], strict=True)
            )
            assert all((entry is None) == (image is None) for entry, image in zip(metadata, row["images"], strict=True))
            assert list(general) == ["url", "warc_filename", "warc_record_offset", "warc_record_length"]
            rows += 1
    assert rows == 2 * 62


def test_a_pointer_of_the_corpus_leads_back_to_its_record(quickstart: Path) -> None:
    from pipeline.warc import read_at

    warcs = {path.name: path for path in (quickstart / "sample").rglob("*.warc.gz")}
    for file in (quickstart / "run" / "corpus" / "urls").glob("*.parquet"):
        for row in pq.read_table(file).to_pylist():
            pointer = json.loads(row["general_metadata"])
            path = str(warcs[pointer["warc_filename"]])
            record = read_at(path, pointer["warc_record_offset"], pointer["warc_record_length"])
            assert record.url == pointer["url"]


def test_the_funnel_adds_up(quickstart: Path) -> None:
    """What goes into a stage comes out or is dropped with a reason, and is what goes into the next."""
    summaries = json.loads(run("status", str(quickstart / "quickstart.yaml"), "--json"))
    stages = [stage for stage in summaries if not stage["query"]]
    assert [stage["stage"] for stage in stages] == [
        "documents", "text", "scores", "score_rules", "keys", "unique", "consent", "images", "image_rules",
        "image_keys", "unique_images", "final", "export",
    ]  # fmt: skip
    for stage in stages:
        assert stage["rows_in"] == stage["rows_out"] + sum(stage["drops"].get("document", {}).values())
    for before, after in itertools.pairwise(stages):
        assert after["rows_in"] == before["rows_out"]


def without_time_and_size(table: str) -> list[str]:
    """The lines of a funnel, spaces made one, without the two columns that a machine and its libraries decide."""
    return [" ".join(re.sub(r"\s+\d+\.\d(\s+[\d.]+ \w?B)?\s*$", "", line).split()) for line in table.splitlines()]


def test_the_readme_shows_this_funnel(quickstart: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = readme[readme.index("stage          in") :].partition("\n```")[0]
    assert without_time_and_size(shown) == without_time_and_size(run("status", str(quickstart / "quickstart.yaml")))


def test_every_drop_has_a_line_in_the_ledger(quickstart: Path) -> None:
    for stage in json.loads(run("status", str(quickstart / "quickstart.yaml"), "--json")):
        counted = sum(sum(rules.values()) for rules in stage["drops"].values())
        ledgers = (quickstart / "run" / "stages" / stage["stage"]).glob("*.ledger.parquet")
        assert sum(pq.ParquetFile(file).metadata.num_rows for file in ledgers) == counted


def test_explain_tells_a_page_from_its_record_to_its_end(quickstart: Path) -> None:
    config = str(quickstart / "quickstart.yaml")
    told = run("explain", config, "https://ridge-weather.example/hail")
    assert "image at" in told
    assert "dropped by image_size: 120 x 90 (expected at least 150)" in told
    assert "kept: " in told
    told = run("explain", config, "https://menhirs.example/raising-a-stone")
    assert (
        "dropped by near_duplicate: for https://reprints.example/2026/forty-people-one-stone, captured 2026-09-15"
        in told
    )
    assert 0.75 <= float(told.split("similarity ")[1].split()[0]) < 1
    told = run("explain", config, "--rule", "near_duplicate")
    assert told.startswith("16 bands of 8 rows, then at least 0.75 of 128 permutations alike\nsimilarity ")
    assert "https://menhirs.example/raising-a-stone" in told
    told = run("explain", config, "http://spoke-and-chain.example/tyres.html")
    assert "dropped by x_robots_tag: header x-robots-tag: noai" in told
    told = run("explain", config, "https://menhirs.example/walks/lost")
    assert "dropped by http_status: 404 (expected 200)" in told


def test_extract_prints_documents_before_any_rule(quickstart: Path) -> None:
    warc = sorted((quickstart / "sample").rglob("*.warc.gz"))[0]
    rows = [json.loads(line) for line in run("extract", str(warc)).splitlines()]
    assert rows
    for row in rows:
        assert list(row) == ["url", "texts", "images", "metadata", "general_metadata"]
        assert len(row["texts"]) == len(row["images"]) == len(row["metadata"])


def test_datasets_loads_the_corpus_with_its_splits_and_decodes_the_images(
    quickstart: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = f"""
import datasets
corpus = datasets.load_dataset({str(quickstart / "run" / "corpus")!r}, "images", cache_dir={str(tmp_path)!r})
assert sorted(corpus) == ["train", "validation"], corpus
assert corpus.num_rows["train"] + corpus.num_rows["validation"] == 62, corpus
assert all(image is None or image.width >= 150 for row in corpus["train"] for image in row["images"])
urls = datasets.load_dataset({str(quickstart / "run" / "corpus")!r}, "urls", cache_dir={str(tmp_path)!r})
assert urls.num_rows == corpus.num_rows
assert isinstance([a for a in urls["train"][0]["images"] if a][0], str)
"""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=ROOT)


def test_a_model_trained_on_the_corpus_loads_in_transformers_and_generates(quickstart: Path, tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / "configs" / "train-quickstart.yaml").read_text())
    raw["data"]["path"], raw["output"] = str(quickstart / "run" / "corpus" / "images"), str(tmp_path / "model")
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    assert "model: " in run("train", str(tmp_path / "train.yaml"))
    script = f"""
import torch
from transformers import AutoTokenizer, IdeficsForVisionText2Text
model = IdeficsForVisionText2Text.from_pretrained({str(tmp_path / "model" / "model")!r})
tokenizer = AutoTokenizer.from_pretrained({str(tmp_path / "model" / "model")!r})
ids = tokenizer("<fake_token_around_image><image><fake_token_around_image> The moon", return_tensors="pt").input_ids
size = model.config.vision_config.image_size
mask = torch.ones(1, ids.shape[1], 1, dtype=torch.long)
made = model.generate(input_ids=ids, pixel_values=torch.zeros(1, 1, 3, size, size), image_attention_mask=mask, max_new_tokens=5)
assert made.shape[1] == ids.shape[1] + 5 or made[0, -1] == tokenizer.eos_token_id, made
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, cwd=ROOT)
    steps = [json.loads(line) for line in (tmp_path / "model" / "train.jsonl").read_text().splitlines()]
    losses = [step["loss"] for step in steps if step["event"] == "step"]
    assert len(losses) == 20
    assert losses[-1] < losses[0] - 0.5


@pytest.mark.material
@pytest.mark.timeout(600)
def test_whole_sites_become_documents_with_the_images_of_their_crawl(material: Path, tmp_path: Path) -> None:
    """The books' images come from the crawl; the maxima of words and images are lifted, for these are books."""
    lifted = (
        "text.document.number_of_images.max",
        "text.document.number_of_words.max",
        "image_rules.document.number_of_images.max",
    )
    changes = ["name=sites", f"output={tmp_path / 'run'}", f"input.paths=[{material / 'sites'}]", "consent={}"]
    changes += [f"{key}=1000000" for key in lifted]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(ROOT / "configs" / "quickstart.yaml"), *sets]) == 0
    rows = [
        row
        for file in (tmp_path / "run" / "corpus" / "urls").glob("*.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    assert len(rows) >= 7
    assert sum(image is not None for row in rows for image in row["images"]) > 250
