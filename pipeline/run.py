"""A run: stages and queries in order, each done only where its fingerprint is not that of a receipt already there."""

import ast
import fcntl
import hashlib
import json
import os
import re
import shutil
import string
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from pipeline.asking import use
from pipeline.choose import choose
from pipeline.config import Config
from pipeline.earlier import ANSWERS, judges, read_earlier
from pipeline.engine import Engine, LocalEngine
from pipeline.errors import UserError
from pipeline.keys import identity_of
from pipeline.progress import Progress
from pipeline.remote import about
from pipeline.shards import shard_of
from pipeline.storage import identity, list_warcs, remove_leftovers, sha256_of, write_json
from pipeline.work import QUARANTINED, Job, Receipt, Work, perform, read_counters, read_receipt, write_receipt

MAX_DEADLY = 20  # documents of a shard that may kill their worker before it is the shard that is taken to fail
QUERIES = Path(__file__).parent / "queries"
ROOT = Path(__file__).parent.parent
DATA = [ROOT / "filters" / "data", ROOT / "pipeline" / "html" / "data"]  # word lists and models that come along


@dataclass(frozen=True)
class Table:
    """Parquet files and one fingerprint for all of them."""

    files: list[str]
    fingerprint: str


@dataclass(frozen=True)
class Stage:
    """What a stage left: prefixes and a fingerprint for each shard that did not fail, and the receipts."""

    name: str
    prefixes: dict[int, tuple[str, ...]]
    fingerprints: dict[int, str]
    receipts: dict[int, Receipt] = field(default_factory=dict)

    def by_content(self, table: str) -> "Stage":
        """The same, known by what this table holds: of what servers answer, which no setting determines."""
        digests = {shard: _digest(receipt.tables.get(table)) for shard, receipt in self.receipts.items()}
        return Stage(self.name, self.prefixes, digests, self.receipts)

    def table(self, name: str) -> Table:
        files = [f"{prefix}.{name}.parquet" for prefixes in self.prefixes.values() for prefix in prefixes]
        return Table(files, _digest([name, sorted(self.fingerprints.items())]))

    def beside(self, other: "Stage") -> "Stage":
        """The shards of both; of one that both have, what both left."""
        shards = sorted({*self.prefixes, *other.prefixes})
        prefixes = {shard: self.prefixes.get(shard, ()) + other.prefixes.get(shard, ()) for shard in shards}
        marks = {shard: [s.fingerprints[shard] for s in (self, other) if shard in s.fingerprints] for shard in shards}
        fingerprints = {shard: found[0] if len(found) == 1 else _digest(found) for shard, found in marks.items()}
        return Stage(self.name, prefixes, fingerprints, self.receipts | other.receipts)

    def grouped(self, groups: Sequence[Sequence[int]]) -> "Stage":
        """The same shards, several taken for one."""
        prefixes = {i: tuple(p for shard in group for p in self.prefixes[shard]) for i, group in enumerate(groups)}
        fingerprints = {i: _digest([self.fingerprints[shard] for shard in group]) for i, group in enumerate(groups)}
        return Stage(self.name, prefixes, fingerprints)


@dataclass(frozen=True)
class Answer:
    """What a query left: a folder with one partition a shard."""

    folder: Path
    fingerprint: str

    def table(self) -> Table:
        return Table(sorted(map(str, self.folder.rglob("*.parquet"))), self.fingerprint)


class Run:
    """Opens the output folder of a configuration, holds its lock, and runs what is asked of it.

    Raises:
        UserError: the folder cannot be written, is another configuration's, is no run's, or another run holds it.
    """

    def __init__(self, config: Config, path: str) -> None:
        self.config, self.path, self.folder = config, path, Path(config.output)
        self.stages: list[str] = []
        self.failures: list[Receipt] = []
        self.retracted: list[Stage] = []  # what of earlier runs falls by the decisions of this one
        self.keys = identity_of(config.duplicates)
        self.earlier = read_earlier(config.input.against, self.keys, path)
        self.shards = range(max((run.shards.stop for run in self.earlier), default=0), 0)
        self.done = 0  # shards and queries done now, not found done
        self.progress = Progress()
        self.asking = (config.input.fetch, config.input.cache, self.folder / ".hosts")

    def __enter__(self) -> Self:
        self._claim()
        use(*self.asking)
        about.cache_clear()  # of runs before in this process
        remove_leftovers(self.folder)
        self.engine: Engine = LocalEngine(self.config.engine, self.folder / "spill").__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert isinstance(self.engine, LocalEngine)
        self.engine.__exit__(kind, error, trace)
        if error is not None:
            remove_leftovers(self.folder)  # of workers that had to be ended
        os.close(self._lock)

    def _claim(self) -> None:
        mine = self._identity()
        try:
            others = self.folder.is_dir() and any(not path.name.startswith(".") for path in self.folder.iterdir())
            if others and not (self.folder / "run.json").exists():
                raise UserError(
                    f"{self.path}: output: {self.folder} holds other files and no run; choose an empty folder"
                )
            theirs = read_run(self.folder)
            if theirs is not None and {key: theirs.get(key) for key in mine} != mine:
                differs = next(key for key in mine if theirs.get(key) != mine[key])
                raise UserError(
                    f"{self.path}: output: {self.folder} is the output of another configuration: {differs} was "
                    f"{json.dumps(theirs.get(differs))}, is {json.dumps(mine[differs])}; choose another folder or remove it"
                )
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._remember()
        except BlockingIOError:
            raise UserError(f"{self.path}: output: {self.folder} is in use by another run") from None
        except OSError as error:
            raise UserError(f"{self.path}: output: {self.folder} cannot be written: {error.strerror}") from None

    def _identity(self) -> dict[str, Any]:
        """What tells this configuration's output from another's."""
        return {"name": self.config.name, "input": self.config.input.choice}

    def _remember(self) -> None:
        about = {"keys": self.keys, "shards": [self.shards.start, self.shards.stop], "stages": self.stages}
        write_json(self.folder / "run.json", self._identity() | about)

    def warcs(self) -> Stage:
        """What is read as a stage: its shards are numbered by file, then by place in it, after those of earlier runs."""
        chosen = choose(self)
        if captures := self.config.consent.robots.captures:  # read much later, but a mistake is told before any work
            list_warcs(captures, "consent.robots.captures")
        self.shards = range(self.shards.start, self.shards.start + len(chosen))
        self._remember()
        found = dict(zip(self.shards, chosen, strict=True))
        prefixes = {shard: part.inputs for shard, part in found.items()}
        return Stage("warc", prefixes, {shard: part.fingerprint for shard, part in found.items()})

    def files(self, name: str, paths: Sequence[str]) -> Stage:
        """Files of the user as a stage whose shards they are."""
        shards: dict[int, tuple[str, ...]] = {shard: (path,) for shard, path in enumerate(paths)}
        return Stage(name, shards, {shard: identity(path) for shard, path in enumerate(paths)})

    def numbered(self, name: str, count: int) -> Stage:
        """Shards that are nothing but numbers, for work that is cut otherwise than by file."""
        return Stage(name, dict.fromkeys(range(count), ()), dict.fromkeys(range(count), ""))

    def of_earlier(self, name: str) -> Stage:
        """What a stage left in the earlier runs that this one is made against."""
        found = Stage(name, {}, {})
        for folder in (run.folder / "stages" / name for run in self.earlier):
            receipts = [read_receipt(path.with_suffix("")) for path in sorted(folder.glob("*.json"))]
            whole = {receipt.shard: receipt for receipt in receipts if receipt and not receipt.error}
            prefixes: dict[int, tuple[str, ...]] = {shard: (str(folder / f"{shard:05d}"),) for shard in whole}
            found = found.beside(Stage(name, prefixes, {s: r.fingerprint for s, r in whole.items()}, whole))
        return found

    def judges(self) -> Stage:
        """For each shard of earlier runs the folders of stages with the decisions about it, the last of them last."""
        said = {run.folder: [_asked(run.folder, name) for name in ANSWERS.values()] for run in self.earlier}
        found = judges(self.earlier)
        prefixes = {shard: tuple(str(folder / "stages") for folder in folders) for shard, folders in found.items()}
        return Stage(
            "judges", prefixes, {s: _digest([said[folder] for folder in folders]) for s, folders in found.items()}
        )

    def earlier_verdicts(self, name: str, columns: Table) -> Table:
        """All that a query has said about the shards of earlier runs; `columns` is a table of its columns."""
        places = [
            folder / "stages" / name / "answer" / f"shard={s}" for s, f in judges(self.earlier).items() for folder in f
        ]
        files = sorted(str(file) for place in places for file in place.glob("*.parquet"))
        marks = [_asked(run.folder, name) for run in self.earlier]
        return Table([*files, *columns.files], _digest([name, marks, columns.fingerprint]))

    def parts(self, answer: Answer, count: int) -> Stage:
        """The partitions of an answer as a stage whose shards they are, where these are not those of the input."""
        folders: dict[int, tuple[str, ...]] = dict.fromkeys(range(count), (str(answer.folder),))
        rows = {part: _rows(answer.folder / f"shard={part}") for part in range(count)}
        receipts = {part: Receipt("parts", part, answer.fingerprint, rows_out=rows[part]) for part in range(count)}
        return Stage("parts", folders, dict.fromkeys(range(count), answer.fingerprint), receipts)

    def each(
        self,
        name: str,
        task: Callable[[Work, Any], None],
        settings: BaseModel | tuple[BaseModel, ...] = (),
        **inputs: Stage | Answer | None,
    ) -> Stage:
        """Runs `task` on every shard that all its input stages have."""
        stages = {key: value for key, value in inputs.items() if isinstance(value, Stage)}
        answers = {key: value for key, value in inputs.items() if isinstance(value, Answer)}
        shards = sorted(set.intersection(*(set(stage.prefixes) for stage in stages.values())))
        folder = self._stage_folder(name)
        sections = settings if isinstance(settings, tuple) else (settings,)
        dumped = [section.model_dump(mode="json") for section in sections]
        about = [name, code_version(task.__module__), dumped, [identity(path) for path in sorted(_files(dumped))]]
        asked = {key: answer.fingerprint for key, answer in answers.items()}
        jobs: list[Job] = []
        receipts: dict[int, Receipt] = {}
        for shard in shards:
            read = {key: stage.fingerprints[shard] for key, stage in stages.items()} | asked
            prefix = folder / f"{shard:05d}"
            fingerprint = _digest([about, read])
            receipt = read_receipt(prefix)
            if receipt and receipt.fingerprint == fingerprint and not receipt.error and _whole(prefix, receipt):
                receipts[shard] = receipt
                continue
            paths = {key: stage.prefixes[shard] for key, stage in stages.items()}
            paths |= {key: (str(answer.folder),) for key, answer in answers.items()}
            counters = self.folder / ".counters"
            job = Job(name, shard, prefix, fingerprint, task, settings, paths, counters, len(jobs), asking=self.asking)
            jobs.append(job)
        self._prune(folder, shards)
        receipts |= self._perform(name, jobs, {shard: _weight(stages, shard) for shard in shards})
        finished = {shard: receipt for shard, receipt in sorted(receipts.items()) if not receipt.error}
        if shards and not finished:
            raise WorkFailed(f"{name}: every shard failed; the first: {receipts[shards[0]].error}")
        self._check_quarantine(name, list(finished.values()))
        prefixes: dict[int, tuple[str, ...]] = {shard: (str(folder / f"{shard:05d}"),) for shard in finished}
        return Stage(name, prefixes, {shard: r.fingerprint for shard, r in finished.items()}, finished)

    def _check_quarantine(self, name: str, receipts: list[Receipt]) -> None:
        """A rule may fail on an odd page; one that fails on many would change the corpus, so the run stops."""
        documents = sum(receipt.rows_in for receipt in receipts)
        quarantined = sum(receipt.drops.get("document", {}).get(QUARANTINED, 0) for receipt in receipts)
        if quarantined > self.config.max_quarantined * documents:
            raise WorkFailed(
                f"{name}: {quarantined} of {documents} documents are quarantined, a rule failed on them, and max_quarantined "
                f"is {self.config.max_quarantined:g}; `carnac explain {self.path} --rule {QUARANTINED}` shows which"
            )

    def _perform(self, name: str, jobs: list[Job], weights: dict[int, int]) -> dict[int, Receipt]:
        receipts = {}
        if jobs:
            jobs[0].counters.unlink(missing_ok=True)
        with self.progress.stage(name, jobs, weights) as shown:
            while jobs:
                again: list[Job] = []
                for job, died in self.engine.each(perform, jobs):
                    if died is not None:
                        if spared := _without_the_deadly(job, died):
                            again.append(spared)
                            continue
                        write_receipt(job.prefix, Receipt(job.stage, job.shard, job.fingerprint, error=died))
                    receipt = read_receipt(job.prefix)
                    assert receipt is not None
                    self.done += 1
                    if receipt.error:
                        self.failures.append(receipt)
                    receipts[job.shard] = receipt
                    shown(receipt)
                jobs = again
        return receipts

    def sql(self, name: str, by: str | None = "shard", query: str | None = None, **tables: Table | int) -> Answer:
        """Asks `queries/<query or name>.sql` of the tables; whole numbers take the places of `$name` in its text."""
        numbers = {key: value for key, value in tables.items() if not isinstance(value, Table)}
        text = string.Template((QUERIES / f"{query or name}.sql").read_text(encoding="utf-8")).substitute(numbers)
        files = {key: value for key, value in tables.items() if isinstance(value, Table)}
        text = re.sub(r"--.*", "", text).strip()
        about = [text, {key: table.fingerprint for key, table in files.items()}]
        paths = {key: table.files for key, table in files.items()}
        return self.once(name, about, lambda aside: self.engine.sql(text, aside, by, **paths))

    def once(self, name: str, about: Any, write: Callable[[Path], None]) -> Answer:
        """Has `write` fill a folder that it makes, unless what stands there was made of the same: `about` says of what."""
        fingerprint = _digest(about)
        folder = self._stage_folder(name)
        receipt = read_receipt(folder / "query")
        answer = Answer(folder / "answer", fingerprint)
        if receipt and receipt.fingerprint == fingerprint:
            return answer
        shutil.rmtree(folder)
        aside = folder / ".answer.tmp"
        aside.parent.mkdir(parents=True)
        started = time.perf_counter()
        with self.progress.query(name):
            write(aside)
        aside.rename(answer.folder)
        size = sum(file.stat().st_size for file in answer.folder.rglob("*") if file.is_file())
        seconds = round(time.perf_counter() - started, 3)
        write_receipt(folder / "query", Receipt(name, -1, fingerprint, seconds=seconds, bytes=size))
        self.done += 1
        return answer

    def forget(self, names: Iterable[str]) -> None:
        """Removes what queries of these names left when a run asked more of them."""
        for name in names:
            shutil.rmtree(self.folder / "stages" / name, ignore_errors=True)

    def _stage_folder(self, name: str) -> Path:
        folder = self.folder / "stages" / name
        folder.mkdir(parents=True, exist_ok=True)
        if name not in self.stages:
            self.stages.append(name)
            self._remember()  # so that what a killed run did can be told, too
        return folder

    def _prune(self, folder: Path, shards: list[int]) -> None:
        """Removes what shards left that are no longer in the input."""
        names = {f"{shard:05d}" for shard in shards}
        for path in folder.iterdir():
            if path.is_file() and path.name.split(".")[0] not in names:
                path.unlink()


def _without_the_deadly(job: Job, died: str) -> Job | None:
    """The job without the document of which its worker died twice; none where that is not known, or too many were."""
    for _, _, at_hand in read_counters(job.counters, [job.slot]):
        if at_hand and at_hand - 1 not in job.deadly and len(job.deadly) < MAX_DEADLY:
            return replace(job, deadly=job.deadly | {at_hand - 1: died})
    return None


class WorkFailed(UserError):
    """Nothing is left to go on with."""

    status = 1


def read_run(folder: Path) -> dict[str, Any] | None:
    """What `run.json` says of a folder: the name and input of its configuration and the stages, in order."""
    try:
        read: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise UserError(f"{folder / 'run.json'}: damaged; remove the folder or choose another output") from None
    return read


def _asked(folder: Path, query: str) -> str | None:
    receipt = read_receipt(folder / "stages" / query / "query")
    return receipt.fingerprint if receipt else None


def _files(value: Any) -> set[str]:
    """The files that settings name: lists, models. A stage depends on what they hold, not on their names alone."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {path for inner in value for path in _files(inner)}
    return {value} if isinstance(value, str) and Path(value).is_file() else set()


def _whole(prefix: Path, receipt: Receipt) -> bool:
    """Whether the tables are there with the sizes that the receipt says."""
    for name, table in receipt.tables.items():
        path = Path(f"{prefix}.{name}.parquet")
        if not path.is_file() or path.stat().st_size != table["bytes"]:
            return False
    return True


def _rows(folder: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in folder.glob("*.parquet"))


def _weight(stages: dict[str, Stage], shard: int) -> int:
    """How much there is to do in a shard: documents, or the bytes of WARC files; one where that is not known."""
    for stage in stages.values():
        if shard in stage.receipts:
            return stage.receipts[shard].rows_out
    if "warc" not in stages:
        return 1
    return shard_of(stages["warc"].prefixes[shard]).weight


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:24]


@cache
def code_version(module: str) -> str:
    """A hash of the module's source, of all modules of ours that it imports and of the shipped data that these name: the
    version of a stage's code. Settings are hashed by value, so the module that checks them does not count."""
    return _digest(_sources(module))


def _sources(module: str) -> dict[str, str]:
    """By name the text of each module, and the digest of each word list or model that one of them reads."""
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in sources or name == "pipeline.config":
            continue
        sources[name] = _source(name).read_text(encoding="utf-8")
        waiting += sorted(_imports(sources[name]))
    shipped = [path for folder in DATA for path in sorted(folder.iterdir()) if path.is_file()]
    read = [path for path in shipped if any(f'"{path.name}"' in source for source in sources.values())]
    return sources | {path.name: sha256_of(path) for path in read}


@cache  # stages share most of their modules
def _imports(source: str) -> set[str]:
    """The modules of ours that a source imports, within functions too; those statements alone are looked at."""
    found = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        for inside in ("body", "orelse", "finalbody", "handlers", "cases"):
            statements = getattr(node, inside, [])
            waiting += statements if isinstance(statements, list) else []
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("pipeline", "filters"):
            found.add(node.module)
            found |= {
                f"{node.module}.{alias.name}" for alias in node.names if _source(f"{node.module}.{alias.name}").exists()
            }
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in ("pipeline", "filters")}
    return found


def _source(module: str) -> Path:
    """The file of a module of ours; found without importing it, which could ask for an extra that is not installed."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
