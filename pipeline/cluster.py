"""Shards and queries in; the same done by tasks of a Ray cluster, and by Daft on it, out: the engine `ray`."""

import hashlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline import daft_sql
from pipeline.config import EngineSettings, Resources
from pipeline.engine import LocalEngine, Spare
from pipeline.errors import UserError
from pipeline.worker import Death, Shard, alone, watch

ROOT = Path(__file__).parent.parent
TRIES = 10  # Ray workers that a shard, or askers that a query, may lose to nodes that go and processes that are killed
OUT_OF_MEMORY = 3  # of those, to Ray's memory monitor, which does not say who is to blame
REACH = 5.0  # seconds in which a cluster must accept a connection
LOOK = 5.0  # seconds between two looks at how large the cluster is
AHEAD = 2  # shards that are handed out for each that can run; more would only wait in the head's memory
SUBMIT = "on the head node, or by `ray job submit`"


class RayEngine:
    """The cluster at RAY_ADDRESS, or one that is started on this machine for the run. Only what a task is told and how it
    died travel through Ray; documents and images travel through storage."""

    def __init__(self, settings: EngineSettings, files: Sequence[str], asked: LocalEngine | None = None) -> None:
        """`files`: what the workers must see, too, wherever they run. `asked`: who answers queries instead of Daft."""
        self.settings, self.files, self.asked = settings, files, asked
        self._asker: Any = None
        self._slots: dict[str, tuple[float, int]] = {}  # by stage, when it was looked at last

    def __enter__(self) -> Self:
        _connect(self.settings)
        import ray

        try:
            self._remote = ray.remote(max_calls=0, max_retries=0)(_on_worker)  # workers keep their models
            self._expected = ray.put((version(), tuple(self.files)))
            self._check_nodes()
            self._check_resources()
        except BaseException:
            ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        import ray

        ray.shutdown()

    def each(
        self,
        task: Callable[[Shard], None],
        shards: Sequence[Shard],
        spare: Spare[Shard] | None = None,
        stage: str = "",
    ) -> Iterator[tuple[Shard, Death | None]]:
        """A second try runs in a child of the Ray worker, which lives to say what it died of. A node that goes away is
        nobody's fault."""
        import ray

        need = self.settings.resources.get(stage.partition("/")[0], Resources())
        start = self._remote.options(num_cpus=need.cpus, num_gpus=need.gpus, memory=need.memory)
        waiting = iter(shards)
        again: deque[tuple[Shard, list[str]]] = deque()
        running: dict[Any, tuple[Shard, list[str]]] = {}  # with how the workers died that had it
        try:
            while True:
                room = self._room(stage, need) - len(running)
                while room > 0:
                    if again:
                        shard, deaths = again.popleft()
                    else:
                        try:
                            shard, deaths = next(waiting), []
                        except StopIteration:
                            break
                    ref = start.remote(self._expected, task, shard, spare, self.settings.patience, bool(deaths))
                    running[ref] = shard, deaths
                    room -= 1
                if not running:
                    return
                ended, rest = ray.wait(list(running), timeout=LOOK)
                if ended and rest:  # all others that have ended meanwhile, at the cost of one call
                    ended += ray.wait(rest, num_returns=len(rest), timeout=0)[0]
                for ref in ended:
                    shard, deaths = running.pop(ref)
                    died = _fetch(ref)
                    if not isinstance(died, str):
                        yield shard, died
                        continue
                    deaths.append(died)
                    if len(deaths) == TRIES or deaths.count("out of memory") == OUT_OF_MEMORY:
                        yield shard, Death(f"the worker died {len(deaths)} times ({died})")
                    else:
                        again.append((shard, deaths))
        finally:
            for ref in running:
                ray.cancel(ref, force=True)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=REACH)

    def sql(self, query: str, out: Path, by: str | None = "shard", **tables: Sequence[str]) -> None:
        """Daft runs the query on all nodes; what it answers is put into the same order as DuckDB's, shard by shard."""
        import ray
        from ray import exceptions

        if self.asked is not None:
            self.asked.sql(query, out, by, **tables)
            return
        gone = (exceptions.RayActorError, exceptions.NodeDiedError, exceptions.OutOfMemoryError)
        for tries in range(1, TRIES + 1):
            if self._asker is None:
                self._asker = ray.remote(num_cpus=0)(daft_sql.Asker).remote()
            try:
                ray.get(self._asker.ask.remote(query, str(out), by, tables))
                return
            except (*gone, exceptions.RayTaskError) as error:
                if (
                    isinstance(error, exceptions.RayTaskError) and tries > 2
                ):  # no node's end is that of the query thrice
                    raise _QueryFailed(f"a query over {', '.join(tables)} failed: {_line(error.cause)}") from None
                ray.kill(self._asker)
                self._asker = None
                shutil.rmtree(out, ignore_errors=True)
                time.sleep(min(2.0**tries / 4, 10))
        raise _QueryFailed(f"a query over {', '.join(tables)} lost its process {TRIES} times")

    def _room(self, stage: str, need: Resources) -> int:
        """How many shards of the stage may be handed out at a time, as large as the cluster is now."""
        looked, slots = self._slots.get(stage, (-LOOK, 0))
        if time.monotonic() - looked >= LOOK:
            slots = sum(_slots(node, need) for node in _nodes())
            self._slots[stage] = time.monotonic(), slots
        return AHEAD * slots + 2  # though there be none: what waits is what makes a cluster grow

    def _check_nodes(self) -> None:
        """Has a look at every node before any work begins.

        Raises:
            UserError: one has no such code, or does not see a file.
        """
        import ray
        from ray.exceptions import RayError
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        def look(code: str, files: tuple[str, ...]) -> str | None:  # sent by value: there may be nothing to import
            try:
                from pipeline.cluster import differs
            except ImportError as error:
                return f"cannot import Carnac ({error})"
            return differs(code, files)

        ask = ray.remote(num_cpus=0, max_retries=2)(look)
        asked = {}
        for node in _nodes():
            here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked[ask.options(scheduling_strategy=here).remote(version(), tuple(self.files))] = node
        for ref, node in asked.items():
            try:
                wrong = ray.get(ref, timeout=60)
            except RayError as error:
                if not any(alive["NodeID"] == node["NodeID"] for alive in _nodes()):
                    continue  # it has gone
                wrong = f"does not work: {_line(error)}"
            if wrong:
                raise UserError(f"--engine ray: the node {node['NodeManagerHostname']} {wrong}")

    def _check_resources(self) -> None:
        nodes = _nodes()
        for stage, need in self.settings.resources.items():
            if not self.settings.autoscales and not any(_slots(node, need) for node in nodes):
                held = [node["Resources"] for node in nodes]
                most = {name: max((node.get(name, 0) for node in held), default=0) for name in ("CPU", "GPU", "memory")}
                raise UserError(
                    f"engine.resources.{stage}: no node has {need}; the most that one of {len(nodes)} has are "
                    f"{Resources(cpus=most['CPU'], gpus=most['GPU'], memory=int(most['memory']) or None)} (where nodes come "
                    "when they are asked for, say engine.autoscales: true)"
                )


class _QueryFailed(UserError):
    status = 1


def version() -> str:
    """A hash of the code of this installation; workers must have the same."""
    digest = hashlib.sha256()
    for folder in ("pipeline", "filters"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".sql"):
                digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:24]


@cache
def differs(code: str, files: tuple[str, ...]) -> str | None:
    """What a worker in this process would lack: of the driver's code, or of its files; None if nothing."""
    if version() != code:
        return f"has another version of Carnac ({ROOT}): install on all nodes what this machine has"
    if missing := [file for file in files if not Path(file).exists()]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return f"does not see {missing[0]}{more}: what a configuration names must lie where all nodes see it"
    return None


def _on_worker(
    expected: tuple[str, tuple[str, ...]],
    task: Callable[[Shard], None],
    shard: Shard,
    spare: Spare[Shard] | None,
    patience: float,
    by_itself: bool,
) -> Death | Exception | None:
    """A Ray task: None, how the child died that did a second try, or what the task raised, for the driver to raise."""
    if wrong := differs(*expected):
        return UserError(f"--engine ray: the node {socket.gethostname()} {wrong}")
    watch(patience)
    try:
        if by_itself:
            return alone(task, shard, spare, patience)
        task(shard)
    except Exception as error:  # carried to the driver, who raises it
        return error
    return None


def _fetch(ref: Any) -> Death | str | None:
    """What a task answered; in a word how its worker died.

    Raises:
        Exception: what the task raised, or a UserError where it could not even be begun.
    """
    import ray
    from ray import exceptions

    try:
        answer: Death | Exception | None = ray.get(ref)
    except exceptions.OutOfMemoryError:
        return "out of memory"
    except (exceptions.NodeDiedError, exceptions.LocalRayletDiedError):
        return "its node went away"
    except exceptions.WorkerCrashedError:
        return "killed"
    except exceptions.RayTaskError as error:
        raise UserError(f"--engine ray: a worker could not begin: {_line(error.cause)}") from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _nodes() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def _slots(node: dict[str, Any], need: Resources) -> int:
    """How many tasks that need so much a node can hold."""
    wanted = {"CPU": need.cpus, "GPU": need.gpus, "memory": need.memory or 0}
    return min(int(node["Resources"].get(name, 0) / much) for name, much in wanted.items() if much)


def _connect(settings: EngineSettings) -> None:
    """Joins the cluster at RAY_ADDRESS, or starts one on this machine.

    Raises:
        UserError: Ray is not installed, nobody is there, or who is there does not know our token.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody is told of a run
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", "3")  # seconds in which a token that is refused is tried again
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import daft  # noqa: F401
        import ray
    except ImportError as error:
        raise UserError(f"--engine ray needs {error.name}: pip install 'carnac[cluster]'") from None
    address = os.environ.get("RAY_ADDRESS", "local")
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address.startswith("ray://"):
        raise UserError(f"RAY_ADDRESS: {address} is for Ray's client, which cannot run queries; start the run {SUBMIT}")
    if address == "local":  # a token of its own, so that none has to be made in the user's home
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init(address="local", num_cpus=settings.workers or None, include_dashboard=False, **quiet)
        return
    if address != "auto":
        _reach(address)
    with _stderr() as said:
        try:
            ray.init(address=address, **quiet)
            return
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            line = _line(error)
        lines = said()
    if "AuthToken" in lines or "uthenticat" in lines + line:
        raise UserError(
            f"RAY_ADDRESS: {address} refuses our token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's (on its "
            "head node: `ray get-auth-token`)"
        )
    raise UserError(f"RAY_ADDRESS: {address}: no cluster can be joined there: {line}")


def _reach(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), REACH).close()
    except ValueError:
        raise UserError(f"RAY_ADDRESS: {address!r} is no address: write host:port, or auto {SUBMIT}") from None
    except OSError as error:
        raise UserError(f"RAY_ADDRESS: nobody answers at {address}: {error.strerror or error}") from None


@contextmanager
def _stderr() -> Iterator[Callable[[], str]]:
    """Holds back what Ray's C++ writes to stderr in the block; the answer reads it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield lambda: os.pread(file.fileno(), 1 << 16, 0).decode("utf-8", "replace")
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]
