"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Return the folder of the real data sets: JAXPORT_DATA, or shared/data beside the repository; skip without one."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("JAXPORT_DATA") or beside)
    if not folder.is_dir():
        pytest.skip("no real data: set JAXPORT_DATA to the folder that holds them")
    return folder
