"""What trainings wrote down of their range, as a tidy table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from mpno import MpnoError, RunSpec
from mpno.measurement.probes.headroom import headroom
from mpno.measurement.probes.inputs import ProbedArm


def test_rows_by_run_epoch_layer_and_grid(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"evidence": "simulated"}))
    lines = ["epoch,layer,points,largest,ratio", "1,blocks.0.conv,256,1.0,0.25", "1,blocks.1.conv,256,2.0,0.5"]
    lines += ["1,blocks.0.conv,1024,1.0,1.0", "2,blocks.0.conv,256,inf,inf"]
    (tmp_path / "range.csv").write_text("\n".join(lines) + "\n")
    arms = [ProbedArm("darcy", name, RunSpec(), tmp_path, {0: tmp_path, 1: tmp_path}) for name in ("none", "tanh")]
    rows = headroom(arms, {})
    assert [(row["arm"], row["seed"]) for row in rows[::4]] == [("none", 0), ("none", 1), ("tanh", 0), ("tanh", 1)]
    found = [(row["epoch"], row["layer"], row["points"], row["ratio"]) for row in rows[:4]]
    assert found == [(1, 1, 256, 0.25), (1, 2, 256, 0.5), (1, 1, 1024, 1.0), (2, 1, 256, math.inf)]
    assert {row["evidence"] for row in rows} == {"simulated"} and {row["part"] for row in rows} == {"darcy"}
    (tmp_path / "range.csv").write_text("epoch,layer\n1,blocks.0.conv\n")
    with pytest.raises(MpnoError, match=r"range\.csv: no range of a run"):
        headroom(arms, {})
    with pytest.raises(MpnoError, match="it takes none"):
        headroom(arms, {"grids": 1})
