"""Records to tidy tables, where a run has left little."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from pathlib import Path

import pytest

from mpno.paper.records import HISTORY_COLUMNS, _history


@pytest.mark.parametrize("grid", ["16", "16x24"])
def test_a_run_that_diverged_in_its_first_epoch_has_no_history_and_spoils_none(grid: str, tmp_path: Path) -> None:
    header = f"epoch,train_loss,l2@{grid},h1@{grid}\n"
    for name, rows in (("full", "1,0.9,0.5,0.6\n2,0.8,0.4,0.5\n"), ("none", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "history.csv").write_text(header + rows)
    arms = [{"name": name, "runs": {"0": name}} for name in ("none", "full")]
    frame = _history(arms, tmp_path)
    assert list(frame["arm"]) == ["full"] * 4 and list(frame["value"]) == [0.5, 0.4, 0.6, 0.5]
    assert frame.to_csv().count(f",{grid},") == 4, "a grid stays as it is written"
    assert list(_history(arms[:1], tmp_path).columns) == list(HISTORY_COLUMNS)
