"""The talk-through notebook runs, on tables of one's own and without."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from mpno.paper import load_item, paired_change
from mpno.paper.execute import run_notebook

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = ROOT / "results" / "published" / "tidy"


def executed(tidy: Path, out: Path) -> str:
    """All that the notebook says, as text and HTML."""
    run_notebook(
        ROOT / "notebooks" / "start_here.ipynb",
        parameters={"tidy": str(tidy), "out": str(out)},
        out=out / "start.ipynb",
    )
    cells = nbformat.read(out / "start.ipynb", as_version=4).cells
    outputs = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    assert any("image/png" in data for data in outputs)
    return "\n".join(text for data in outputs for kind, text in data.items() if kind.startswith("text/"))


def test_without_a_run_it_asks_the_published_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    said = executed(tmp_path / "nowhere", tmp_path)
    assert "from `results/published/tidy`" in said and "no claims were judged beside these tables" in said
    data = load_item(PUBLISHED / "schedule").only
    values = [data.values(arm, "l2", data.resolutions[0]) for arm in ("mixed", "full-tanh", "full")]
    beyond, change = paired_change(values[0], values[1]), paired_change(values[0], values[2])
    assert f"{100 * beyond.low:+.1f} %" in said and f"{100 * change.high:+.1f} %" in said
    assert f"worst seed: {max(values[2], key=lambda seed: values[0][seed] / values[2][seed])}," in said


def test_with_a_run_it_asks_that_one_and_counts_its_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    (tmp_path / "tidy").symlink_to(PUBLISHED)
    (tmp_path / "claims").mkdir()
    claims = {"decided": 3, "total": 5, "counts": {"supported": 2, "inconclusive": 1}}
    (tmp_path / "claims" / "claims.json").write_text(json.dumps(claims))
    said = executed(tmp_path / "tidy", tmp_path / "out")
    assert "a run of yours" in said and "3 of 5 decided (supported: 2, inconclusive: 1)" in said
