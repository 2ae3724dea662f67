"""Shards in, documents out: what is decoded, damage, and what is refused."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tokenizers
from transformers import PreTrainedTokenizerFast
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

from pipeline.errors import UserError
from pipeline.training import data
from pipeline.training.config import Data
from pipeline.training.image_forms import Idefics, Pictures
from pipeline.training.sources import Opened, in_order, open_sources, texts
from pipeline.training.tokenizer import END_OF_UTTERANCE, FAKE, IMAGE, learn, open_tokenizer, tile_token, vocabulary
from tests.training_shards import FORM, SCHEMA, picture, prose, write_corpus, write_shard

SETTINGS = Data(path="none")


def opened(folder: Path, **settings: Any) -> Opened:
    [source] = open_sources(Data(path=str(folder), **settings))
    return source


def test_broken_bytes_cost_the_image_and_not_the_document(tmp_path: Path) -> None:
    good, svg = picture(1), b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    write_shard(
        tmp_path / "train-00000-of-00001.parquet", [["before", good[: len(good) // 2], good, b"", svg, "after"]]
    )
    [raw] = in_order(opened(tmp_path))
    document = data.document(raw, FORM, SETTINGS)
    before, image, after = document.pieces
    assert (before, after) == ("before", "after")
    assert isinstance(image, Pictures)
    assert image.pixels.shape == (1, 28, 28, 3)
    assert (document.broken_images, document.missing_images, document.images) == (2, 1, 1)


def test_images_beyond_the_limit_of_a_document_are_not_decoded() -> None:
    raw = data.Raw("key", ["text", *[picture(n) for n in range(4)]])
    document = data.document(raw, FORM, Data(path="none", max_images=3))
    assert (document.images, document.broken_images) == (3, 1)


def decoded(file: bytes, form: Idefics = FORM, **limits: Any) -> Any:
    found = data.decode(file, form, Data(path="none", **limits))
    return None if found is None else found.pixels[0]


def test_an_image_beyond_the_limits_is_not_decoded() -> None:
    file = picture(1, size=(40, 30))
    assert decoded(file, max_pixels=1200) is not None
    assert decoded(file, max_pixels=1199) is None
    assert decoded(file, max_bytes=len(file)) is not None
    assert decoded(file, max_bytes=len(file) - 1) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_images_are_what_the_stock_processor_makes_of_them(mode: str) -> None:
    picture_of_mode = PIL.Image.open(io.BytesIO(picture(3, size=(61, 45)))).convert(mode)
    if mode in {"RGBA", "LA"}:
        picture_of_mode.putalpha(90)
    file = io.BytesIO()
    picture_of_mode.save(file, "PNG")
    ours = decoded(file.getvalue())
    stock = IdeficsImageProcessorPil(image_size=28, do_rescale=False, do_normalize=False)
    assert ours is not None
    [theirs] = stock(PIL.Image.open(io.BytesIO(file.getvalue())), return_tensors="np")
    assert np.array_equal(ours, theirs.transpose(1, 2, 0))


def test_an_image_stands_upright() -> None:
    sideways = PIL.Image.new("RGB", (40, 20))
    sideways.paste((255, 255, 255), (0, 0, 20, 20))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # orientation: to be turned clockwise
    file = io.BytesIO()
    sideways.save(file, "JPEG", exif=exif)
    upright = decoded(file.getvalue())
    assert upright is not None
    assert upright[2].mean() > 250
    assert upright[-2].mean() < 5


def test_texts_for_the_tokenizer_are_those_of_the_first_documents(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "train-00000-of-00001.parquet", [[str(n), picture(n), f"{n}b"] for n in range(6)], row_group=2
    )
    assert list(texts([opened(tmp_path)], 3)) == ["0", "0b", "1", "1b", "2", "2b"]


def refused(folder: Path, **settings: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(folder, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_folder_without_shards_of_the_split_is_refused(tmp_path: Path) -> None:
    assert "no such folder" in refused(tmp_path / "missing")
    assert "no train-*.parquet in it (splits found: none)" in refused(tmp_path)
    write_shard(tmp_path / "validation-00000-of-00001.parquet", [["text"]])
    assert "splits found: validation" in refused(tmp_path)


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    path.write_bytes(b"PAR1 and then something else")
    assert f"{path}: no readable Parquet file" in refused(tmp_path)
    path.write_bytes(b"")
    assert "no readable Parquet file" in refused(tmp_path)


def test_shards_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"text": ["a"]}), path)
    assert "no column 'texts'" in refused(tmp_path)
    pq.write_table(pa.table({"texts": [["a", None]], "images": [[None, "https://example.org/a.png"]]}), path)
    assert "addresses alone" in refused(tmp_path)
    pq.write_table(pa.table({"texts": ["a"], "images": [[b"x"]]}), path)
    assert "column 'texts': expected list<string>, found string" in refused(tmp_path)


def test_shards_without_rows_are_refused(tmp_path: Path) -> None:
    pq.write_table(SCHEMA.empty_table(), tmp_path / "train-00000-of-00001.parquet")
    assert "hold no documents" in refused(tmp_path)


def test_a_row_group_that_would_not_fit_is_refused(tmp_path: Path) -> None:
    write_corpus(tmp_path)
    assert "over data.max_row_group 100" in refused(tmp_path, max_row_group=100)


def test_damaged_pages_are_one_line_that_names_the_row_group(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    write_shard(path, [[prose(n, 50)] for n in range(8)], row_group=8)
    damaged = bytearray(path.read_bytes())
    damaged[4:400] = bytes(396)
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="row group 0 cannot be read"):
        list(in_order(opened(tmp_path)))


def test_a_tokenizer_of_ones_own_gets_the_tokens_that_it_lacks_at_its_end(tmp_path: Path) -> None:
    words = plain_tokenizer()
    words.save_pretrained(tmp_path / "words")
    further = [END_OF_UTTERANCE, tile_token(0, 0)]
    loaded = open_tokenizer(str(tmp_path / "words"), further)
    found = vocabulary(loaded, further)
    assert (found.size, found.fake, found.image, len(found)) == (len(words), len(words), len(words) + 1, len(words) + 4)
    assert found.token(END_OF_UTTERANCE) == len(words) + 2
    said = f"a {IMAGE}{FAKE} {END_OF_UTTERANCE} <row_1_col_1> </s> b"
    assert max(found.encode(said)) < found.size
    assert loaded.decode(found.encode(said)) == said
    loaded.save_pretrained(tmp_path / "again")
    assert vocabulary(open_tokenizer(str(tmp_path / "again"), further), further).named == found.named


def test_a_tokenizer_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"tokenizer.path .*empty: this folder gives no tokenizer") as caught:
        open_tokenizer(str(tmp_path / "empty"))
    assert "\n" not in str(caught.value)
    words = plain_tokenizer()
    with pytest.raises(UserError, match="no token <fake_token_around_image>, <image>"):
        vocabulary(words)
    words.add_tokens([FAKE, IMAGE, "later"], special_tokens=True)
    with pytest.raises(UserError, match="the tokenizer's last tokens must be"):
        vocabulary(words)
    assert vocabulary(words, last=False).size == len(words)
    taken = plain_tokenizer()
    taken.add_tokens([FAKE, IMAGE])  # as words, which a text can say
    with pytest.raises(UserError, match=r"takes a text that spells .* for the token itself"):
        vocabulary(taken)
    words.bos_token = None
    words.save_pretrained(tmp_path / "words")
    with pytest.raises(UserError, match="it has no bos token"):
        open_tokenizer(str(tmp_path / "words"))


def plain_tokenizer() -> Any:
    """One that knows nothing of images."""
    learned = learn(["the river bends south of a mill"] * 3, 300, 64)
    plain = json.loads(learned.backend_tokenizer.to_str())
    plain["added_tokens"] = [token for token in plain["added_tokens"] if token["content"] not in {FAKE, IMAGE}]
    backend = tokenizers.Tokenizer.from_str(json.dumps(plain))
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
