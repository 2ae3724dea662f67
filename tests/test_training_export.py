"""Exported folders are transformers' own: they load, and write what the training pass would."""

from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer

from pipeline.training import tokenizer as tokens
from pipeline.training.batch import Batch, collate
from pipeline.training.config import Lora, Parallel, TrainConfig
from pipeline.training.data import decode
from pipeline.training.export import CLASSES, export, generation_config, stock_state
from pipeline.training.image_forms import ImageForm, image_form, special_tokens
from pipeline.training.packing import Window, assemble
from pipeline.training.tokenizer import Vocabulary
from tests.training_models import FAMILIES, build, configured, logits, open_gates
from tests.training_shards import picture, prose

HALF = {"parallel": Parallel(precision="bf16")}


def made(config: TrainConfig) -> tuple[Any, Any, Vocabulary, ImageForm]:
    """A model with open gates, and a tokenizer that has learned."""
    further = special_tokens(config)
    words = tokens.learn((prose(n, 30) for n in range(20)), 320, 128, further)
    vocabulary = tokens.vocabulary(words, further, last=config.model.family == "idefics")
    model = open_gates(build(config, vocabulary))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return model, words, vocabulary, image_form(config, vocabulary)


def prompt(config: TrainConfig, vocabulary: Vocabulary, form: ImageForm) -> tuple[list[int], Any]:
    image = decode(picture(3), form, config.data)
    assert image is not None
    before = vocabulary.encode("the river bends")
    return [vocabulary.bos, *before, vocabulary.fake, *form.ids(image), vocabulary.fake], image


def greedy(model: Any, vocabulary: Vocabulary, form: ImageForm, ids: list[int], image: Any, count: int) -> list[int]:
    """What the training pass, without a cache, makes of a prompt, token after token."""
    ids = list(ids)
    for _ in range(count):
        window = Window("a", ids, [image], [True] * len(ids), 0)
        batch: Batch = collate([assemble([window], vocabulary, len(ids))], vocabulary, form)
        with torch.no_grad():
            scores = logits(model, batch)[0, -1]
        scores[[vocabulary.fake, vocabulary.image]] = float("-inf")
        ids.append(int(scores.argmax()))
        if ids[-1] == vocabulary.eos:
            break
    return ids


@pytest.mark.parametrize("family", FAMILIES)
def test_the_folder_loads_in_stock_transformers_and_writes_the_same_tokens(family: str, tmp_path: Path) -> None:
    config = configured(family)
    model, words, vocabulary, form = made(config)
    export(model, words, vocabulary, form, tmp_path)
    stock = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    assert type(stock) is CLASSES[family]
    assert stock.config.architectures == [CLASSES[family].__name__]
    again, processor = AutoTokenizer.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert again.get_vocab() == words.get_vocab() == processor.tokenizer.get_vocab()
    ids, image = prompt(config, vocabulary, form)
    inputs = torch.tensor([ids])
    pixels, extent = torch.from_numpy(image.pixels.copy()), torch.from_numpy(image.extent)
    with torch.no_grad():
        answer = stock.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            **model.shown(inputs, pixels, extent),
            generation_config=generation_config(vocabulary, max_new_tokens=6),
        )
    assert answer[0].tolist() == greedy(model.eval(), vocabulary, form, ids, image, 6)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_processor_of_the_folder_shows_images_as_training_does(family: str, tmp_path: Path) -> None:
    config = configured(family)
    model, words, vocabulary, form = made(config)
    export(model, words, vocabulary, form, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    (tmp_path / "image").write_bytes(picture(3))
    image = PIL.Image.open(tmp_path / "image")
    if family == "idefics":
        inputs = processor(text=[["the river bends", image]], return_tensors="pt")
    else:
        inputs = processor(text="<s>the river bends<image>", images=[[image]], return_tensors="pt")
    ids, ours = prompt(config, vocabulary, form)
    given = model.shown(torch.tensor([ids]), *(torch.from_numpy(v.copy()) for v in (ours.pixels, ours.extent)))
    shown = inputs["pixel_values"]
    height, width = shown.shape[-2:]
    assert (given["pixel_values"][..., :height, :width] - shown).abs().max() < 1e-5
    assert not given["pixel_values"][..., height:, :].any()
    found = inputs["input_ids"][0].tolist()
    assert found[: len(ids)] == ids


@pytest.mark.parametrize("dora", [False, True])
def test_adapters_are_added_to_the_weights_beside_them(dora: bool, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    lora = Lora(rank=2, alpha=4, dropout=0.0, dora=dora, targets=["model.layers.*.q_proj", "model.layers.*.up_proj"])
    config = configured("idefics", lora=lora)
    model, words, vocabulary, form = made(config)
    export(model, words, vocabulary, form, tmp_path)
    stock = CLASSES["idefics"].from_pretrained(tmp_path).eval()
    ids, image = prompt(config, vocabulary, form)
    window = Window("a", ids, [image], [True] * len(ids), 0)
    batch = collate([assemble([window], vocabulary, len(ids))], vocabulary, form)
    inputs = torch.tensor([ids])
    with torch.no_grad():
        seen = model.shown(inputs, torch.from_numpy(image.pixels.copy()), torch.from_numpy(image.extent))
        expected = stock(input_ids=inputs, **seen, use_cache=False).logits
        assert (logits(model.eval(), batch) - expected).abs().max() < 1e-4
    names = set(stock_state(model.state_dict(), 2.0))
    assert names == set(stock.state_dict())


def test_half_precision_is_written_as_it_is_computed(tmp_path: Path) -> None:
    config = configured("idefics").model_copy(update=HALF)
    model, words, vocabulary, form = made(config)
    export(model, words, vocabulary, form, tmp_path)
    assert {value.dtype for value in load_file(tmp_path / "model.safetensors").values()} == {torch.bfloat16}
    assert AutoModelForImageTextToText.from_pretrained(tmp_path).dtype == torch.bfloat16


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_two_precisions_generates(family: str) -> None:
    config = configured(family).model_copy(update=HALF)
    model, _, vocabulary, form = made(config)
    ids, image = prompt(config, vocabulary, form)
    inputs = torch.tensor([ids])
    with torch.no_grad(), model.eval().computing("cpu"):
        answer = model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            **model.shown(inputs, torch.from_numpy(image.pixels.copy()), torch.from_numpy(image.extent)),
            generation_config=generation_config(vocabulary, max_new_tokens=3),
        )
    assert answer.shape[1] > len(ids)
