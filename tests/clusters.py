"""Ray clusters of several raylets on this machine, for tests; and what a run over a small crawl must leave."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT
from tests.crawls import crawl

TOKEN = "0123456789abcdef" * 4
STORE = 80_000_000  # bytes, about the least that Ray takes
ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "500",  # so that a node that went is missed in a second or two
    "RAY_health_check_initial_delay_ms": "500",
}


@contextmanager
def cluster(nodes: int, cpus: int = 1, head: int = 0) -> Iterator[Any]:
    """A head with `head` CPUs and so many other nodes; `address`, `add_node` and `remove_node` are Ray's."""
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ |= ENVIRONMENT
    from ray._private.authentication_test_utils import reset_auth_token_state
    from ray.cluster_utils import Cluster

    reset_auth_token_state()  # Ray may have been imported under other variables
    arguments = {"num_cpus": head, "object_store_memory": STORE, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=arguments)
    try:
        for _ in range(nodes):
            made.add_node(wait=False, num_cpus=cpus, object_store_memory=STORE)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def write_configuration(folder: Path, files: int = 3, pages: int = 3, **changes: object) -> Path:
    """The quickstart's decisions over a small crawl that lies, as the configuration, in `folder`."""
    crawl(folder / "crawl", files, pages)
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text())
    raw |= {"name": "test", "output": str(folder / "out"), "input": {"paths": [str(folder / "crawl")]}, **changes}
    raw["consent"] = {"signals": ["x_robots_tag", "meta_robots", "tdm_reservation"]}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def command(config: Path, output: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "pipeline", "run", str(config), "--set", f"output={output}", *words]


def start(config: Path, output: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    """A run in a process of its own, whose words go to OUTPUT.log."""
    with output.with_suffix(".log").open("a", encoding="utf-8") as log:
        return subprocess.Popen(
            command(config, output, *words), stdout=log, stderr=log, text=True, cwd=ROOT, env=os.environ | environment
        )


def run(config: Path, output: Path, *words: str, **environment: str) -> None:
    process = start(config, output, *words, **environment)
    assert process.wait(280) == 0, output.with_suffix(".log").read_text(encoding="utf-8")[-3000:]


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }


def left_by(output: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The corpus, and the tables of all stages, which queries' answers are not, by name and SHA-256; no file that was
    being written must lie beside them."""
    assert not list(output.rglob(".*.tmp"))
    tables = {
        name: digest for name, digest in digests(output / "stages", "*.parquet").items() if "/answer/" not in name
    }
    return digests(output / "corpus"), tables
