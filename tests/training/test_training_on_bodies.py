"""Bodies as samples, trained on from spec to record."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mpno import MpnoError, RunSpec
from mpno.datasets.meshes import Body, open_bodies, write_bodies
from mpno.measurement import measure_arms, predict_arms, predict_bytes
from mpno.models import make_model
from mpno.models.graph import Geometry
from mpno.specs import build_spec
from mpno.specs.run import set_dotted
from mpno.training import baseline, evaluate_run, train_run
from mpno.training.build import build_model
from mpno.training.data import load_samples
from mpno.training.divergence import first_not_finite

CPU = torch.device("cpu")
BOX = np.array([[-2.0, -1.0, 0.0], [2.0, 1.0, 3.0]])
EPS32 = float(np.finfo(np.float32).eps)


def sphere(rng: np.random.Generator, points: int, speed: float | None) -> Body:
    """The pressure of potential flow past a sphere, on points spread at random over it."""
    normals = rng.standard_normal((points, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    radius, centre = rng.uniform(0.5, 0.9), np.array([0.0, 0.0, 1.5])
    axes = np.meshgrid(*(np.linspace(a, b, 8) for a, b in BOX.T), indexing="ij")
    return Body(
        vertices=centre + radius * normals,
        triangles=np.arange(3)[None],
        normals=normals,
        areas=np.full(points, 4 * np.pi * radius**2 / points),
        pressure=0.6 * (speed or 20.0) ** 2 * (2.25 * normals[:, 0] ** 2 - 1.25),
        parameters=np.array([radius]),
        inlet_speed=speed,
        sdf=np.linalg.norm(np.stack(axes, -1) - centre, axis=-1) - radius,
        box=BOX,
    )


def store(path: Path, speeds: tuple[float, float] | None = (20.0, 40.0)) -> Path:
    rng = np.random.default_rng(0)

    def bodies(count: int) -> Iterator[Body]:
        for i in range(count):
            yield sphere(rng, 100 + 7 * i, None if speeds is None else speeds[i % 2] + rng.uniform() * (speeds[1] - 20))

    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "spheres")
    attrs |= {"name": "ahmed", "source": "generate", "seed": 0, "parameter_names": ["radius"]}
    write_bodies(path, {"train": bodies(6), "test": bodies(3)}, attrs)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("data") / "spheres.h5")


def spec(**changes: Any) -> RunSpec:
    sizes = {"resolution": 8, "test_resolutions": (8,), "n_train": 6, "n_test": 3}
    values: dict[str, Any] = {
        "data": {"source": "generate", "name": "ahmed", **sizes},
        "model": {"name": "gino", "modes": (4, 4, 4), "width": 6, "layers": 2, "radius": 0.13, "frequencies": 2},
        "training": {"epochs": 2, "batch_size": 1, "normalise_output": True},
        "optimizer": {"lr": 1e-2},
    }
    for key, value in changes.items():
        values = set_dotted(values, key.replace("__", "."), value)
    return build_spec(values, where="test")


def test_a_body_is_mapped_to_the_unit_cube_and_normalised(data: Path) -> None:
    samples = load_samples(spec(), data, CPU)
    bodies = list(open_bodies(data, "train"))
    sdf = np.stack([body.sdf for body in bodies]).astype(np.float64)
    speed = np.array([body.inlet_speed for body in bodies], dtype=np.float64)
    pressure = np.concatenate([body.pressure for body in bodies]).astype(np.float64)
    assert (len(samples.x), len(samples.y), samples.channels) == (6, 6, (3, 1, 2))
    for i, body in enumerate(bodies):
        geometry, target = samples.x[torch.tensor([i])], samples.y[torch.tensor([i])]
        # x from -2 to 2, y from -1 to 1, z from 0 to 3.
        points = (body.vertices + np.array([2.0, 1.0, 0.0])) / np.array([4.0, 2.0, 3.0])
        np.testing.assert_allclose(geometry.points.numpy(), points, atol=4 * EPS32)
        assert geometry.features is not None
        np.testing.assert_array_equal(geometry.features.numpy(), body.normals)
        assert geometry.latent.shape == (2, 8, 8, 8)
        np.testing.assert_allclose(geometry.latent[0].numpy(), (body.sdf - sdf.mean()) / sdf.std(), atol=16 * EPS32)
        np.testing.assert_allclose(geometry.latent[1].numpy(), (speed[i] - speed.mean()) / speed.std(), rtol=8 * EPS32)
        assert target.shape == (1, 1, len(body.vertices))
        exact = (body.pressure - pressure.mean()) / pressure.std()
        np.testing.assert_allclose(target[0, 0].numpy(), exact, atol=16 * EPS32)
        back = samples.output.decode(target)[0, 0].numpy()
        np.testing.assert_allclose(back, body.pressure, atol=8 * EPS32 * np.abs(pressure).max())
    x, y = samples.tests[8]
    for body, geometry, target in zip(open_bodies(data, "test"), x.split(64), y.split(64), strict=True):
        assert len(geometry.points) == len(body.vertices)
        np.testing.assert_array_equal(target[0, 0].numpy(), body.pressure)


def touching(path: Path, out: float) -> Path:
    """A body with a vertex on the box's corner, or `out` beyond it."""
    box = np.array([[0.1, 0.1, 0.1], [0.7, 0.7, 0.7]])
    body = sphere(np.random.default_rng(0), 50, None)
    vertices = 0.4 + 0.2 * body.normals
    vertices[0] = box[1] + out
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "spheres")
    attrs |= {"source": "generate", "seed": 0, "parameter_names": ["radius"]}
    one = dataclasses.replace(body, vertices=vertices, box=box)
    other = dataclasses.replace(one, pressure=-body.pressure)
    write_bodies(path, {"train": [one], "test": [other]}, attrs)
    return path


def test_a_body_may_touch_the_box_and_not_leave_it(tmp_path: Path) -> None:
    one = spec(data__n_train=1, data__n_test=1)
    path = touching(tmp_path / "touching.h5", 0.0)
    assert load_samples(one, path, CPU).x[:1].points[0].tolist() == pytest.approx([1, 1, 1], abs=4 * EPS32)
    assert load_samples(one, touching(tmp_path / "over.h5", 1e-7), CPU).x[:1].points.max() == 1
    with pytest.raises(MpnoError, match=r"train body 0: .*unit cube"):
        load_samples(one, touching(tmp_path / "out.h5", 1e-3), CPU).x[:1]


def test_a_body_without_the_speed_that_others_have_is_refused(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "spheres.h5"
    attrs = dict.fromkeys(("name", "title", "units_x", "units_y", "licence", "citation", "origin"), "spheres")
    attrs |= {"source": "generate", "seed": 0, "parameter_names": ["radius"]}
    train = [sphere(rng, 100, speed) for speed in (20.0, 30.0, None)]
    write_bodies(path, {"train": train, "test": [sphere(rng, 100, 25.0)]}, attrs)
    samples = load_samples(spec(data__n_train=3, data__n_test=1), path, CPU)
    with pytest.raises(MpnoError, match="train body 2: has no inlet speed"):
        samples.x[2:]


@pytest.mark.parametrize("speeds", [None, (20.0, 20.0)])
def test_a_speed_that_is_the_same_for_all_is_no_input(tmp_path: Path, speeds: tuple[float, float] | None) -> None:
    samples = load_samples(spec(), store(tmp_path / "spheres.h5", speeds), CPU)
    assert samples.channels == (3, 1, 1) and samples.x[:1].latent.shape == (1, 8, 8, 8)


def test_points_are_drawn_once_for_all_runs_and_keep_their_pressures(data: Path) -> None:
    all_of, some, again = (
        load_samples(spec(data__points=points, seed=seed), data, CPU) for points, seed in ((None, 0), (40, 0), (40, 1))
    )
    drawn = []
    for i in range(6):
        one = torch.tensor([i])
        where = {tuple(p): k for k, p in enumerate(all_of.x[one].points.tolist())}
        taken = [where[tuple(p)] for p in some.x[one].points.tolist()]
        assert len(set(taken)) == 40
        assert torch.equal(some.y[one], all_of.y[one][..., taken])
        assert torch.equal(some.x[one].points, again.x[one].points)
        drawn.append(taken)
    test = some.tests[8][0][:1].points.tolist()
    where = {tuple(p): k for k, p in enumerate(all_of.tests[8][0][:1].points.tolist())}
    assert len(all_of.tests[8][0][:1].points) == len(all_of.x[:1].points)
    assert [where[tuple(p)] for p in test] != drawn[0]


def test_geometries_are_kept_while_there_is_room(data: Path) -> None:
    kept, remade = (load_samples(spec(), data, CPU, in_memory=bound) for bound in (2**30, 0))
    first = kept.x[:1]
    assert first.nbytes > first.into.index.nbytes + first.out.index.nbytes
    beside = kept.x[1:2]
    assert kept.x[:1] is first and kept.x[1:2] is beside
    one = remade.x[:1]
    assert torch.equal(one.out.index, first.out.index) and torch.equal(remade.y[:1], kept.y[:1])
    assert remade.x[1:2] is not remade.x[:1] and remade.x[:1] is not one
    # Room for the largest alone: smaller ones that come after it find none left.
    part = load_samples(spec(), data, CPU, in_memory=kept.x[5:].nbytes + kept.y[5:].nbytes)
    held, beyond = part.x[5:], part.x[:1]
    assert part.x[5:] is held and part.x[1:2] is not beyond and part.x[:1] is not beyond


def test_training_and_tests_share_the_room(data: Path) -> None:
    whole = load_samples(spec(), data, CPU)
    room = sum(whole.x[i : i + 1].nbytes + whole.y[i : i + 1].nbytes for i in range(6))
    samples = load_samples(spec(), data, CPU, in_memory=room)
    x, (test, _) = samples.x, samples.tests[8]
    kept = [x[i : i + 1] for i in range(6)]
    beyond = [test[i : i + 1] for i in range(3)]
    assert all(x[i : i + 1] is one for i, one in enumerate(kept))
    assert all(test[i : i + 1] is not one for i, one in enumerate(beyond))


def test_the_baseline_builds_no_graph(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = baseline(load_samples(spec(data__points=40), data, CPU))
    samples = load_samples(spec(data__points=40), data, CPU, in_memory=0)
    targets = [samples.y[:1], samples.x[:1] and samples.y[:1]]
    assert torch.equal(*targets)
    monkeypatch.setattr("mpno.training.bodies.Geometry", None)
    assert baseline(samples) == wanted
    with pytest.raises(AttributeError):
        samples.x[1:2]


def test_bodies_are_taken_one_at_a_time(data: Path) -> None:
    samples = load_samples(spec(), data, CPU)
    with pytest.raises(MpnoError, match="2 asked for at once; take one"):
        samples.x[torch.tensor([0, 1])]
    with pytest.raises(MpnoError, match="0 asked for"):
        samples.x[6:]


def test_what_the_file_does_not_hold_is_said_in_one_line(data: Path) -> None:
    for changes, said in (
        ({"data__n_train": 7}, "has 6 train bodies, 7 are asked for"),
        ({"data__n_test": 4}, "has 3 test bodies, 4 are asked for"),
        (
            {"data__resolution": 16, "data__test_resolutions": [16]},
            "latent grid of 8 points along each axis, not 16; .* set data.resolution to 8",
        ),
        (
            {"data__test_resolutions": [8, 16]},
            r"8 points along each axis, a test asks for 16; set data.test_resolutions to \[8\], .* --resolution 8$",
        ),
        ({"model__radius": 0.01}, "train body 0: .*within radius 0.01; take at least 0.12"),
    ):
        with pytest.raises(MpnoError, match=said) as error:
            load_samples(spec(**changes), data, CPU).x[:1]
        assert "\n" not in str(error.value) and str(data) in str(error.value)
    with pytest.raises(MpnoError, match="points are of bodies"):
        build_spec({"data": {"points": 5}}, where="test")


def history(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").open()))


def test_a_training_ends_in_a_record(data: Path, tmp_path: Path) -> None:
    records = {}
    for name, changes in (
        ("full", {}),
        ("again", {}),
        ("seed", {"seed": 1}),
        ("mixed", {"precision": "mixed"}),
        ("schedule", {"precision": "schedule", "training__epochs": 4}),
    ):
        records[name] = train_run(spec(**changes), data=data, out=tmp_path / name, progress=False)
        assert records[name] == json.loads((tmp_path / name / "metrics.json").read_text())
        assert records[name]["status"] == "finished"
        assert list(records[name]["metrics"]["8"]) == list(records[name]["baseline"]["8"]) == ["l2"]
        assert float(history(tmp_path / name)[-1]["l2@8"]) == pytest.approx(records[name]["metrics"]["8"]["l2"])
        assert not any("h1" in key for key in history(tmp_path / name)[0])
    same = ("train_loss", "lr", "l2@8")
    rows = {name: [[row[k] for k in same] for row in history(tmp_path / name)] for name in records}
    assert rows["full"] == rows["again"] and rows["full"] != rows["seed"]
    assert records["full"]["evidence"] == "native" and records["mixed"]["evidence"] == "simulated"
    # Paired: rounding and tanh move the first epoch less than another seed does.
    start = {name: float(values[0][0]) for name, values in rows.items()}
    assert 0 < abs(start["mixed"] - start["full"]) < 0.5 * abs(start["seed"] - start["full"])
    # The weights alone give the errors back, those of a schedule in its last phase.
    for name in ("full", "schedule"):
        found = evaluate_run(tmp_path / name, data=data, resolution=8)
        assert found["l2"] == pytest.approx(records[name]["metrics"]["8"]["l2"], rel=1e-6) and "h1" not in found
    with pytest.raises(MpnoError, match="a test asks for 16"):
        evaluate_run(tmp_path / "full", data=data, resolution=16)


@pytest.mark.parametrize("normalise_output", [True, False])
def test_the_baseline_is_the_mean_pressure(data: Path, normalise_output: bool) -> None:
    found = baseline(load_samples(spec(training__normalise_output=normalise_output), data, CPU))
    mean = np.concatenate([body.pressure for body in open_bodies(data, "train")]).astype(np.float64).mean()
    tests = [body.pressure.astype(np.float64) for body in open_bodies(data, "test")]
    errors = [np.linalg.norm(p - mean) / np.linalg.norm(p) for p in tests]
    assert found == {"8": {"l2": pytest.approx(np.mean(errors), rel=1e-5)}}


def test_spheres_are_learnt(tmp_path: Path) -> None:
    path = store(tmp_path / "spheres.h5", (20.0, 20.0))
    record = train_run(spec(training__epochs=8), data=path, out=tmp_path / "run", progress=False)
    error = record["metrics"]["8"]["l2"]
    assert error < 0.5 * record["baseline"]["8"]["l2"] and error < 0.5 * float(history(tmp_path / "run")[0]["l2@8"])


def test_divergence_is_recorded_with_its_place(data: Path, tmp_path: Path) -> None:
    record = train_run(
        spec(optimizer__lr=1e30, optimizer__name="adam"), data=data, out=tmp_path / "run", progress=False
    )
    assert record["status"] == "diverged" and record["metrics"] is None and record["baseline"]["8"]["l2"] > 0
    assert record["diverged"]["step"] >= 2 and record["diverged"]["where"]


def test_the_layer_of_a_geometry_s_overflow_is_named(data: Path) -> None:
    samples = load_samples(spec(precision="half+none"), data, CPU)
    geometry: Geometry = samples.x[:1]
    model = build_model(spec(precision="half+none"), *samples.channels)
    assert first_not_finite(model, geometry) == ("loss", "")
    with torch.no_grad():
        model.get_parameter("blocks.1.conv.weight").mul_(1e12)
    where, operation = first_not_finite(model, geometry)
    assert where == "blocks.1.conv" and operation
    geometry.latent[0, 0, 0, 0] = torch.nan
    assert first_not_finite(model, geometry) == ("input", "")


def test_memory_is_predicted_for_a_body(data: Path) -> None:
    samples = load_samples(spec(), data, CPU)
    small, large = (samples.x[torch.tensor([i])] for i in (0, 5))
    found = {
        (name, setting): predict_bytes(spec(precision=setting), *samples.channels, body=body)
        for name, body in (("small", small), ("large", large))
        for setting in ("full+tanh", "mixed")
    }
    sizes = {key: value for key, value in found.items() if value is not None}
    model = make_model(spec().model, 3, 1, latent_channels=2)
    assert {size["parameters"] for size in sizes.values()} == {4 * sum(p.numel() for p in model.parameters())}
    assert sizes["small", "full+tanh"]["activations"] < sizes["large", "full+tanh"]["activations"]
    assert sizes["large", "mixed"]["activations"] < sizes["large", "full+tanh"]["activations"]
    with pytest.raises(MpnoError, match="give one as body"):
        predict_bytes(spec(), *samples.channels)


def test_arms_on_bodies_are_timed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpno.measurement.timing.torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("mpno.measurement.timing.ROUNDS", 1)
    arms = [spec(), spec(precision="mixed")]
    there = arms[0].data.file(tmp_path)
    there.parent.mkdir()
    shutil.copy(data, there)
    full, mixed = measure_arms(arms, root=tmp_path, out=tmp_path / "measure.json")["arms"]
    assert full["seconds_per_epoch"]["median"] > 0 and mixed["seconds_per_epoch"] is None
    body = load_samples(spec(), data, CPU).x[:1]
    sized, _ = predict_arms(arms, root=tmp_path, out=tmp_path / "memory.json")["arms"]
    assert sized["predicted_bytes"] == predict_bytes(spec(), 3, 1, 2, body=body)
