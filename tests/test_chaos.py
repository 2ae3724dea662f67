"""Runs whose workers, nodes and driver are killed end, by the same command, with the bytes of one that nobody disturbed."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import sample
from pipeline.cli import main
from pipeline.sample.check import check
from tests.chaos import disturb, settled
from tests.clusters import cluster, left_by, run, write_configuration
from tests.conftest import ROOT

ENGINES = ["local", "ray"]
# Half a minute each, a whole one on Ray; CARNAC_CHAOS=10 for a night.
SEEDS = range(1, 1 + int(os.environ.get("CARNAC_CHAOS", "5")))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, with what an undisturbed run leaves in `still`."""
    folder = tmp_path_factory.mktemp("small")
    config = write_configuration(folder, files=4, pages=3)
    run(config, folder / "still", "--set", "engine.workers=2")
    return config


def disturbed(seed: int, config: Path, output: Path, engine: str) -> None:
    """A run to its end in spite of all; it is whole, and `carnac verify` finds nothing."""
    with ExitStack() as stack:
        made: Any = None
        words, environment = ("--set", "engine.workers=2"), dict[str, str]()
        if engine == "ray":
            pytest.importorskip("ray")
            made = stack.enter_context(cluster(2))
            words, environment = ("--engine", "ray"), {"RAY_ADDRESS": made.address}
        done = disturb(seed, config, output, words, made, **environment)
        settled(output)
    assert done.total()
    assert main(["verify", str(output), "--workers", "1"]) == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in SEEDS[1:])])
def test_a_disturbed_run_on_one_machine_leaves_the_same_bytes(seed: int, small: Path, tmp_path: Path) -> None:
    disturbed(seed, small, tmp_path / "out", "local")
    assert left_by(tmp_path / "out") == left_by(small.parent / "still")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_disturbed_run_on_ray_leaves_the_same_bytes(seed: int, small: Path, tmp_path: Path) -> None:
    disturbed(seed, small, tmp_path / "out", "ray")
    assert left_by(tmp_path / "out") == left_by(small.parent / "still")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ENGINES)
def test_every_page_of_the_sample_crawl_comes_to_its_end_in_a_disturbed_run(engine: str, tmp_path: Path) -> None:
    crawl = tmp_path / "sample"
    sample.write(crawl)
    raw = (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8").replace("runs/sample", str(crawl))
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(raw), sort_keys=False), encoding="utf-8")
    disturbed(7, config, tmp_path / "out", engine)
    assert not check(crawl, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.material
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ENGINES)
def test_whole_sites_survive_a_bad_night(engine: str, material: Path, tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8"))
    raw |= {"name": "sites", "output": str(tmp_path / "out"), "input": {"paths": [str(material / "sites")]}}
    raw["consent"] = {"signals": ["x_robots_tag", "meta_robots", "tdm_reservation"]}
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    run(config, tmp_path / "still", "--set", "engine.workers=2")
    disturbed(3, config, tmp_path / "out", engine)
    assert left_by(tmp_path / "out") == left_by(tmp_path / "still")
