"""A job: its tables and its receipt appear together, or a receipt with an error alone; what is done is known as done."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from filters.verdict import Verdict
from pipeline.config import Config, RuleSet
from pipeline.document import Document
from pipeline.engine import LocalEngine, Spare
from pipeline.errors import StorageFull
from pipeline.job import perform, read_counters
from pipeline.judge import judge
from pipeline.run import Run
from pipeline.stages import Stage
from pipeline.storage import read_rows, sha256_of, write_json
from pipeline.work import COUNTERS, EXCERPT, WORKER_DIED, Receipt, Work, read_receipt, write_receipt
from pipeline.worker import Death, Shard
from tests.conftest import ROOT
from tests.documents import document, image, job, run_stage, write_documents, write_verdicts

NUMBERS = pa.schema([("number", pa.int64())])


def keep_even(work: Work, settings: Any) -> None:
    for page in work.documents():
        if page.row % 2:
            work.drop(page, "document", "odd", Verdict(False, page.row, "even"), "an excerpt")
        else:
            work.keep(page)
    work.notes = {"seen": work.rows_in}


def keep_below(work: Work, settings: int) -> None:
    for page in work.documents():
        if page.row < settings:
            work.keep(page)
        else:
            work.drop(page, "document", "high", Verdict(False, page.row, f"below {settings}"))


def fail_late(work: Work, settings: type[BaseException]) -> None:
    table = work.table("numbers", NUMBERS, row_group_size=100)
    for page in work.documents():
        table.write({"number": page.row})
        work.keep(page)
        work.drop(page, "image", "none", Verdict(False, 0, "1"))
    (work.scratch / "file").write_text("x")
    raise settings("the third page is\nof no use")


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def pages(count: int) -> list[Document]:
    return [document(f"page {row}", image(), row=row) for row in range(count)]


def test_a_receipt_tells_what_the_tables_hold(tmp_path: Path) -> None:
    done = run_stage(keep_even, None, pages(5), tmp_path)
    receipt = done.receipt
    assert (receipt.stage, receipt.shard, receipt.fingerprint) == ("keep_even", 0, "fingerprint")
    assert (receipt.rows_in, receipt.rows_out, receipt.error, receipt.trace) == (5, 3, None, [])
    assert receipt.drops == {"document": {"odd": 2}}
    assert receipt.notes == {"seen": 5}
    assert [page.row for page in done.kept] == [0, 2, 4]
    assert set(receipt.tables) == {"documents", "ledger"}
    for name, table in receipt.tables.items():
        path = Path(f"{done.prefix}.{name}.parquet")
        assert table == {"rows": len(done.rows(name)), "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    assert receipt.bytes == sum(table["bytes"] for table in receipt.tables.values())
    assert files(tmp_path / "stages") == [
        f"keep_even/00000.{name}" for name in ("documents.parquet", "json", "ledger.parquet")
    ]


def test_the_same_job_leaves_the_same_tables(tmp_path: Path) -> None:
    one, other = (run_stage(keep_even, None, pages(700), tmp_path / name).receipt for name in ("one", "other"))
    assert one.tables == other.tables


def test_a_task_that_raises_leaves_a_receipt_with_the_error_and_nothing_else(tmp_path: Path) -> None:
    failing = job(fail_late, ValueError, tmp_path, documents=write_documents(tmp_path / "in" / "00000", pages(700)))
    perform(failing)
    receipt = read_receipt(failing.prefix)
    assert receipt is not None
    assert receipt.error == "ValueError: the third page is\nof no use"
    assert any("fail_late" in line for line in receipt.trace)
    assert (receipt.tables, receipt.rows_out, receipt.bytes) == ({}, 0, 0)
    assert files(tmp_path / "stages") == ["fail_late/00000.json"]
    assert not list(tmp_path.rglob(".*.tmp"))


@pytest.mark.parametrize("error", [StorageFull, KeyboardInterrupt])
def test_a_full_disk_or_an_interruption_is_no_fault_of_the_shard(error: type[BaseException], tmp_path: Path) -> None:
    stopped = job(fail_late, error, tmp_path, documents=write_documents(tmp_path / "in" / "00000", pages(2)))
    with pytest.raises(error):
        perform(stopped)
    assert read_receipt(stopped.prefix) is None
    assert files(tmp_path / "stages") == []
    assert not list(tmp_path.rglob(".*.tmp"))


def test_a_job_that_fails_where_one_succeeded_leaves_nothing_of_the_earlier_one(tmp_path: Path) -> None:
    made = write_documents(tmp_path / "in" / "00000", pages(4))
    first = job(keep_below, 9, tmp_path, documents=made)
    perform(first)
    second = job(keep_below, "nine", tmp_path, documents=made)
    perform(second)
    receipt = read_receipt(second.prefix)
    assert receipt is not None
    assert str(receipt.error).startswith("TypeError")
    assert files(tmp_path / "stages") == ["keep_below/00000.json"]


def test_tables_of_an_earlier_state_go_with_it_and_are_never_read_for_the_new_one(tmp_path: Path) -> None:
    made = write_documents(tmp_path / "in" / "00000", pages(4))
    perform(job(keep_below, 9, tmp_path, documents=made))
    assert files(tmp_path / "stages") == ["keep_below/00000.documents.parquet", "keep_below/00000.json"]
    nothing = job(keep_below, 0, tmp_path, documents=made)
    perform(nothing)
    assert files(tmp_path / "stages") == ["keep_below/00000.json", "keep_below/00000.ledger.parquet"]
    later = job(keep_even, None, tmp_path, documents=(str(nothing.prefix),))
    perform(later)
    receipt = read_receipt(later.prefix)
    assert receipt is not None
    assert (receipt.rows_in, receipt.rows_out) == (0, 0)


def test_the_tables_of_other_shards_stay(tmp_path: Path) -> None:
    made = write_documents(tmp_path / "in" / "00000", pages(4))
    for shard in (1, 10, 100000, 100001):
        perform(job(keep_below, 9, tmp_path, shard, documents=made))
    perform(job(keep_below, 0, tmp_path, 10000, documents=made))
    assert sum(name.endswith("documents.parquet") for name in files(tmp_path / "stages")) == 4


FULL = """
import resource, sys
from pathlib import Path
from pipeline.errors import StorageFull
from tests.documents import job
from tests.test_work import keep_even
from pipeline.job import perform

folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
try:
    perform(job(keep_even, None, folder, documents=(str(folder / "in" / "00000"),)))
except StorageFull as error:
    print(error)
"""


def test_a_job_for_which_there_is_no_room_leaves_no_receipt_and_no_table(tmp_path: Path) -> None:
    many = [document(os.urandom(500).hex(), image(), row=row) for row in range(300)]
    write_documents(tmp_path / "in" / "00000", many)
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path)], check=True, capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.stdout.endswith(": File too large; what was finished is kept: make room, run again\n")
    assert files(tmp_path / "stages") == []


def test_a_drop_is_a_line_of_the_ledger_with_a_bounded_excerpt_on_one_line(tmp_path: Path) -> None:
    def drop(work: Work, settings: Any) -> None:
        for page in work.documents():
            work.drop(page, "paragraph", "r", Verdict(False, 1 / 3, "b"), "a \n\t b" * 10**6, 3, 2)
            work.drop(page, "image", "r", Verdict(False, "120 x 90", "b"), "", 0)
            work.drop(page, "document", "s", Verdict(False, 10**7, "b"))

    done = run_stage(drop, None, [document("text", shard=0, row=4)], tmp_path)
    assert done.receipt.drops == {"document": {"s": 1}, "image": {"r": 1}, "paragraph": {"r": 1}}
    first, second, third = done.ledger
    assert len(first["excerpt"]) <= EXCERPT
    assert first["excerpt"].startswith("a ba b")
    assert [(line["value"], line["position"], line["paragraph"]) for line in done.ledger] == [
        ("0.333333", 3, 2),
        ("120 x 90", 0, None),
        ("10000000", None, None),
    ]
    assert {(line["shard"], line["row"], line["url"]) for line in (first, second, third)} == {
        (0, 4, "http://host.example/page")
    }


def test_several_inputs_of_one_name_are_read_one_after_the_other_and_a_missing_table_is_no_row(tmp_path: Path) -> None:
    one = write_documents(tmp_path / "in" / "00003", pages(2))
    two = write_documents(tmp_path / "in" / "00001", [document("other", shard=1)])
    both = job(keep_below, 9, tmp_path, documents=(*one, str(tmp_path / "in" / "00002"), *two))
    perform(both)
    kept = read_rows(Path(f"{both.prefix}.documents.parquet"))
    assert [(row["shard"], row["row"]) for row in kept] == [(0, 0), (0, 1), (1, 0)]


def test_verdicts_are_those_of_the_shard_and_none_where_nobody_asked(tmp_path: Path) -> None:
    seen = []

    def look(work: Work, settings: Any) -> None:
        seen.append((work.verdicts("asked"), work.verdicts("empty"), work.verdicts("never")))

    write_verdicts(tmp_path / "asked", 10, [{"row": 9}])
    asked = write_verdicts(tmp_path / "asked", 1, [{"row": 1}, {"row": 2}])
    perform(job(look, None, tmp_path, shard=1, asked=asked, empty=()))
    assert seen == [([{"row": 1}, {"row": 2}], [], [])]


def test_the_scratch_folder_lasts_as_long_as_the_job(tmp_path: Path) -> None:
    seen = []

    def use(work: Work, settings: Any) -> None:
        folder = work.scratch
        (folder / "file").write_text("x")
        seen.append(folder)

    perform(job(use, None, tmp_path))
    assert not seen[0].exists()
    assert seen[0].parent == tmp_path / "stages" / "use"


def test_progress_stands_in_the_slot_of_the_job(tmp_path: Path) -> None:
    made = job(keep_even, None, tmp_path, documents=write_documents(tmp_path / "in" / "00000", pages(5)))
    slot = type(made)(**{**vars(made), "slot": 3})
    perform(slot)
    assert read_counters(slot.counters, [3]) == [(5, 5, 0)]
    assert slot.counters.stat().st_size == 4 * COUNTERS.size


def test_a_document_on_which_the_worker_died_is_dropped_and_told_and_the_rest_is_kept(tmp_path: Path) -> None:
    made = job(keep_even, None, tmp_path, documents=write_documents(tmp_path / "in" / "00000", pages(5)))
    perform(replace(made, deadly={2: Death("the worker died twice (SIGSEGV)", ["a stack"])}))
    receipt = read_receipt(made.prefix)
    assert receipt is not None
    assert (receipt.rows_in, receipt.rows_out) == (5, 2)
    assert receipt.drops["document"][WORKER_DIED] == 1
    assert receipt.trace == ["the worker died twice (SIGSEGV)", "a stack"]
    [row] = [row for row in read_rows(Path(f"{made.prefix}.ledger.parquet")) if row["rule"] == WORKER_DIED]
    assert (row["row"], row["value"]) == (2, "the worker died twice (SIGSEGV)")


def test_a_receipt_comes_back_as_it_was_written(tmp_path: Path) -> None:
    receipt = Receipt("text", 3, "abc", 5, 4, {"image": {"r": 1}}, 0.5, 70, {"t": {"rows": 1}}, {"n": [1]}, "é", ["a"])
    write_receipt(tmp_path / "00003", receipt)
    assert files(tmp_path) == ["00003.json"]
    assert read_receipt(tmp_path / "00003") == receipt


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"stage": "text"}', '{"unknown": 1}', "\udcff"])
def test_a_receipt_that_is_not_whole_is_none(damage: str, tmp_path: Path) -> None:
    (tmp_path / "00000.json").write_text(damage, errors="surrogateescape")
    assert read_receipt(tmp_path / "00000") is None
    assert read_receipt(tmp_path / "00001") is None


class Inline(LocalEngine):
    """The local engine without its processes."""

    def each(
        self, task: Callable[[Shard], None], shards: Sequence[Shard], spare: Spare[Shard] | None = None, stage: str = ""
    ) -> Iterator[tuple[Shard, Death | None]]:
        for shard in shards:
            task(shard)
            yield shard, None


@pytest.fixture
def read_again(tmp_path: Path) -> Callable[..., tuple[int, Stage]]:
    """Runs one stage over two shards in tmp_path/out; answers how many shards were worked on, and the stage."""
    fingerprints = {}
    for shard in range(2):
        write_documents(tmp_path / "in" / f"{shard:05d}", [document("one\n\ntwo words", image(), shard=shard)])
        fingerprints[shard] = f"read {shard}"
    config = Config.model_validate({"name": "t", "output": str(tmp_path / "out"), "input": {"paths": ["x"]}})

    def run(least: int = 1, listed: str | None = None, changed: int | None = None) -> tuple[int, Stage]:
        blocked = {"blocked_hosts": {"files": [listed]}} if listed else {}
        rules = RuleSet.model_validate(
            {"paragraph": {"number_of_words": {"min": least, "max": 9}}, "document": blocked}
        )
        known = {shard: text + ("*" if shard == changed else "") for shard, text in fingerprints.items()}
        pages = Stage("in", {shard: (str(tmp_path / "in" / f"{shard:05d}"),) for shard in known}, known)
        with Run(config, "c.yaml") as opened:
            opened.engine = Inline(config.engine, tmp_path / "spill")
            stage = opened.each("text", judge, rules, documents=pages)
            return opened.done, stage

    return run


def test_what_is_done_is_not_done_again(read_again: Callable[..., tuple[int, Stage]]) -> None:
    first, second = read_again(), read_again()
    assert (first[0], second[0]) == (2, 0)
    assert second[1] == first[1]


def test_a_changed_threshold_redoes_all_shards_and_a_changed_input_its_own(
    read_again: Callable[..., tuple[int, Stage]], tmp_path: Path
) -> None:
    read_again()
    done, stage = read_again(least=2)
    assert done == 2
    told = [read_receipt(tmp_path / "out" / "stages" / "text" / f"{shard:05d}") for shard in stage.prefixes]
    assert [receipt.drops for receipt in told if receipt] == [{"paragraph": {"number_of_words": 1}}] * 2
    assert read_again(least=2, changed=1)[0] == 1


def test_a_changed_file_that_a_stage_reads_redoes_it(
    read_again: Callable[..., tuple[int, Stage]], tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("a")
    assert [read_again(listed=str(tmp_path / "list"))[0] for _ in range(2)] == [2, 0]
    (tmp_path / "list").write_text("b")
    assert read_again(listed=str(tmp_path / "list"))[0] == 2


def change_fingerprint(prefix: Path) -> None:
    receipt = json.loads(prefix.with_suffix(".json").read_text())
    write_json(prefix.with_suffix(".json"), receipt | {"fingerprint": "another"})


def fail(prefix: Path) -> None:
    receipt = json.loads(prefix.with_suffix(".json").read_text())
    write_json(prefix.with_suffix(".json"), receipt | {"error": "the worker died"})


def cut(prefix: Path) -> None:
    table = Path(f"{prefix}.documents.parquet")
    table.write_bytes(table.read_bytes()[:-1])


def remove(prefix: Path) -> None:
    Path(f"{prefix}.documents.parquet").unlink()


def tear(prefix: Path) -> None:
    prefix.with_suffix(".json").write_text("{")


def forget(prefix: Path) -> None:
    prefix.with_suffix(".json").unlink()


@pytest.mark.parametrize("damage", [change_fingerprint, fail, cut, remove, tear, forget])
def test_a_shard_without_a_whole_receipt_of_whole_tables_is_done_again(
    damage: Callable[[Path], None], read_again: Callable[..., tuple[int, Stage]], tmp_path: Path
) -> None:
    _, before = read_again()
    damage(tmp_path / "out" / "stages" / "text" / "00001")
    done, after = read_again()
    assert done == 1
    assert after.fingerprints == before.fingerprints
    assert after.receipts[1].tables == before.receipts[1].tables
    assert read_again()[0] == 0
