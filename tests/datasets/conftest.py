from __future__ import annotations

from pathlib import Path

import pytest

from mpno.datasets.fetch import DARCY, fetch_darcy
from mpno.specs import MpnoError

KEPT = Path(__file__).parents[2] / "results" / "cache"
"""Where the workflow keeps the wheel: taken from there when it is, else downloaded once per run."""


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The public Darcy set as a store."""
    folder = tmp_path_factory.mktemp("public")
    cache = KEPT if (KEPT / DARCY.file).is_file() else folder / "cache"
    try:
        fetch_darcy(folder / "darcy.h5", cache)
    except MpnoError as error:
        if "could not download" in str(error):
            pytest.skip(f"the public Darcy set cannot be had here: {error}")
        raise
    return folder / "darcy.h5"
