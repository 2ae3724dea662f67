"""Images in, pictures and tokens out: what transformers' processors make of them."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from transformers import Idefics2Processor, Idefics3Processor
from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil

from pipeline.errors import UserError
from pipeline.training import tokenizer
from pipeline.training.batch import collate
from pipeline.training.config import Data, TrainConfig
from pipeline.training.data import Document, decode
from pipeline.training.image_forms import Idefics, Idefics2, Idefics3, ImageForm, image_form, special_tokens
from pipeline.training.packing import assemble, windows
from pipeline.training.tokenizer import FAKE, GLOBAL, IMAGE, Vocabulary
from tests.training_shards import picture, tiny

SIZES = [(61, 45), (45, 61), (40, 40), (200, 30), (31, 190), (12, 9), (1, 1), (97, 2)]
RAW = {"do_rescale": False, "do_normalize": False}


def drawn(size: tuple[int, int], seed: int = 1) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(picture(seed, size=size))).convert("RGB")


def configured(family: str, tokens: int = 512, **images: Any) -> TrainConfig:
    base = tiny(Path("data"), Path("model")).model_dump()
    base["model"] |= {"family": family, "max_position_embeddings": 4096}
    shown = {"longest": 84, "shortest": 10, **images}
    return TrainConfig.model_validate(base | {"images": shown, "packing": {"tokens": tokens, "images": 4}})


def made(config: TrainConfig) -> tuple[Any, Vocabulary, ImageForm]:
    further = special_tokens(config)
    words = tokenizer.learn(["the cat sat\n\non the mat\n"] * 9, 300, 4096, further)
    vocabulary = tokenizer.vocabulary(words, further)
    return words, vocabulary, image_form(config, vocabulary)


def ours(texts_and_images: list[Any], vocabulary: Vocabulary, form: ImageForm) -> Any:
    pieces: list[Any] = [piece if isinstance(piece, str) else form.pictures(piece) for piece in texts_and_images]
    [found] = windows(Document("key", pieces), vocabulary, form, 4096, 9)
    return found.ids[1:-1], collate([assemble([found], vocabulary, 4096)], vocabulary, form)


def same_pixels(batch: Any, stock: Any) -> None:
    """Where the stock processor pads to the largest of its images, ours pads to the form's size."""
    values, mask = np.asarray(stock["pixel_values"])[0], np.asarray(stock["pixel_attention_mask"])[0]
    assert len(values) == batch.images
    for picture_, extent, theirs, seen in zip(batch.pixels.numpy(), batch.extent.tolist(), values, mask, strict=True):
        height, width = extent
        assert seen[:height, :width].all()
        assert seen.sum() == height * width
        assert np.array_equal(picture_[:height, :width], theirs[:, :height, :width].transpose(1, 2, 0))
        assert not picture_[height:].any()
        assert not picture_[:, width:].any()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_idefics2_has_the_pixels_and_tokens_of_the_stock_processor(size: tuple[int, int], split: bool) -> None:
    if split and 1 in size:
        return  # transformers fails on quarters without a pixel
    words, vocabulary, form = made(configured("idefics2", split=split))
    assert isinstance(form, Idefics2)
    images = [drawn(size), drawn((33, 21), 2)]
    ids, batch = ours(["the cat", *images, "sat"], vocabulary, form)
    stock = Idefics2Processor(
        Idefics2ImageProcessorPil(size={"shortest_edge": 10, "longest_edge": 28}, do_image_splitting=split, **RAW),
        words,
        image_seq_len=form.latents,
    )
    found = stock(text=f"the cat{IMAGE}{IMAGE}sat", images=images, return_tensors="np", add_special_tokens=False)
    theirs = words.decode(found["input_ids"][0])
    assert words.decode(ids) == theirs.replace(f"{FAKE} sat", f"{FAKE}sat")  # it sets a blank where a text follows
    same_pixels(batch, found)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_idefics3_has_the_pixels_and_tokens_of_the_stock_processor(size: tuple[int, int], split: bool) -> None:
    words, vocabulary, form = made(configured("idefics3", split=split))
    assert isinstance(form, Idefics3)
    images = [drawn(size), drawn((33, 21), 2)]
    ids, batch = ours(["the cat", *images, "sat"], vocabulary, form)
    stock = Idefics3Processor(
        Idefics3ImageProcessorPil(
            size={"longest_edge": 84}, max_image_size={"longest_edge": 28}, do_image_splitting=split, **RAW
        ),
        words,
        image_seq_len=form.latents,
    )
    found = stock(text=f"the cat{IMAGE}{IMAGE}sat", images=[images], return_tensors="np", add_special_tokens=False)
    assert ids == found["input_ids"][0].tolist()
    same_pixels(batch, found)


@pytest.mark.parametrize("family", ["idefics", "idefics2", "idefics3"])
@pytest.mark.parametrize("split", [None, True])
def test_no_image_takes_more_tokens_than_its_form_says(family: str, split: bool | None) -> None:
    _, _, form = made(configured(family, split=split))
    taken = [len(form.ids(form.pictures(drawn(size)))) + 2 for size in SIZES]
    assert max(taken) == form.longest


def test_an_image_longer_than_a_sequence_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"packing.tokens 16: an image of the family idefics3 takes up to \d+ tokens"):
        made(configured("idefics3", tokens=16))


def test_text_that_spells_a_tile_is_ordinary_text() -> None:
    words, vocabulary, form = made(configured("idefics3"))
    said = f"a <row_1_col_1> {GLOBAL} {IMAGE}{FAKE} <end_of_utterance> b"
    ids, batch = ours([said], vocabulary, form)
    assert words.decode(ids) == said
    assert not set(ids).intersection({vocabulary.image, vocabulary.fake, *vocabulary.named.values()})
    assert batch.images == 0


@pytest.mark.material
def test_a_fast_decode_of_a_photo_stays_close_to_the_exact_one(material: Path) -> None:
    """Mean distance of a pixel's value of 255; what `images.fast_jpeg` costs."""
    settings = Data(path="none")
    index = [json.loads(line) for line in (material / "images" / "index.jsonl").read_text("utf-8").splitlines()]
    photos = [material / "images" / row["file"] for row in index if row["file"].endswith((".jpg", ".jpeg"))]
    distances = []
    for photo in photos[:40]:
        exact, fast = (decode(photo.read_bytes(), Idefics(56, 0, fast), settings) for fast in (False, True))
        if exact is not None and fast is not None:
            distances.append(np.abs(exact.pixels.astype(int) - fast.pixels).mean())
    assert len(distances) >= 20
    assert np.mean(distances) < 1.5
    assert max(distances) < 4
