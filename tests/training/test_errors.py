"""The errors of the mean predictor against numpy, in double, straight from the file's arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mpno import RunSpec
from mpno.datasets import write_store
from mpno.specs import DataSpec, FNOSpec, TrainingSpec
from mpno.training import baseline, train_run
from mpno.training.data import load_samples

CPU = torch.device("cpu")
ROUNDING = 64 * float(np.finfo(np.float32).eps)


def arrays() -> dict[str, np.ndarray]:
    """Two channels with means of their own, which differ from point to point."""
    rng = np.random.default_rng(0)
    made = {}
    for split, n, grid in (("train", 70, 8), ("test", 5, 8), ("test", 3, 16)):
        y = rng.standard_normal((n, 2, grid, grid)) + 3 * rng.standard_normal((1, 2, 1, grid)) + [[[[5.0]], [[-1.0]]]]
        made[f"{split}/{grid}/x"] = y[:, :1].astype(np.float32)
        made[f"{split}/{grid}/y"] = y.astype(np.float32)
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "noise.h5"
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "noise")
    write_store(path, arrays(), attrs | {"source": "generate", "seed": 0, "periodic": True}, {"x": "x", "y": "y"})
    return path


def spec(normalise_output: bool) -> RunSpec:
    return RunSpec(
        data=DataSpec(source="generate", resolution=8, test_resolutions=(8, 16), n_train=66, n_test=3),
        model=FNOSpec(modes=(2, 2), width=2, layers=1),
        training=TrainingSpec(epochs=1, normalise_output=normalise_output),
    )


def doubled(field: np.ndarray) -> np.ndarray:
    """A periodic or not so field at twice the points, each in the middle of half a cell; constant beyond the ends."""
    for axis in (1, 2):
        ends = np.concatenate([field.take([0], axis), field, field.take([-1], axis)], axis)
        n = field.shape[axis]
        here, before, after = (ends.take(range(s, s + n), axis) for s in (1, 0, 2))
        field = np.stack([0.75 * here + 0.25 * before, 0.75 * here + 0.25 * after], axis + 1)
        field = field.reshape(*field.shape[:axis], 2 * n, *field.shape[axis + 2 :])
    return field


def relative(prediction: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    def squares(fields: np.ndarray, derivatives: bool) -> np.ndarray:
        h = 2 * np.pi / fields.shape[-1]
        parts = [(np.roll(fields, -1, a) - np.roll(fields, 1, a)) / (2 * h) for a in (2, 3)] if derivatives else []
        return np.sum([(part**2).sum((1, 2, 3)) for part in [fields, *parts]], axis=0)

    off = prediction - targets
    return {
        name: float(np.mean(np.sqrt(squares(off, derivatives) / squares(targets, derivatives))))
        for name, derivatives in (("l2", False), ("h1", True))
    }


@pytest.mark.parametrize("normalise_output", [False, True])
@pytest.mark.parametrize("in_memory", [0, 2**30])
def test_the_baseline_is_the_mean_field_of_the_training(data: Path, normalise_output: bool, in_memory: int) -> None:
    found = baseline(load_samples(spec(normalise_output), data, CPU, in_memory=in_memory))
    kept = {key: array.astype(np.float64) for key, array in arrays().items()}
    mean = kept["train/8/y"][:66].mean(0)
    assert found["8"] == pytest.approx(relative(mean, kept["test/8/y"][:3]), rel=ROUNDING)
    assert found["16"] == pytest.approx(relative(doubled(mean), kept["test/16/y"]), rel=ROUNDING)


def test_every_record_carries_it(data: Path, tmp_path: Path) -> None:
    record = train_run(spec(False), data=data, out=tmp_path / "run", progress=False)
    assert record["baseline"] == baseline(load_samples(spec(False), data, CPU))
