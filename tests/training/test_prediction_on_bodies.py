"""A finished run on bodies applied to stores of bodies: every vertex, in pascal, by the run's own statistics."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from analytic_store import write_analytic
from safetensors.torch import load_file, save_file
from test_training_on_bodies import spec, sphere, store

from mpno import MpnoError, RunSpec
from mpno.datasets.meshes import Body, open_bodies, write_bodies
from mpno.models import make_model
from mpno.models.graph import Geometry
from mpno.models.saving import read_header
from mpno.specs import DataSpec, FNOSpec, TrainingSpec
from mpno.training import evaluate_run, load_run, predict_run, train_run

POINTS = 60
"""Fewer than any body has."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("data") / "spheres.h5")


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    train_run(spec(data__points=POINTS, training__epochs=4), data=data, out=out, progress=False)
    return out


@pytest.fixture(scope="module")
def fields_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fields")
    wanted = RunSpec(
        data=DataSpec(name="toy", source="import", resolution=16, test_resolutions=(16,), n_train=8, n_test=8),
        model=FNOSpec(modes=(4, 4), width=4, layers=1),
        training=TrainingSpec(epochs=1, batch_size=8),
    )
    train_run(wanted, data=write_analytic(folder / "toy.h5"), out=folder / "run", progress=False)
    return folder / "run"


def keep(path: Path, train: Iterable[Body], test: Iterable[Body]) -> Path:
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "ahmed")
    write_bodies(
        path, {"train": train, "test": test}, attrs | {"source": "generate", "seed": 0, "parameter_names": ["radius"]}
    )
    return path


def written(path: Path) -> tuple[list[np.ndarray], list[np.ndarray], dict[str, Any]]:
    """The pressures and the vertices in a file, and its attributes."""
    with h5py.File(path) as opened:
        file: Any = opened
        assert list(file) == [f"{i:05d}" for i in range(len(file))]
        assert all(sorted(group) == ["vertices", "y"] for group in file.values())
        pressures, vertices = ([group[name][:] for group in file.values()] for name in ("y", "vertices"))
        return pressures, vertices, dict(file.attrs)


def by_hand(run: Path, data: Path, body: Body) -> np.ndarray:
    """The weights on all vertices, with the training bodies' moments taken in double, without any of load_run."""
    header, train = read_header(run), list(open_bodies(data, "train"))
    model = make_model(header.model, 3, 1, latent_channels=2)
    model.load_state_dict(load_file(run / "model.safetensors"))
    sdf = np.stack([one.sdf for one in train]).astype(np.float64)
    speed = np.array([one.inlet_speed for one in train], dtype=np.float64)
    pressure = np.concatenate([one.pressure for one in train]).astype(np.float64)
    # x from -2 to 2, y from -1 to 1, z from 0 to 3.
    points = (body.vertices.astype(np.float64) + np.array([2.0, 1.0, 0.0])) / np.array([4.0, 2.0, 3.0])
    moving = np.full((8, 8, 8), (float(body.inlet_speed or np.nan) - speed.mean()) / speed.std())
    latent = np.stack([(body.sdf - sdf.mean()) / sdf.std(), moving])
    given = (torch.tensor(array, dtype=torch.float32) for array in (points, latent, body.normals))
    with torch.no_grad():
        outputs = model(Geometry.of(*given, radius=0.13)).double().numpy()[0, 0]
    return outputs * pressure.std() + pressure.mean()


def test_predictions_are_the_model_s_at_every_vertex_in_pascal(run: Path, data: Path, tmp_path: Path) -> None:
    for split, key in (("test", None), ("train", "train")):
        finished = predict_run(run, data, tmp_path / f"{split}.h5", key=key, progress=False)
        pressures, vertices, attrs = written(tmp_path / f"{split}.h5")
        bodies = list(open_bodies(data, split))
        assert len(pressures) == len(bodies)
        for found, at, body in zip(pressures, vertices, bodies, strict=True):
            assert found.dtype == np.float32 and found.shape == (len(body.vertices),) and len(found) > POINTS
            np.testing.assert_array_equal(at, body.vertices)
            exact = by_hand(run, data, body)
            np.testing.assert_allclose(found, exact, rtol=0, atol=1e-4 * np.abs(exact).max())
        assert (attrs["run"], attrs["precision"], attrs["evidence"]) == (finished.run.id, "full", "native")
        assert attrs["input"] == f"{data.name}:{split}"
        assert RunSpec.model_validate_json(attrs["spec"]) == finished.run


def test_predictions_do_not_depend_on_the_file_s_own_statistics(run: Path, data: Path, tmp_path: Path) -> None:
    rng, test = np.random.default_rng(7), list(open_bodies(data, "test"))
    loud = [dataclasses.replace(one, pressure=-9 * one.pressure) for one in test]
    other = keep(tmp_path / "other.h5", [sphere(rng, 500, speed) for speed in (5.0, 90.0)], loud)
    for file, out in ((data, "one.h5"), (other, "two.h5")):
        predict_run(run, file, tmp_path / out, progress=False)
    for one, two in zip(written(tmp_path / "one.h5")[0], written(tmp_path / "two.h5")[0], strict=True):
        np.testing.assert_array_equal(one, two)


def test_test_errors_of_a_finished_run_do_not_either(run: Path, data: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    train = [sphere(rng, 200, speed) for speed in (5.0, 90.0, 7.0, 8.0, 9.0, 10.0)]
    other = keep(tmp_path / "other.h5", train, open_bodies(data, "test"))
    here, there = (evaluate_run(run, data=file, resolution=8)["l2"] for file in (data, other))
    assert here == there == json.loads((run / "metrics.json").read_text())["metrics"]["8"]["l2"]


def test_a_setting_is_taken_and_said(run: Path, data: Path, tmp_path: Path) -> None:
    predict_run(run, data, tmp_path / "full.h5", progress=False)
    predict_run(run, data, tmp_path / "mixed.h5", precision="mixed", transform="matmul", progress=False)
    (one, _, _), (two, _, attrs) = written(tmp_path / "full.h5"), written(tmp_path / "mixed.h5")
    assert (attrs["precision"], attrs["transform"]) == ("mixed", "matmul") and attrs["evidence"] != "native"
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


def refused(run: Path, file: Path, said: str, **more: Any) -> None:
    out = file.parent / "out.h5"
    with pytest.raises(MpnoError, match=said) as caught:
        predict_run(run, file, out, progress=False, **more)
    assert "\n" not in str(caught.value) and str(file) in str(caught.value)
    assert not [path for path in file.parent.iterdir() if "out" in path.name]


def test_what_the_run_does_not_take_is_one_line_and_nothing_is_written(run: Path, tmp_path: Path) -> None:
    good = sphere(np.random.default_rng(1), 80, 25.0)
    outside = np.concatenate([good.vertices[:-1], [[2.1, 0, 0]]])
    for name, shared, own, said in (
        ("still", {}, {"inlet_speed": None}, "test body 1: has no inlet speed, which is an input"),
        ("outside", {}, {"vertices": outside}, "test body 1: .*unit cube"),
        ("fine", {"sdf": np.ones((9, 9, 9))}, {}, "latent grid of 9 points along each axis, not 8"),
        ("wide", {"box": 2 * good.box}, {}, r"latent grid on the box \[\[-4"),
    ):
        train, first, second = (
            dataclasses.replace(good, pressure=factor * good.pressure, **shared) for factor in (-1, 2, 3)
        )
        folder = tmp_path / name
        folder.mkdir()
        file = keep(folder / "in.h5", [train], [first, dataclasses.replace(second, **own)])
        refused(run, file, said)


def narrow(run: Path, to: Path, radius: float) -> Path:
    """The run with a smaller radius of its kernels, in the model as in the spec."""
    to.mkdir()
    header = read_header(run).model_dump(mode="json")
    header["model"]["radius"] = header["more"]["run"]["model"]["radius"] = radius
    save_file(load_file(run / "model.safetensors"), to / "model.safetensors", metadata={"mpno": json.dumps(header)})
    return to


def test_a_vertex_without_latent_neighbour_is_one_line(run: Path, data: Path, tmp_path: Path) -> None:
    middle = np.array([[0.0, 0.0, 1.5]])  # of the box, and of a cell: sqrt(3)/14 = 0.1237 from the cell's corners
    body = sphere(np.random.default_rng(1), 80, 25.0)
    held = dataclasses.replace(body, vertices=np.concatenate([body.vertices[:-1], middle]))
    folder = tmp_path / "in"
    folder.mkdir()
    file = keep(folder / "in.h5", [body], [held])
    predict_run(run, file, tmp_path / "fits.h5", progress=False)
    refused(narrow(run, tmp_path / "narrow", 0.12), file, "test body 0: .* within radius 0.12")


def test_bodies_and_fields_are_told_apart(run: Path, fields_run: Path, data: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.zeros((2, 16, 16)))
    with h5py.File(tmp_path / "in.h5", "w") as file:
        file["x"] = np.zeros((2, 16, 16))
    (tmp_path / "text.h5").write_text("no store")
    for name in ("in.npy", "in.h5", "text.h5"):
        refused(run, tmp_path / name, "is no store of bodies, which ahmed")
    refused(run, tmp_path / "nowhere.h5", "no such file")
    refused(fields_run, data, "is a store of bodies; toy16.* takes fields")
    refused(run, data, "no split 'x'; allowed: train, test", key="x")
    refused(run, data, "takes no layout; leave out 'n c'", layout="n c")
    with pytest.raises(MpnoError, match="give predict_run a store of bodies"):
        load_run(run).predict(torch.zeros(1, 1, 16, 16))


def test_a_speed_that_was_the_same_in_training_is_the_only_one(tmp_path: Path) -> None:
    data = store(tmp_path / "spheres.h5", (20.0, 20.0))
    train_run(spec(), data=data, out=tmp_path / "run", progress=False)
    predict_run(tmp_path / "run", data, tmp_path / "y.h5", progress=False)
    assert len(written(tmp_path / "y.h5")[0]) == 3
    rng = np.random.default_rng(3)
    folder = tmp_path / "in"
    folder.mkdir()
    fast = keep(folder / "fast.h5", [sphere(rng, 90, 20.0)], [sphere(rng, 90, 30.0)])
    refused(tmp_path / "run", fast, "test body 0: has inlet speed 30, every body of the training 20")


def test_a_pressure_that_overflows_names_body_and_layer(run: Path, data: Path, tmp_path: Path) -> None:
    loud = tmp_path / "loud"
    loud.mkdir()
    tensors, header = load_file(run / "model.safetensors"), read_header(run)
    tensors["blocks.1.conv.weight"].mul_(1e12)
    text = json.dumps(header.model_dump(mode="json"))
    save_file(tensors, loud / "model.safetensors", metadata={"mpno": text})
    with pytest.raises(MpnoError, match=r"test body 0: its pressure is not finite, first in blocks\.1\.conv.*choose"):
        predict_run(loud, data, tmp_path / "out.h5", precision="half+none", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["loud"]


def test_weights_without_statistics_are_refused(run: Path, data: Path, tmp_path: Path) -> None:
    header = read_header(run).model_dump(mode="json")
    del header["more"]["bodies"]
    save_file(load_file(run / "model.safetensors"), tmp_path / "model.safetensors", {"mpno": json.dumps(header)})
    with pytest.raises(MpnoError, match="without the statistics of its bodies; train it again"):
        predict_run(tmp_path, data, tmp_path / "out.h5", progress=False)
