"""What lies on disk: inputs are found or refused by name, outputs are whole or not there, rows come back."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import StorageFull, UserError
from pipeline.storage import (
    TableWriter,
    aside,
    identity,
    list_warcs,
    read_rows,
    remove_leftovers,
    sha256_of,
    write_json,
)
from tests.conftest import ROOT


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    for name in ("b.warc.gz", "a.warc", "deep/c.arc.gz", "deep/d.arc", "notes.txt", "deep/e.warc.gz.part"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ([""], ["a.warc", "b.warc.gz", "deep/c.arc.gz", "deep/d.arc"]),
        (["b.warc.gz", "a.warc"], ["a.warc", "b.warc.gz"]),
        (["deep", "deep/d.arc"], ["deep/c.arc.gz", "deep/d.arc"]),
        (["*.warc*"], ["a.warc", "b.warc.gz"]),
        (["**/*.arc"], ["deep/d.arc"]),
        (["[ab].*", "b.warc.gz"], ["a.warc", "b.warc.gz"]),
        (["notes.txt"], ["notes.txt"]),  # a file that is named is taken at its word; reading it will tell
    ],
)
def test_paths_folders_and_globs_are_listed_sorted_and_once(
    named: list[str], expected: list[str], inputs: Path
) -> None:
    assert list_warcs([str(inputs / name) for name in named]) == [str(inputs / name) for name in expected]


def test_an_input_that_is_missing_or_empty_is_refused_by_name(inputs: Path) -> None:
    (inputs / "empty").mkdir()
    for name, problem in (
        ("nowhere", "no such file or folder"),
        ("empty", "holds no file named"),
        ("*.zip", "holds no file"),
    ):
        with pytest.raises(UserError) as caught:
            list_warcs([str(inputs / "a.warc"), str(inputs / name)])
        assert str(caught.value).startswith(f"input.paths: {inputs / name}: {problem}")


def test_an_input_is_known_by_its_name_its_size_and_both_ends(tmp_path: Path) -> None:
    file = tmp_path / "a.warc"
    large = b"a" * 200_000
    seen = set()
    for content in (b"", b"x", b"y", large, b"b" + large[1:], large[1:] + b"b", large + b"a"):
        file.write_bytes(content)
        seen.add(identity(str(file)))
    assert len(seen) == 7
    before = identity(str(file))
    os.utime(file, (1, 1))
    assert identity(str(file)) == before
    (tmp_path / "other").mkdir()
    moved = file.rename(tmp_path / "other" / "a.warc")
    assert identity(str(moved)) == before
    assert identity(str(moved.rename(tmp_path / "b.warc"))) != before


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before")
    with aside(target) as temporary:
        temporary.write_text("after")
        assert temporary.parent == target.parent
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("error", [ValueError("no"), OSError(errno.EIO, "I/O"), KeyboardInterrupt()])
def test_a_failure_removes_the_temporary_keeps_what_was_there_and_goes_on_up(
    error: BaseException, tmp_path: Path
) -> None:
    target = tmp_path / "out.txt"
    target.write_text("before")

    def write() -> None:
        with aside(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_text() == "before"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_one_line_that_says_what_to_do(code: int, tmp_path: Path) -> None:
    def write() -> None:
        with aside(tmp_path / "out.txt") as temporary:
            temporary.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(StorageFull) as caught:
        write()
    assert (
        str(caught.value)
        == f"{tmp_path / 'out.txt'}: {os.strerror(code)}; what was finished is kept: make room, run again"
    )
    assert caught.value.status == 1
    assert list(tmp_path.iterdir()) == []


LIMITED = """
import os, resource, sys
from pathlib import Path
import pyarrow as pa
from pipeline.errors import StorageFull
from pipeline.storage import TableWriter, aside, write_json

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
folder = Path(sys.argv[1])

def table():
    with aside(folder / "table.parquet") as path:
        writer = TableWriter(path, pa.schema([("data", pa.binary())]), row_group_size=1000)
        for _ in range(100):
            writer.write({"data": os.urandom(1000)}, 1000)
        writer.close()

def json():
    write_json(folder / "receipt.json", "x" * 100_000)

for write in (table, json):
    try:
        write()
    except StorageFull as error:
        print(error)
print(sorted(os.listdir(folder)))
"""


def test_a_write_that_the_system_refuses_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], check=True, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'table.parquet'}: File too large; what was finished is kept: make room, run again",
        f"{tmp_path / 'receipt.json'}: File too large; what was finished is kept: make room, run again",
        "[]",
    ]


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.parquet", ".hidden", "x.tmp", "deep/.a.parquet.77.tmp", ".b.scratch.tmp/1", "deep/.c.tmp/d/.e.tmp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".hidden", "a.parquet", "deep", "x.tmp"]


def test_json_is_written_as_utf8_with_a_line_at_its_end(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"rule": "é"})
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == '{\n "rule": "é"\n}\n'


LISTS = pa.schema(
    [
        ("number", pa.int32()),
        ("images", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())]))),
        ("texts", pa.list_(pa.string())),
    ]
)


def row(number: int, size: int) -> dict[str, Any]:
    picture = {"bytes": os.urandom(size), "path": f"http://a.example/{number}"}
    return {"number": number, "images": [None, picture, None], "texts": ["a", None, "b"] * (number % 3)}


def written(path: Path, rows: list[dict[str, Any]], row_group_size: int, sized: bool = True) -> pq.FileMetaData:
    writer = TableWriter(path, LISTS, row_group_size)
    for made in rows:
        writer.write(made, len(made["images"][1]["bytes"]) if sized else 0)
    writer.close()
    assert writer.rows == len(rows)
    return pq.read_metadata(path)


def test_lists_over_several_row_groups_come_back_as_they_went_in(tmp_path: Path) -> None:
    rows = [row(number, 2000) for number in range(700)]
    found = written(tmp_path / "a.parquet", rows, 100_000)
    assert found.num_row_groups > 10
    assert list(read_rows(tmp_path / "a.parquet")) == rows
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == rows
    assert [made["number"] for made in read_rows(tmp_path / "a.parquet", ["number"])] == list(range(700))


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("sizes", [[3000], [49_999, 10, 50_001], [100, 30_000], [10] * 600 + [90_000, 10]])
def test_row_groups_are_bounded_in_bytes_and_not_needlessly_many(sizes: list[int], sized: bool, tmp_path: Path) -> None:
    limit = 100_000
    rows = [row(number, sizes[number % len(sizes)]) for number in range(1300)]
    found = written(tmp_path / "a.parquet", rows, limit, sized)
    groups = [found.row_group(i) for i in range(found.num_row_groups)]
    bytes_of = [group.total_byte_size for group in groups]
    assert sum(group.num_rows for group in groups) == 1300
    if sized or len(sizes) < 3:  # rows whose sizes differ a thousandfold and were not told are cut by their number
        assert max(bytes_of) <= 1.5 * limit
    assert len(groups) < 2 * sum(bytes_of) / limit + 2


def test_a_row_larger_than_a_row_group_has_one_of_its_own(tmp_path: Path) -> None:
    found = written(tmp_path / "a.parquet", [row(0, 10), row(1, 500_000), row(2, 10)], 100_000)
    assert max(found.row_group(i).total_byte_size for i in range(found.num_row_groups)) < 510_000
    assert [made["number"] for made in read_rows(tmp_path / "a.parquet")] == [0, 1, 2]


def test_a_table_without_rows_is_a_table_with_its_columns(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", [], 1000)
    assert list(read_rows(tmp_path / "a.parquet")) == []
    assert pq.read_schema(tmp_path / "a.parquet").equals(LISTS)


def test_the_same_rows_are_the_same_bytes(tmp_path: Path) -> None:
    rows = [row(number, 3000) for number in range(100)]
    for name in ("a", "b"):
        written(tmp_path / name, rows, 50_000)
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")


def test_a_row_of_another_shape_is_an_error_and_the_file_is_closed(tmp_path: Path) -> None:
    writer = TableWriter(tmp_path / "a.parquet", LISTS)
    writer.write({"number": "seven", "images": [], "texts": []})
    with pytest.raises((pa.ArrowInvalid, TypeError)):
        writer.close()
