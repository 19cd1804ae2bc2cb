"""Sets of generated bodies: Ahmed bodies and car-like bodies, with the pressure of potential flow on them.

Potential flow has no wake and no separation, so these are stand-in data: the pressure is a real function of the shape
with suction, stagnation and ground effect, but it is not that of the finite-volume simulations the paper trained on.
The coefficient differs from that on a mesh twice as fine by 0.020 (Ahmed body) and 0.031 (car-like body) in the
area-weighted mean square, measured on one body of each, where its own size is 0.51 and 0.62.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import qmc
from tqdm import tqdm

from mpno.datasets import panels, shapes
from mpno.datasets.meshes import FIELDS, Body, write_bodies
from mpno.datasets.surfaces import Surface, grid
from mpno.specs import DataSpec, MpnoError, allowed

DENSITY = 1.225
"""Of air, kilograms per cubic metre: the International Standard Atmosphere at sea level."""
MARGIN = 0.05
"""By which the latent grid reaches over the largest body on each side but the ground, as a share of the body."""
SPLITS = {"train": 0, "test": 1}
LABEL = "potential flow, stand-in data"


@dataclass(frozen=True)
class Family:
    """Shapes with parameters.

    Attributes:
        title, citation, ranges_from: what they are, whose, and where the ranges come from.
        ranges: low and high of each parameter in the units of its name's ending; `inlet_speed` in metres per second.
            Equal ends hold a parameter fixed.
        build: from the parameters, but for the inlet speed, to the mesh.
    """

    title: str
    citation: str
    ranges_from: str
    ranges: dict[str, tuple[float, float]]
    build: Callable[..., shapes.Mesh]

    @property
    def box(self) -> np.ndarray:
        """Corners of the latent grid, (2, 3): it holds every body of the family, and stands on the ground."""
        length, width, height, clearance = (self.ranges[name][1] for name in ("length", "width", "height", "clearance"))
        x, y, z = (0.5 + MARGIN) * length, (0.5 + MARGIN) * width, clearance + (1 + MARGIN) * height
        return np.array([[-x, -y, 0.0], [x, y, z]])


FAMILIES = {
    "ahmed": Family(
        title="Ahmed bodies",
        citation=(
            "Ahmed, Ramm, Faltin, Some salient features of the time-averaged ground vehicle wake, SAE 840300, 1984 "
            "(the reference body)"
        ),
        ranges_from=(
            "Ours, about the body of 1984 (1.044 x 0.389 x 0.288 m, clearance 0.05, fillet 0.1, slants of 0 to 40 "
            "degrees): the README of PhysicsNeMo's aero_graph_net names the same seven parameters of the simulations, "
            "which are not public, but prints no ranges. Least height and largest fillet leave 0.038 m of front flat."
        ),
        ranges={
            "length": (0.819, 1.269),
            "width": (0.279, 0.499),
            "height": (0.248, 0.343),
            "clearance": (0.030, 0.085),
            "slant": (0.0, 40.0),
            "fillet": (0.080, 0.105),
            "inlet_speed": (20.0, 60.0),
        },
        build=shapes.ahmed,
    ),
    "car": Family(
        title="Car-like bodies without wheels",
        citation=(
            "Umetani, Bickel, Learning three-dimensional flow for interactive aerodynamic design, ACM TOG 37, 2018 "
            "(the set that these stand in for)"
        ),
        ranges_from="Ours: passenger cars, at one inlet speed.",
        ranges={
            "length": (3.6, 4.9),
            "width": (1.6, 1.95),
            "height": (1.10, 1.40),
            "clearance": (0.12, 0.25),
            "hood": (0.58, 0.70),
            "deck": (0.62, 0.85),
            "windscreen": (0.18, 0.26),
            "cabin": (0.38, 0.46),
            "tumblehome": (0.05, 0.18),
            "inlet_speed": (20.0, 20.0),
        },
        build=shapes.car,
    ),
}


def make_store(spec: DataSpec, out: Path, *, progress: bool = False) -> None:
    """Generate the bodies that `spec` asks for as one HDF5 file at `out`, whole or not at all.

    Args:
        spec: name (``"ahmed"`` or ``"car"``), n_train, n_test and seed; resolution is that of the latent grid.
        out: the file.
        progress: show a bar.

    Raises:
        MpnoError: an unknown name, a resolution below 2, or a file that cannot be written.
    """
    family = family_of(spec.name)
    resolution, _ = spec.square
    if resolution < 2:
        raise MpnoError(f"{spec.name}: resolution {resolution}; allowed: 2 or more points of the latent grid")
    counts = {"train": spec.n_train, "test": spec.n_test}
    parameters = {
        "generator": "mpno.datasets.bodies.make_store",
        "physics": "constant-source panels, ground image, symmetry about y = 0; no wake, no viscosity",
        "density": DENSITY,
        "fan": shapes.FAN,
        "ranges": family.ranges,
        "ranges_from": family.ranges_from,
        "design": "one latin hypercube per split",
    }
    attrs = {
        "name": spec.name,
        "title": f"{family.title}: {LABEL}",
        "source": "generate",
        "evidence": "stand-in data",
        "units_x": "vertices and signed distance in metres, inlet speed in metres per second",
        "units_y": f"pascal: 0.5 x {DENSITY} kg/m3 x inlet speed squared x pressure coefficient; {LABEL}",
        "licence": "MIT",
        "citation": family.citation,
        "origin": json.dumps(parameters),
        "seed": spec.seed,
        "parameter_names": list(family.ranges),
    }
    pressure = f"{FIELDS['pressure']}: {LABEL}; at a vertex the mean of the panels around it, weighted by area"
    with tqdm(total=sum(counts.values()), desc=spec.name, unit="body", disable=not progress) as bar:

        def bodies(split: str) -> Iterator[Body]:
            for values in design(spec.name, spec.seed, split, counts[split]):
                yield make_body(spec.name, values, resolution)
                bar.update()

        write_bodies(out, {split: bodies(split) for split in counts}, attrs, {"pressure": pressure})


def family_of(name: str) -> Family:
    """The family of that name.

    Raises:
        MpnoError: there is none.
    """
    if name not in FAMILIES:
        raise MpnoError(f"bodies: {name!r}; {allowed(name, FAMILIES)}")
    return FAMILIES[name]


def design(name: str, seed: int, split: str, count: int) -> np.ndarray:
    """Parameters of `count` bodies, (count, P): a latin hypercube over the family's ranges.

    Every parameter takes one value in each of `count` equal parts of its range. Splits are drawn from separate streams;
    the points depend on the count, as those of any latin hypercube.

    Raises:
        MpnoError: an unknown name or split.
    """
    if split not in SPLITS:
        raise MpnoError(f"bodies: split {split!r}; {allowed(split, SPLITS)}")
    low, high = np.array(list(family_of(name).ranges.values())).T
    unit = qmc.LatinHypercube(len(low), rng=np.random.default_rng([seed, SPLITS[split]])).random(count)
    return low + unit * (high - low)


def make_body(name: str, parameters: np.ndarray, resolution: int) -> Body:
    """Mesh one body, solve the flow past it and measure its distance field.

    Args:
        name: the family.
        parameters: (P,), in the order of the family's ranges.
        resolution: points per axis of the latent grid.

    Raises:
        MpnoError: an unknown family, or parameters whose body cannot be meshed.
    """
    family = family_of(name)
    values = dict(zip(family.ranges, map(float, parameters), strict=True))
    speed = values.pop("inlet_speed")
    mesh = family.build(**values)
    cp = vertex_cp(mesh)
    # Measured from the vertices as they are stored, so that the distance vanishes on them.
    surface = Surface.of(mesh.vertices.astype(np.float32), mesh.triangles, where=name)
    return Body(
        vertices=surface.vertices,
        triangles=mesh.triangles,
        normals=surface.vertex_normals,
        areas=surface.vertex_areas,
        pressure=0.5 * DENSITY * speed**2 * cp,
        parameters=np.asarray(parameters),
        inlet_speed=speed,
        sdf=surface.signed_distance(grid(family.box, resolution).reshape(-1, 3)).reshape((resolution,) * 3),
        box=family.box,
    )


def vertex_cp(mesh: shapes.Mesh) -> np.ndarray:
    """Pressure coefficient at the vertices, (V,): the mean of the panels around each, weighted by their areas.

    The body stands over the ground z = 0. The coefficient does not depend on the speed or the density.
    """
    right = panels.Panels.of(mesh.half)
    flow = panels.solve(right, mirrors=(1, 2))
    area, cp = np.tile(right.area, 2), np.tile(flow.cp, 2)
    at = mesh.quads.ravel()
    weights = np.bincount(at, np.repeat(area, 4), len(mesh.vertices))
    return np.bincount(at, np.repeat(area * cp, 4), len(mesh.vertices)) / weights
