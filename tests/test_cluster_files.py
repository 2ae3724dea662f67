"""configs/cluster: what each file is for reads it, as far as that can be had here."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.cli import _parser
from pipeline.config import EngineSettings
from tests.conftest import ROOT

FOLDER = ROOT / "configs" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sh"))


def test_the_cluster_file_is_one_by_rays_own_schema() -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    raw = yaml.safe_load((FOLDER / "ray-cluster.yaml").read_text(encoding="utf-8"))
    util.validate_config(raw | {"cluster_synced_files": []})
    util.validate_config(util.prepare_config(raw))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    if checker := shutil.which("shellcheck"):
        subprocess.run([checker, str(script)], check=True)


STUBS = """#!/bin/bash
printf '%s\\n' "$(basename "$0") $*" >> "$CALLS"
"""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_calls_carnac_as_carnac_can_be_called(script: Path, tmp_path: Path) -> None:
    """Against commands that write down how they were called; `srun` goes on to what it is to run."""
    for name in ("carnac", "ray", "scontrol", "srun"):
        body = STUBS
        if name == "scontrol":
            body += "echo node1\n"
        if name == "srun":
            body += 'while [[ ${1:-} == --* ]]; do shift; done\nexec "$@"\n'
        (tmp_path / name).write_text(body, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "JOB_ID": "77",
        "JOB_NODELIST": "node[1-2]",
        "NNODES": "2",
        "CPUS_PER_TASK": "8",
        "ARRAY_TASK_ID": "3",
        "ARRAY_TASK_COUNT": "16",
    }
    environment = {f"SLURM_{name}": value for name, value in slurm.items()}
    environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls"), "CONFIG": "c.yaml"}
    subprocess.run(["bash", str(script)], check=True, env=environment, timeout=60)
    calls = [line.split() for line in (tmp_path / "calls").read_text(encoding="utf-8").splitlines()]
    [words] = [words[1:] for words in calls if words[0] == "carnac"]
    parsed = _parser().parse_args(words)
    assert parsed.config == "c.yaml"
    assert (parsed.engine == "ray") != (parsed.part == "3/16")
    refused = subprocess.run(
        ["bash", str(script)], check=False, env=environment | {"CONFIG": ""}, capture_output=True, text=True
    )
    assert "name the configuration" in refused.stderr


def required(value: Any, *path: str) -> Any:
    for name in path:
        value = value[int(name)] if isinstance(value, list) else value[name]
    return value


def test_the_rayjob_has_what_its_kind_requires() -> None:
    job = yaml.safe_load((FOLDER / "kubernetes-rayjob.yaml").read_text(encoding="utf-8"))
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert required(job, "metadata", "name")
    cluster = required(job, "spec", "rayClusterSpec")
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert f"ray=={cluster['rayVersion']}" in pinned
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        [container] = required(group, "template", "spec", "containers")
        assert {"name", "image", "env", "resources", "volumeMounts"} <= set(container)
        volumes = {volume["name"] for volume in required(group, "template", "spec", "volumes")}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        assert group["groupName"]
    words = job["spec"]["entrypoint"].split()
    assert words[0] == "carnac"
    parsed = _parser().parse_args(words[1:])
    assert parsed.engine == "ray"
    assert all(change.partition("=")[0].removeprefix("engine.") in EngineSettings.model_fields for change in parsed.set)


def test_every_file_is_explained() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in text
