"""Shards in, documents out: order, damage, and what is refused."""

import io
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers.models.idefics.image_processing_pil_idefics import IdeficsImageProcessorPil

from pipeline.errors import UserError
from pipeline.training import data
from tests.training_shards import SCHEMA, picture, prose, write_corpus, write_shard

LIMIT = 10**9


def keys(folder: Path, epoch: int, seed: int = 0, start: int = 0) -> list[str]:
    groups = data.row_groups(folder, "train", LIMIT)
    return [d.key for d in data.documents(groups, seed, epoch, image_size=28, max_pixels=10**6, start=start)]


def test_an_epoch_gives_each_document_once_in_an_order_of_seed_and_epoch_alone(tmp_path: Path) -> None:
    write_corpus(tmp_path, 23, 3)
    first = keys(tmp_path, 0)
    assert first == keys(tmp_path, 0)
    assert len(set(first)) == len(first) == 23
    assert first != keys(tmp_path, 1) != keys(tmp_path, 1, seed=1)
    assert sorted(first) == sorted(keys(tmp_path, 1))


@pytest.mark.parametrize("start", [0, 1, 5, 12, 22, 23])
def test_reading_goes_on_from_any_document(tmp_path: Path, start: int) -> None:
    write_corpus(tmp_path, 23, 3)
    assert keys(tmp_path, 4, start=start) == keys(tmp_path, 4)[start:]


def test_broken_bytes_cost_the_image_and_not_the_document(tmp_path: Path) -> None:
    good, svg = picture(1), b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    write_shard(
        tmp_path / "train-00000-of-00001.parquet", [["before", good[: len(good) // 2], good, b"", svg, "after"]]
    )
    groups = data.row_groups(tmp_path, "train", LIMIT)
    [document] = data.documents(groups, 0, 0, image_size=28, max_pixels=10**6)
    before, image, after = document.pieces
    assert (before, after) == ("before", "after")
    assert isinstance(image, np.ndarray)
    assert image.shape == (28, 28, 3)
    assert document.broken_images == 3


def test_an_image_of_too_many_pixels_is_not_decoded() -> None:
    assert data.decode(picture(1, size=(40, 30)), 28, 1200) is not None
    assert data.decode(picture(1, size=(40, 30)), 28, 1199) is None


def test_formats_beyond_those_of_the_pipeline_are_broken() -> None:
    file = io.BytesIO()
    PIL.Image.new("RGB", (20, 20)).save(file, "GIF")
    assert data.decode(file.getvalue(), 28, 10**6) is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_images_are_what_the_stock_processor_makes_of_them(mode: str) -> None:
    picture_of_mode = PIL.Image.open(io.BytesIO(picture(3, size=(61, 45)))).convert(mode)
    if mode in {"RGBA", "LA"}:
        picture_of_mode.putalpha(90)
    file = io.BytesIO()
    picture_of_mode.save(file, "PNG")
    ours = data.decode(file.getvalue(), 28, 10**6)
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
    upright = data.decode(file.getvalue(), 28, 10**6)
    assert upright is not None
    assert upright[2].mean() > 250
    assert upright[-2].mean() < 5


def test_texts_for_the_tokenizer_are_those_of_the_first_documents(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "train-00000-of-00001.parquet", [[str(n), picture(n), f"{n}b"] for n in range(6)], row_group=2
    )
    groups = data.row_groups(tmp_path, "train", LIMIT)
    assert list(data.texts(groups, 3)) == ["0", "0b", "1", "1b", "2", "2b"]


def refused(folder: Path, limit: int = LIMIT) -> str:
    with pytest.raises(UserError) as caught:
        data.row_groups(folder, "train", limit)
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
    assert "over data.max_row_group 100" in refused(tmp_path, 100)


def test_damaged_pages_are_one_line_that_names_the_row_group(tmp_path: Path) -> None:
    path = tmp_path / "train-00000-of-00001.parquet"
    write_shard(path, [[prose(n, 50)] for n in range(8)], row_group=8)
    damaged = bytearray(path.read_bytes())
    damaged[4:400] = bytes(396)
    path.write_bytes(damaged)
    groups = data.row_groups(tmp_path, "train", LIMIT)
    with pytest.raises(UserError, match="row group 0 cannot be read"):
        list(data.documents(groups, 0, 0, image_size=28, max_pixels=10**6))
