"""Gradient magnitudes against autograd's own, and shares below a format's numbers against counting."""

from __future__ import annotations

import pytest
import torch
from noise_arm import write_noise

from mpno import train_run
from mpno.measurement.probes.gradients import gradients
from mpno.measurement.probes.inputs import ProbedArm
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ProbedArm:
    root = tmp_path_factory.mktemp("gradients")
    spec, data = write_noise(root, width=4)
    train_run(spec, data=data, out=root / "run", progress=False)
    return ProbedArm("darcy", "full", spec, data, {0: root / "run"})


def test_quantiles_and_shares_are_those_of_the_gradients(arm: ProbedArm) -> None:
    rows = {(r["moment"], r["layer"], r["kind"]): r for r in gradients([arm], {"batches": 1, "format": "fp8_e5m2"})}
    assert len(rows) == 2 * 2 * 2
    samples = load_samples(arm.spec, arm.data, torch.device("cpu"))
    model = build_model(arm.spec, *samples.channels)
    build_loss(arm.spec, samples.periodic)(model(samples.x[:3]), samples.y[:3]).backward()
    layers = [module for name, module in model.named_modules() if name.endswith(".conv")]
    for number, layer in enumerate(layers, start=1):
        grads = [p.grad for p in layer.parameters() if p.grad is not None]
        sizes = torch.cat([(torch.view_as_real(g) if g.is_complex() else g).flatten() for g in grads]).abs().double()
        row = rows["initial", number, "weights"]
        assert row["q1"] == pytest.approx(float(sizes.max()), rel=1e-5)
        assert row["q0.5"] == pytest.approx(float(sizes.median()), rel=0.05)
        assert row["below_normal"] == pytest.approx(float(((sizes > 0) & (sizes < 2**-14)).double().mean()))
        assert row["below_subnormal"] == pytest.approx(float(((sizes > 0) & (sizes < 2**-16)).double().mean()))


def test_training_moves_them(arm: ProbedArm) -> None:
    rows = gradients([arm], {"batches": 1})
    first = {row["moment"]: row["q0.5"] for row in rows if row["layer"] == 1 and row["kind"] == "weights"}
    assert first["trained"] != first["initial"]
