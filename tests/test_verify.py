"""A finished run and a corpus are read back: whatever is damaged in a copy is told in a line that names the file."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import places
from pipeline.cli import main
from pipeline.config import Images
from pipeline.errors import UserError
from pipeline.pieces import Piece, check_each
from pipeline.places import place, read_bytes, remove
from pipeline.storage import TableWriter
from pipeline.verify import verify
from pipeline.versions import digest
from tests.conftest import ROOT
from tests.crawls import crawl, picture
from tests.test_run import write_configuration

TEXT = "stages/text/00001.documents.parquet"
IMAGES = "stages/export/00000.images-train.parquet"
CORPUS = "corpus/images/train-00000-of-00001.parquet"
ANSWER = "stages/nearest_record/answer/shard=1/data_0.parquet"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a small run that has come to its end."""
    folder = tmp_path_factory.mktemp("run")
    crawl(folder / "crawl")
    path = write_configuration(folder, export={"validation": 0.0, "row_group_size": "100 kB"})
    assert main(["run", str(path)]) == 0
    return path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of its folder."""
    return Path(shutil.copytree(finished.parent / "out", tmp_path / "copy"))


@pytest.fixture
def corpus(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.parent / "out" / "corpus", tmp_path / "corpus"))


def told(folder: Path) -> list[str]:
    lines: list[str] = []
    assert verify(folder, Images(), 0, lines.append).problems == len(lines)
    return lines


def flip(path: Path) -> None:
    """Other bits at the end of the first column of the first row group."""
    column = pq.read_metadata(path).row_group(0).column(0)
    begins = column.dictionary_page_offset or column.data_page_offset
    data = bytearray(path.read_bytes())
    data[begins + column.total_compressed_size - 2] ^= 0xFF
    path.write_bytes(data)


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    about = json.loads(path.read_text())
    change(about)
    path.write_text(json.dumps(about))


def rewrite(run: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the second row of the published images, and whatever tells of the file as well."""
    path = run / IMAGES
    rows = pq.read_table(path).to_pylist()
    change(rows[1])
    writer = TableWriter(path, pq.read_schema(path), 10**9)
    for row in rows:
        writer.write(row)
    writer.close()
    said = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

    def adjust(receipt: dict[str, Any]) -> None:
        receipt["tables"]["images-train"] |= said
        receipt["bytes"] = sum(table["bytes"] for table in receipt["tables"].values())

    edit(path.with_name("00000.json"), adjust)
    (run / CORPUS).unlink()
    os.link(path, run / CORPUS)
    sums = (run / "corpus" / "SHA256SUMS").read_text().splitlines()
    others = [line for line in sums if "images/" not in line]
    (run / "corpus" / "SHA256SUMS").write_text(
        "".join(line + "\n" for line in [f"{said['sha256']}  {CORPUS[7:]}", *others])
    )


def test_a_finished_run_and_a_copy_of_it_are_as_they_were_written(finished: Path, run: Path) -> None:
    lines: list[str] = []
    done = verify(finished.parent / "out", Images(), 0, lines.append)
    assert lines == []
    assert done.receipts > 30
    assert (done.found.images, done.found.files) == (12, len(list(run.glob("stages/**/*.parquet"))))
    copied = verify(run, Images(), 0, lines.append)  # the names of the corpus are files of their own here
    assert lines == []
    assert copied.found.files == done.found.files + 2


@pytest.mark.parametrize("file", [TEXT, IMAGES, CORPUS])
def test_a_flipped_byte_is_told_with_its_row_group(file: str, run: Path) -> None:
    flip(run / file)
    wrong, where = told(run)
    assert re.fullmatch(rf"{file}: its SHA-256 is \w{{16}}…; it was written with \w{{16}}…", wrong)
    assert re.fullmatch(rf"{file}: row group 0: cannot be read: .*CRC.*", where)


def test_a_flipped_byte_of_an_answer_is_told(run: Path) -> None:
    flip(run / ANSWER)
    assert told(run)[0].startswith(f"{ANSWER}: its SHA-256 is ")


@pytest.mark.parametrize("file", [TEXT, IMAGES, CORPUS, ANSWER])
def test_a_truncated_file_is_told(file: str, run: Path) -> None:
    size = (run / file).stat().st_size
    os.truncate(run / file, size - 10)
    assert told(run) == [f"{file}: has {size - 10:,} bytes; it was written with {size:,}"]


@pytest.mark.parametrize("file", [TEXT, IMAGES, CORPUS, ANSWER])
def test_a_missing_file_is_told(file: str, run: Path) -> None:
    (run / file).unlink()
    assert told(run)[0] == f"{file}: is missing"


def test_a_missing_receipt_is_told_by_what_stands_there_and_by_who_read_it(run: Path) -> None:
    (run / "stages" / "text" / "00001.json").unlink()
    assert told(run) == [
        f"{TEXT}: no receipt tells of it",
        "stages/scores/00001.json: what it read as documents stands nowhere in this folder: it is missing, or was made anew "
        "since",
    ]


def test_a_shard_that_is_gone_with_its_receipt_is_told(run: Path) -> None:
    for path in (run / "stages" / "documents").glob("00001.*"):
        path.unlink()
    assert told(run)[:2] == [
        "stages/documents/00001.json: is missing; run.json counts 3 shards",
        "stages/text/00001.json: what it read as documents stands nowhere in this folder: it is missing, or was made anew "
        "since",
    ]


@pytest.mark.parametrize("stage", "keys images final export".split())
def test_a_shard_that_is_gone_from_any_stage_is_missed_by_who_read_it(stage: str, run: Path) -> None:
    for path in (run / "stages" / stage).glob("00000.*"):
        path.unlink()
    lines = told(run)
    assert lines
    assert all("stands nowhere" in line or "no receipt tells" in line or line.startswith("corpus/") for line in lines)


@pytest.mark.parametrize(
    "file", ["stages/text/00007.documents.parquet", "stages/text/00001.more.parquet", "corpus/urls/train-00001-of-00002.parquet",
             "stages/nearest_record/answer/shard=9/data_0.parquet"],
)  # fmt: skip
def test_an_extra_file_is_told(file: str, run: Path) -> None:
    (run / file).parent.mkdir(exist_ok=True)
    shutil.copy(run / TEXT, run / file)
    assert told(run) == [f"{file}: no receipt tells of it"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda r: r.update(rows_out=5), "counts 5 documents that were kept, its table has 4 rows"),
        (lambda r: r.update(rows_in=9), "counts 9 documents in, 4 out, 0 dropped"),
        (lambda r: r.update(drops={"image": {"nsfw": 2}}), "counts 2 drops, its ledger has 0 rows"),
        (lambda r: r.update(bytes=1), "says 1 bytes, and "),
        (lambda r: r.update(fingerprint="0" * 24), "its fingerprint is not that of what it was made of"),
        (lambda r: r.update(of="0" * 24), "its fingerprint is not that of what it was made of"),
        (lambda r: r["read"].update(documents="0" * 24), "what it read as documents stands nowhere in this folder"),
        (lambda r: r.update(stage="final"), "is the receipt of final, 00001"),
        (lambda r: r.update(error="ValueError: no"), "the shard failed: ValueError: no"),
        (lambda r: r.pop("shard"), "is no whole receipt"),
        (lambda r: r["tables"]["documents"].update(rows=3), "counts 4 documents that were kept, its table has 3 rows"),
    ],
)  # fmt: skip
def test_a_receipt_that_was_changed_is_told(change: Callable[[dict[str, Any]], object], line: str, run: Path) -> None:
    edit(run / "stages" / "text" / "00001.json", change)
    assert any(problem.startswith(f"stages/text/00001.json: {line}") for problem in told(run))


def test_the_checksum_that_a_receipt_tells_is_held_against_the_file(run: Path) -> None:
    edit(run / "stages" / "text" / "00001.json", lambda r: r["tables"]["documents"].update(sha256="0" * 64))
    assert told(run)[0].startswith(f"{TEXT}: its SHA-256 is ")


def test_a_shard_that_was_made_anew_is_missed_by_what_was_made_of_the_old_one(run: Path) -> None:
    def anew(receipt: dict[str, Any]) -> None:
        receipt["of"] = "other settings"
        receipt["fingerprint"] = digest([receipt["of"], receipt["read"]])

    edit(run / "stages" / "final" / "00002.json", anew)
    [line] = told(run)
    assert line.startswith("stages/export/00000.json: what it read as documents stands nowhere in this folder")


def replace_image(row: dict[str, Any]) -> None:
    place = next(i for i, image in enumerate(row["images"]) if image)
    row["images"][place]["bytes"] = picture(999, (210, 160))


def cut_image(row: dict[str, Any]) -> None:
    place = next(i for i, image in enumerate(row["images"]) if image)
    row["images"][place]["bytes"] = row["images"][place]["bytes"][:1000]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            replace_image,
            ["place 1: another image: its SHA-256 is", "place 1: the image is 210 x 160 png, its row says 200 x 160"],
        ),
        (cut_image, ["place 1: the image does not decode: truncated"]),
        (lambda row: row["texts"].__setitem__(0, None), ["place 0: neither text and image; expected one of them"]),
        (lambda row: row["texts"].__setitem__(1, "both"), ["place 1: both text and image; expected one of them"]),
        (
            lambda row: row["texts"].append("more"),
            ["the lists are not parallel: texts 3, images 2, metadata 2, image_scores 2"],
        ),
        (lambda row: row.update(metadata="[1,"), ["metadata is no JSON: "]),
        (lambda row: row.update(general_metadata="[]"), ["general_metadata is no JSON object"]),
        (lambda row: row.update(metadata="[null, null]"), ["place 1: an image has no metadata"]),
        (lambda row: row.update(missing_images=None), ["missing_images is no JSON: "]),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_told_though_all_checksums_agree(
    change: Callable[[dict[str, Any]], object], lines: list[str], run: Path
) -> None:
    rewrite(run, change)
    found = told(run)
    assert len(found) == len(lines)
    for problem, line in zip(found, lines, strict=True):
        assert problem.startswith(f"{IMAGES}: row group 0, row 1: {line}")


def test_columns_that_are_not_those_of_the_table_are_told(run: Path) -> None:
    path = run / "stages" / "keys" / "00001.pages.parquet"
    table = pq.read_table(path)
    pq.write_table(table.append_column("more", pa.nulls(table.num_rows, pa.int8())), path)
    said = {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    edit(path.with_name("00001.json"), lambda receipt: receipt["tables"]["pages"].update(said))
    assert "stages/keys/00001.pages.parquet: its columns are not those of stages/keys/00000.pages.parquet" in told(run)
    pq.write_table(pq.read_table(run / TEXT).drop_columns(["url"]), run / TEXT)
    said = {"bytes": (run / TEXT).stat().st_size, "sha256": hashlib.sha256((run / TEXT).read_bytes()).hexdigest()}
    edit(run / "stages" / "text" / "00001.json", lambda receipt: receipt["tables"]["documents"].update(said))
    assert f"{TEXT}: its columns are not those of documents: url is none, expected string" in told(run)


def test_what_a_process_left_behind_is_told(run: Path) -> None:
    (run / "stages" / "text" / ".00001.documents.parquet.77.tmp").touch()
    assert told(run) == ["stages/text/.00001.documents.parquet.77.tmp: was left by a process that ended while it wrote"]


def test_stages_that_the_run_names_and_the_folder_lacks_are_told(run: Path) -> None:
    shutil.rmtree(run / "stages" / "saving")
    assert told(run) == ["stages/saving: is missing; run.json names it"]


def test_a_run_that_has_not_come_to_its_end_is_told(run: Path) -> None:
    edit(run / "run.json", lambda about: about["stages"].remove("export"))
    assert told(run)[0] == "run.json: the run has not come to its end: no stage export; run it again"


def test_the_card_and_the_checksums_belong_to_a_corpus(run: Path) -> None:
    (run / "corpus" / "README.md").unlink()
    (run / "corpus" / "SHA256SUMS").unlink()
    assert told(run) == ["corpus/README.md: is missing", "corpus/SHA256SUMS: does not say what the receipts say"]


def test_a_corpus_alone_is_as_it_was_written_and_other_tools_agree(corpus: Path) -> None:
    assert told(corpus) == []
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=corpus, check=True, capture_output=True)


def test_what_is_damaged_in_a_corpus_alone_is_told(corpus: Path) -> None:
    flip(corpus / CORPUS[7:])
    wrong, where = told(corpus)
    assert wrong.startswith(f"{CORPUS[7:]}: its SHA-256 is ")
    assert where.startswith(f"{CORPUS[7:]}: row group 0: cannot be read: ")
    (corpus / "SHA256SUMS").unlink()  # pages carry checksums of their own
    missing, again = told(corpus)
    assert missing == "SHA256SUMS: is missing: whether the files are those that were written is not known"
    assert again == where


def test_what_is_missing_or_too_much_in_a_corpus_alone_is_told(corpus: Path) -> None:
    shutil.copy(corpus / "urls" / "train-00000-of-00001.parquet", corpus / "urls" / "train-00001-of-00003.parquet")
    assert told(corpus) == [
        "urls/train-00001-of-00003.parquet: SHA256SUMS does not name it",
        "urls/train-00000-of-00003.parquet: is missing",
        "urls/train-00002-of-00003.parquet: is missing",
        "train: not as many rows in each form: images 12, urls 24",
    ]
    (corpus / "urls" / "train-00001-of-00003.parquet").unlink()
    (corpus / CORPUS[7:]).unlink()
    assert told(corpus)[0] == f"{CORPUS[7:]}: is missing"


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: None], ids=["empty", "absent"])
def test_a_folder_that_holds_neither_is_a_mistake(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "x")
    with pytest.raises(UserError, match="x: holds neither a run nor a corpus"):
        verify(tmp_path / "x", Images(), 0, print)


def test_a_run_on_a_store_is_verified_there(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places._here, "folder", tmp_path / "scratch")
    monkeypatch.setattr(places._here, "settings", None)
    out = place("memory://verified/out")
    changes = [f"output={out}", "engine.workers=0", "text.document.number_of_words.max=2001"]
    sets = [part for change in changes for part in ("--set", change)]
    assert main(["run", str(finished), *sets]) == 0
    assert told(out) == []
    assert told(out / "corpus") == []
    data = bytearray(read_bytes(out / TEXT))
    out.fs.pipe_file((out / TEXT).path, bytes(data[:-1]))  # type: ignore[attr-defined]
    remove([out / IMAGES])
    [short, missing] = told(out)
    assert short == f"{TEXT}: has {len(data) - 1:,} bytes; it was written with {len(data):,}"
    assert missing == f"{IMAGES}: is missing"


class Deadly(Piece):
    """Ends the process that takes it up."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (9,)


def test_a_file_that_kills_its_reader_costs_a_line_and_nothing_else(finished: Path) -> None:
    out = finished.parent / "out"
    whole = [Piece(out, f"stages/text/{shard:05d}") for shard in range(3)]
    pieces = [whole[0], Deadly(out, "stages/bad/00000"), *whole[1:]]
    found = [found.problems for _, found in check_each(pieces, 2, None, Images())]
    assert found == [[], ["stages/bad/00000: reading it ends the process that reads"], [], []]


def test_a_reader_that_dies_before_further_files_are_handed_out_costs_its_line_alone(finished: Path) -> None:
    out = finished.parent / "out"
    good = Piece(out, "stages/text/00000")
    pieces = [good, Deadly(out, "stages/bad/00000"), *[good] * 5]
    found = []
    for _, one in check_each(pieces, 1, None, Images()):
        found.append(one.problems)
        if len(found) == 1:
            time.sleep(2)  # meanwhile the reader meets the second file
    assert found == [[], ["stages/bad/00000: reading it ends the process that reads"], [], [], [], [], []]


def test_the_command_says_all_is_well_or_what_is_not_whatever_the_processes(
    finished: Path, run: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(finished), "--workers", "1"]) == 0
    assert capfd.readouterr().out.endswith("read back: all as it was written\n")
    flip(run / TEXT)
    os.truncate(run / ANSWER, 9)
    command = [sys.executable, "-m", "pipeline", "verify", str(run), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[:-1] == told(run)
    assert done.stdout.endswith(" 3 problems\n")
    assert main(["verify", str(run.parent / "nothing.yaml")]) == 2
    assert capfd.readouterr().err == f"carnac: {run.parent / 'nothing.yaml'}: No such file or directory\n"
