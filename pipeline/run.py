"""A run: stages and queries in order, each done only where its fingerprint is not that of a receipt already there."""

import os
import re
import shutil
import string
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from pipeline import places
from pipeline.asking import use
from pipeline.choose import choose
from pipeline.config import Config
from pipeline.earlier import read_earlier
from pipeline.engine import Engine, InProcess, LocalEngine
from pipeline.errors import UserError
from pipeline.job import Job, clear, left_in, perform, without_the_deadly
from pipeline.keys import identity_of
from pipeline.output import Output
from pipeline.part import Part
from pipeline.places import at_once, on_store, remove, remove_folder, upload
from pipeline.progress import Progress
from pipeline.receipts import Known, answered, partitions, slim
from pipeline.remote import about
from pipeline.shards import shard_of
from pipeline.sight import Sight
from pipeline.stages import Answer, Stage, Table, stage_of
from pipeline.storage import identity, list_warcs, remove_leftovers, sha256_of
from pipeline.terminal import counted
from pipeline.versions import code_version, digest
from pipeline.work import COUNTERS, QUARANTINED, Receipt, Work, read_receipt, write_receipt

QUERIES = Path(__file__).parent / "queries"


class Run:
    """Opens the output folder of a configuration, holds its lock, and runs what is asked of it.

    Raises:
        UserError: the folder cannot be written, is another configuration's, is no run's, or another run holds it.
    """

    def __init__(self, config: Config, path: str, engine: str = "local", part: Part | None = None) -> None:
        """`engine`: `local` or `ray`. `part`: the share of this process, where several do the run."""
        self.config, self.path, self._engine, self.part = config, path, engine, part
        keys = identity_of(config.duplicates)
        self.earlier = read_earlier(config.input.against, keys, path)
        self.output = Output(config, path, part, keys, self.earlier.shards)
        self.folder, self.local = self.output.folder, self.output.local
        self.failures: list[Receipt] = []
        self.retracted: list[Stage] = []  # what of earlier runs falls by the decisions of this one
        self.done = 0  # shards and queries done now, not found done
        self.progress = Progress(quiet=config.logs == "json")
        self.sight = Sight(config, path)
        self.asking = (config.input.fetch, config.input.cache, self.local / ".hosts")
        self.storing = (config.engine.store, self.local)

    def __enter__(self) -> Self:
        self.sight.open()
        try:
            places.use(*self.storing)
            self.output.claim()
        except UserError:
            self.sight.close()
            with suppress(OSError):  # another run of this machine may be using it
                self.local.rmdir()
            raise
        if on_store(self.folder):
            places.scratch()
        use(*self.asking)
        about.cache_clear()  # of runs before in this process
        answered.cache_clear()
        if self.output.alone:  # else what lies there may be somebody's work; each cleans up after itself
            remove_leftovers(self.local)
        try:
            self.engine: Engine = self._engine_of().__enter__()
        except BaseException:
            self.sight.close()
            self.output.lease.__exit__(None, None, None)
            raise
        self.sight.engine = self.engine
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.engine.__exit__(kind, error, trace)
        if error is not None and self.output.alone:
            remove_leftovers(self.local)  # of workers that had to be ended
        elif error is None and on_store(self.folder):
            shutil.rmtree(self.local, ignore_errors=True)
        places.leave()
        self.output.lease.__exit__(kind, error, trace)
        self.sight.close()

    def _engine_of(self) -> Engine:
        kind = LocalEngine if self.config.engine.workers != 0 else InProcess
        local = kind(self.config.engine, self.local / "spill")
        if self._engine == "local":
            return local
        from pipeline.cluster import RayEngine

        files = _files(self.config.model_dump(mode="json", exclude={"engine", "output", "plan"}))
        if on_store(self.folder):  # Daft's answers are put together in a folder that all nodes see
            return RayEngine(self.config.engine, sorted(files), local)
        return RayEngine(self.config.engine, [str((self.folder / "run.json").resolve()), *sorted(files)])

    def warcs(self) -> Stage:
        """What is read as a stage: its shards are numbered by file, then by place in it, after those of earlier runs."""
        chosen = choose(self)
        if captures := self.config.consent.robots.captures:  # read much later, but a mistake is told before any work
            list_warcs(captures, "consent.robots.captures")
        found = dict(zip(self.output.number(len(chosen)), chosen, strict=True))
        prefixes = {shard: part.inputs for shard, part in found.items()}
        return Stage("warc", prefixes, {shard: part.fingerprint for shard, part in found.items()})

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
        begun = name in self.output.begun
        folder = self.output.stage(name)
        known = Known(folder, shards, begun)
        sections = settings if isinstance(settings, tuple) else (settings,)
        dumped = [section.model_dump(mode="json") for section in sections]
        of = digest([name, code_version(task.__module__), dumped, [identity(path) for path in sorted(_files(dumped))]])
        asked = {key: answer.fingerprint for key, answer in answers.items()}
        jobs: list[Job] = []
        receipts: dict[int, Receipt] = {}
        theirs: dict[int, tuple[Path, str]] = {}
        left = {} if on_store(folder) else left_in(folder)
        counters = self.local / (f".counters-{self.part.number}" if self.part else ".counters")
        for shard in shards:
            read = {key: stage.fingerprints[shard] for key, stage in stages.items()} | asked
            prefix = folder / f"{shard:05d}"
            fingerprint = digest([of, read])
            if receipt := known.receipt(shard, fingerprint):
                self.sight.found(receipt)
                receipts[shard] = slim(receipt)
                continue
            if self.part and not self.part.mine(shard):
                theirs[shard] = prefix, fingerprint
                continue
            paths = {key: stage.prefixes[shard] for key, stage in stages.items()}
            paths |= {key: answer.of(shard) or answer.of(None) for key, answer in answers.items()}
            held = {p: stage.held[p] for key, stage in stages.items() for p in stage.prefixes[shard] if p in stage.held}
            jobs.append(
                Job(
                    name, shard, prefix, fingerprint, task, settings, paths, counters, len(jobs), asking=self.asking,
                    storing=self.storing, held=held, by=self.part.token if self.part else "", stale=left.get(prefix.name, ()),
                    of=of, read=read,
                )
            )  # fmt: skip
        known.clean(shards, [job.shard for job in jobs], self.output.leads)
        self.sight.begin(name, len(jobs))
        for receipt in self._perform(name, jobs, {shard: _weight(stages, shard) for shard in shards}):
            receipts[receipt.shard] = slim(receipt)
            known.done(receipt)
        if self.part:
            for receipt in self.part.receipts(self.folder, name, theirs):
                if receipt.error:
                    self.failures.append(receipt)
                receipts[receipt.shard] = slim(receipt)
                known.done(receipt)
        if self.output.leads:
            known.finish(shards)
        whole = {shard: receipt for shard, receipt in sorted(receipts.items()) if not receipt.error}
        if shards and not whole:
            raise WorkFailed(f"{name}: every shard failed; the first: {receipts[shards[0]].error}")
        self._check_quarantine(name, list(whole.values()))
        return stage_of(name, folder, whole)

    def _check_quarantine(self, name: str, receipts: list[Receipt]) -> None:
        """A rule may fail on an odd page; one that fails on many would change the corpus, so the run stops."""
        documents = sum(receipt.rows_in for receipt in receipts)
        quarantined = sum(receipt.drops.get("document", {}).get(QUARANTINED, 0) for receipt in receipts)
        if quarantined > self.config.max_quarantined * documents:
            raise WorkFailed(
                f"{name}: {quarantined} of {documents} documents are quarantined, a rule failed on them, and max_quarantined "
                f"is {self.config.max_quarantined:g}; `carnac explain {self.path} --rule {QUARANTINED}` shows which"
            )

    def _perform(self, name: str, jobs: list[Job], weights: dict[int, int]) -> Iterator[Receipt]:
        if jobs:
            # Its size says to others how many there are.
            jobs[0].counters.write_bytes(b"")
            os.truncate(jobs[0].counters, COUNTERS.size * len(jobs))
        with self.progress.stage(name, jobs, weights) as shown:
            for job, death in self.engine.each(perform, jobs, without_the_deadly, name):
                if death is not None:
                    if not on_store(job.prefix):
                        clear(job.prefix)
                    failed = Receipt(
                        job.stage, job.shard, job.fingerprint, error=death.how, trace=death.trace, of=job.of,
                        read=job.read, by=job.by,
                    )  # fmt: skip
                    write_receipt(job.prefix, failed)
                receipt = read_receipt(job.prefix)
                assert receipt is not None
                self.done += 1
                self.output.lease.check()
                if receipt.error:
                    self.failures.append(receipt)
                self.sight.end(receipt)
                shown(receipt)
                yield receipt

    def sql(self, name: str, by: str | None = "shard", query: str | None = None, **tables: Table | int) -> Answer:
        """Asks `queries/<query or name>.sql` of the tables; whole numbers take the places of `$name` in its text."""
        self._check_failures(name)
        numbers = {key: value for key, value in tables.items() if not isinstance(value, Table)}
        text = string.Template((QUERIES / f"{query or name}.sql").read_text(encoding="utf-8")).substitute(numbers)
        files = {key: value for key, value in tables.items() if isinstance(value, Table)}
        text = re.sub(r"--.*", "", text).strip()
        read = {key: table.fingerprint for key, table in files.items()}
        paths = {key: table.files for key, table in files.items()}
        return self.once(name, text, lambda aside: self.engine.sql(text, aside, by, **paths), read)

    def _check_failures(self, name: str) -> None:
        """What a query says holds for all shards that were asked; whether some may be missing is the user's to say."""
        failed, most = self.failures, self.config.max_failed_shards
        if most is not None and len(failed) > most:
            raise WorkFailed(
                f"{name}: {counted(len(failed), 'shard')} failed and max_failed_shards is {most}; the first is "
                f"{failed[0].stage}, shard {failed[0].shard}: {failed[0].error}; the same command tries them again"
            )

    def once(self, name: str, about: Any, write: Callable[[Path], None], read: dict[str, str] | None = None) -> Answer:
        """Has `write` fill a folder that it makes, unless what stands there was made of the same: `about` says of what,
        `read` of which tables of this run, by their fingerprints."""
        of, read = digest(about), read or {}
        fingerprint = digest([of, read])
        if self.part and not self.output.leads:
            folder = self.folder / "stages" / name
            asked = self.part.answered(name, folder / "query", fingerprint)
            return Answer(folder / "answer", fingerprint, partitions(asked))
        begun = name in self.output.begun
        folder = self.output.stage(name)
        receipt = read_receipt(folder / "query") if begun or not on_store(folder) else None
        if receipt and receipt.fingerprint == fingerprint and receipt.tables:
            return Answer(folder / "answer", fingerprint, partitions(receipt))
        self.output.lease.check()
        if on_store(folder):
            aside = self.local / ".answer.tmp"
            shutil.rmtree(aside, ignore_errors=True)
            if begun:
                remove([folder / "query.json"])
                remove_folder(folder / "answer")
        else:
            shutil.rmtree(folder)
            aside = folder / ".answer.tmp"
            folder.mkdir(parents=True)
        started = time.perf_counter()
        with self.progress.query(name):
            write(aside)
        receipt = Receipt(name, -1, fingerprint, tables=_written(aside), of=of, read=read)
        if on_store(folder):
            at_once(lambda file: upload(aside / file, folder / "answer" / file), receipt.tables)
            shutil.rmtree(aside)
        else:
            aside.rename(folder / "answer")
        receipt.bytes = sum(table["bytes"] for table in receipt.tables.values())
        receipt.seconds = round(time.perf_counter() - started, 3)
        write_receipt(folder / "query", receipt)
        self.sight.end(receipt)
        self.done += 1
        return Answer(folder / "answer", fingerprint, partitions(receipt))

    def forget(self, names: Iterable[str]) -> None:
        """Removes what queries of these names left when a run asked more of them."""
        for name in names if self.output.leads else ():
            if name in self.output.begun or not on_store(self.folder):
                remove_folder(self.folder / "stages" / name)


class WorkFailed(UserError):
    """Nothing is left to go on with."""

    status = 1


def _files(value: Any) -> set[str]:
    """The files that settings name: lists, models. A stage depends on what they hold, not on their names alone."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return {path for inner in value for path in _files(inner)}
    return {value} if isinstance(value, str) and Path(value).is_file() else set()


def _written(folder: Path) -> dict[str, dict[str, Any]]:
    """What a receipt says of the files that were written below a folder."""
    import pyarrow.parquet as pq

    found = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        rows = pq.read_metadata(file).num_rows if file.suffix == ".parquet" else 0
        about = {"rows": rows, "bytes": file.stat().st_size, "sha256": sha256_of(file)}
        found[file.relative_to(folder).as_posix()] = about
    return found


def _weight(stages: dict[str, Stage], shard: int) -> int:
    """How much there is to do in a shard: documents, or the bytes of WARC files; one where that is not known."""
    for stage in stages.values():
        if shard in stage.receipts:
            return stage.receipts[shard].rows_out
    if "warc" not in stages:
        return 1
    return shard_of(stages["warc"].prefixes[shard]).weight
