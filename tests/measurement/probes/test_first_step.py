"""The first step of an untrained model: what it needs against numpy's transform, what it does by range arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mpno.datasets import write_store
from mpno.measurement.probes.first_step import first_step
from mpno.measurement.probes.inputs import ProbedArm
from mpno.models import FNO
from mpno.specs import FNOSpec, MpnoError, build_spec

PRECISIONS = ["full", "mixed", "mixed-fp8_e5m2", "mixed-fp8_e4m3", "mixed-fp8_e4m3_sat", "half-fp8_e4m3_sat"]


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ProbedArm:
    """Two waves on grids of 16 and 64 points along an axis, and a model with a norm, whose fields are of order 1."""
    path = tmp_path_factory.mktemp("data") / "waves.h5"
    arrays: dict[str, np.ndarray] = {}
    for split, grid in (("train", 8), ("test", 16), ("test", 64)):
        t = np.arange(grid) / grid
        wave = np.cos(2 * np.pi * (t[:, None] + t[None]))
        arrays[f"{split}/{grid}/x"] = np.stack([wave, 2 * wave])[:, None].astype(np.float32)
        arrays[f"{split}/{grid}/y"] = np.stack([wave + 1, wave])[:, None].astype(np.float32)
    attrs: dict[str, Any] = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
    write_store(
        path,
        arrays,
        {**attrs, "name": "toy", "source": "import", "seed": None, "periodic": True},
        {"x": "waves", "y": "waves"},
    )
    data = {"name": "toy", "source": "import", "resolution": 8, "test_resolutions": [16, 64], "n_train": 2, "n_test": 2}
    model = {"name": "fno", "modes": [4, 4], "width": 6, "layers": 2, "norm": "group"}
    return ProbedArm("toy", "mixed", build_spec({"data": data, "model": model, "training": {"loss": "h1"}}), path, {})


@pytest.fixture(scope="module")
def rows(arm: ProbedArm) -> dict[tuple[str, int], dict[str, Any]]:
    found = first_step([arm], {"precisions": PRECISIONS})
    return {(row["precision"], row["resolution"]): row for row in found}


def test_the_share_is_the_largest_sum_over_the_maximum(arm: ProbedArm, rows: dict[Any, Any]) -> None:
    """From the layers' inputs, by numpy in float64, of the modes that are kept: -2 to 1 and 0 to 2."""
    assert rows["mixed", 64]["points"] == 4096
    torch.manual_seed(0)
    assert isinstance(arm.spec.model, FNOSpec)
    model = FNO(1, 1, arm.spec.model, precision="full+tanh")
    seen: list[np.ndarray] = []
    for block in model.blocks:
        block.conv.register_forward_pre_hook(lambda _, given: seen.append(given[0].numpy()))  # type: ignore[union-attr]
    t = np.arange(64) / 64
    wave = np.cos(2 * np.pi * (t[:, None] + t[None]))
    std = np.sqrt(np.mean([0.5, 2.0]))  # of the two training samples, whose mean is zero
    with torch.no_grad():
        model(torch.from_numpy(np.stack([wave, 2 * wave])[:, None] / std).float())
    kept = [np.fft.fft2(np.tanh(np.float64(v)), axes=(1, 2))[:, [-2, -1, 0, 1], :3] for v in seen]
    largest = max(max(np.abs(s.real).max(), np.abs(s.imag).max()) for s in kept)
    assert rows["mixed", 64]["share"] == pytest.approx(largest / 65504, rel=1e-3)
    assert rows["mixed-fp8_e4m3", 64]["share"] == pytest.approx(largest / 448, rel=1e-3)


def test_what_does_not_fit_overflows_where_it_is_summed(rows: dict[Any, Any]) -> None:
    bad = rows["mixed-fp8_e4m3", 64]
    assert bad["share"] > 1 and not bad["finite"] and bad["loss"] is None and bad["zero"] is None
    assert bad["where"].endswith("conv") and bad["operation"].endswith("in fft_forward")
    for precision in ("full", "mixed", "mixed-fp8_e5m2", "mixed-fp8_e4m3_sat", "half-fp8_e4m3_sat"):
        row = rows[precision, 64]
        assert row["finite"] and np.isfinite(row["loss"]) and row["where"] == ""
    # 256 points of at most 1 are below 448.
    assert rows["mixed-fp8_e4m3", 16]["finite"] and rows["mixed-fp8_e4m3", 16]["share"] < 1


def test_gradients_vanish_from_below(rows: dict[Any, Any]) -> None:
    """On 4096 points they are about 1/4096, a quarter of what e4m3 rounds to zero, and far above e5m2's and fp16's."""
    zero = {name: rows[name, 64]["zero"] for name in PRECISIONS if name != "mixed-fp8_e4m3"}
    assert zero["full"] < 0.1
    assert zero["full"] <= zero["mixed"] < zero["mixed-fp8_e5m2"] < zero["mixed-fp8_e4m3_sat"]
    assert zero["mixed-fp8_e4m3_sat"] > 0.9
    assert zero["half-fp8_e4m3_sat"] <= zero["mixed-fp8_e4m3_sat"]
    # Coarser grids have larger gradients.
    assert rows["mixed-fp8_e4m3_sat", 16]["zero"] < zero["mixed-fp8_e4m3_sat"]


def test_arms_and_evidence_stand_in_the_rows(rows: dict[Any, Any]) -> None:
    assert len(rows) == 2 * len(PRECISIONS)
    assert {(row["part"], row["arm"], row["samples"]) for row in rows.values()} == {("toy", "mixed", 2)}
    assert rows["full", 16]["evidence"] == "native" and rows["mixed-fp8_e4m3", 16]["evidence"] == "simulated"
    assert rows["half-fp8_e4m3_sat", 16]["format"] == "fp8_e4m3_sat"


def test_settings_are_asked_for(arm: ProbedArm) -> None:
    with pytest.raises(MpnoError, match="probe first_step: settings are none; give precisions"):
        first_step([arm], {})
    with pytest.raises(MpnoError, match="is not a number format"):
        first_step([arm], {"precisions": ["mixed-fp9"]})
