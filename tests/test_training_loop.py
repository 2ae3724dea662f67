"""`carnac train` from shards to a folder that stock transformers loads, and what a user can get wrong."""

import resource
import subprocess
import sys
import time
from pathlib import Path

import PIL.Image
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, IdeficsForVisionText2Text

from pipeline.errors import UserError
from pipeline.training.config import Optimizer, TrainConfig, load
from pipeline.training.loop import train
from pipeline.training.optimizer import learning_rate
from pipeline.training.plan import plan
from tests.conftest import ROOT
from tests.training_shards import log_of, picture, prose, steps_of, tiny, write_corpus, write_shard


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder)
    return folder


@pytest.fixture(scope="module")
def trained(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, list[str]]:
    config, lines = tiny(corpus, tmp_path_factory.mktemp("run") / "run", steps=16, sight={"every": 4}), list[str]()
    assert train(config, lines.append) == Path(config.output)
    return config, lines


def test_each_step_is_a_line_of_figures(trained: tuple[TrainConfig, list[str]]) -> None:
    config, lines = trained
    start, *_, end = log_of(Path(config.output))
    assert (start["event"], start["documents"], end["event"]) == ("start", 12, "end")
    assert 0 < start["trained"] < start["parameters"]
    steps = steps_of(Path(config.output))
    assert [step["step"] for step in steps] == list(range(1, 17))
    for step in steps:
        assert step["loss"] > 0
        assert 0 < step["tokens"] <= 128
        assert step["padding"] == pytest.approx(1 - step["tokens"] / 128, abs=1e-4)
        assert step["tokens_per_second"] == pytest.approx(step["tokens"] / step["seconds"], rel=0.05)
        assert step["images_per_second"] == pytest.approx(step["images"] / step["seconds"], rel=0.05)
        assert 0 <= step["data_seconds"] <= step["seconds"]
    assert steps[-1]["epoch"] > 0
    shown = [line for line in lines if line.startswith("step ")]
    assert [int(line.split()[1].partition("/")[0]) for line in shown] == [1, 4, 8, 12, 16]
    assert all(unit in shown[0] for unit in ("loss", "tokens/s", "images/s", "padding", "data wait", "left"))


def test_the_folder_loads_in_stock_transformers_and_generates_the_sample_again(
    trained: tuple[TrainConfig, list[str]], corpus: Path
) -> None:
    run = Path(trained[0].output)
    folder = run / "model"
    model = IdeficsForVisionText2Text.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)
    [sample] = [line for line in log_of(run) if line["event"] == "sample"]
    shard, row = sample["key"].split(":")
    number = int(row) * 2 + int(shard.removeprefix("train-")[:5])  # as write_corpus deals them out
    image = PIL.Image.open(write_picture(corpus.parent / "image", picture(number)))
    before = sample["prompt"].removeprefix("<s>").partition("<fake_token_around_image>")[0]
    inputs = processor(text=[[before, image]], return_tensors="pt")
    # The processor strips the text's first blank; ours is the encoded text as it stood in the document.
    inputs["input_ids"] = tokenizer([sample["prompt"]], return_tensors="pt")["input_ids"]
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    seen = (inputs["input_ids"] == tokenizer.convert_tokens_to_ids("<image>")).cumsum(-1)
    inputs["image_attention_mask"] = seen[..., None]
    with torch.no_grad():
        answer = model.generate(**inputs, max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(answer[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True) == sample["text"]
    assert model.config.additional_vocab_size == 2
    assert len(tokenizer) == model.config.vocab_size + 2


def write_picture(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_the_same_configuration_gives_the_same_losses_and_weights(
    trained: tuple[TrainConfig, list[str]], tmp_path: Path
) -> None:
    config = trained[0]
    again = train(config.model_copy(update={"output": str(tmp_path / "again")}), lambda _: None)
    other = train(config.model_copy(update={"output": str(tmp_path / "other"), "seed": 5}), lambda _: None)
    losses = [[step["loss"] for step in steps_of(Path(folder))] for folder in (config.output, again, other)]
    assert losses[0] == losses[1] != losses[2]
    weights = [(Path(folder) / "model" / "model.safetensors").read_bytes() for folder in (config.output, again)]
    assert weights[0] == weights[1]


def test_what_is_frozen_stays_and_what_is_trained_moves(trained: tuple[TrainConfig, list[str]], tmp_path: Path) -> None:
    config = trained[0]
    optimizer = config.optimizer.model_copy(update={"learning_rate": 1e-30, "final_learning_rate": 0.0})
    still = train(config.model_copy(update={"output": str(tmp_path / "still"), "optimizer": optimizer}), lambda _: None)
    begun, ended = (
        IdeficsForVisionText2Text.from_pretrained(Path(f) / "model").state_dict() for f in (still, config.output)
    )
    moved = {name for name in begun if not torch.equal(begun[name], ended[name])}
    assert moved
    assert all("gated" in name or "perceiver" in name or "additional" in name for name in moved)
    assert {name for name in begun if "alpha" in name} <= moved
    assert "lm_head.additional_fc.weight" in moved


def test_the_loss_falls(corpus: Path, tmp_path: Path) -> None:
    config = tiny(corpus, tmp_path / "model", steps=40, batch_size=4)
    steps = steps_of(train(config, lambda _: None))
    assert sum(s["loss"] for s in steps[-5:]) / 5 < sum(s["loss"] for s in steps[:5]) / 5 - 0.3


def test_a_corpus_without_images_trains_and_has_no_sample(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", [[prose(n, 20)] for n in range(6)])
    folder = train(tiny(tmp_path / "data", tmp_path / "model", steps=2), lambda _: None)
    assert [line["event"] for line in log_of(folder)] == ["start", "step", "step", "end"]
    assert {step["images"] for step in steps_of(folder)} == {0}


PACKED = {"tokens": 64, "images": 4, "window": 4}


def test_broken_images_are_counted(tmp_path: Path) -> None:
    rows: list[list[str | bytes]] = [[prose(n, 20), picture(n), b"no image"] for n in range(4)]
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    lines: list[str] = []
    folder = train(tiny(tmp_path / "data", tmp_path / "model", steps=1, batch_size=1, packing=PACKED), lines.append)
    assert (log_of(folder)[-1]["documents_read"], log_of(folder)[-1]["broken_images"]) == (4, 4)
    assert "4 images could not be decoded and were left out" in lines


def test_a_page_cannot_steer_the_terminal(tmp_path: Path) -> None:
    rows: list[list[str | bytes]] = [["\x1b]0;owned\x07 \x9b31m red \u202e text", picture(1), "more text"]]
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    lines: list[str] = []
    train(tiny(tmp_path / "data", tmp_path / "model", steps=1), lines.append)
    assert any(line.startswith("sample: ") and "red" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_step_is_the_same_in_one_micro_batch_or_four(corpus: Path, tmp_path: Path) -> None:
    """Tokens weigh the same, though sequences hold more or fewer of them."""
    found = []
    for size in (4, 1):
        config = tiny(corpus, tmp_path / f"run-{size}", steps=3, batch_size=4, micro_batch=size)
        found.append(steps_of(train(config, lambda _: None)))
    for whole, pieces in zip(*found, strict=True):
        assert pieces["learned"] == whole["learned"]
        for name in ("loss", "z_loss", "gradient_norm"):
            assert pieces[name] == pytest.approx(whole[name], rel=1e-5)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("linear", [0.5, 1.0, 1.0, 0.8875, 0.775, 0.6625, 0.55, 0.4375, 0.325, 0.2125, 0.1]),
        ("cosine", [0.5, 1.0, 1.0, 0.965746, 0.868198, 0.722208, 0.55, 0.377792, 0.231802, 0.134254, 0.1]),
        ("wsd", [0.5, *[1.0] * 8, 0.55, 0.1]),
    ],
)
def test_the_rate_is_a_function_of_the_step(schedule: str, expected: list[float]) -> None:
    settings = Optimizer.model_validate(
        {"learning_rate": 0.4, "final_learning_rate": 0.04, "warmup_steps": 2, "schedule": schedule, "scale": 0.5}
    )
    assert [learning_rate(step, 11, settings) / 0.2 for step in range(11)] == pytest.approx(expected, abs=1e-6)


def test_twenty_steps_learn_a_corpus_by_heart(tmp_path: Path) -> None:
    """To below a tenth of the first loss, everything trained."""
    write_shard(
        tmp_path / "data" / "train-00000-of-00001.parquet", [["the river bends south " * 8, picture(1), "a mill"]]
    )
    config = tiny(tmp_path / "data", tmp_path / "run", steps=20, batch_size=2)
    rates = config.optimizer.model_copy(update={"learning_rate": 3e-2, "final_learning_rate": 1e-2, "warmup_steps": 0})
    everything = config.model.model_copy(update={"train": ["*"]})
    began = time.monotonic()
    steps = steps_of(train(config.model_copy(update={"optimizer": rates, "model": everything}), lambda _: None))
    assert time.monotonic() - began < 60
    assert steps[-1]["loss"] < steps[0]["loss"] / 10


def refused(config: TrainConfig) -> str:
    with pytest.raises(UserError) as caught:
        train(config, lambda _: None)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_with_something_else_is_left_alone(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    assert "no training output" in refused(tiny(corpus, tmp_path))
    assert "no training output" in refused(tiny(corpus, tmp_path / "notes.txt"))
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_an_output_that_cannot_be_made_is_one_line(corpus: Path) -> None:
    assert "cannot be written" in refused(tiny(corpus, Path("/proc/model")))


def test_a_full_disk_is_one_line_and_keeps_the_model_that_is_there(corpus: Path, tmp_path: Path) -> None:
    config = tiny(corpus, tmp_path / "model", steps=1)
    train(config, lambda _: None)
    before = (tmp_path / "model" / "model" / "model.safetensors").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        said = refused(config.model_copy(update={"steps": 2}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written" in said
    assert (tmp_path / "model" / "model" / "model.safetensors").read_bytes() == before


def test_missing_shards_are_one_line_before_anything_is_written(tmp_path: Path) -> None:
    assert "no such folder" in refused(tiny(tmp_path / "none", tmp_path / "model"))
    assert not list(tmp_path.iterdir())


def test_shards_without_any_text_are_one_line(tmp_path: Path) -> None:
    write_shard(tmp_path / "data" / "train-00000-of-00001.parquet", [[picture(1)], [" ", picture(2)]])
    assert "holds any text" in refused(tiny(tmp_path / "data", tmp_path / "model"))


def test_a_loss_that_is_no_number_names_rate_and_documents(corpus: Path, tmp_path: Path) -> None:
    config = tiny(corpus, tmp_path / "model", steps=9)
    wild = config.optimizer.model_copy(update={"learning_rate": 1e30, "final_learning_rate": 1e30, "warmup_steps": 0})
    said = refused(config.model_copy(update={"optimizer": wild}))
    assert "step 2: no finite figures: loss nan" in said
    assert "optimizer.learning_rate 1e+30 (then 1e+30): a lower one may help" in said
    assert "train-0000" in said


def test_the_plan_counts_parameters_memory_and_tokens(corpus: Path, trained: tuple[TrainConfig, list[str]]) -> None:
    start = log_of(Path(trained[0].output))[0]
    said = plan(trained[0])
    assert f"{start['parameters']:,}" in said
    assert f"{start['trained']:,}" in said
    assert "2 sequences x 64 tokens = 128 tokens, up to 8 images" in said
    assert f"{corpus}, train: 12 documents" in said
    assert "not ready" in plan(tiny(corpus / "none", corpus))


def test_the_quickstart_configuration_is_valid_and_small() -> None:
    config = load(str(ROOT / "configs" / "train-quickstart.yaml"))
    assert config.steps == 20
    total = next(line for line in plan(config).splitlines() if line.startswith("total"))
    assert 10**6 < int(total.split()[1].replace(",", "")) < 10**7


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("packing.token=3", "packing.token: unknown key, did you mean tokens?"),
        ("packing.tokens=4096", "packing.tokens 4096 is over model.max_position_embeddings 2048"),
        ("model.hidden_size=100", "hidden_size 100 must be a multiple of 2 * num_attention_heads 8"),
        ("model.cross_layer_interval=3", "num_hidden_layers 4 must be a multiple of cross_layer_interval 3"),
        ("model.vision.image_size=60", "image_size 60 must be a multiple of patch_size 14"),
        ("optimizer.betas=[0.9, 1.0]", "each beta must be at least 0 and below 1"),
        ("tokenizer.vocab_size=100", "tokenizer.vocab_size"),
        ("steps=many", "steps"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(override: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        load(str(ROOT / "configs" / "train-quickstart.yaml"), [override])
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_import_says_what_to_install() -> None:
    code = "import sys; sys.modules['torch'] = None; import pipeline.training"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert "UserError: training needs torch: install the extra, pip install 'carnac[train]'" in run.stderr
