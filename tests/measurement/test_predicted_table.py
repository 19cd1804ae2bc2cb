"""The committed table of what trainings need, and the answer for one of them."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from mpno.measurement.cards import CARDS
from mpno.measurement.predicted import COLUMNS, answer, predict_table, row_of
from mpno.measurement.shapes import Bodies
from mpno.plan import load_plan
from mpno.plan.predicted import read_predicted
from mpno.specs import RunSpec

ROOT = Path(__file__).parents[2]
SMALL = {"model": {"modes": [8, 8], "width": 16}, "training": {"batch_size": 16, "epochs": 4}}


def rows_of(scale: str) -> dict[str, dict[str, str]]:
    path = ROOT / "workflow" / "predicted" / f"{scale}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return {row["key"]: row for row in csv.DictReader(line for line in file if not line.startswith("#"))}


@pytest.mark.parametrize("scale", ["gpu", "paper"])
def test_the_committed_table_has_a_line_for_every_training(scale: str) -> None:
    """After an experiment changes: python -m mpno measure predict --scale SCALE."""
    arms = {spec.arm.id for spec in load_plan({"scale": scale, "items": "all"}, root=ROOT).runs.values()}
    assert set(rows_of(scale)) == arms


def test_the_committed_table_is_what_is_predicted_today() -> None:
    """A sample of it, on a plane and on a sphere; the same command mends it."""
    arms = {spec.arm.id: spec for spec in load_plan({"scale": "paper", "items": "all"}, root=ROOT).runs.values()}
    rows, bodies = rows_of("paper"), Bodies()
    settings = ("full", "mixed", "mixed-e5m2")
    keys = [k for k, spec in sorted(arms.items()) if spec.data.name == "darcy" and spec.precision.label in settings]
    for key in (keys[0], keys[-1], min(k for k, spec in arms.items() if spec.data.name == "shallow-water")):
        assert row_of("paper", key, arms[key], bodies) == rows[key]


def test_a_table_is_what_jobs_read(tmp_path: Path) -> None:
    specs = [
        RunSpec.model_validate({**SMALL, "precision": p, "seed": s}) for p in ("full", "mixed-e5m2") for s in (0, 1)
    ]
    path = tmp_path / "desk.csv"
    assert predict_table("desk", specs, path) == 2  # seeds cost the same
    needs = read_predicted(path, "desk")
    full, low = needs[specs[0].arm.id], needs[specs[2].arm.id]
    assert full.mib is not None and full.mib > 400 and full.seconds is not None and full.seconds > 0
    assert (low.mib, low.seconds) == (None, None)  # no GPU has the format
    assert path.read_text("utf-8").splitlines()[2].split(",") == list(COLUMNS)


def test_the_answer_for_one_training() -> None:
    text = answer(RunSpec.model_validate({**SMALL, "precision": "schedule"}), CARDS["v100"])
    assert [f"phase {n}" in text for n in (1, 2, 3, 4)] == [True, True, True, False]
    assert "25 % of the epochs" in text and "it fits" in text and "nothing measured" in text
    measured = answer(RunSpec.model_validate({**SMALL, "precision": "mixed, full above 50"}), CARDS["v100"])
    assert "phase 2" in measured and measured.endswith("the time is that of none, the memory that of some")
    assert "gradients decide" not in text
    tiny = replace(CARDS["v100"], gib=1)
    large = RunSpec.model_validate({**SMALL, "training": {"batch_size": 4000}, "precision": "full"})
    assert "does NOT fit" in answer(large, tiny)
    low = RunSpec.model_validate({**SMALL, "precision": "mixed-e5m2"})
    assert "no GPU has this format" in answer(low, CARDS["a100"])
