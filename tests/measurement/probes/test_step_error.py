"""The first step's errors against autograd's own, and bytes that a forward pass keeps against those predicted."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from noise_arm import write_noise

from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.kept_bytes import kept_bytes
from mpno.measurement.probes.step_error import step_error
from mpno.specs import MpnoError, PrecisionSetting
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples

PRECISIONS = ["full+tanh", "mixed", "mixed-fp8_e4m3_sat", "mixed-mxfp8", "mixed, saved mxfp8", "mixed-e5m10_max4"]


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ProbedArm:
    root = tmp_path_factory.mktemp("steps")
    spec, data = write_noise(root, width=16)
    return ProbedArm("darcy", "full", spec, data, {})


def test_errors_are_relative_to_full_with_the_same_stabiliser(arm: ProbedArm) -> None:
    rows = {row["precision"]: row for row in step_error([arm], {"precisions": PRECISIONS})}
    samples = load_samples(arm.spec, arm.data, torch.device("cpu"))

    def step(setting: str) -> tuple[torch.Tensor, torch.Tensor]:
        precision = PrecisionSetting.model_validate(setting)
        model = build_model(arm.spec.model_copy(update={"precision": precision}), *samples.channels)
        out = model(samples.x[:3])
        build_loss(arm.spec, samples.periodic)(out, samples.y[:3]).backward()
        return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    (y, g), (out, gradient) = step("full+tanh"), step("mixed-mxfp8")
    row = rows["mixed-mxfp8"]
    assert row["output"] == pytest.approx(float((out - y).norm() / y.norm()), rel=1e-4)
    assert row["gradient"] == pytest.approx(float((gradient - g).norm() / g.norm()), rel=1e-4)
    assert row["zero"] == pytest.approx(float((gradient == 0).float().mean()))
    assert (rows["full+tanh"]["output"], rows["full+tanh"]["gradient"]) == (0, 0)
    packed = rows["mixed, saved mxfp8"]
    assert packed["output"] == rows["mixed"]["output"] and packed["gradient"] > 5 * rows["mixed"]["gradient"]
    # A maximum that the transform's sums exceed leaves no number.
    assert rows["mixed-e5m10_max4"]["output"] is None and rows["mixed-e5m10_max4"]["zero"] is None


def test_other_settings_are_refused(arm: ProbedArm) -> None:
    with pytest.raises(MpnoError, match="probe step_error: settings are formats; give precisions"):
        step_error([arm], {"formats": ["fp16"]})


def test_bytes_are_those_predicted_and_a_quarter_of_them_packed() -> None:
    run: dict[str, Any] = {
        "data": {"name": "darcy", "source": "generate", "resolution": 32, "test_resolutions": [32]},
        "model": {"name": "fno", "modes": [8, 8], "width": 16, "layers": 2},
        "training": {"batch_size": 4},
    }
    each = [{"name": "full", "precision": "full"}, {"name": "packed", "precision": "full, saved mxfp8"}]
    full, packed = kept_bytes([], {"cases": [{"run": run, "each": each}]})
    for row in (full, packed):
        assert row["measured"] == pytest.approx(row["predicted"], rel=0.02) and row["evidence"] == "native"
    assert 0.25 < packed["measured"] / full["measured"] < 0.3
