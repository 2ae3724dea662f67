"""Folders of earlier runs in; their stages, and what is now decided otherwise about their documents, out."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.document import SCHEMA, from_row, paragraphs
from pipeline.errors import UserError
from pipeline.places import make_folder, on_store, place, read_bytes, remove
from pipeline.receipts import answered, finished, slim, stage_receipts
from pipeline.stages import Stage, Table, stage_of
from pipeline.storage import aside, read_rows, read_table
from pipeline.versions import digest
from pipeline.work import Work, read_receipt

if TYPE_CHECKING:
    from pipeline.config import Duplicates

# Where a run keeps what it decided, the later decision on a document last.
ANSWERS = {
    "near_duplicate": "near_duplicate/verdicts",
    "latest_url": "latest_url",
    "latest_image_set": "latest_image_set",
    "image_everywhere": "image_everywhere",
    "paragraph_repeated": "paragraph_repeated",
}
RETRACTED = pa.schema(
    [
        ("level", pa.string()),  # document, image or paragraph
        ("url", pa.string()),
        ("crawl_date", pa.timestamp("s", tz="UTC")),
        ("place", pa.string()),  # node.paragraph, as the ledger counts; null for a document
        ("what", pa.string()),  # the paragraph, or the image's address
        ("rule", pa.string()),
        ("twin", pa.string()),  # shard:row of the document that stays instead
    ]
)


@dataclass(frozen=True)
class EarlierRun:
    """A finished run: its folder, the numbers of its own shards, and of all that it decided about."""

    folder: Path
    shards: range
    judged: frozenset[int]


@dataclass(frozen=True)
class Earlier:
    """The runs that one is made against, in the order of their shards."""

    path: str  # of the configuration that names them
    runs: list[EarlierRun]

    def __bool__(self) -> bool:
        return bool(self.runs)

    @property
    def shards(self) -> int:
        """How many numbers of shards are taken."""
        return max((run.shards.stop for run in self.runs), default=0)

    def stage(self, name: str) -> Stage:
        """What a stage left in them."""
        found = Stage(name, {}, {})
        for folder in (run.folder / "stages" / name for run in self.runs):
            if on_store(folder) and finished(folder) is None:
                raise UserError(f"{self.path}: input.against: {folder}: is not whole; run that configuration again")
            whole = {receipt.shard: slim(receipt) for receipt in stage_receipts(folder) if not receipt.error}
            found = found.beside(stage_of(name, folder, whole))
        return found

    def judges(self) -> Stage:
        """For each of their shards the folders of stages with the decisions about it, the last of them last."""
        said = {run.folder: [_asked(run.folder, name) for name in ANSWERS.values()] for run in self.runs}
        found = self._judges()
        prefixes = {shard: tuple(str(folder / "stages") for folder in folders) for shard, folders in found.items()}
        marks = {shard: digest([said[folder] for folder in folders]) for shard, folders in found.items()}
        return Stage("judges", prefixes, marks)

    def verdicts(self, name: str, columns: Table) -> Table:
        """All that a query has said about their shards; `columns` is a table of its columns."""
        if not self.runs:
            return columns
        stages = [(shard, run / "stages" / name) for shard, runs in self._judges().items() for run in runs]
        files = sorted(
            str(stage / "answer" / file) for shard, stage in stages for file in answered(stage).get(shard, ())
        )
        marks = [_asked(run.folder, name) for run in self.runs]
        return Table([*files, *columns.files], digest([name, marks, columns.fingerprint]))

    def _judges(self) -> dict[int, tuple[Path, ...]]:
        """For each of their shards the folders of those that decided about it, in their order."""
        found: dict[int, tuple[Path, ...]] = {}
        for run in self.runs:
            for shard in run.judged:
                found[shard] = (*found.get(shard, ()), run.folder)
        return found


def _asked(folder: Path, query: str) -> str | None:
    receipt = read_receipt(folder / "stages" / query / "query")
    return receipt.fingerprint if receipt else None


def read_earlier(folders: Sequence[str], keys: dict[str, Any], path: str) -> Earlier:
    """The runs that a configuration names.

    Raises:
        UserError: no finished run there, one whose keys were made otherwise, one that was itself made against a run that
            is not named, or two that number their shards alike.
    """
    found: dict[Path, EarlierRun] = {}
    told = {_at(folder): _read(_at(folder), folder, path) for folder in folders}
    for folder, run in sorted(told.items(), key=lambda item: item[1]["shards"]):
        where = f"{path}: input.against: {folder}"
        if other := next((key for key in keys if keys[key] is not None and run["keys"].get(key) != keys[key]), None):
            theirs, ours = (json.dumps(value) for value in (run["keys"].get(other), keys[other]))
            raise UserError(f"{where}: its keys were made otherwise: {other} was {theirs}, is {ours}")
        shards = range(*run["shards"])
        if twice := next((e for e in found.values() if set(e.shards) & set(shards)), None):
            raise UserError(f"{where}: numbers its shards as {twice.folder} does; make one of them against the other")
        before = [_at(name) for name in run["input"]["against"]]
        if missing := next((name for name in before if name not in found), None):
            raise UserError(f"{where}: was itself made against {missing}: name that, too")
        judged = set(shards).union(*(found[name].shards for name in before))
        found[folder] = EarlierRun(folder, shards, frozenset(judged))
    return Earlier(path, list(found.values()))


def _at(address: str) -> Path:
    folder = place(address)
    return folder if on_store(folder) else folder.resolve()


def _read(folder: Path, name: str, path: str) -> dict[str, Any]:
    try:
        run: dict[str, Any] = json.loads(read_bytes(folder / "run.json"))
    except (OSError, ValueError):
        raise UserError(f"{path}: input.against: {name}: no run here") from None
    if "export" not in run["stages"]:
        raise UserError(f"{path}: input.against: {name}: its run has not come to its end; finish it first")
    return run


def compare(work: Work, settings: "Duplicates") -> None:
    """What the decisions say of a shard of an earlier run, beside what they said when it was last judged: the table
    `retracted` has what falls now, `documents` what fell then and stands now."""
    retracted = work.table("retracted", RETRACTED)
    work.table("documents", SCHEMA)
    asked = [rule for rule in ANSWERS if rule in work.inputs]
    now = {rule: work.verdicts(rule) for rule in asked}
    then = {rule: _then(work, rule) for rule in asked}
    twins = {row["row"]: (rule, row) for rule in asked for row in now[rule] if "twin_row" in row}
    fell = {row["row"] for rule in asked for row in then[rule] if "twin_row" in row}
    parts = {place for rule in asked for row in then[rule] if (place := _place(row))}
    news: dict[int, list[tuple[str, dict[str, Any]]]] = {
        row: [(rule, verdict)] for row, (rule, verdict) in twins.items() if row not in fell
    }
    for rule in asked:
        for row in now[rule]:
            if (place := _place(row)) and place not in parts and row["row"] not in twins and row["row"] not in fell:
                news.setdefault(row["row"], []).append((rule, row))
    # Sets of images are compared last: a document that has fallen there has no later stage to be taken up by.
    back = set() if "latest_image_set" in asked else fell - set(twins)
    if not news and not back:
        return
    for row in work.rows("earlier", "documents"):
        if row["row"] in back:
            work.keep(from_row(row))
        for rule, verdict in news.get(row["row"], ()):
            about = {"url": row["url"], "crawl_date": row["crawl_date"], "rule": rule}
            retracted.write(about | _told(row, verdict))


def _then(work: Work, rule: str) -> list[dict[str, Any]]:
    """What the last run before said of this shard; of sets of images what any said, for who fell there stays away and
    is asked about no more."""
    said = work.inputs["judges"] if rule == "latest_image_set" else work.inputs["judges"][-1:]
    folders = [place(stages) / ANSWERS[rule] for stages in said]
    files = [folder / "answer" / name for folder in folders for name in answered(folder).get(work.shard, ())]
    return [row for file in files for row in read_rows(file)]


def _place(verdict: dict[str, Any]) -> tuple[int, int, int | None] | None:
    """Row, node and paragraph of a verdict on a part of a document."""
    return (verdict["row"], verdict["position"], verdict.get("paragraph")) if "position" in verdict else None


def _told(row: dict[str, Any], verdict: dict[str, Any]) -> dict[str, Any]:
    if "twin_row" in verdict:
        return {"level": "document", "twin": f"{verdict['twin_shard']}:{verdict['twin_row']}"}
    node = next(node for node in row["nodes"] if node["position"] == verdict["position"])
    if "paragraph" not in verdict:
        return {"level": "image", "place": str(verdict["position"]), "what": node["image"]["url"]}
    what = paragraphs(node["text"])[verdict["paragraph"]]
    return {"level": "paragraph", "place": f"{verdict['position']}.{verdict['paragraph']}", "what": what}


def write_retracted(stages: Sequence[Stage], corpus: Path) -> Path | None:
    """Puts what these stages found into one table beside the corpus; none where a run stands alone."""
    target = corpus / "retracted.parquet"
    if not stages:
        remove([target])
        return None
    make_folder(corpus)
    with aside(target) as temporary, pq.ParquetWriter(temporary, RETRACTED, compression="zstd") as writer:
        for table in _tables(stages):
            writer.write_table(table)
    return target


def _tables(stages: Sequence[Stage]) -> Iterator[pa.Table]:
    for stage in stages:
        for file in stage.table("retracted").files:
            yield read_table(file).cast(RETRACTED)
