"""Runs whose workers, nodes and driver are killed end, by the same command, with the bytes of one that nobody disturbed."""

from pathlib import Path

import pytest

from pipeline import sample
from pipeline.sample.check import check
from tests.chaos import disturb, settled
from tests.clusters import cluster, left_by, run, write_configuration
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration, with what an undisturbed run leaves in `still`."""
    folder = tmp_path_factory.mktemp("small")
    config = write_configuration(folder, files=4, pages=3)
    run(config, folder / "still", "--set", "engine.workers=2")
    return config


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 11))])
def test_a_disturbed_run_on_one_machine_leaves_the_same_bytes(seed: int, small: Path, tmp_path: Path) -> None:
    done = disturb(seed, small, tmp_path / "out", ("--set", "engine.workers=2"))
    settled(tmp_path / "out")
    assert done.total()
    assert left_by(tmp_path / "out") == left_by(small.parent / "still")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(1, 11))
def test_a_disturbed_run_on_ray_leaves_the_same_bytes(seed: int, small: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with cluster(2) as made:
        done = disturb(seed, small, tmp_path / "out", ("--engine", "ray"), made, RAY_ADDRESS=made.address)
        settled(tmp_path / "out")
    assert done.total()
    assert left_by(tmp_path / "out") == left_by(small.parent / "still")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_every_page_of_the_sample_crawl_comes_to_its_end_in_a_disturbed_run(engine: str, tmp_path: Path) -> None:
    crawl = tmp_path / "sample"
    sample.write(crawl)
    raw = (ROOT / "configs" / "quickstart.yaml").read_text(encoding="utf-8").replace("runs/sample", str(crawl))
    config = tmp_path / "config.yaml"
    config.write_text(raw, encoding="utf-8")
    if engine == "local":
        disturb(7, config, tmp_path / "out", ("--set", "engine.workers=2"))
    else:
        pytest.importorskip("ray")
        with cluster(2) as made:
            disturb(7, config, tmp_path / "out", ("--engine", "ray"), made, RAY_ADDRESS=made.address)
    assert not check(crawl, tmp_path / "out")
