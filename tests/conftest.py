"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def material() -> Path:
    """The folder of real pages, crawls and images; its tests are skipped where it is absent."""
    folder = Path(os.environ.get("CARNAC_MATERIAL", ROOT.parent / "shared" / "material"))
    if not folder.is_dir():
        pytest.skip("the folder of real pages is not here: set CARNAC_MATERIAL")
    return folder
