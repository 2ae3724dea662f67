"""The corpus: OBELICS's columns, read by `datasets` with their images; names, splits and sizes of the files."""

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from pipeline.config import Export
from pipeline.document import Document, Hole, Image
from pipeline.export import groups, publish, schema, split_of, to_published, write_shards
from pipeline.images import PIXELS
from pipeline.stages import Stage
from pipeline.storage import read_rows
from pipeline.work import Receipt
from tests.crawls import picture, prose
from tests.documents import Outcome, document, image, run_stage, write_rows

os.environ["HF_HUB_OFFLINE"] = "1"  # before `datasets` is imported

BOTH = Export(forms=["images", "urls"])


def seen(url: str, number: int) -> Image:
    return image(
        url, alt="A mill", filename="mill", format="png", width=40 + number, height=30, size=0, sha256=str(number)
    )


def corpus(count: int, files: int = 1) -> list[Document]:
    """Documents of two texts around a picture, each from a page of its own."""
    return [
        document(
            prose(row)[0],
            seen(f"http://host{row}.example/p.png", row),
            prose(row)[1],
            url=f"http://host{row}.example/",
            row=row,
        )
        for row in range(count)
    ]


def write_pixels(folder: Path, documents: list[Document], pictures: dict[str, bytes] | None = None) -> tuple[str, ...]:
    """The pixels of all images of the documents, as the input of a job."""
    rows = [
        {
            "shard": page.shard,
            "row": page.row,
            "position": node.position,
            "path": node.image.url,
            "bytes": (pictures or {}).get(node.image.url) or picture(page.row, (node.image.width or 40, 30)),
        }
        for page in documents
        for node in page.nodes
        if node.image
    ]
    write_rows(folder / "00000.pixels.parquet", PIXELS, rows)
    return (str(folder / "00000"),)


def exported(
    settings: Export, documents: list[Document], tmp_path: Path, extra: list[Document] | None = None
) -> Outcome:
    """Shard files of the documents; `extra` are documents that have pixels but are gone."""
    in_order = sorted([*documents, *(extra or [])], key=lambda page: (page.shard, page.row))
    pixels = write_pixels(tmp_path / "pixels", in_order)
    return run_stage(write_shards, settings, documents, tmp_path, pixels=pixels)


def stage_of(*outcomes: Outcome) -> Stage:
    prefixes: dict[int, tuple[str, ...]] = {shard: (str(outcome.prefix),) for shard, outcome in enumerate(outcomes)}
    return Stage(
        "export", prefixes, dict.fromkeys(prefixes, "f"), {i: outcome.receipt for i, outcome in enumerate(outcomes)}
    )


def test_a_row_has_the_published_columns_first_and_ours_after_them(tmp_path: Path) -> None:
    done = exported(BOTH, corpus(2), tmp_path)
    for form in ("images-train", "urls-train"):
        names = pq.read_schema(f"{done.prefix}.{form}.parquet").names
        assert names[:4] == ["images", "texts", "metadata", "general_metadata"]
        assert names[4:] == ["crawl_date", "language", "language_score", "perplexity", "image_scores", "missing_images"]


@pytest.mark.parametrize("form", ["images", "urls"])
def test_the_columns_are_those_that_datasets_would_write_for_them(form: str) -> None:
    import datasets

    columns = schema(form)
    features = datasets.Features.from_arrow_schema(columns)
    assert features["images"] == datasets.List(datasets.Image() if form == "images" else datasets.Value("string"))
    assert features.arrow_schema.equals(columns, check_metadata=True)


def test_images_and_texts_are_parallel_and_exactly_one_of_both_stands_at_each_place(tmp_path: Path) -> None:
    pages = [
        document("one", seen("http://a.example/1", 0), seen("http://a.example/2", 1), "two"),
        document(seen("http://a.example/3", 2), "three", row=1),
    ]
    done = exported(BOTH, pages, tmp_path)
    for form in ("images-train", "urls-train"):
        rows = done.rows(form)
        assert [row["texts"] for row in rows] == [["one", None, None, "two"], [None, "three"]]
        for row in rows:
            assert [image is None for image in row["images"]] == [text is not None for text in row["texts"]]
            metadata = json.loads(row["metadata"])
            assert [entry is None for entry in metadata] == [text is not None for text in row["texts"]]
    assert [row["images"] for row in done.rows("urls-train")] == [
        [None, "http://a.example/1", "http://a.example/2", None],
        ["http://a.example/3", None],
    ]
    first = done.rows("images-train")[0]["images"]
    assert [entry and entry["path"] for entry in first] == [None, "http://a.example/1", "http://a.example/2", None]
    assert [Picture.open(io.BytesIO(entry["bytes"])).size for entry in first if entry] == [(40, 30), (41, 30)]


def test_metadata_has_the_published_keys_in_their_order() -> None:
    shown = Image(
        url="http://host.example/img/mill.png",
        src="../img/mill.png",
        alt="A mill",
        filename="mill",
        rendered_width="50%",
        rendered_height="120px",
        format="png",
        width=640,
        height=480,
    )
    row = to_published(document("é", shown), None)
    assert json.loads(row["metadata"]) == [
        None,
        {
            "document_url": "http://host.example/page",
            "unformatted_src": "../img/mill.png",
            "src": "http://host.example/img/mill.png",
            "formatted_filename": "mill",
            "alt_text": "A mill",
            "rendered_width": 320,
            "rendered_height": 120,
            "original_width": 640,
            "original_height": 480,
            "format": "png",
        },
    ]
    assert list(json.loads(row["metadata"])[1]) == [
        *("document_url", "unformatted_src", "src", "formatted_filename", "alt_text"),
        *("rendered_width", "rendered_height", "original_width", "original_height", "format"),
    ]
    assert json.loads(row["general_metadata"]) == {
        "url": "http://host.example/page",
        "warc_filename": "0.warc.gz",
        "warc_record_offset": 0,
        "warc_record_length": 100,
    }
    assert row["images"] == [None, shown.url]


def test_a_typed_hole_says_after_what_it_stood_and_why() -> None:
    page = document("one", image(), "two", image(), "three")
    page.nodes = [page.nodes[0], page.nodes[2], page.nodes[4]]
    page.holes = [Hole(1, "gone", "http://host.example/a"), Hole(3, "opt_out_list", None)]
    row = to_published(page, None)
    assert row["texts"] == ["one", "two", "three"]
    assert json.loads(row["missing_images"]) == [
        {"after": 0, "reason": "gone", "src": "http://host.example/a"},
        {"after": 1, "reason": "opt_out_list", "src": None},
    ]


@pytest.mark.parametrize(
    ("stated", "expected"), [("", None), ("auto", None), ("640", 640), ("33.4", 33), ("50%", None)]
)
def test_a_size_that_the_page_does_not_state_is_null(stated: str, expected: int | None) -> None:
    row = to_published(document(image(rendered_width=stated)), None)
    assert json.loads(row["metadata"])[0]["rendered_width"] == expected


def test_an_image_is_the_bytes_that_were_served(tmp_path: Path) -> None:
    [page] = corpus(1)
    bytes_of = picture(5, format="jpeg")
    pixels = write_pixels(tmp_path / "pixels", [page], {page.images[0].url: bytes_of})
    done = run_stage(write_shards, BOTH, [page], tmp_path, pixels=pixels)
    assert done.rows("images-train")[0]["images"][1]["bytes"] == bytes_of


def test_pixels_of_documents_and_images_that_are_gone_are_passed_over(tmp_path: Path) -> None:
    pages = corpus(9)
    kept = [page for page in pages if page.row in (2, 3, 7)]
    done = exported(BOTH, kept, tmp_path, extra=[page for page in pages if page not in kept])
    rows = done.rows("images-train")
    assert [json.loads(row["general_metadata"])["url"] for row in rows] == [page.url for page in kept]
    assert [row["images"][1]["bytes"] for row in rows] == [picture(row, (40 + row, 30)) for row in (2, 3, 7)]


def test_a_form_that_is_not_asked_for_is_not_made_and_an_empty_shard_has_no_file(tmp_path: Path) -> None:
    assert set(exported(Export(forms=["urls"]), corpus(2), tmp_path / "a").receipt.tables) == {"urls-train"}
    nothing = exported(BOTH, [], tmp_path / "b").receipt
    assert (nothing.tables, nothing.notes) == ({}, {"splits": {}})


def test_what_is_in_a_shard_is_noted_for_each_split(tmp_path: Path) -> None:
    pages = [
        document("three words here", seen("http://a.example/1", 0), url=f"http://a.example/{n}", row=n)
        for n in range(40)
    ]
    receipt = exported(Export(validation=0.5), pages, tmp_path).receipt
    splits = receipt.notes["splits"]
    assert list(splits) == ["train", "validation"]
    assert sum(count["documents"] for count in splits.values()) == receipt.rows_out == 40
    for count in splits.values():
        assert count["words"] == 3 * count["documents"]
        assert count["images"] == count["documents"]


def test_the_split_of_an_address_never_changes_and_shares_are_as_asked_for() -> None:
    urls = [f"http://host{number}.example/page" for number in range(4000)]
    tenth, third = ({url for url in urls if split_of(url, share) == "validation"} for share in (0.1, 0.3))
    assert 300 < len(tenth) < 500
    assert 1000 < len(third) < 1400
    assert tenth < third  # a larger share adds to it
    assert {split_of(url, 0.0) for url in urls} == {"train"}
    assert [number for number in range(30) if urls[number] in tenth] == [7, 18, 23, 24]


def test_each_document_stands_in_the_file_of_its_split(tmp_path: Path) -> None:
    done = exported(Export(validation=0.3), corpus(60), tmp_path)
    for split in ("train", "validation"):
        for form in ("images", "urls"):
            rows = done.rows(f"{form}-{split}")
            assert rows
            assert {split_of(json.loads(row["general_metadata"])["url"], 0.3) for row in rows} == {split}


def test_row_groups_are_bounded_in_bytes_and_every_row_comes_back(tmp_path: Path) -> None:
    pages = corpus(40)
    for page in pages:
        page.images[0].size = len(picture(page.row, (40 + page.row, 30)))
    done = exported(Export(row_group_size=30_000), pages, tmp_path)
    path = f"{done.prefix}.images-train.parquet"
    found = pq.read_metadata(path)
    assert found.num_row_groups > 5
    assert max(found.row_group(i).total_byte_size for i in range(found.num_row_groups)) < 45_000
    assert [row["images"][1]["bytes"] for row in read_rows(path)] == [picture(row, (40 + row, 30)) for row in range(40)]
    assert pq.read_table(path).column("texts").to_pylist() == [
        [prose(row)[0], None, prose(row)[1]] for row in range(40)
    ]


def test_the_same_documents_are_the_same_bytes(tmp_path: Path) -> None:
    one, other = (exported(BOTH, corpus(5), tmp_path / name).receipt for name in ("one", "other"))
    assert one.tables == other.tables


def load(path: Path, tmp_path: Path, *name: str, **options: Any) -> Any:
    import datasets

    return datasets.load_dataset(str(path), *name, cache_dir=str(tmp_path / "cache"), **options)


def test_datasets_reads_a_published_file_and_decodes_its_images(tmp_path: Path) -> None:
    import datasets

    done = exported(Export(row_group_size=20_000), corpus(20), tmp_path)
    files = publish(stage_of(done), tmp_path / "corpus", ["images", "urls"])
    read = {
        form: datasets.load_dataset(
            "parquet", data_files=str(files[form]["train"][0]), split="train", cache_dir=str(tmp_path / "cache")
        )
        for form in files
    }
    assert isinstance(read["images"].features["images"].feature, datasets.Image)
    assert read["urls"].features["images"].feature == datasets.Value("string")
    row = read["images"][3]
    assert [isinstance(entry, Picture.Image) for entry in row["images"]] == [False, True, False]
    assert row["images"][1].size == (43, 30)
    assert row["texts"] == [prose(3)[0], None, prose(3)[1]]
    assert row["crawl_date"] == datetime(2026, 3, 10, 12, tzinfo=UTC)
    assert read["urls"][3]["images"] == [None, "http://host3.example/p.png", None]
    assert (len(read["images"]), len(read["urls"])) == (20, 20)


def test_datasets_streams_a_folder_with_its_splits(tmp_path: Path) -> None:
    done = exported(Export(validation=0.3), corpus(20), tmp_path)
    files = publish(stage_of(done), tmp_path / "corpus", ["images", "urls"])
    read = load(tmp_path / "corpus" / "images", tmp_path, streaming=True)
    assert set(read) == set(files["images"]) == {"train", "validation"}
    rows = [row for split in read.values() for row in split]
    assert len(rows) == 20
    assert all(row["images"][1].size[1] == 30 for row in rows)


def test_files_are_numbered_for_each_form_and_split_and_old_ones_go(tmp_path: Path) -> None:
    one = exported(Export(validation=0.3), corpus(20), tmp_path / "one")
    two = exported(Export(), corpus(4), tmp_path / "two")
    target = tmp_path / "corpus"
    first = publish(stage_of(one, two), target, ["images", "urls"])
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*.parquet")) == [
        f"{form}/{name}.parquet"
        for form in ("images", "urls")
        for name in ("train-00000-of-00002", "train-00001-of-00002", "validation-00000-of-00001")
    ]
    assert [path.name for path in first["urls"]["train"]] == [
        "train-00000-of-00002.parquet",
        "train-00001-of-00002.parquet",
    ]
    assert first["urls"]["train"][1].read_bytes() == Path(f"{two.prefix}.urls-train.parquet").read_bytes()
    (target / "README.md").write_text("card")
    second = publish(stage_of(two), target, ["urls"])
    assert [path.relative_to(target).as_posix() for path in target.rglob("*.parquet")] == [
        "urls/train-00000-of-00001.parquet"
    ]
    assert second == {"urls": {"train": [target / "urls" / "train-00000-of-00001.parquet"]}}
    assert (target / "README.md").exists()


def test_publishing_again_touches_nothing_and_what_changed_is_replaced(tmp_path: Path) -> None:
    one, two = (exported(BOTH, corpus(count), tmp_path / str(count)) for count in (3, 4))
    [path] = publish(stage_of(one), tmp_path / "corpus", ["urls"])["urls"]["train"]
    before = path.stat()
    publish(stage_of(one), tmp_path / "corpus", ["urls"])
    assert path.stat() == before
    publish(stage_of(two), tmp_path / "corpus", ["urls"])
    assert len(list(read_rows(path))) == 4
    assert len(one.rows("urls-train")) == 3
    assert not list((tmp_path / "corpus").rglob(".*"))


def test_a_shard_without_a_document_gets_no_number(tmp_path: Path) -> None:
    none, some = (exported(BOTH, corpus(count), tmp_path / str(count)) for count in (0, 2))
    assert [path.name for path in publish(stage_of(none, some), tmp_path / "c", ["urls"])["urls"]["train"]] == [
        "train-00000-of-00001.parquet"
    ]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([], []),
        ([10], [[0]]),
        ([40, 40, 40, 40], [[0, 1, 2], [3]]),
        ([100, 10, 100], [[0], [1, 2]]),
        ([10, 0, 10], [[0, 2]]),
        ([100, 0, 0], [[0]]),
        ([0, 0], []),
        ([250, 250], [[0], [1]]),
    ],
)
def test_neighbouring_shards_are_put_together_until_a_file_has_its_size(
    sizes: list[int], expected: list[list[int]]
) -> None:
    def stage(tables: bool) -> Stage:
        receipts = {
            shard: Receipt(
                "s",
                shard,
                "f",
                rows_out=min(1, size),
                bytes=0 if tables else size // 2,
                tables={"pixels": {"bytes": size - size // 2}},
            )
            for shard, size in enumerate(sizes)
        }
        return Stage("s", {}, {}, receipts)

    assert groups(stage(tables=False), stage(tables=True), 100) == expected
