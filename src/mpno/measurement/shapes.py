"""Bodies that stand for published ones where only their numbers of points and neighbours count."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from mpno.datasets.bodies import family_of
from mpno.models.graph import Geometry
from mpno.specs import GINOSpec, MpnoError, RunSpec
from mpno.specs.sets import BODIES, SETS

POINTS = {"car": 3586, "ahmed": 70_000}
"""Surface points of a published body: of a car exactly, of an Ahmed body about."""


LATENT = {"car": 1, "ahmed": 2}
"""Channels of the latent grid: the signed distance, and the inlet speed where bodies differ in it."""


def channels_of(spec: RunSpec) -> tuple[int, int, int]:
    """Of input, output and latent grid."""
    given, made = SETS[spec.data.name].channels
    return given, made, LATENT.get(spec.data.name, 1)


def body_like(spec: RunSpec, channels: int, *, seed: int = 0) -> Geometry:
    """As many points as the data's bodies have, drawn evenly by area from the surface of the family's middle body, with
    the neighbours that they have on the run's latent grid.

    Args:
        spec: of a run on bodies; `data.points` says how many points, by default as many as published.
        channels: of the latent grid.

    Raises:
        MpnoError: a run on fields, or a radius that leaves a point without a neighbour.
    """
    if not isinstance(spec.model, GINOSpec):
        raise MpnoError(f"body_like: {spec.id} has no body; give a run of a gino on {' or '.join(POINTS)}")
    family = family_of(spec.data.name)
    middle = {name: (low + high) / 2 for name, (low, high) in family.ranges.items() if name != "inlet_speed"}
    mesh = family.build(**middle)
    draw = np.random.default_rng(seed)
    count = spec.data.points or POINTS[spec.data.name]
    corners = mesh.vertices[mesh.triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = corners[draw.choice(len(corners), count, p=areas / areas.sum())]
    points = np.einsum("nc,ncx->nx", draw.dirichlet((1, 1, 1), count), chosen)
    low, high = family.box
    n, _ = spec.data.square
    return Geometry.of(
        torch.as_tensor((points - low) / (high - low)).clamp(0, 1).float(),
        torch.zeros(channels, n, n, n),
        torch.zeros(count, 3),
        radius=spec.model.radius,
    )


@dataclass
class Bodies:
    """Bodies as published ones, each found once: neighbours of a fine body take seconds."""

    found: dict[object, Geometry] = field(default_factory=dict[object, Geometry])

    def of(self, spec: RunSpec) -> Geometry | None:
        if spec.data.name not in BODIES:
            return None
        n, _ = spec.data.square
        key = (spec.data.name, n, spec.data.points, getattr(spec.model, "radius", None))
        if key not in self.found:
            self.found[key] = body_like(spec, channels_of(spec)[2])
        return self.found[key]
