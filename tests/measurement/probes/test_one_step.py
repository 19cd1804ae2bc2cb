"""One step of untrained models: what it computes against torch's own gradients, and where it is not finite."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpno.datasets import write_store
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.one_step import one_step
from mpno.specs import MpnoError, build_spec
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three samples on a grid that is no power of two."""
    rng = np.random.default_rng(0)
    arrays = {f"{split}/15/{name}": rng.standard_normal((3, 1, 15, 15)).astype(np.float32)
              for split in ("train", "test") for name in "xy"}  # fmt: skip
    attrs: dict[str, Any] = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
    attrs |= {"name": "toy", "source": "import", "seed": None, "periodic": True}
    file = tmp_path_factory.mktemp("data") / "toy.h5"
    write_store(file, arrays, attrs, {"x": "noise", "y": "noise"})
    return file


def arm(path: Path, precision: str, transform: str = "matmul") -> ProbedArm:
    data = {"name": "toy", "source": "import", "resolution": 15, "test_resolutions": [15], "n_train": 3, "n_test": 3}
    model = {"name": "fno", "modes": [4, 4], "width": 6, "layers": 2}
    spec = {"data": data, "model": model, "precision": precision, "transform": transform}
    return ProbedArm("toy", precision, build_spec(spec), path, {})


def test_loss_and_gradient_are_those_of_a_training(path: Path) -> None:
    full, mixed, fft = one_step([arm(path, "full"), arm(path, "mixed"), arm(path, "mixed", "fft")], {"samples": 2})
    assert all(row["finite"] and not row["where"] for row in (full, mixed, fft))
    assert (full["gradient_change"], full["evidence"], fft["evidence"]) == (0.0, "native", "simulated")
    assert full["grid"] == 15 and full["samples"] == 2
    spec = arm(path, "mixed").spec

    def gradient(precision: str) -> torch.Tensor:
        given = build_spec({**spec.model_dump(), "precision": precision})
        samples = load_samples(given, path, torch.device("cpu"))
        model = build_model(given, 1, 1)
        for number in range(2):
            one = slice(number, number + 1)
            build_loss(given, True)(model(samples.x[one]), samples.y[one]).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()

    reference = gradient("full+tanh")
    wanted = float((gradient("mixed") - reference).norm() / reference.norm())
    assert 1e-4 < wanted < 0.1 and mixed["gradient_change"] == pytest.approx(wanted, rel=1e-6)


def test_a_step_that_overflows_says_where(path: Path) -> None:
    """A format whose largest number is 1: sums over 225 points do not fit."""
    bare = "mixed-e5m10_max1, stabiliser none"
    (row,) = one_step([arm(path, bare, "fft")], {"samples": 5})
    assert not row["finite"] and row["where"] and math.isnan(row["loss"]) and math.isnan(row["gradient_change"])
    assert row["samples"] == 3, "no more than there are"


def test_settings_are_samples(path: Path) -> None:
    with pytest.raises(MpnoError, match="settings are none; give samples"):
        one_step([arm(path, "full")], {})
