"""When and where a training left the finite numbers, against a count of batches and updates one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mpno import MpnoError, build_spec
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.overflow import overflow

BATCHES, EPOCHS = 8, 3


def arm_of(run: Path, **training: Any) -> ProbedArm:
    """Fifteen samples two at a time: eight batches an epoch, the last of one sample."""
    data = {"source": "generate", "resolution": 16, "test_resolutions": [16], "n_train": 15, "n_test": 2}
    spec = build_spec({"data": data, "training": {"epochs": EPOCHS, "batch_size": 2, **training}})
    return ProbedArm("darcy", "none", spec, run, {3: run})


def write(run: Path, diverged: dict[str, Any] | None, losses: int = 1) -> None:
    status = "diverged" if diverged else "finished"
    (run / "metrics.json").write_text(json.dumps({"evidence": "simulated", "status": status, "diverged": diverged}))
    rows = [f"{epoch},{1 / epoch}" for epoch in range(1, losses + 1)]
    (run / "history.csv").write_text("\n".join(["epoch,train_loss", *rows]) + "\n")


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("skipped", [0, 1, 5])
@pytest.mark.parametrize("first", [1, 2, 3, 4, 8, 9, 12, 24])
def test_the_first_batch_that_was_not_finite(first: int, skipped: int, every: int, tmp_path: Path) -> None:
    """Updates before it, counted batch by batch; an epoch's last one takes what waits."""
    made, waiting = 0, 0
    for batch in range(1, first):
        waiting += 1
        if waiting == every or batch % BATCHES == 0:
            made, waiting = made + 1, 0
    step = first + skipped
    record = {"epoch": -(-step // BATCHES), "step": step, "where": "blocks.0.conv", "operation": "o", "first": first}
    write(tmp_path, record)
    scaling = {"loss_scaling": "dynamic"} if skipped else {}
    arm = arm_of(tmp_path, **scaling, **({"delayed_updates": every} if every > 1 else {}))
    (row,) = overflow([arm], {})
    assert (row["batch"], row["updates"]) == (first, made) and row["epochs"] == first / BATCHES
    assert (row["part"], row["arm"], row["seed"], row["status"]) == ("darcy", "none", 3, "diverged")


def test_a_test_comes_after_its_epoch(tmp_path: Path) -> None:
    write(tmp_path, {"epoch": 2, "step": 16, "where": "evaluation on 16 points", "operation": "o", "first": 16})
    (row,) = overflow([arm_of(tmp_path)], {})
    assert (row["batch"], row["epochs"], row["updates"], row["operation"]) == (16, 2.0, 16, "o")


def test_a_run_that_finished(tmp_path: Path) -> None:
    write(tmp_path, None, losses=3)
    (row,) = overflow([arm_of(tmp_path, delayed_updates=3, grad_clip=5)], {})
    assert (row["batch"], row["epochs"], row["updates"]) == (24, 3.0, 9)
    assert (row["status"], row["where"], row["operation"]) == ("finished", "", "")
    assert row["train_loss"] == pytest.approx(1 / 3) and "gradients clipped at 5" in row["technique"]


def test_one_that_lost_its_first_epoch_has_no_loss(tmp_path: Path) -> None:
    write(tmp_path, {"epoch": 1, "step": 1, "where": "input", "operation": "", "first": 1}, losses=0)
    (row,) = overflow([arm_of(tmp_path)], {})
    assert row["train_loss"] is None and (row["batch"], row["updates"]) == (1, 0)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match=r"metrics\.json: no record"):
        overflow([arm_of(tmp_path)], {})
    write(tmp_path, None)
    (tmp_path / "history.csv").write_text("epoch\n1\n")
    with pytest.raises(MpnoError, match=r"history\.csv: no history"):
        overflow([arm_of(tmp_path)], {})
    with pytest.raises(MpnoError, match="settings are samples; it takes none"):
        overflow([], {"samples": 3})
