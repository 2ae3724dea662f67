"""The dataset card: front matter that the Hub and `datasets` read, counts and funnel that are those of the run."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.card import write_card
from pipeline.config import Config, Export
from pipeline.export import publish
from pipeline.funnel import Summary
from pipeline.stages import Stage
from pipeline.work import Receipt
from tests.test_export import corpus, exported, stage_of

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported

FUNNEL = [
    Summary(
        "documents",
        rows_in=1200,
        rows_out=1000,
        drops={"record": Counter(damage=1), "document": Counter(http_status=200)},
    ),
    Summary(
        "text", rows_in=1000, rows_out=20, drops={"document": Counter(stop_words=80, number_of_words=900, language=80)}
    ),
    Summary("latest_url", query=True, seconds=3.0),
    Summary("export", rows_in=20, rows_out=20),
]


def configuration(**changes: Any) -> Config:
    raw = {
        "name": "mine",
        "output": "/somewhere/else/runs/mine",
        "input": {"paths": ["/data/crawl"]},
        "engine": {"spill": "/scratch"},
        "score_rules": {"document": {"language": {"labels": ["en"], "min": 0.8}}},
        "consent": {"signals": ["tdm_reservation"]},
        "export": {"validation": 0.3, "licence": "cc0-1.0", "title": "Pages: about mills"},
    }
    return Config.model_validate(raw | changes)


@pytest.fixture
def shards(tmp_path: Path) -> Stage:
    return stage_of(exported(Export(validation=0.3), corpus(20), tmp_path / "run"))


def card(folder: Path, shards: Stage, config: Config, forms: tuple[str, ...] = ("images", "urls")) -> str:
    files = publish(shards, folder, list(forms))
    write_card(folder, config, files, FUNNEL, shards)
    return (folder / "README.md").read_text(encoding="utf-8")


def test_the_hub_reads_the_front_matter_and_finds_the_splits(shards: Stage, tmp_path: Path) -> None:
    from huggingface_hub import DatasetCard

    card(tmp_path / "corpus", shards, configuration())
    read = DatasetCard.load(tmp_path / "corpus" / "README.md")
    data = read.data.to_dict()
    assert (data["license"], data["pretty_name"], data["language"]) == ("cc0-1.0", "Pages: about mills", ["en"])
    assert data["size_categories"] == ["n<1K"]
    assert data["configs"] == [
        {
            "config_name": form,
            **({"default": True} if form == "images" else {}),
            "data_files": [
                {"split": "train", "path": f"{form}/train-*.parquet"},
                {"split": "validation", "path": f"{form}/validation-*.parquet"},
            ],
        }
        for form in ("images", "urls")
    ]


def test_datasets_reads_the_folder_by_its_card(shards: Stage, tmp_path: Path) -> None:
    import datasets

    card(tmp_path / "corpus", shards, configuration())
    counts = shards.receipts[0].notes["splits"]
    for form, kind in (("images", datasets.Image), ("urls", datasets.Value)):
        read = datasets.load_dataset(str(tmp_path / "corpus"), form, cache_dir=str(tmp_path / "cache"))
        assert {split: len(rows) for split, rows in read.items()} == {
            s: count["documents"] for s, count in counts.items()
        }
        assert isinstance(read["train"].features["images"].feature, kind)
    default = datasets.load_dataset(str(tmp_path / "corpus"), split="train", streaming=True)
    assert next(iter(default))["images"][1].size[1] == 30


def test_counts_and_funnel_are_those_of_the_run(shards: Stage, tmp_path: Path) -> None:
    text = card(tmp_path / "corpus", shards, configuration())
    counts = shards.receipts[0].notes["splits"]
    words = sum(count["words"] for count in counts.values())
    assert f"`mine`: 20 documents with 20 images and {words:,} words." in " ".join(text.split())
    for split, count in counts.items():
        assert f"| {split} | {count['documents']} | {count['images']} | {count['words']:,} |" in text
    assert "| documents | 1,200 | 1,000 | records: damage 1; documents: http_status 200 |" in text
    assert "| text | 1,000 | 20 | documents: number_of_words 900, language 80, stop_words 80 |" in text
    assert "latest_url" not in text
    assert "Refusals that were heeded: tdm_reservation." in text


def test_the_configuration_in_the_card_takes_the_same_decisions(shards: Stage, tmp_path: Path) -> None:
    text = card(tmp_path / "corpus", shards, configuration())
    written = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    again = Config.model_validate(written | {"output": "o", "input": {"paths": ["p"]}})
    mine = configuration()
    assert (again.text, again.consent, again.export) == (mine.text, mine.consent, mine.export)


def test_the_card_holds_no_path_of_the_machine_it_was_made_on(
    shards: Stage, model: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("refused.txt", "other.txt"):
        Path(name).write_text("refuses.example")
    Path("en.arpa.bin").write_bytes(model.read_bytes())
    Path("en.sp.model").write_bytes(tokenizer.read_bytes())
    config = configuration(
        consent={"lists": [str(tmp_path / "refused.txt"), "other.txt"]},
        scores={"perplexity": {"model": str(tmp_path / "en.arpa.bin"), "tokenizer": str(tmp_path / "en.sp.model")}},
    )
    text = card(tmp_path / "corpus", shards, config)
    for path in (tmp_path, "/somewhere", "/data", "/scratch", "/home"):
        assert str(path) not in text
    assert "Refusals that were heeded: the list refused.txt, the list other.txt." in text
    assert "model: en.arpa.bin" in text


def test_the_card_is_the_same_for_the_same_corpus(shards: Stage, tmp_path: Path) -> None:
    one = card(tmp_path / "one" / "corpus", shards, configuration())
    assert card(tmp_path / "two" / "corpus", shards, configuration(output="runs/other")) == one
    assert card(tmp_path / "one" / "corpus", shards, configuration()) == one
    assert not list((tmp_path / "one").rglob(".*"))


def test_a_corpus_of_one_form_without_validation_names_only_that(tmp_path: Path) -> None:
    shards = stage_of(exported(Export(forms=["urls"]), corpus(3), tmp_path / "run"))
    text = card(tmp_path / "corpus", shards, configuration(), ("urls",))
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["configs"] == [
        {"config_name": "urls", "default": True, "data_files": [{"split": "train", "path": "urls/train-*.parquet"}]}
    ]
    assert "images/train" not in text
    assert 'load_dataset("corpus", "urls", split="train")' in text


def test_no_language_is_claimed_where_none_was_judged(shards: Stage, tmp_path: Path) -> None:
    text = card(tmp_path / "corpus", shards, configuration(score_rules={}))
    assert "language" not in yaml.safe_load(text.split("---\n")[1])


@pytest.mark.parametrize(
    ("documents", "expected"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (141_047_697, "100M<n<1B"), (10**9, "1B<n<10B")],
)
def test_the_size_is_one_of_the_hubs_categories(documents: int, expected: str, tmp_path: Path) -> None:
    notes = {"splits": {"train": {"documents": documents, "images": 1, "words": 1}}}
    many = Stage("export", {}, {}, {0: Receipt("export", 0, "f", notes=notes)})
    (tmp_path / "corpus").mkdir()
    write_card(tmp_path / "corpus", configuration(), {"urls": {"train": [Path("a")]}}, FUNNEL, many)
    text = (tmp_path / "corpus" / "README.md").read_text()
    assert yaml.safe_load(text.split("---\n")[1])["size_categories"] == [expected]


def test_a_title_is_text_whatever_it_holds(shards: Stage, tmp_path: Path) -> None:
    title = 'Mills: "old" {ones} # [and] --- new — été'
    text = card(tmp_path / "corpus", shards, configuration(export={"title": title}))
    assert yaml.safe_load(text.split("---\n")[1])["pretty_name"] == title
    assert f"\n# {title}\n" in text


def test_where_no_document_is_left_there_is_no_card_and_none_of_an_earlier_corpus(
    shards: Stage, tmp_path: Path
) -> None:
    card(tmp_path / "corpus", shards, configuration())
    nothing = stage_of(exported(Export(), [], tmp_path / "none"))
    write_card(
        tmp_path / "corpus", configuration(), publish(nothing, tmp_path / "corpus", ["images", "urls"]), FUNNEL, nothing
    )
    assert not (tmp_path / "corpus" / "README.md").exists()
