"""A spherical model learns shallow water from its file, in half, and keeps what it learnt on a finer grid."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from mpno.datasets import make
from mpno.specs import MpnoError, build_spec
from mpno.training.build import build_model
from mpno.training.data import load_samples
from mpno.training.evaluation import evaluate_run
from mpno.training.loop import train_run
from mpno.training.losses import relative_l2

pytest.importorskip("torch_harmonics", reason="torch-harmonics is not installed")

RUN: dict[str, Any] = {
    "data": {
        "source": "generate",
        "name": "shallow-water",
        "resolution": 12,
        "test_resolutions": [12],
        "n_train": 32,
        "n_test": 8,
    },
    "model": {"name": "sfno", "modes": [6, 6], "width": 16, "layers": 2},
    "optimizer": {"lr": 1e-2},
    "training": {"epochs": 6, "batch_size": 4, "normalise_output": True},
    "precision": "schedule",
}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"modes": [7, 6]}, r"modes \(7, 6\) exceed the 6 degrees and 12 orders of the smallest grid, 12; lower modes"),
        ({"grid": "legendre-gauss"}, "model.grid is legendre-gauss, latitudes of shallow-water are equiangular"),
    ],
)
def test_modes_and_latitudes_that_training_cannot_reach_are_refused(model: dict[str, Any], message: str) -> None:
    with pytest.raises(MpnoError, match=message):
        build_spec({**RUN, "model": {**RUN["model"], **model}}, where="this test")


def test_every_degree_that_a_run_may_keep_is_trained() -> None:
    spec = build_spec(RUN, where="this test")
    model = build_model(spec, 3, 3)
    model(torch.randn(2, 3, 12, 24)).square().sum().backward()
    for name, weight in model.named_parameters():
        if name.endswith("conv.weight"):
            assert weight.grad is not None and bool(weight.grad.flatten(1).any(1).all())


def test_shallow_water_is_learnt_through_a_precision_schedule(tmp_path: Path) -> None:
    spec = build_spec(RUN, where="this test")
    finer = spec.data.model_copy(update={"test_resolutions": (12, 24)})
    file = tmp_path / "data.h5"
    make(finer, file, cache=tmp_path)
    record = train_run(spec, data=file, out=tmp_path / "run", progress=False)

    x, y = load_samples(spec, file, torch.device("cpu")).tests[12]
    assert isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    persistence = relative_l2(x, y).mean().item()
    error, finer_error = (evaluate_run(tmp_path / "run", data=file, resolution=n)["l2"] for n in (12, 24))
    assert error == pytest.approx(record["metrics"]["12"]["l2"], rel=1e-4)
    # Measured 0.23 on both, where predicting no change has 0.89 and predicting zero 1.
    assert max(error, finer_error) < persistence / 2
    with (tmp_path / "run" / "history.csv").open() as history:
        settings = [row["precision"] for row in csv.DictReader(history)]
    assert settings[0] == "mixed" and settings[-1] == "full" and len(set(settings)) == 3
    assert record["evidence"] == ("native" if torch.cuda.is_available() else "simulated")
