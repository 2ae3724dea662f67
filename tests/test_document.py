"""The one schema: a document comes back from a Parquet file as it went in."""

import math
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.document import (
    END_OF_DOCUMENT,
    SCHEMA,
    Document,
    Hole,
    Image,
    Node,
    Signal,
    from_row,
    paragraphs,
    to_row,
)
from pipeline.storage import read_rows
from tests.documents import document, image, write_documents

texts = st.text(st.characters(exclude_categories=["Cs"]))
int32 = st.integers(0, 2**31 - 1)
images = st.builds(
    Image,
    **dict.fromkeys(["url", "src", "attribute", "alt", "title", "caption", "filename"], texts),
    **dict.fromkeys(["rendered_width", "rendered_height"], texts),
    format=st.none() | texts,
    width=st.none() | int32,
    height=st.none() | int32,
    size=st.none() | st.integers(0, 2**63 - 1),
    sha256=st.none() | texts,
)
nodes = st.builds(Node, position=int32, text=texts) | st.builds(Node, position=int32, image=images)
documents = st.builds(
    Document,
    shard=int32,
    row=int32,
    url=texts,
    warc_filename=texts,
    warc_record_offset=st.integers(0, 2**63 - 1),
    warc_record_length=st.integers(0, 2**63 - 1),
    crawl_date=st.datetimes(datetime(1996, 1, 1), datetime(2100, 1, 1)).map(
        lambda d: d.replace(microsecond=0, tzinfo=UTC)
    ),
    nodes=st.lists(nodes, max_size=4),
    signals=st.lists(st.builds(Signal, texts, texts, texts), max_size=2),
    holes=st.lists(st.builds(Hole, st.integers(0, 99), texts, st.none() | texts), max_size=2),
    language=st.none() | texts,
    language_score=st.none() | st.floats(0, 1, width=32),
)


@settings(deadline=None, max_examples=60)
@given(documents)
def test_a_document_comes_back_from_arrow_as_it_went_in(made: Document) -> None:
    [row] = pa.RecordBatch.from_pylist([to_row(made)], schema=SCHEMA).to_pylist()
    assert from_row(row) == made


def test_documents_come_back_from_a_file_in_their_order(tmp_path: Path) -> None:
    made = [document("first", image(width=3), "second", row=row) for row in range(600)]
    write_documents(tmp_path / "00000", made)
    assert [from_row(row) for row in read_rows(tmp_path / "00000.documents.parquet")] == made


def test_an_image_with_empty_values_stays_an_image() -> None:
    [row] = pa.RecordBatch.from_pylist([to_row(document("text", Image("", "")))], schema=SCHEMA).to_pylist()
    assert [node.image is None for node in from_row(row).nodes] == [True, False]


def test_columns_that_are_no_field_are_passed_over() -> None:
    made = document("text")
    assert from_row(to_row(made) | {"added_later": 7}) == made


def test_every_field_of_a_document_has_a_column_and_no_column_is_without() -> None:
    assert list(to_row(document("text"))) == SCHEMA.names


def test_a_score_keeps_the_precision_of_its_column() -> None:
    made = document("text")
    made.language_score = 0.8
    [row] = pa.RecordBatch.from_pylist([to_row(made)], schema=SCHEMA).to_pylist()
    assert math.isclose(row["language_score"], np.float32(0.8))


def test_marks_of_an_end_are_no_texts_and_images_are_no_texts() -> None:
    made = document("one", END_OF_DOCUMENT, image("http://a.example/i"), "two")
    assert made.texts == ["one", "two"]
    assert [found.url for found in made.images] == ["http://a.example/i"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a\n\nb", ["a", "b"]), ("a\nb", ["a\nb"]), ("", [""]), ("a\n\n\n\nb", ["a", "", "b"])],
)
def test_paragraphs_stand_between_blank_lines_and_join_to_the_same_text(text: str, expected: list[str]) -> None:
    assert paragraphs(text) == expected
    assert "\n\n".join(paragraphs(text)) == text
