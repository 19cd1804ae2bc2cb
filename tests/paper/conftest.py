"""The toy item, collected once."""

from __future__ import annotations

from pathlib import Path

import pytest
from paper_toy import collect, context

from mpno.paper import load_item
from mpno.paper.records import ItemData


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tidy tables of the toy item."""
    return collect(tmp_path_factory.mktemp("toy"), context())


@pytest.fixture(scope="session")
def toy_data(toy: Path) -> ItemData:
    return load_item(toy).only
