"""Gradient magnitudes against autograd's own, and shares below a format's numbers against counting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpno import FNOSpec, RunSpec, train_run
from mpno.datasets import write_store
from mpno.measurement.probes.gradients import gradients
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import DataSpec, TrainingSpec
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> ProbedArm:
    root = tmp_path_factory.mktemp("gradients")
    rng = np.random.default_rng(0)
    shapes = {"train/8/x": 6, "train/8/y": 6, "test/8/x": 2, "test/8/y": 2}
    arrays = {key: rng.standard_normal((n, 1, 8, 8)).astype(np.float32) for key, n in shapes.items()}
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    write_store(root / "d.h5", arrays, attrs | {"source": "generate", "seed": 0}, {"x": "noise", "y": "noise"})
    spec = RunSpec(
        data=DataSpec(source="generate", resolution=8, test_resolutions=(8,), n_train=6, n_test=2),
        model=FNOSpec(modes=(4, 4), width=4, layers=2),
        training=TrainingSpec(epochs=1, batch_size=3),
    )
    train_run(spec, data=root / "d.h5", out=root / "run", progress=False)
    return ProbedArm("darcy", "full", spec, root / "d.h5", {0: root / "run"})


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
