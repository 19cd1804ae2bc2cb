"""The toy item drawn once, and its report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from report_toy import make_report

from mpno.paper import draw, load_item


@pytest.fixture(scope="session")
def report(toy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page; what it is made of lies in the folder above."""
    root = tmp_path_factory.mktemp("results")
    draw(load_item(toy), root)
    return make_report(root, toy.parent)


@pytest.fixture
def drawn(report: Path, tmp_path: Path) -> Path:
    """A copy of what was drawn, to change."""
    return Path(shutil.copytree(report.parent.parent, tmp_path / "results"))
