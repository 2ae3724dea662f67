"""One run at a time writes to a folder; one that was killed does not keep it."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.lease import InUse, Lease
from pipeline.places import place, sizes
from tests.conftest import ROOT
from tests.s3 import serving_s3

BEAT = 0.1


@pytest.fixture(params=["disk", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    MemoryFileSystem.store.clear()
    return tmp_path if request.param == "disk" else place("memory://x/leases")


def test_a_second_run_is_refused_while_the_first_lives(folder: Path) -> None:
    with Lease(folder, beat=BEAT), pytest.raises(InUse, match="in use by another run"):
        Lease(folder, beat=BEAT).__enter__()
    with Lease(folder, beat=BEAT):
        pass


def test_parts_stand_side_by_side_but_not_beside_the_whole(folder: Path) -> None:
    with Lease(folder, "part-0", BEAT), Lease(folder, "part-1", BEAT):
        for name in ("part-0", "run"):
            with pytest.raises(InUse):
                Lease(folder, name, BEAT).__enter__()
    with Lease(folder, "run", BEAT), pytest.raises(InUse):
        Lease(folder, "part-0", BEAT).__enter__()


def test_of_two_that_come_at_once_one_has_it() -> None:
    MemoryFileSystem.store.clear()
    folder, start, ended = place("memory://x/race"), threading.Barrier(4), threading.Barrier(4)
    got: list[str] = []

    def take() -> None:
        start.wait()
        try:
            with Lease(folder, beat=BEAT) as lease:
                got.append(lease.owner)
                ended.wait()
        except InUse:
            ended.wait()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    assert sizes(folder) == {}


def test_who_stood_still_so_long_that_another_took_over_is_told() -> None:
    MemoryFileSystem.store.clear()
    folder = place("memory://x/still")
    first = Lease(folder, beat=BEAT).__enter__()
    first._over.set()  # as a machine that sleeps
    with Lease(folder, beat=BEAT) as second:
        first._look()
        with pytest.raises(InUse, match="was taken over by another run"):
            first.check()
        first.__exit__(None, None, None)
        second._look()
        second.check()


HOLD = """
import sys, time
from pipeline.lease import Lease
from pipeline.places import place
with Lease(place("s3://leases/run"), beat=0.2):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_owner_on_s3_keeps_others_out_for_a_few_beats_and_no_longer() -> None:
    with serving_s3("leases"):
        owner = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert owner.stdout is not None
            assert owner.stdout.readline() == "held\n"
            with pytest.raises(InUse):
                Lease(place("s3://leases/run"), beat=0.2).__enter__()
        finally:
            owner.kill()
            owner.communicate()
        with Lease(place("s3://leases/run"), beat=0.2):
            pass
        assert sizes(place("s3://leases/run")) == {}
