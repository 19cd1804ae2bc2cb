"""The loader of the published cars, on made-up files of the same form."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from mpno.datasets import read_attrs, shapes
from mpno.datasets.car import read_mesh, read_pressure, write_cars
from mpno.datasets.meshes import open_bodies, statistics, verify_bodies
from mpno.specs import MpnoError

ORIGIN = {"record": 13936501}


def egg(seed: int) -> trimesh.Trimesh:
    """A closed mesh of 3586 vertices and 7168 triangles."""
    nodes, quads = shapes.lattice(32, 16, 12)
    vertices = np.tan(np.pi / 4 * (nodes / np.array([16, 16, 6]) - np.array([1, 0, 1])))
    size = 1 + np.random.default_rng(seed).uniform(0, 0.5, 3)
    mesh = shapes.mesh_of(nodes, quads, vertices / np.linalg.norm(vertices, axis=1, keepdims=True) * size)
    return trimesh.Trimesh(mesh.vertices, mesh.triangles, process=False)


def save(folder: Path, seed: int, mesh: trimesh.Trimesh | None = None) -> tuple[Path, Path]:
    folder.mkdir(parents=True)
    (mesh or egg(seed)).export(folder / "tri_mesh.ply")
    np.save(folder / "press.npy", np.random.default_rng(seed).standard_normal(3682).astype(np.float32))
    return folder / "tri_mesh.ply", folder / "press.npy"


@pytest.fixture
def files(tmp_path: Path) -> dict[str, list[tuple[Path, Path]]]:
    made = [save(tmp_path / "data" / f"{i:03d}", i) for i in range(3)]
    return {"train": made[:2], "test": made[2:]}


def test_cars_become_bodies(files: dict, tmp_path: Path) -> None:
    out = tmp_path / "car.h5"
    write_cars(files, out, resolution=8, licence="CC-BY-4.0", origin=ORIGIN)
    train, test = open_bodies(out, "train"), open_bodies(out, "test")
    assert (len(train), len(test)) == (2, 1)
    one, press = train[1], np.load(files["train"][1][1])
    assert one.vertices.shape == (3586, 3) and one.triangles.shape == (7168, 3)
    np.testing.assert_array_equal(one.vertices, egg(1).vertices.astype(np.float32))
    np.testing.assert_array_equal(one.pressure, np.concatenate([press[:16], press[112:]]))
    assert one.inlet_speed is None and one.parameters.size == 0
    assert one.areas.sum() == pytest.approx(egg(1).area, rel=1e-6)
    outward = (one.normals * one.vertices).sum(axis=1)
    assert outward.min() > 0
    attrs = read_attrs(out)
    assert attrs["seed"] is None and attrs["licence"] == "CC-BY-4.0"
    assert json.loads(attrs["origin"]) == ORIGIN | {"dropped": [16, 112]}
    assert verify_bodies(out) == attrs["digest"]
    assert set(statistics(out)) == {"pressure", "areas", "sdf"}


def test_latent_grid_spans_all_cars(files: dict, tmp_path: Path) -> None:
    out = tmp_path / "car.h5"
    write_cars(files, out, resolution=9, licence="CC-BY-4.0", origin=ORIGIN)
    extent = np.stack([egg(i).bounds for i in range(3)])
    box = np.stack([extent[:, 0].min(axis=0), extent[:, 1].max(axis=0)])
    for split in ("train", "test"):
        for one in open_bodies(out, split):
            np.testing.assert_allclose(one.box, box, rtol=1e-7)
            assert one.sdf.shape == (9, 9, 9)
            # The middle of the box is the middle of every egg: as deep as the least half axis.
            half = np.abs(one.vertices).max(axis=0).min()
            assert one.sdf[4, 4, 4] == pytest.approx(-half, rel=0.02)


@pytest.mark.parametrize("shape", [(3682, 1), (1, 3682)])
def test_pressure_as_a_row_or_a_column(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "press.npy", np.arange(3682.0).reshape(shape))
    found = read_pressure(tmp_path / "press.npy")
    assert found.shape == (3586,)
    assert found[[0, 15, 16, -1]].tolist() == [0, 15, 112, 3681]


def test_mesh_that_is_inside_out_is_turned(tmp_path: Path) -> None:
    mesh = egg(0)
    mesh.invert()
    pairs = {"train": [save(tmp_path / "a", 0, mesh)], "test": [save(tmp_path / "b", 1)]}
    write_cars(pairs, tmp_path / "car.h5", resolution=4, licence="", origin=ORIGIN)
    one = open_bodies(tmp_path / "car.h5", "train")[0]
    assert (one.normals * one.vertices).sum(axis=1).min() > 0


def npy(array: np.ndarray, **options: bool) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


PRESSURES = {
    "dropped already": (npy(np.zeros(3586)), "3586 entries of type float64; a car of this set has 3682"),
    "integers": (npy(np.zeros(3682, dtype=int)), "int64"),
    "nan": (npy(np.full(3682, np.nan)), "not finite"),
    "pickled": (npy(np.array([{}] * 3682, dtype=object), allow_pickle=True), "not a readable npy file"),
    "empty": (b"", "not a readable npy file"),
    "cut off": (npy(np.zeros(3682))[:-9], "not a readable npy file"),
}


@pytest.mark.parametrize(("content", "word"), PRESSURES.values(), ids=PRESSURES.keys())
def test_pressure_of_another_form_is_refused(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "press.npy").write_bytes(content)
    with pytest.raises(MpnoError, match=f"press.npy: .*{word}") as caught:
        read_pressure(tmp_path / "press.npy")
    assert "\n" not in str(caught.value)


def test_mesh_of_another_form_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tri_mesh.ply"
    trimesh.creation.icosphere(subdivisions=3).export(path)
    with pytest.raises(MpnoError, match=r"tri_mesh\.ply: 642 vertices and 1280 triangles; a car of this set has 3586"):
        read_mesh(path)
    for content in (b"", b"ply\nnonsense\n", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(MpnoError, match=r"tri_mesh\.ply: ") as caught:
            read_mesh(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(MpnoError, match="not a readable PLY mesh"):
        read_mesh(tmp_path / "no.ply")


def test_open_mesh_is_refused_by_name_and_nothing_written(tmp_path: Path) -> None:
    mesh = egg(0)
    faces = np.array(mesh.faces)
    faces[0] = faces[1]
    pairs = {"train": [save(tmp_path / "a", 0)], "test": []}
    pairs["test"] = [save(tmp_path / "b", 1, trimesh.Trimesh(mesh.vertices, faces, process=False))]
    with pytest.raises(MpnoError, match=r"b/tri_mesh\.ply: not closed"):
        write_cars(pairs, tmp_path / "car.h5", resolution=4, licence="", origin=ORIGIN)
    assert not (tmp_path / "car.h5").exists()


def test_car_in_both_lists_is_refused(tmp_path: Path) -> None:
    pair = save(tmp_path / "a", 0)
    with pytest.raises(MpnoError, match="the same body"):
        write_cars({"train": [pair], "test": [pair]}, tmp_path / "car.h5", resolution=4, licence="", origin=ORIGIN)


def test_empty_lists_and_resolution(files: dict, tmp_path: Path) -> None:
    with pytest.raises(MpnoError, match="no cars in the lists"):
        write_cars({"train": [], "test": []}, tmp_path / "car.h5", resolution=4, licence="", origin=ORIGIN)
    with pytest.raises(MpnoError, match="resolution 1; allowed: 2 or more"):
        write_cars(files, tmp_path / "car.h5", resolution=1, licence="", origin=ORIGIN)
