"""The settings of epochs as histories have them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mpno.measurement.probes.epoch_settings import epoch_settings
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError, RunSpec


def test_a_row_for_each_epoch_with_what_was_measured(tmp_path: Path) -> None:
    for name, rows in (("a", "1,mixed,0.6\n2,full+tanh,0.4\n"), ("b", "1,mixed\n")):
        (tmp_path / name).mkdir()
        head = "epoch,precision,below_normal\n" if name == "a" else "epoch,precision\n"
        (tmp_path / name / "history.csv").write_text(head + rows)
    arms = [ProbedArm("p", "x", RunSpec(), tmp_path, {3: tmp_path / "a"}),
            ProbedArm("p", "y", RunSpec(), tmp_path, {0: tmp_path / "b"})]  # fmt: skip
    one, two, other = epoch_settings(arms, {})
    assert one == {"part": "p", "arm": "x", "seed": 3, "epoch": 1, "setting": "mixed", "below_normal": 0.6}
    assert (two["setting"], two["below_normal"]) == ("full+tanh", 0.4)
    assert other["arm"] == "y" and math.isnan(other["below_normal"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    arm = ProbedArm("p", "x", RunSpec(), tmp_path, {0: tmp_path / "gone"})
    with pytest.raises(MpnoError, match=r"gone/history.csv: no history"):
        epoch_settings([arm], {})
    with pytest.raises(MpnoError, match="settings are batches; it takes none"):
        epoch_settings([arm], {"batches": 1})
