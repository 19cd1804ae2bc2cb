"""Shape-Net Car: the published files of Umetani and Bickel's simulations, written as a store of bodies."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from tqdm import tqdm

from mpno.datasets.meshes import FIELDS, Body, write_bodies
from mpno.datasets.surfaces import Surface, grid
from mpno.specs import MpnoError

ENTRIES = 3682
"""Pressures in a file."""
DROPPED = slice(16, 112)
"""Those of them that belong to no vertex of the mesh."""
VERTICES, TRIANGLES = 3586, 7168
CITATION = (
    "Umetani, Bickel, Learning three-dimensional flow for interactive aerodynamic design, ACM Transactions on Graphics "
    "37, 2018; files and split as in Zenodo record 13936501"
)

Files = Mapping[str, Sequence[tuple[Path, Path]]]
"""Of each split, the mesh (tri_mesh.ply) and the pressure (press.npy) of each car."""


def write_cars(
    files: Files, out: Path, *, resolution: int, licence: str, origin: Mapping[str, Any], progress: bool = False
) -> None:
    """Write the cars at `files` as one HDF5 file, whole or not at all, with one car in memory at a time.

    The latent grid spans the box around all cars, as in the authors' library. The files hold no inlet speed, and no
    parameters.

    Args:
        files: ``"train"`` and ``"test"``.
        out: the file.
        resolution: points per axis of the latent grid.
        licence: under which the files were published.
        origin: where they came from, kept as JSON.
        progress: show a bar.

    Raises:
        MpnoError: a file that cannot be read or is not of the published form, a mesh that is not closed, a car that is
            there twice, or `out` cannot be written.
    """
    if resolution < 2:
        raise MpnoError(f"car: resolution {resolution}; allowed: 2 or more points of the latent grid")
    box = _box(files)
    points = grid(box, resolution).reshape(-1, 3)
    attrs = {
        "name": "car",
        "title": "Shape-Net Car: pressure on the surface of cars",
        "source": "fetch",
        "units_x": "as published, lengths taken to be metres",
        "units_y": "as published, pressure taken to be pascal",
        "licence": licence,
        "citation": CITATION,
        "origin": json.dumps(dict(origin) | {"dropped": [DROPPED.start, DROPPED.stop]}),
        "seed": None,
        "parameter_names": [],
    }
    pressure = f"{FIELDS['pressure']}; entries {DROPPED.start} to {DROPPED.stop - 1} of the file belong to no vertex"
    with tqdm(total=sum(map(len, files.values())), desc="car", unit="body", disable=not progress) as bar:

        def bodies(split: str) -> Iterator[Body]:
            for ply, press in files[split]:
                yield _body(ply, press, points, box)
                bar.update()

        write_bodies(out, {split: bodies(split) for split in files}, attrs, {"pressure": pressure})


def read_mesh(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (3586, 3) float64 and triangles (7168, 3) of a car.

    Raises:
        MpnoError: the file cannot be read, or has other counts.
    """
    try:
        mesh = trimesh.load_mesh(path, process=False)
        vertices, triangles = np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.faces)
    except Exception as error:  # trimesh lets through whatever its reader stumbles on
        raise MpnoError(f"{path}: not a readable PLY mesh ({error}); download it anew") from None
    if (len(vertices), len(triangles)) != (VERTICES, TRIANGLES):
        raise MpnoError(
            f"{path}: {len(vertices)} vertices and {len(triangles)} triangles; a car of this set has {VERTICES} and "
            f"{TRIANGLES}; download it anew or leave it out of the lists"
        )
    if not np.isfinite(vertices).all():
        raise MpnoError(f"{path}: vertices that are not finite; download it anew or leave it out of the lists")
    return vertices, triangles


def read_pressure(path: Path) -> np.ndarray:
    """Pressure at the vertices of a car, (3586,).

    Raises:
        MpnoError: the file cannot be read, has another number of entries, or values that are not finite.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MpnoError(f"{path}: not a readable npy file ({error}); download it anew") from None
    if values.size != ENTRIES or values.dtype.kind != "f":
        raise MpnoError(
            f"{path}: {values.size} entries of type {values.dtype}; a car of this set has {ENTRIES} floating-point "
            "pressures; download it anew or leave it out of the lists"
        )
    if not np.isfinite(values).all():
        raise MpnoError(f"{path}: pressures that are not finite; download it anew or leave it out of the lists")
    return np.delete(values.ravel(), DROPPED)


def _body(ply: Path, press: Path, points: np.ndarray, box: np.ndarray) -> Body:
    vertices, triangles = read_mesh(ply)
    surface = _outward(vertices.astype(np.float32), triangles, ply)
    n = round(len(points) ** (1 / 3))
    return Body(
        vertices=surface.vertices,
        triangles=surface.triangles,
        normals=surface.vertex_normals,
        areas=surface.vertex_areas,
        pressure=read_pressure(press),
        parameters=np.zeros(0),
        inlet_speed=None,
        sdf=surface.signed_distance(points).reshape(n, n, n),
        box=box,
    )


def _outward(vertices: np.ndarray, triangles: np.ndarray, ply: Path) -> Surface:
    """The closed surface, turned round if the file has it inside out."""
    corners = vertices[triangles].astype(np.float64)
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum()
    return Surface.of(vertices, triangles if volume > 0 else triangles[:, ::-1], where=str(ply))


def _box(files: Files) -> np.ndarray:
    """The box around all cars, (2, 3). A frame for coordinates, not a statistic: it takes the test cars in, too."""
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for pairs in files.values():
        for ply, _ in pairs:
            vertices = read_mesh(ply)[0].astype(np.float32)
            low, high = np.minimum(low, vertices.min(axis=0)), np.maximum(high, vertices.max(axis=0))
    if not np.isfinite(low).all():
        raise MpnoError("car: no cars in the lists; give at least one in train and one in test")
    return np.stack([low, high])
