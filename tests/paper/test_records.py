"""Records to tidy tables, where a run has left little."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import json
from pathlib import Path

import pytest
from paper_toy import collect, context

from mpno.paper import collect_item, load_item
from mpno.paper.published import publish
from mpno.paper.records import HISTORY_COLUMNS, _history
from mpno.paper.runs import RUN_COLUMNS
from mpno.specs import MpnoError


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


def test_every_run_is_known_with_what_it_was(toy: Path) -> None:
    runs = load_item(toy).runs
    assert tuple(runs.columns) == RUN_COLUMNS
    assert len(runs) == 18 and runs["run"].is_unique
    row = runs.set_index("run").loc["half_s1"]
    assert (row["part"], row["arm"], row["seed"], row["status"]) == ("darcy", "half", 1, "diverged")
    assert json.loads(row["spec"]) == {"seed": 1, "precision": "half"} and json.loads(row["versions"]) == {"torch": "1"}
    assert (row["evidence"], row["seconds"], row["threads"], row["parameters"]) == ("simulated", 2.5, 1, 100)
    assert (row["source_digest"], row["data_source"], row["data_digest"]) == ("abc", "fetch", "def")


def test_a_record_without_its_spec_is_refused(tmp_path: Path) -> None:
    item = context()
    collect(tmp_path, item)
    path = tmp_path / "runs" / "mixed_s1" / "metrics.json"
    path.write_text(path.read_text().replace('"spec"', '"specs"'))
    with pytest.raises(MpnoError, match=r"of item toy: is not whole \(KeyError\('spec'\)\)"):
        collect_item(item, root=tmp_path, reference=tmp_path / "reference.csv", out=tmp_path / "out")


def test_published_tables_keep_what_is_known_of_the_runs(toy: Path, tmp_path: Path) -> None:
    publish(toy.parent, tmp_path)
    assert (tmp_path / "toy" / "runs.csv").read_text() == (toy / "runs.csv").read_text()
    (tmp_path / "toy" / "runs.csv").unlink()
    assert load_item(tmp_path / "toy").runs.empty
