"""A finished run in use: tested on finer grids in every setting, and applied to fields of other files."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from analytic_store import ATTRS, fields, write_analytic
from safetensors.torch import load_file, save_file

import mpno
from mpno import MpnoError, RunSpec
from mpno.datasets import Normaliser, write_store
from mpno.models import make_model
from mpno.models.saving import read_header
from mpno.specs import DataSpec, FNOSpec, OptimizerSpec, SchedulerSpec, TrainingSpec
from mpno.training import evaluate_run, load_run, predict_run, train_run

SPEC = RunSpec(
    data=DataSpec(name="toy", source="import", resolution=16, test_resolutions=(16,), n_train=48, n_test=8),
    model=FNOSpec(modes=(6, 6), width=8, layers=2),
    optimizer=OptimizerSpec(name="adam", lr=1e-2, weight_decay=0),
    scheduler=SchedulerSpec(name="one-cycle"),
    training=TrainingSpec(epochs=12, batch_size=8, normalise_output=True),
)
U = {"fp16": 2.0**-11, "bf16": 2.0**-8}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_analytic(tmp_path_factory.mktemp("data") / "toy.h5")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train_run(SPEC, data=data, out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def loud(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with its lifting made so large that half overflows on 64 points an axis, and not on 32."""
    out = tmp_path_factory.mktemp("loud") / "run"
    shutil.copytree(run, out)
    tensors, header = load_file(out / "model.safetensors"), read_header(out)
    # A constant field of c has one coefficient, c times the points: 20 on 32 x 32 is 20480, on 64 x 64 81920 > 65504.
    for name, tensor in tensors.items():
        if name.startswith("blocks.0."):
            tensor.zero_()  # so that the next block sees nothing
    tensors["lifting.second.weight"].zero_()
    tensors["lifting.second.bias"].fill_(20.0)
    text = json.dumps(header.model_dump(mode="json"))
    save_file(tensors, out / "model.safetensors", metadata={"mpno": text})
    return out


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("precision", ["full", "amp", "half+none", "mixed+none", "mixed-bf16+none", "schedule"])
def test_zero_shot_is_as_good_on_finer_grids_in_every_setting(
    run: Path, data: Path, precision: str, transform: str
) -> None:
    """A band-limited function is the same one on every grid, and so is its image but for rounding and aliasing."""
    own = evaluate_run(run, data=data, resolution=16)
    assert own["l2"] < 0.3, "the run must have learned something, or nothing is tested"
    # Some thirty roundings to the format in a row, each of relative size u, on fields of the outputs' size.
    rounding = 0 if precision in ("full", "schedule") else 30 * U["bf16" if "bf16" in precision else "fp16"]
    for grid in (16, 32, 64):
        found = evaluate_run(run, data=data, resolution=grid, precision=precision, transform=transform)  # pyright: ignore[reportArgumentType]
        assert found["finite"] and found["advice"] is None
        assert found["l2"] == pytest.approx(own["l2"], rel=0.1, abs=rounding), grid
        assert found["transform"] == transform
    evidence = {"full": "native", "schedule": "native"}.get(precision)
    assert evidence is None or found["evidence"] == evidence
    assert found["precision"] == (
        "full" if precision == "schedule" else RunSpec.model_validate({"precision": precision}).precision.label
    )


def test_tests_alone_are_enough(run: Path, data: Path, tmp_path: Path) -> None:
    x, y = fields(1, 8, 32)
    write_store(tmp_path / "t.h5", {"test/32/x": x, "test/32/y": y}, ATTRS, {"x": "waves", "y": "smoothed"})
    found, whole = (evaluate_run(run, data=path, resolution=32) for path in (tmp_path / "t.h5", data))
    assert found == whole


def test_overflow_is_predicted_reported_and_avoided(loud: Path, data: Path) -> None:
    def on(grid: int, precision: str, transform: str = "fft") -> dict:
        return evaluate_run(loud, data=data, resolution=grid, precision=precision, transform=transform)  # pyright: ignore[reportArgumentType]

    half = "half, stabiliser none"
    coarse = on(16, half)
    assert coarse["finite"] and coarse["range"]["layer"] == "blocks.0.conv"
    for factor in (1, 2, 4):
        share = 20.0 * (16 * factor) ** 2 / 65504
        assert coarse["range"][f"{factor}x"] == pytest.approx(share, rel=2 * U["fp16"])
    assert coarse["advice"].startswith("on a grid 4 times finer the half transform of blocks.0.conv needs 1.25 of")
    assert "2 times finer" in on(32, half)["advice"]
    fine = on(64, half)
    assert (fine["finite"], fine["l2"], fine["h1"]) == (False, None, None)
    assert fine["advice"].startswith("not finite, first in blocks.0.conv, ")
    assert "choose precision 'half FHH, stabiliser none', or transform matmul" in fine["advice"]
    json.loads(json.dumps(fine, allow_nan=False))
    for precision, transform in (("half FHH, stabiliser none", "fft"), (half, "matmul")):
        safe = on(64, precision, transform)
        assert safe["finite"] and safe["advice"] is safe["range"] is None
    # tanh(20) is 1: its sum over 256 x 256 points is 65536, just beyond fp16, and over 128 x 128 it is not.
    bounded = on(64, "half")
    assert bounded["finite"] and bounded["range"]["2x"] == pytest.approx(2**14 / 65504, rel=2 * U["fp16"])
    assert "4 times finer" in bounded["advice"] and "'half FHH', or transform matmul" in bounded["advice"]
    assert on(64, "mixed-bf16+none")["advice"] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"precision": "halv"}, "in another setting: precision"),
        ({"transform": "sht"}, "transform is sht; model fno has fft and matmul"),
        ({"transform": "nope"}, "transform is nope; model fno has fft and matmul; choose one$"),
        ({"resolution": 48}, "no test samples at resolution 48"),
    ],
)
def test_a_setting_or_grid_that_is_not_there_is_one_line(
    run: Path, data: Path, given: dict[str, object], message: str
) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        evaluate_run(run, **{"data": data, "resolution": 32, **given})  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(caught.value)


def test_another_data_set_is_named_first(run: Path, data: Path, tmp_path: Path) -> None:
    x, y = fields(1, 8, 32)
    write_store(tmp_path / "t.h5", {"test/32/x": x, "test/32/y": y}, ATTRS | {"name": "waves"}, {"x": "x", "y": "y"})
    for grid in (32, 48):
        with pytest.raises(
            MpnoError, match=r"t\.h5: holds the data set waves, the run was trained on toy; .*$"
        ) as caught:
            evaluate_run(run, data=tmp_path / "t.h5", resolution=grid)
        assert "\n" not in str(caught.value)


def write(path: Path, **arrays: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


def by_hand(run: Path, data: Path, x: np.ndarray) -> np.ndarray:
    """The weights, normalised and decoded by the statistics of the training samples, without any of load_run."""
    header = read_header(run)
    model = make_model(header.model, 1, 1)
    model.load_state_dict(load_file(run / "model.safetensors"))
    with h5py.File(data) as opened, torch.no_grad():
        file: Any = opened
        one, two = (Normaliser.fit(file[f"train/16/{kind}"][:]) for kind in "xy")
        return two.decode(model(torch.from_numpy(one.encode(x)))).numpy()


@pytest.mark.parametrize("grid", [16, 40])
def test_predictions_are_the_model_s_in_the_data_s_units(run: Path, data: Path, tmp_path: Path, grid: int) -> None:
    x, y = fields(2, 5, grid)
    predict_run(run, write(tmp_path / "in.h5", a=x, b=x[:2]), tmp_path / "out.h5", key="a", progress=False)
    found, attrs = written(tmp_path / "out.h5")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(run, data, x), rtol=0, atol=1e-4 * np.abs(y).max())
    assert np.linalg.norm(found - y) < 0.5 * np.linalg.norm(y)  # 1 without decoding
    assert (attrs["run"], attrs["precision"], attrs["evidence"]) == (SPEC.id, "full", "native")
    assert RunSpec.model_validate_json(attrs["spec"]) == SPEC
    # From Python the same, without files.
    again = load_run(run).predict(torch.from_numpy(x))
    np.testing.assert_allclose(again.numpy(), found, rtol=0, atol=1e-4 * np.abs(y).max())


def written(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The outputs in a file, which holds nothing else, and its attributes."""
    with h5py.File(path) as opened:
        file: Any = opened
        assert list(file) == ["y"]
        return file["y"][:], dict(file.attrs)


def test_one_channel_may_be_left_out_batches_change_nothing_and_a_setting_is_said(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, _ = fields(3, 7, 16)
    np.save(tmp_path / "in.npy", x[:, 0])
    predict_run(run, tmp_path / "in.npy", tmp_path / "whole.h5", progress=False)
    monkeypatch.setattr("mpno.training.prediction.VALUES", 3 * 16 * 16 * 8)  # three samples at a time
    np.save(tmp_path / "last.npy", np.moveaxis(x, 1, -1).astype(np.float64))
    predict_run(run, tmp_path / "last.npy", tmp_path / "parts.h5", layout="n y x c", precision="mixed", progress=False)
    (one, _), (two, attrs) = written(tmp_path / "whole.h5"), written(tmp_path / "parts.h5")
    assert (attrs["precision"], attrs["evidence"]) == ("mixed", "simulated")
    assert one.shape == two.shape == (7, 1, 16, 16) and (one != two).any()
    monkeypatch.setattr("mpno.training.prediction.VALUES", 1)
    predict_run(run, tmp_path / "in.npy", tmp_path / "single.h5", progress=False)
    single, _ = written(tmp_path / "single.h5")
    np.testing.assert_allclose(single, one, rtol=0, atol=1e-4 * np.abs(one).max())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": np.zeros((3, 2, 16, 16))}, r"in\.h5: has 2 channels as n c y x; toy16_fno.* takes 1"),
        ({"a": np.zeros((3, 1, 5, 16))}, r"grid \(5, 16\) is too coarse for the modes \(6, 6\) .* at least \(6, 6\)"),
        ({"a": np.zeros(3)}, r"has shape \(3,\); toy16.* takes \(n, 1, y, x\), or \(n, y, x\)"),
        ({"a": np.full((3, 1, 16, 16), [[[0.0]], [[np.nan]], [[1]]][1])}, "sample 0 holds NaN"),
        ({"a": np.zeros((2, 16, 16)), "b": np.zeros((2, 16, 16))}, "holds a .*, b .*; name the array, as in --input a"),
        ({"a": np.zeros((0, 1, 16, 16))}, r"in\.h5: holds no samples; give at least one"),
        ({"a": np.zeros((2, 1, 16, 16), complex)}, "holds complex128; allowed: bool, integers and floats"),
    ],
)
def test_inputs_that_do_not_fit_are_one_line_and_nothing_is_written(
    run: Path, tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(MpnoError, match=message) as caught:
        predict_run(run, write(tmp_path / "in.h5", **change), tmp_path / "out.h5", progress=False)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5"]


def test_names_that_do_not_fit_are_one_line(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.h5", a=np.zeros((2, 16, 16)))
    for out, more, message in (
        ("out.npy", {}, "ends in .npy; outputs are written as HDF5"),
        ("in.h5", {}, "is the file of the inputs"),
        ("out.h5", {"key": "b"}, "no array 'b'; allowed: a"),
        ("out.h5", {"transform": "sht"}, "transform is sht"),
    ):
        with pytest.raises(MpnoError, match=message):
            predict_run(run, file, tmp_path / out, progress=False, **more)  # pyright: ignore[reportArgumentType]
    with pytest.raises(MpnoError, match=r"nowhere\.h5: no such file"):
        predict_run(run, tmp_path / "nowhere.h5", tmp_path / "out.h5", progress=False)


def test_an_output_that_overflows_names_sample_layer_and_way_out(loud: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.h5", a=fields(4, 2, 64)[0])
    with pytest.raises(MpnoError, match=r"output of sample 0 .* first in blocks\.0\.conv.*choose precision 'mixed FHH"):
        predict_run(loud, file, tmp_path / "out.h5", precision="mixed+none", progress=False)
    assert not (tmp_path / "out.h5").exists()
    predict_run(loud, file, tmp_path / "out.h5", precision="mixed FHH+none", progress=False)
    assert (tmp_path / "out.h5").exists()


@pytest.mark.parametrize("precision", ["amp", "mixed", "mixed FHH"])
def test_what_overflows_in_a_real_layer_is_not_blamed_on_the_transform(
    run: Path, tmp_path: Path, precision: str
) -> None:
    # The largest fp16 is 65504: the lifting cannot take 1e30, whatever the transform.
    x = (1e30 * fields(4, 2, 16)[0]).astype(np.float32)
    file = write(tmp_path / "in.h5", a=x)
    with pytest.raises(MpnoError, match=r"first in lifting\.first, .*; choose precision 'full' or '.*bf16") as caught:
        predict_run(run, file, tmp_path / "out.h5", precision=precision, progress=False)
    said = str(caught.value)
    assert "matmul" not in said and "hold" not in said
    for advised in said.split("precision ")[1].split(";")[0].split(" or "):
        predict_run(run, file, tmp_path / "out.h5", precision=advised.strip("'"), progress=False)

    store = {"test/16/x": x, "test/16/y": fields(4, 2, 16)[1]}
    write_store(tmp_path / "t.h5", store, ATTRS, {"x": "waves", "y": "smoothed"})
    spec = SPEC.model_copy(update={"data": SPEC.data.model_copy(update={"n_test": 2})})
    finished = dataclasses.replace(load_run(run, precision=precision), run=spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mpno.training.evaluation.load_run", lambda *_, **__: finished)
        found = evaluate_run(run, data=tmp_path / "t.h5", resolution=16)
    assert not found["finite"] and said.split("; ")[1] in found["advice"]


def test_a_full_run_that_overflows_has_no_way_out(run: Path, tmp_path: Path) -> None:
    file = write(tmp_path / "in.h5", a=np.full((1, 1, 16, 16), 3e38, np.float32))
    with pytest.raises(MpnoError, match="is not finite, first in") as caught:
        predict_run(run, file, tmp_path / "out.h5", precision="full", progress=False)
    assert "choose" not in str(caught.value)


def test_a_run_s_weights_are_a_saved_model(run: Path) -> None:
    model, finished = mpno.load(run), load_run(run)
    x = torch.randn(1, 1, 16, 16)
    assert torch.equal(model(x), finished.model(x)) and finished.run == SPEC
    mpno.save(model, run.parent / "alone.safetensors")
    with pytest.raises(MpnoError, match="holds a model without its run"):
        load_run(run.parent / "alone.safetensors")
