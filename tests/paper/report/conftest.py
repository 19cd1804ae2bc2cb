"""The report of the toy item, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_toy import make_report

from mpno.paper import load_item


@pytest.fixture(scope="session")
def report(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_report(load_item(toy), toy.parent, tmp_path_factory.mktemp("results"))
