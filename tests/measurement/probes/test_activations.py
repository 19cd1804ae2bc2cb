"""Quantiles of what a model transforms, against its lifting in numpy and sorted values."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.special import erf

from mpno import MpnoError, build_spec
from mpno.datasets import write_store
from mpno.measurement.probes.activations import QUANTILES, activations
from mpno.measurement.probes.inputs import ProbedArm
from mpno.training import train_run

N, SAMPLES = 8, 5
SPEC = build_spec(
    {
        "data": {"source": "generate", "resolution": N, "test_resolutions": [N], "n_train": 6, "n_test": SAMPLES},
        "model": {"modes": [4, 4], "width": 6, "layers": 2},
        "precision": "half",
        "training": {"epochs": 1, "batch_size": 3},
    }
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    arrays = {
        f"{split}/{N}/{name}": (3 * rng.standard_normal((n, 1, N, N)) + 1).astype(np.float32)
        for split, n in (("train", 6), ("test", SAMPLES))
        for name in "xy"
    }
    path = tmp_path_factory.mktemp("data") / "toy.h5"
    attrs = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "toy")
    write_store(path, arrays, attrs | {"name": "darcy", "source": "generate", "seed": 0}, {"x": "noise", "y": "noise"})
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "half"
    train_run(SPEC, data=data, out=out, progress=False)
    return out


def lifted(run: Path, x: np.ndarray) -> np.ndarray:
    """The first layer's input in float64 from the stored weights: normalised x and coordinates through the lifting."""
    weights = {name: value.astype(np.float64) for name, value in load_file(run / "model.safetensors").items()}
    at = np.broadcast_to(np.arange(N) / N, (len(x), N, N))
    given = np.stack([x[:, 0], at.swapaxes(1, 2), at], -1)
    hidden = given @ weights["lifting.first.weight"].T + weights["lifting.first.bias"]
    hidden = hidden / 2 * (1 + erf(hidden / np.sqrt(2)))
    return hidden @ weights["lifting.second.weight"].T + weights["lifting.second.bias"]


def sorted_quantiles(values: np.ndarray) -> list[float]:
    """By linear interpolation between the two sorted values around q·(n - 1)."""
    ordered = np.sort(values.ravel())
    at = np.array(QUANTILES) * (ordered.size - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, ordered.size - 1)
    return list(ordered[low] + (at - low) * (ordered[high] - ordered[low]))


@pytest.mark.parametrize("count", [None, 2])
def test_quantiles_of_the_first_layer_before_and_after_tanh(data: Path, run: Path, count: int | None) -> None:
    rows = activations([ProbedArm("darcy", "tanh", SPEC, data, {4: run})], {} if count is None else {"samples": count})
    with h5py.File(data) as file:
        train, test = (np.asarray(file[f"{split}/{N}/x"], np.float64) for split in ("train", "test"))
    expected = lifted(run, (test[:count] - train.mean()) / train.std())
    found = {
        stage: [r["value"] for r in rows if (r["layer"], r["stage"]) == (1, stage)] for stage in ("before", "after")
    }
    size = np.abs(expected).max()
    np.testing.assert_allclose(found["before"], sorted_quantiles(expected), atol=1e-5 * size)
    # The field is held in fp16 before and after tanh: a unit roundoff of its value and one of 1.
    np.testing.assert_allclose(found["after"], sorted_quantiles(np.tanh(expected)), atol=2.0**-11 * (1 + size))
    assert max(map(abs, found["after"])) < 0.95 * max(map(abs, found["before"]))
    assert len(rows) == 2 * 2 * len(QUANTILES) and {row["layer"] for row in rows} == {1, 2}
    assert {(row["part"], row["arm"], row["seed"], row["stabiliser"]) for row in rows} == {("darcy", "tanh", 4, "tanh")}
    assert {row["evidence"] for row in rows} <= {"simulated", "native"}


def test_runs_that_diverged_are_left_out(data: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps({"diverged": {"epoch": 1}}))
    arm = ProbedArm("darcy", "tanh", SPEC, data, {0: tmp_path, 1: run})
    assert {row["seed"] for row in activations([arm], {"samples": 1})} == {1}
    with pytest.raises(MpnoError, match="settings are sample; it takes samples alone"):
        activations([arm], {"sample": 1})
