"""The published configurations can be planned, and their tiny twins train."""

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText

from pipeline.training.config import TrainConfig, load
from pipeline.training.loop import train
from pipeline.training.plan import plan
from tests.training_shards import log_of, picture, prose, steps_of, write_corpus

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
NAMES = ("idefics-9b", "idefics-80b", "idefics-9b-instruct", "idefics2-8b", "idefics3-8b")

# What a twin may have of its own: sizes and paths. All else is what is being tried.
SIZES = {
    *(
        "data.lanes",
        "data.workers",
        "output",
        "tokenizer.path",
        "tokenizer.vocab_size",
        "steps",
        "batch_size",
        "micro_batch",
    ),
    *("packing.tokens", "packing.images", "images.shortest", "images.longest", "plan.gpus"),
    *("model.checkpoint", "model.language", "model.vision_encoder", "model.hidden_size", "model.intermediate_size"),
    *("model.num_hidden_layers", "model.num_attention_heads", "model.num_key_value_heads"),
    *("model.max_position_embeddings", "model.lora.rank", "model.lora.alpha", "optimizer.warmup_steps"),
}


def flat(values: dict[str, Any], before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        nested = value if isinstance(value, dict) else {}
        found |= flat(nested, f"{before}{name}.") if nested else {f"{before}{name}": value}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_differs_in_sizes_and_paths_alone(name: str) -> None:
    full, twin = (flat(load(str(folder / f"train-{name}.yaml")).model_dump()) for folder in (CONFIGS, CONFIGS / "tiny"))
    assert full.keys() == twin.keys()
    differs = {
        key for key in full if full[key] != twin[key] and not key.startswith(("model.vision.", "model.perceiver."))
    }
    assert differs - {"data.sources"} <= SIZES
    assert full["model.vision.hidden_act"] == twin["model.vision.hidden_act"]
    for one, other in zip(full["data.sources"], twin["data.sources"], strict=True):
        assert {**one, "path": None} == {**other, "path": None}


@pytest.mark.parametrize(
    ("name", "billions", "trained"),
    [
        ("idefics-9b", 8.93, 1.560),
        pytest.param("idefics-80b", 79.97, 14.051, marks=pytest.mark.slow),
        pytest.param("idefics-9b-instruct", 8.93, 8.930, marks=pytest.mark.slow),
        pytest.param("idefics2-8b", 8.61, 0.947, marks=pytest.mark.slow),  # 8.40 of the published model, and adapters
        pytest.param("idefics3-8b", 8.67, 0.223, marks=pytest.mark.slow),  # 8.46, and adapters
    ],
)
def test_the_plan_of_a_published_configuration_has_its_sizes(name: str, billions: float, trained: float) -> None:
    if "8b" in name:
        pytest.importorskip("peft")
    said = plan(load(str(CONFIGS / f"train-{name}.yaml")))
    total = next(line for line in said.splitlines() if line.startswith("total")).split()
    assert int(total[1].replace(",", "")) / 1e9 == pytest.approx(billions, abs=0.006)
    assert int(total[2].replace(",", "")) / 1e9 == pytest.approx(trained, abs=0.0006)
    assert ": fits" in said


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each kind of source that the configurations name."""
    root = tmp_path_factory.mktemp("sources")
    write_corpus(root / "documents")
    (root / "pairs").mkdir()
    with tarfile.open(root / "pairs" / "00000.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
        for number in range(6):
            for name, data in ((f"{number}.png", picture(number)), (f"{number}.txt", prose(number, 8).encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    (root / "dialogues").mkdir()
    lines = [
        {"messages": [{"role": "user", "content": prose(n, 6)}, {"role": "assistant", "content": prose(n + 9, 9)}]}
        for n in range(6)
    ]
    (root / "dialogues" / "train-0.jsonl").write_text(
        "".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8"
    )
    return {kind.name: kind for kind in root.iterdir()}


def twin(name: str, sources: dict[str, Path], output: Path) -> TrainConfig:
    # Blocks are compiled by their own test: the compiler takes minutes.
    config = load(
        str(CONFIGS / "tiny" / f"train-{name}.yaml"), [f"output={output}", "parallel.compile=false", "threads=1"]
    )
    found = tuple(source.model_copy(update={"path": str(sources[source.kind])}) for source in config.data.sources)
    return config.model_copy(update={"data": config.data.model_copy(update={"sources": found})})


@pytest.mark.parametrize("name", NAMES)
def test_a_twin_trains_and_its_model_loads(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    if "8b" in name:
        pytest.importorskip("peft")
    config = twin(name, sources, tmp_path / "run")
    folder = train(config, lambda _: None)
    steps = steps_of(folder)
    assert [step["step"] for step in steps] == [1, 2, 3]
    assert all(math.isfinite(step["loss"]) and step["gradient_norm"] > 0 for step in steps)
    assert log_of(folder)[-1]["event"] == "end"
    stock = AutoModelForImageTextToText.from_pretrained(folder / "model")
    assert stock.config.model_type == config.model.family
    assert stock.dtype == torch.bfloat16
