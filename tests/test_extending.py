"""What README tells under "How to add": its blocks change a copy of the project, which then runs as README says."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from pipeline.canonical import canonical_url
from pipeline.explain import explain
from pipeline.work import key64
from tests.conftest import ROOT
from tests.crawls import page, picture, prose, write_warc
from tests.training_shards import steps_of, write_corpus

OWN = "http://pictures.example/0.png"
SHARED = "http://pictures.example/shared.png"  # on two pages
ABSENT = "http://pictures.example/absent.png"  # not in the folder


@dataclass
class HowTo:
    """A part of README's section: what to add, a line for each line, and the YAML by which it is used."""

    changes: list[str]
    configured: dict[str, Any]


def how_tos() -> dict[str, HowTo]:
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## How to add …\n")[1].split("\n## ")[0]
    found = {}
    for part in section.split("### … a ")[1:]:
        [changes] = re.findall(r"```diff\n(.*?)```", part, re.DOTALL)
        configured = "".join(re.findall(r"```yaml\n(.*?)```", part, re.DOTALL))
        assert len((changes + configured).splitlines()) < 15
        found[part.partition("\n")[0]] = HowTo(changes.splitlines(), yaml.safe_load(configured) or {})
    return found


def apply(changes: list[str], tree: Path) -> None:
    """Lines with a minus, or neither sign, must stand in the file of the last `---` once, and lines with a plus come in
    their place; where there are only such lines they come at its end, or are the file."""
    hunks: list[tuple[Path, list[str]]] = []
    for line in changes:
        if line.startswith("--- "):
            hunks.append((tree / line[4:], []))
        else:
            hunks[-1][1].append(line)
    for path, lines in hunks:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        old, new = ("\n".join(line[1:] for line in lines if line[0] in signs) for signs in ("- ", "+ "))
        assert not old or text.count(old) == 1, f"{path}: README changes a line that is not there"
        path.write_text(text.replace(old, new) if old else f"{text}{new}\n", encoding="utf-8")


def command(tree: Path, *arguments: str) -> None:
    """The command of the copy, from its root."""
    words = [sys.executable, "-m", "pipeline", *arguments]
    environment = os.environ | {"PYTHONPATH": str(tree)}
    done = subprocess.run(words, check=False, capture_output=True, text=True, cwd=tree, env=environment)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with all that README adds."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("pipeline", "filters"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for how_to in how_tos().values():
        apply(how_to.changes, folder)
    return folder


@pytest.fixture(scope="module")
def finished(tree: Path) -> Path:
    """A run with rule, consent provider, downloader and query over pages that are made for them."""
    pages = {
        "http://shouts.example/": ([*prose(1), prose(2)[0].upper()], [OWN]),
        "http://refuses.example/private/page": (prose(3), ["http://pictures.example/1.png"]),
        "http://refuses.example/public/page": (prose(4), ["http://pictures.example/2.png", ABSENT]),
        "http://one.example/": (prose(5), [SHARED]),
        "http://other.example/": (prose(6), [SHARED]),
    }
    html = [(url, "text/html; charset=utf-8", page(texts, images)) for url, (texts, images) in pages.items()]
    write_warc(tree / "crawl" / "0.warc.gz", html)
    robots = b"User-agent: *\nDisallowAITraining: /private\n"
    write_warc(tree / "robots" / "0.warc.gz", [("http://refuses.example/robots.txt", "text/plain", robots)])
    (tree / "pictures").mkdir()
    for number, url in enumerate(sorted({url for _, images in pages.values() for url in images} - {ABSENT})):
        (tree / "pictures" / format(key64(canonical_url(url)), "x")).write_bytes(picture(number))

    raw: dict[str, Any] = {"name": "extended", "output": "run", "input": {"paths": ["crawl"]}, "engine": {"workers": 0}}
    for name in ("rule", "consent provider", "downloader"):
        raw |= how_tos()[name].configured
    (tree / "config.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    command(tree, "run", "config.yaml")
    return tree / "run"


def told(run: Path, url: str) -> str:
    """What `carnac explain` prints of a page."""
    return "\n".join(explain(run, url))


def corpus(run: Path) -> dict[str, dict[str, Any]]:
    """The rows of the corpus with bytes, by the address of the page."""
    [file] = (run / "corpus" / "images").glob("*.parquet")
    return {json.loads(row["general_metadata"])["url"]: row for row in pq.read_table(file).to_pylist()}


def test_a_new_rule_is_bound_by_yaml_drops_a_paragraph_and_is_told(finished: Path) -> None:
    assert re.search(
        r"dropped by capital_letters: 1\S* \(expected at most 0.5\)", told(finished, "http://shouts.example/")
    )
    [text] = (text for text in corpus(finished)["http://shouts.example/"]["texts"] if text)
    assert text.split("\n\n") == prose(1)


def test_a_new_consent_provider_is_heeded_where_it_says_no(finished: Path) -> None:
    refused = told(finished, "http://refuses.example/private/page")
    assert "dropped by disallowaitraining: http://refuses.example/robots.txt captured" in refused
    assert "http://refuses.example/private/page" not in corpus(finished)
    assert "http://refuses.example/public/page" in corpus(finished)


def test_a_new_downloader_brings_images_and_says_which_it_has_not(finished: Path) -> None:
    [image] = filter(None, corpus(finished)["http://shouts.example/"]["images"])
    assert image["bytes"] == picture(0)
    row = corpus(finished)["http://refuses.example/public/page"]
    assert [image["bytes"] for image in row["images"] if image] == [picture(2)]
    assert [missing["reason"] for missing in json.loads(row["missing_images"])] == ["gone"]


def test_the_verdict_of_a_new_query_arrives_at_its_stage(finished: Path) -> None:
    for url in ("http://one.example/", "http://other.example/"):
        assert "dropped by images_elsewhere: all on 2 pages (expected at most 1)" in told(finished, url)
        assert url not in corpus(finished)


def test_a_new_model_family_trains_and_stock_transformers_reads_it(tree: Path) -> None:
    pytest.importorskip("peft")
    from transformers import AutoModelForImageTextToText

    write_corpus(tree / "shards")
    raw = yaml.safe_load((ROOT / "configs" / "tiny" / "train-idefics3-8b.yaml").read_text(encoding="utf-8"))
    raw |= {"data": {"path": "shards"}, "output": "trained", "steps": 2, "threads": 1}
    raw["model"] |= how_tos()["model family"].configured["model"]
    (tree / "train.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    command(tree, "train", "train.yaml")
    assert [step["step"] for step in steps_of(tree / "trained")] == [1, 2]
    stock = AutoModelForImageTextToText.from_pretrained(tree / "trained" / "model")
    assert type(stock.model.text_model).__name__ == "Qwen2Model"
