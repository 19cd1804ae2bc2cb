from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import trimesh

from mpno.datasets import load_split, read_attrs
from mpno.datasets.meshes import Body, load_body, open_bodies, statistics, verify_bodies, write_bodies
from mpno.specs import MpnoError

ATTRS = {
    "name": "toy",
    "title": "A toy",
    "source": "generate",
    "units_x": "m",
    "units_y": "Pa",
    "licence": "MIT",
    "citation": "none",
    "origin": "{}",
    "seed": 3,
    "parameter_names": ["size", "speed"],
}
BOX = np.array([[-1.0, -1, 0], [1, 1, 1]])


def body(index: int, vertices: int = 12) -> Body:
    """A body of random fields; every index another, with as many vertices as asked."""
    rng = np.random.default_rng(index)
    return Body(
        vertices=rng.standard_normal((vertices, 3)),
        triangles=rng.integers(0, vertices, (2 * vertices - 4, 3)),
        normals=rng.standard_normal((vertices, 3)),
        areas=rng.uniform(0.1, 1, vertices),
        pressure=100 * rng.standard_normal(vertices) - 30,
        parameters=rng.uniform(0, 5, 2),
        inlet_speed=float(20 + index),
        sdf=rng.standard_normal((4, 4, 4)),
        box=BOX,
    )


def write(path: Path, train: int = 3, test: int = 2) -> Path:
    splits = {"train": (body(i, 10 + i) for i in range(train)), "test": (body(100 + i) for i in range(test))}
    write_bodies(path, splits, ATTRS)
    return path


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    return write(tmp_path / "toy.h5")


def same(read: Body, wrote: Body) -> None:
    for name, array in wrote.arrays().items():
        found = getattr(read, name)
        assert found.dtype == (np.int32 if name == "triangles" else np.float32)
        np.testing.assert_array_equal(found, array)
    assert read.inlet_speed == wrote.inlet_speed
    np.testing.assert_array_equal(read.box, wrote.box)


def test_what_is_written_is_read(toy: Path) -> None:
    train = open_bodies(toy, "train")
    assert len(train) == 3
    for index, found in enumerate(train):
        same(found, body(index, 10 + index))
    same(train[-1], body(2, 12))
    same(train[1:][0], body(1, 11))
    same(load_body(toy, "test", 1), body(101))
    # Workers of a data loader get a copy.
    same(pickle.loads(pickle.dumps(train))[0], body(0, 10))


def test_layout_and_attributes(toy: Path) -> None:
    attrs = read_attrs(toy)
    assert {key: attrs[key] for key in ATTRS if key != "parameter_names"} | {"layout": "meshes"} == {
        key: attrs[key] for key in [*ATTRS, "layout"] if key != "parameter_names"
    }
    assert json.loads(attrs["parameter_names"]) == ["size", "speed"]
    assert json.loads(attrs["box"]) == BOX.tolist()
    with h5py.File(toy) as file:
        kept: Any = file["train/00000/sdf"]
        assert (kept.chunks, kept.compression, kept.dtype) == ((4, 4, 4), "gzip", np.dtype("<f4"))
        assert "metres" in kept.attrs["description"]


def test_statistics_are_those_of_the_training_split(toy: Path) -> None:
    bodies = [body(i, 10 + i) for i in range(3)]
    found = statistics(toy)
    for name in ("pressure", "areas", "sdf"):
        values = np.concatenate([getattr(one, name).ravel() for one in bodies])
        assert found[name].mean == pytest.approx((values.mean(),), rel=1e-6)
        assert found[name].std == pytest.approx((values.std(),), rel=1e-6)
    parameters = np.stack([one.parameters for one in bodies])
    assert found["parameters"].mean == pytest.approx(parameters.mean(axis=0), rel=1e-6)
    assert found["parameters"].std == pytest.approx(parameters.std(axis=0), rel=1e-6)
    assert found["inlet_speed"].mean == pytest.approx((21.0,))
    assert found["inlet_speed"].std == pytest.approx((np.sqrt(2 / 3),))


def test_without_parameters_or_inlet_speed(tmp_path: Path) -> None:
    bare = [replace(body(i), parameters=np.zeros(0), inlet_speed=None) for i in range(2)]
    write_bodies(
        tmp_path / "a.h5", {"train": bare[:1], "test": bare[1:]}, ATTRS | {"parameter_names": [], "seed": None}
    )
    found = load_body(tmp_path / "a.h5", "train", 0)
    assert found.inlet_speed is None and found.parameters.shape == (0,)
    assert set(statistics(tmp_path / "a.h5")) == {"pressure", "areas", "sdf"}
    verify_bodies(tmp_path / "a.h5")


def test_equal_bodies_make_equal_bytes_and_others_do_not(toy: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # HDF5 can keep times, in whole seconds
    assert write(tmp_path / "again.h5").read_bytes() == toy.read_bytes()
    assert verify_bodies(write(tmp_path / "more.h5", train=4)) != verify_bodies(toy) == read_attrs(toy)["digest"]


@pytest.mark.parametrize("change", ["value", "speed", "missing"])
def test_changed_body_is_named(toy: Path, change: str) -> None:
    with h5py.File(toy, "r+") as file:
        group: Any = file["train/00001"]
        if change == "value":
            group["pressure"][3] += 1
        elif change == "speed":
            group.attrs["inlet_speed"] = 99.0
        else:
            del group["areas"]
    with pytest.raises(MpnoError, match="train/00001" + ("/areas is missing" if change == "missing" else "")):
        verify_bodies(toy)


def test_body_that_went_away_does_not_verify(toy: Path) -> None:
    with h5py.File(toy, "r+") as file:
        del file["test/00001"]
    with pytest.raises(MpnoError, match="digest is"):
        verify_bodies(toy)


def test_one_body_is_in_memory_at_a_time(tmp_path: Path) -> None:
    alive: list[weakref.ref] = []
    most = 0

    def stream(first: int) -> Iterator[Body]:
        nonlocal most
        for index in range(first, first + 5):
            one = body(index)
            alive.append(weakref.ref(one))
            yield one
            del one
            most = max(most, sum(ref() is not None for ref in alive))

    write_bodies(tmp_path / "a.h5", {"train": stream(0), "test": stream(10)}, ATTRS)
    assert len(alive) == 10 and most <= 1


BAD = {
    "shape": ({"pressure": np.zeros(11)}, r"train/00001/pressure is \(11,\), allowed: \(12,\)"),
    "grid": ({"sdf": np.zeros((4, 4, 3))}, r"sdf is \(4, 4, 3\)"),
    "empty": ({"triangles": np.zeros((0, 3))}, "nothing empty"),
    "parameters": ({"parameters": np.zeros(3)}, r"parameters is \(3,\), allowed: \(2,\)"),
    "nan": ({"sdf": np.full((4, 4, 4), np.nan)}, "sdf holds values that are not finite"),
    "overflow": ({"pressure": np.full(12, 1e39)}, "pressure holds values that are not finite"),
    "index": ({"triangles": np.full((5, 3), 12)}, "names vertices 12 to 12; allowed: 0 to 11"),
    "speed": ({"inlet_speed": np.inf}, "inlet speed inf"),
    "box": ({"box": BOX + 1}, "use one grid for all"),
    "resolution": ({"sdf": np.zeros((5, 5, 5))}, "use one grid for all"),
}


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(("change", "word"), BAD.values(), ids=BAD.keys())
def test_body_that_does_not_fit_is_refused_and_nothing_written(tmp_path: Path, change: dict, word: str) -> None:
    with pytest.raises(MpnoError, match=word) as caught:
        write_bodies(tmp_path / "bad.h5", {"train": [body(0), replace(body(1), **change)], "test": [body(2)]}, ATTRS)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_train_and_test_share_no_body(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="test/00001 and train/00000 are the same body"):
        write_bodies(tmp_path / "a.h5", {"train": [body(0)], "test": [body(1), body(0)]}, ATTRS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("splits", "attrs", "word"),
    [
        ({"train": [body(0)], "test": []}, ATTRS, "no test bodies"),
        ({"train": [body(0)]}, ATTRS, "splits train; give train and test"),
        ({"train": [], "test": []}, {key: ATTRS[key] for key in ATTRS if key != "licence"}, "licence is missing"),
        ({"train": [], "test": []}, {key: ATTRS[key] for key in ATTRS if key != "parameter_names"}, "parameter_names"),
    ],
)
def test_incomplete_set_is_refused(tmp_path: Path, splits: dict, attrs: dict, word: str) -> None:
    with pytest.raises(MpnoError, match=word):
        write_bodies(tmp_path / "bad.h5", splits, attrs)
    assert not list(tmp_path.iterdir())


def test_failure_while_generating_leaves_the_old_file(toy: Path) -> None:
    before = toy.read_bytes()

    def broken() -> Iterator[Body]:
        yield body(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bodies(toy, {"train": broken(), "test": []}, ATTRS)
    assert toy.read_bytes() == before
    assert [path.name for path in toy.parent.iterdir()] == ["toy.h5"]


def test_what_cannot_be_read_is_one_line(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="no such file"):
        open_bodies(tmp_path / "no.h5", "train")
    with pytest.raises(MpnoError, match="no validation bodies; it has test, train"):
        open_bodies(toy, "validation")
    with pytest.raises(MpnoError, match="train body 3; allowed: 0 to 2"):
        load_body(toy, "train", 3)
    with pytest.raises(IndexError):
        open_bodies(toy, "train")[3]
    with h5py.File(toy, "r+") as file:
        kept: Any = file["train/00000/pressure"]
        kept[0] = np.inf
    with pytest.raises(MpnoError, match="train/00000/pressure holds values that are not finite"):
        load_body(toy, "train", 0)
    toy.write_bytes(toy.read_bytes()[:-500])
    with pytest.raises(MpnoError, match="not a whole HDF5 file"):
        load_body(toy, "train", 0)


def test_a_store_of_grids_is_told_apart(tmp_path: Path) -> None:
    from mpno.datasets import write_store

    arrays = {f"{split}/8/{kind}": np.full((1, 1, 8, 8), len(split)) for split in ("train", "test") for kind in "xy"}
    attrs = {key: ATTRS[key] for key in ATTRS if key != "parameter_names"}
    write_store(tmp_path / "grid.h5", arrays, attrs, {"x": "", "y": ""})
    assert load_split(tmp_path / "grid.h5", "train", 8).x.shape == (1, 1, 8, 8)
    with pytest.raises(MpnoError, match="this reads stores of bodies"):
        open_bodies(tmp_path / "grid.h5", "train")


def test_reading_needs_neither_torch_nor_trimesh_nor_scipy() -> None:
    code = "import sys, mpno.datasets.meshes; print({'torch', 'scipy', 'trimesh'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_body_is_a_mesh_to_others(tmp_path: Path) -> None:
    """Vertices and triangles go to trimesh as they are."""
    ball = trimesh.creation.icosphere(subdivisions=1)
    one = replace(body(0, len(ball.vertices)), vertices=ball.vertices, triangles=ball.faces)
    write_bodies(tmp_path / "a.h5", {"train": [one], "test": [body(1)]}, ATTRS)
    found = load_body(tmp_path / "a.h5", "train", 0)
    assert trimesh.Trimesh(found.vertices, found.triangles).is_watertight
