"""The engine `ray`: the same bytes on any number of nodes, deaths as on one machine, and mistakes told in one line."""

import ast
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.config import STAGES, EngineSettings, Resources
from pipeline.daft_sql import order_of, settle_parts
from pipeline.run import QUERIES
from pipeline.worker import Death, watched
from tests.clusters import TOKEN, cluster, command, left_by, run, write_configuration
from tests.conftest import ROOT

pytest.importorskip("ray")

from pipeline import cluster as engine

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, about its own future


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Three nodes with a CPU each, at RAY_ADDRESS."""
    with cluster(3) as made:
        os.environ["RAY_ADDRESS"] = made.address
        yield made
        del os.environ["RAY_ADDRESS"]


def settings(**told: Any) -> EngineSettings:
    return EngineSettings.model_validate(told)


def note(folder: str, shard: int) -> None:
    with Path(folder, str(shard)).open("a") as file:
        file.write("x")


def misbehave(folder: str, shard: int) -> None:
    """Kills its worker in some way, once, always or as long as the shard holds what does."""
    note(folder, shard)
    tries = len(Path(folder, str(shard)).read_text())
    if shard == 1:
        os.kill(os.getpid(), signal.SIGSEGV)
    if shard == 2 and tries == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if shard == 3:
        with watched():
            sum(range(10**12))
    if shard == 4:
        os.kill(os.getpid(), signal.SIGABRT)


def spare(shard: int, death: Death) -> int | None:
    return shard + 10 if shard == 4 else None


@pytest.mark.slow
def test_deaths_on_ray_are_told_as_on_one_machine(nodes: Any, tmp_path: Path) -> None:
    with engine.RayEngine(settings(patience=1), []) as ray:
        ended = dict(ray.each(partial(misbehave, str(tmp_path)), range(6), spare))
    assert {shard: death and death.how for shard, death in ended.items()} == {
        0: None,
        1: "the worker died twice (SIGSEGV)",
        2: None,
        3: "hung 1 s",
        4: None,
        5: None,
    }
    assert ended[3] is not None
    assert any(line.endswith("in misbehave") for line in ended[3].trace)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "0": "x", "1": "xx", "2": "xx", "3": "xx", "4": "xx", "14": "x", "5": "x"
    }  # fmt: skip


def fail(shard: int) -> None:
    raise ValueError(f"shard {shard}")


def test_what_a_task_raises_reaches_the_caller(nodes: Any) -> None:
    with engine.RayEngine(settings(), []) as ray, pytest.raises(ValueError, match="shard 0"):
        list(ray.each(fail, range(1)))


def wait_long_once(folder: str, shard: int) -> None:
    note(folder, shard)
    if len(Path(folder, str(shard)).read_text()) == 1:
        time.sleep(60)


@pytest.mark.slow
def test_a_node_that_goes_away_is_nobodys_fault(tmp_path: Path) -> None:
    with cluster(1) as made, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", made.address)
        [node] = [node for node in made.list_all_nodes() if not node.is_head()]
        # Nodes are started by the main thread, to whom signals come.
        with engine.RayEngine(settings(), []) as ray, ThreadPoolExecutor(1) as pool:
            ending = pool.submit(list, ray.each(partial(wait_long_once, str(tmp_path)), [7]))
            while not (tmp_path / "7").exists():
                time.sleep(0.1)
            made.remove_node(node, allow_graceful=False)
            made.add_node(num_cpus=1, object_store_memory=80_000_000)
            assert ending.result(120) == [(7, None)]


@pytest.mark.slow
def test_one_node_three_nodes_and_one_machine_leave_the_same_bytes(nodes: Any, tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    run(config, tmp_path / "local", "--set", "engine.workers=1")
    run(config, tmp_path / "three", "--engine", "ray")
    assert left_by(tmp_path / "three") == left_by(tmp_path / "local")


@pytest.mark.slow
def test_one_node_leaves_the_same_bytes(tmp_path: Path) -> None:
    config = write_configuration(tmp_path)
    run(config, tmp_path / "local", "--set", "engine.workers=2")
    with cluster(1) as made:
        run(config, tmp_path / "one", "--engine", "ray", RAY_ADDRESS=made.address)
    assert left_by(tmp_path / "one") == left_by(tmp_path / "local")


def told_by(config: Path, output: Path, *words: str, **environment: str) -> tuple[int, str, float]:
    """Exit status, stderr and seconds of a run that is refused."""
    began = time.monotonic()
    done = subprocess.run(
        command(config, output, "--engine", "ray", *words),
        capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr, time.monotonic() - began


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_configuration(tmp_path, 1, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_what_cannot_be_joined_is_told_in_one_line_within_seconds(nodes: Any, config: Path, tmp_path: Path) -> None:
    port = free_port()
    for environment, said in (
        ({"RAY_ADDRESS": f"127.0.0.1:{port}"}, f"RAY_ADDRESS: nobody answers at 127.0.0.1:{port}: Connection refused"),
        ({"RAY_AUTH_TOKEN": "b" + TOKEN[1:]}, "refuses our token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH"),
        ({"RAY_ADDRESS": "ray://127.0.0.1:10001"}, "is for Ray's client, which cannot run queries"),
    ):
        status, stderr, seconds = told_by(config, tmp_path / "out", **environment)
        assert status == 2
        assert said in stderr
        assert stderr.count("\n") == 1, stderr
        assert seconds < 60  # on a machine that is busy; nobody waits for Ray's own minutes


def test_what_a_cluster_lacks_is_told_before_any_work(nodes: Any, config: Path, tmp_path: Path) -> None:
    gpu = ["--set", "engine.resources={images: {gpus: 0.5}}"]
    status, stderr, _ = told_by(config, tmp_path / "out", *gpu)
    assert (status, stderr.count("\n")) == (2, 1), stderr
    assert (
        "engine.resources.images: no node has 1 CPUs, 0.5 GPUs; the most that one of 4 has are 1 CPUs, 0 GPUs" in stderr
    )
    unknown = ["--set", "engine.resources={imges: {gpus: 1}}"]
    status, stderr, _ = told_by(config, tmp_path / "out", *unknown)
    assert (status, stderr.count("\n")) == (2, 1), stderr
    assert "unknown stage, did you mean images?" in stderr


def test_without_ray_one_line_says_which_extra_has_it(config: Path, tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "ray.py").write_text("raise ModuleNotFoundError('hidden', name='ray')\n")
    status, stderr, _ = told_by(config, tmp_path / "out", PYTHONPATH=f"{hidden}:{ROOT}")
    assert (status, stderr) == (2, "carnac: --engine ray needs ray: pip install 'carnac[cluster]'\n")


def test_a_worker_with_other_code_or_without_a_file_is_told() -> None:
    assert engine.differs(engine.version(), (str(ROOT),)) is None
    assert "has another version of Carnac" in str(engine.differs("0" * 24, ()))
    told = str(engine.differs(engine.version(), ("/nowhere/model.onnx", "/nowhere/tokenizer")))
    assert told.startswith("does not see /nowhere/model.onnx and 1 more: ")


@pytest.mark.slow
def test_a_file_that_a_node_does_not_see_stops_the_run_before_any_work(nodes: Any) -> None:
    from pipeline.errors import UserError

    with (
        pytest.raises(UserError, match="does not see /nowhere/model"),
        engine.RayEngine(settings(), ["/nowhere/model"]),
    ):
        pass


@pytest.mark.slow
def test_a_cluster_is_started_where_none_is_named(tmp_path: Path) -> None:
    """Without a token in the user's home."""
    script = (
        "import sys; from functools import partial; from pipeline.cluster import RayEngine;"
        "from pipeline.config import EngineSettings; from tests.test_cluster import note;"
        "engine = RayEngine(EngineSettings(workers=2), []).__enter__();"
        "ended = dict(engine.each(partial(note, sys.argv[1]), range(5)));"
        "engine.__exit__(None, None, None); sys.exit(ended != dict.fromkeys(range(5)))"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "notes").mkdir()
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path / "notes")],
        check=True, cwd=ROOT, env=environment | {"HOME": str(home)}, timeout=120,
    )  # fmt: skip
    assert len(list((tmp_path / "notes").iterdir())) == 5
    assert not list(home.iterdir())


def test_rows_of_a_shard_come_in_one_order_however_they_were_written(tmp_path: Path) -> None:
    rows = [{"shard": 3, "row": row, "url": url} for row, url in ((1, "b"), (0, "b"), (2, "a"), (0, "a"))]
    for name, some in (("x", rows[:1]), ("y", rows[1:]), ("z", rows)):
        pq.write_table(pa.Table.from_pylist(some), tmp_path / name)
    for out, files in (("one", ["z"]), ("two", ["x", "y"]), ("three", ["y", "x"])):
        parts = [("3", [str(tmp_path / file) for file in files])]
        settle_parts(parts, str(tmp_path / out), "shard", ["url"], ["shard", "row", "url"])
    written = {(tmp_path / out / "shard=3" / "data_0.parquet").read_bytes() for out in ("one", "two", "three")}
    assert len(written) == 1
    read = pq.ParquetFile(tmp_path / "one" / "shard=3" / "data_0.parquet").read().to_pylist()
    assert [(row["url"], row["row"]) for row in read] == [("a", 0), ("a", 2), ("b", 0), ("b", 1)]


def test_the_order_of_every_query_that_has_one_is_known() -> None:
    for path in QUERIES.glob("*.sql"):
        text = path.read_text(encoding="utf-8")
        last = text[text.rindex("\nSELECT") if "\nSELECT" in text else 0 :]
        assert bool(order_of(text)) == ("ORDER BY" in last), path.name


def test_every_stage_can_be_given_resources() -> None:
    """Names of stages are the first words that `each` is called with."""
    names = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "each":
                of_run = isinstance(node.func.value, ast.Name) and node.func.value.id == "run"
                if of_run and isinstance(node.args[0], ast.Constant):
                    names.add(str(node.args[0].value).partition("/")[0])
    assert names | {"near_duplicate", "decontaminate"} == set(STAGES)


def test_resources_are_told_as_they_are_configured() -> None:
    assert str(Resources.model_validate({"cpus": 2, "memory": "4 GB"})) == "2 CPUs, 0 GPUs, 4 GB of memory"


@pytest.mark.slow
def test_every_query_answers_on_ray_with_the_same_rows_in_the_same_order(nodes: Any, tmp_path: Path) -> None:
    """Of a shard, where the query orders them; what only other queries read has no order."""
    import re

    from pipeline.engine import LocalEngine
    from tests.test_queries import CASES, text_of

    def answer(folder: Path) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        for file in sorted(folder.rglob("*.parquet")):
            name = file.parent.name if "=" in file.parent.name else ""
            found.setdefault(name, []).extend(pq.ParquetFile(file).read().to_pylist())
        return {name: rows for name, rows in found.items() if rows}

    with engine.RayEngine(settings(), []) as ray, LocalEngine(EngineSettings(workers=1), tmp_path / "spill") as local:
        for number, (query, tables, numbers, _) in enumerate(CASES.values()):
            files = {}
            for name, table in tables.items():
                files[name] = [str(tmp_path / f"{number}-{name}.parquet")]
                pq.write_table(table, files[name][0])
            text = text_of(query, numbers)
            by = "shard" if re.search(r"SELECT[^()]*\bshard\b[^()]*$", text) else None
            answers = []
            for asked in (ray, local):
                asked.sql(text, tmp_path / f"{number}-{type(asked).__name__}", by, **files)
                answers.append(answer(tmp_path / f"{number}-{type(asked).__name__}"))
            if by and order_of(text):
                assert answers[0] == answers[1], query
            else:
                # DuckDB writes a sum of integers as a float.
                plain = [
                    {
                        name: sorted(str([v + 0.0 if isinstance(v, int) else v for v in row.values()]) for row in rows)
                        for name, rows in one.items()
                    }
                    for one in answers
                ]
                assert plain[0] == plain[1], query
