"""The benchmark that needs a GPU runs in small anywhere: every lever, and the stock model on the same batches."""

import json
from pathlib import Path

import pytest
import torch

from tests.benchmarks.training import LEVERS, STOCK, WHOLE, main
from tests.training_shards import write_corpus


def test_all_that_is_measured_on_a_gpu_runs_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_corpus(tmp_path / "shards")
    call = ["--small", "--steps", "1", "--shards", str(tmp_path / "shards"), "--json", str(tmp_path / "found.json")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main([*call, "--only", WHOLE, "padded images", STOCK]) == 0
        assert main([*call, "--only", "in fp32"]) == 0
    finally:
        torch.set_num_threads(threads)
    found = json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert set(found) == {WHOLE, "padded images", STOCK, "in fp32"} < {*LEVERS, STOCK}
    for row in found.values():
        assert row["tokens_per_second"] > 0
        assert row["images_per_second"] > 0
        assert 0 <= row["wait"] < 1
        assert row["operations_per_second"] > 0
        assert row["failed"] == ""
    assert found["padded images"]["loss"] == pytest.approx(found[WHOLE]["loss"], rel=1e-3)
    assert found["in fp32"]["loss"] == pytest.approx(found[WHOLE]["loss"], rel=1e-2)
    if not torch.cuda.is_available():
        assert found[WHOLE]["utilisation"] is None
        assert "limits are held against a GPU" in capsys.readouterr().out
        assert main([]) == 2
