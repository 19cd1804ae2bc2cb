"""The probe against errors computed in numpy, waves whose aliasing is known, and runs that overflow or diverged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from mpno import MpnoError, RunSpec
from mpno.datasets import load_split, write_store
from mpno.datasets.build import make
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.superresolution import superresolution
from mpno.models.saving import read_header
from mpno.specs import DataSpec, FNOSpec, TrainingSpec
from mpno.training import load_run, train_run

GRIDS, HOME, N = (16, 32, 64), 16, 3
ATTRS: dict[str, Any] = dict.fromkeys(("title", "units_x", "units_y", "licence", "citation", "origin"), "waves")
ATTRS |= {"name": "waves", "source": "import", "seed": None}


def waves(grid: int, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inputs that 16 points resolve; 3 + cos(9 a) + 2 cos(b), of which 16 points see cos(7 a), in steps of size."""
    a, b = np.meshgrid(*[2 * np.pi * np.arange(grid) / grid] * 2, indexing="ij")
    x = np.stack([np.cos(a + shift) + np.sin(2 * b) for shift in shifts])
    y = np.stack([size * (3 + np.cos(9 * a) + 2 * np.cos(b)) for size in range(1, len(shifts) + 1)])
    return x[:, None].astype(np.float32), y[:, None].astype(np.float32)


def store(path: Path, *, periodic: bool = True, other_at: int = 0) -> Path:
    x, y = waves(HOME, np.arange(4))
    arrays = {"train/16/x": x, "train/16/y": y}
    for grid in GRIDS:
        shifts = 5 + np.arange(N) + (grid == other_at)
        arrays |= dict(zip((f"test/{grid}/x", f"test/{grid}/y"), waves(grid, shifts), strict=True))
    write_store(path, arrays, ATTRS | {"periodic": periodic}, {"x": "waves", "y": "waves"})
    return path


def spec(precision: str) -> RunSpec:
    # More test samples than the probe's file has: the probe counts for itself.
    data = {"name": "waves", "source": "import", "resolution": 16, "test_resolutions": (16,), "n_train": 4, "n_test": 3}
    values = {"data": data, "precision": precision, "model": FNOSpec(modes=(6, 6), width=6, layers=2)}
    return RunSpec.model_validate(values | {"training": TrainingSpec(epochs=1, batch_size=4, normalise_output=True)})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("data") / "waves.h5")


@pytest.fixture(scope="module")
def runs(data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Trained in full, and in half without tanh with a lifting so large that half overflows on 64 points an axis."""
    found = {name: tmp_path_factory.mktemp("run") / name[:4] for name in ("full", "half+none")}
    for name, out in found.items():
        train_run(spec(name), data=data, out=out, progress=False)
    out = found["half+none"]
    tensors, header = load_file(out / "model.safetensors"), read_header(out)
    # A constant c has the coefficient c times the points: of 20 that is 20480 on 32 x 32, 81920 > 65504 on 64 x 64.
    tensors = {name: torch.zeros_like(t) if name.startswith("blocks.0.") else t for name, t in tensors.items()}
    tensors["lifting.second.weight"].zero_()
    tensors["lifting.second.bias"].fill_(20.0)
    text = json.dumps(header.model_dump(mode="json"))
    save_file(tensors, out / "model.safetensors", metadata={"mpno": text})
    return found


def probed(arm: str, data: Path, run: Path) -> ProbedArm:
    return ProbedArm("waves", arm, spec(arm), data, {0: run})


def errors(made: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean relative L2 and H1 error by their definitions, central differences on a box of side 2 pi, in float64."""

    def squares(f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h = 2 * np.pi / f.shape[-1]
        slopes = [(np.roll(f, -1, axis) - np.roll(f, 1, axis)) / (2 * h) for axis in (-1, -2)]
        zero, one = (sum((part**2).sum((1, 2, 3)) for part in parts) for parts in ([f], [f, *slopes]))
        return np.asarray(zero), np.asarray(one)

    of_error, of_truth = squares(made.astype(np.float64) - y), squares(y.astype(np.float64))
    l2, h1 = (float(np.sqrt(e / t).mean()) for e, t in zip(of_error, of_truth, strict=True))
    return l2, h1


def test_model_rows_are_errors_of_the_run_on_each_grid(data: Path, runs: dict[str, Path]) -> None:
    rows = pd.DataFrame(superresolution([probed("full", data, runs["full"])], {}))
    models = rows.query("method == 'model'").set_index("resolution")
    assert list(models.index) == list(GRIDS) and list(models["factor"]) == [1, 2, 4]
    finished = load_run(runs["full"])
    for grid in GRIDS:
        test = load_split(data, "test", grid)
        expected = errors(finished.predict(test.x).numpy(), test.y)
        # float32 sums of 4096 squares with differences of neighbours, whose cancellation costs 1 / h = 10 more
        assert tuple(models.loc[grid, ["l2", "h1"]]) == pytest.approx(expected, rel=1e-5)
    assert set(models["samples"]) == {N} and set(models["evidence"]) == {"native"}


def test_interpolated_rows_are_of_the_run_on_its_own_grid(data: Path, runs: dict[str, Path]) -> None:
    rows = pd.DataFrame(superresolution([probed("full", data, runs["full"])], {}))
    own = load_run(runs["full"]).predict(load_split(data, "test", HOME).x).numpy().astype(np.float64)
    found = rows.query("arm == 'full' and method == 'fourier'").set_index("resolution")
    assert list(found.index) == [32, 64]
    for grid in (32, 64):
        spectrum = np.fft.rfft2(own)
        spectrum[..., HOME // 2, :] = spectrum[..., :, HOME // 2] = 0  # below, the highest wavenumber is left out
        padded = np.zeros((N, 1, grid, grid // 2 + 1), complex)
        padded[..., :8, :8], padded[..., -7:, :8] = spectrum[..., :8, :8], spectrum[..., -7:, :8]
        y = load_split(data, "test", grid).y
        expected = errors(np.fft.irfft2(padded, s=(grid, grid)) * (grid / HOME) ** 2, y)
        highest = np.abs(np.fft.rfft2(own)[..., HOME // 2, :]).max() / HOME**2
        assert tuple(found.loc[grid, ["l2", "h1"]]) == pytest.approx(expected, abs=20 * highest + 1e-6)
        assert highest < 0.02, "the highest wavenumber must be small, or little is tested"


def test_truth_rows_know_what_the_coarse_grid_cannot_see(data: Path, runs: dict[str, Path]) -> None:
    rows = pd.DataFrame(superresolution([probed("full", data, runs["full"])], {}))
    truth = rows.query("arm == 'truth' and method == 'fourier'").set_index("resolution")
    assert list(truth["seed"].dropna()) == []
    for grid in (32, 64):
        slope = {k: np.sin(k * 2 * np.pi / grid) * grid / (2 * np.pi) for k in (1, 7, 9)}  # of central differences
        # the error is cos(7 a) - cos(9 a), of square 1/2 + 1/2; the truth has 9 + 1/2 + 4/2
        l2 = np.sqrt((0.5 + 0.5) / (9 + 0.5 + 2))
        above = 0.5 * (1 + slope[7] ** 2) + 0.5 * (1 + slope[9] ** 2)
        h1 = np.sqrt(above / (9 + 0.5 * (1 + slope[9] ** 2) + 2 * (1 + slope[1] ** 2)))
        assert tuple(truth.loc[grid, ["l2", "h1"]]) == pytest.approx((l2, h1), rel=1e-6)
    assert (rows.query("arm == 'truth' and method == 'linear'")["l2"].to_numpy() > 0).all()


def test_overflow_is_told_by_grid(data: Path, runs: dict[str, Path]) -> None:
    rows = pd.DataFrame(superresolution([probed("half+none", data, runs["half+none"])], {}))
    models = rows.query("method == 'model'").set_index("resolution")
    assert models["finite"].to_dict() == {16: True, 32: True, 64: False}
    assert models["range"].iloc[:2].tolist() == pytest.approx([20 * g * g / 65504 for g in (16, 32)], rel=2**-10)
    assert np.isnan(models.loc[64, "l2"]) and models.loc[64, "advice"].startswith("not finite, first in blocks.0.conv")
    assert set(models["evidence"]) == {"simulated"} and set(models["precision"]) == {"half, stabiliser none"}


def test_a_run_that_diverged_is_not_evaluated(data: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["full"], run)
    record = json.loads((run / "metrics.json").read_text()) | {"diverged": {"epoch": 1}}
    (run / "metrics.json").write_text(json.dumps(record))
    rows = pd.DataFrame(superresolution([probed("full", data, run)], {})).query("arm == 'full'")
    assert set(rows["method"]) == {"model"} and set(rows["trained"]) == {"diverged"}
    assert list(rows["l2"].dropna()) == [] and set(rows["finite"]) == {False}
    (run / "metrics.json").unlink()
    with pytest.raises(MpnoError, match="no record of a run"):
        superresolution([probed("full", data, run)], {})


def test_other_functions_are_tested_and_not_interpolated(runs: dict[str, Path], tmp_path: Path) -> None:
    data = store(tmp_path / "d.h5", other_at=32)
    rows = pd.DataFrame(superresolution([probed("full", data, runs["full"])], {}))
    models = rows.query("method == 'model'").set_index("resolution")
    assert models["same"].to_dict() == {16: True, 32: False, 64: True} and models["l2"].notna().to_numpy().all()
    assert set(rows.query("method != 'model'")["resolution"]) == {64}


def test_fields_that_are_not_periodic_are_refused(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="not periodic"):
        superresolution([probed("full", store(tmp_path / "d.h5", periodic=False), runs["full"])], {})


def test_settings_are_refused(data: Path) -> None:
    with pytest.raises(MpnoError, match="has settings grids; it takes none"):
        superresolution([], {"grids": [1]})


def test_navier_stokes_tests_are_the_same_functions_whatever_else_a_file_holds(tmp_path: Path) -> None:
    """So a file of tests alone, on more grids and with one training sample, continues that of the training."""
    common = {"name": "navier-stokes", "source": "generate", "viscosity": 0.05}
    few = DataSpec.model_validate(common | {"resolution": 8, "test_resolutions": (8,), "n_train": 3, "n_test": 3})
    many = DataSpec.model_validate(common | {"resolution": 8, "test_resolutions": (8, 16), "n_train": 1, "n_test": 2})
    for name, data in (("few", few), ("many", many)):
        make(data, tmp_path / f"{name}.h5", cache=tmp_path)
    trained = load_split(tmp_path / "few.h5", "test", 8, 2)
    for grid in (8, 16):
        probe, step = load_split(tmp_path / "many.h5", "test", grid, 2), grid // 8
        # equal bits on the same grid; on a finer one the sums of 43 by 85 waves are in another order, then float32
        close = 0 if step == 1 else 2e-6
        np.testing.assert_allclose(probe.x[..., ::step, ::step], trained.x, rtol=0, atol=close)
        np.testing.assert_allclose(probe.y[..., ::step, ::step], trained.y, rtol=0, atol=close)
