"""Generated bodies: their meshes over all ranges, the flow past them, the design, and the file."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

from mpno.datasets import read_attrs, shapes
from mpno.datasets.bodies import DENSITY, FAMILIES, design, make_body, make_store, vertex_cp
from mpno.datasets.meshes import open_bodies, statistics, verify_bodies
from mpno.datasets.surfaces import Surface, grid
from mpno.specs import DataSpec, MpnoError

NAMES = sorted(FAMILIES)


def reference(width: float = 0.389, fillet: float = 0.1) -> shapes.Mesh:
    """The Ahmed body of 1984, with a slant of 25 degrees."""
    return shapes.ahmed(length=1.044, width=width, height=0.288, clearance=0.05, slant=25.0, fillet=fillet)


def build(name: str, parameters: np.ndarray) -> shapes.Mesh:
    family = FAMILIES[name]
    values = dict(zip(family.ranges, parameters.tolist(), strict=True))
    return family.build(**{key: value for key, value in values.items() if key != "inlet_speed"})


def spec(name: str, **changes: int) -> DataSpec:
    values: dict[str, Any] = {"resolution": 6, "n_train": 1, "n_test": 1, "seed": 5} | changes
    return DataSpec(name=name, source="generate", test_resolutions=(values["resolution"],), **values)


def corners(name: str) -> np.ndarray:
    """The ends of all ranges together: every corner of the first six, the others alternating."""
    ranges = list(FAMILIES[name].ranges.values())
    found = [
        [*picked, *(pair[(index + i) % 2] for i, pair in enumerate(ranges[6:]))]
        for index, picked in enumerate(itertools.product(*ranges[:6]))
    ]
    return np.array(found)


@pytest.mark.parametrize("name", NAMES)
def test_meshes_are_closed_rounded_and_symmetric_over_all_ranges(name: str) -> None:
    low, high = FAMILIES[name].box
    for parameters in [*corners(name)[::3], *design(name, 0, "train", 10)]:
        mesh = build(name, parameters)
        surface = trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)
        assert surface.is_watertight and surface.is_winding_consistent and surface.volume > 0
        assert surface.euler_number == 2
        assert len(mesh.quads) >= 1200 and len(mesh.vertices) == len(mesh.quads) + 2
        # Neighbours turn by at most a quarter: panels are at most a quarter of the radius long.
        assert surface.face_adjacency_angles.max() <= shapes.TURN
        assert surface.face_angles.min() > np.deg2rad(2)
        assert (mesh.vertices > low).all() and (mesh.vertices < high).all()
        half = len(mesh.quads) // 2
        left, right = mesh.vertices[mesh.quads[half:, ::-1]], mesh.vertices[mesh.quads[:half]]
        np.testing.assert_array_equal(left * [1, -1, 1], right)
        assert right[..., 1].min() == 0.0


def test_ahmed_body_has_the_dimensions_asked_for() -> None:
    mesh = reference()
    np.testing.assert_allclose(
        [mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)],
        [[-0.522, -0.1945, 0.05], [0.522, 0.1945, 0.338]],
        atol=1e-12,
    )
    normals = Surface.of(mesh.vertices, mesh.triangles).normals
    # The slant is flat, at its angle.
    slanted = np.abs(normals - [np.sin(np.deg2rad(25)), 0, np.cos(np.deg2rad(25))]).max(axis=1) < 1e-9
    assert slanted.sum() >= 20
    assert mesh.vertices[mesh.triangles[slanted]][..., 0].max() > 0.49
    # A box of the same size without the wedge behind the slant, less what the roundings take off.
    wedge = 0.222**2 * np.sin(np.deg2rad(25)) * np.cos(np.deg2rad(25)) / 2 * 0.389
    volume = trimesh.Trimesh(mesh.vertices, mesh.triangles).volume
    assert 0.93 < volume / (1.044 * 0.389 * 0.288 - wedge) < 1


def test_a_body_without_fillets_left_is_refused() -> None:
    with pytest.raises(MpnoError, match=r"the edges leave -?[0-9]+ mm between them"):
        reference(fillet=0.15)
    with pytest.raises(MpnoError, match="the edges leave"):
        reference(width=0.19)


@pytest.mark.parametrize("name", NAMES)
def test_flow_is_that_of_a_body_over_the_ground(name: str) -> None:
    mesh = reference() if name == "ahmed" else build(name, design(name, 0, "train", 1)[0])
    cp = vertex_cp(mesh)
    x, y, z = mesh.vertices.T
    middle = np.abs(y) < 1e-12
    front, roof = middle & (x < x.min() + 1e-9), middle & (z > z.max() - 1e-9)
    under = middle & (z < z.min() + 1e-9)
    assert cp.max() <= 1 and cp[front].max() > 0.97, "the stream stops in the middle of the front"
    assert cp[roof].min() < -0.2, "and is fast over the edges of the roof"
    assert cp[under & (np.abs(x) < x.max() / 2)].max() < 0, "and under the body"
    assert cp.min() > -5
    half = len(mesh.quads) // 2
    np.testing.assert_array_equal(cp[mesh.quads[:half]], cp[mesh.quads[half:, ::-1]])


def test_the_ground_draws_the_flow_in_under_the_body() -> None:
    """The same body far above the ground has less suction on its underside."""
    near = reference()
    far = replace(near, vertices=near.vertices + np.array([0, 0, 5.0]))
    under = near.vertices[:, 2] < near.vertices[:, 2].min() + 1e-9
    assert vertex_cp(near)[under].mean() < vertex_cp(far)[under].mean() - 0.05


def test_pressure_is_quadratic_in_the_speed_and_the_coefficient_does_not_know_it() -> None:
    slow, fast = (design("ahmed", 0, "train", 1)[0] for _ in range(2))
    slow[-1], fast[-1] = 20.0, 60.0
    one, three = make_body("ahmed", slow, 4), make_body("ahmed", fast, 4)
    np.testing.assert_allclose(three.pressure, 9 * one.pressure, rtol=1e-14)
    assert (one.inlet_speed, three.inlet_speed) == (20.0, 60.0)
    stagnation = 0.5 * 1.225 * 20**2
    assert 0.97 * stagnation < one.pressure.max() <= stagnation


def test_distance_field_belongs_to_the_stored_mesh(stores: dict[str, Path]) -> None:
    body = open_bodies(stores["car"], "test")[0]
    stored = Surface.of(body.vertices, body.triangles)
    assert np.abs(stored.signed_distance(body.vertices)).max() == 0
    field = stored.signed_distance(grid(body.box, 6).reshape(-1, 3)).reshape(6, 6, 6)
    np.testing.assert_array_equal(body.sdf, field.astype(np.float32))
    assert body.sdf[2, 2, 2] < 0 < body.sdf[0, 0, 0]
    np.testing.assert_allclose(body.normals, stored.vertex_normals, atol=1e-7)
    np.testing.assert_allclose(np.linalg.norm(body.normals, axis=1), 1, atol=1e-6)
    assert body.areas.sum() == pytest.approx(trimesh.Trimesh(body.vertices, body.triangles).area, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_latin_hypercube_fills_the_ranges(name: str) -> None:
    """Each of 40 equal parts of every range holds one of 40 values."""
    points = design(name, 3, "train", 40)
    for column, (low, high) in zip(points.T, FAMILIES[name].ranges.values(), strict=True):
        if low == high:
            assert (column == low).all()
        else:
            assert sorted(np.floor((column - low) / (high - low) * 40).astype(int)) == list(range(40))


def test_splits_and_seeds_are_separate() -> None:
    train, test, other = design("car", 0, "train", 30), design("car", 0, "test", 30), design("car", 1, "train", 30)
    moving = [i for i, (low, high) in enumerate(FAMILIES["car"].ranges.values()) if low < high]
    for one, two in itertools.combinations((train, test, other), 2):
        assert not np.isin(one[:, moving], two[:, moving]).any()
    np.testing.assert_array_equal(train, design("car", 0, "train", 30))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("bodies")
    for name in NAMES:
        make_store(spec(name), folder / f"{name}.h5")
    return {name: folder / f"{name}.h5" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_store_holds_what_the_spec_asks_for(name: str, stores: dict[str, Path]) -> None:
    out = stores[name]
    train, test = open_bodies(out, "train"), open_bodies(out, "test")
    assert (len(train), len(test)) == (1, 1)
    attrs = read_attrs(out)
    assert "stand-in data" in attrs["title"] and "stand-in data" in attrs["units_y"]
    assert attrs["evidence"] == "stand-in data"
    assert verify_bodies(out) == attrs["digest"]
    origin = json.loads(attrs["origin"])
    assert origin["density"] == DENSITY and "ours" in origin["ranges_from"].lower()
    assert json.loads(attrs["parameter_names"]) == list(FAMILIES[name].ranges)
    for split, bodies in (("train", train), ("test", test)):
        parameters = design(name, 5, split, 1)[0]
        np.testing.assert_array_equal(bodies[0].parameters, parameters.astype(np.float32))
        np.testing.assert_allclose(bodies[0].vertices, build(name, parameters).vertices, atol=1e-6)
        assert bodies[0].sdf.shape == (6, 6, 6)
        assert bodies[0].inlet_speed == parameters[-1]
    assert statistics(out)["pressure"].std == pytest.approx((train[0].pressure.std(),), rel=1e-5)


def test_same_seed_gives_the_same_bytes(stores: dict[str, Path], tmp_path: Path) -> None:
    make_store(spec("ahmed"), tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == stores["ahmed"].read_bytes()


def test_what_there_is_not_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="'darcy'"):
        make_store(spec("darcy"), tmp_path / "a.h5")
    with pytest.raises(MpnoError, match="resolution 1; allowed: 2 or more"):
        make_store(spec("ahmed", resolution=1), tmp_path / "a.h5")
    with pytest.raises(MpnoError, match="split 'validation'"):
        design("ahmed", 0, "validation", 3)
    assert not list(tmp_path.iterdir())
