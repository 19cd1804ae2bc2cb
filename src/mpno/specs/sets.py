"""The data sets by name: what they are, where they come from, and what is taken where nothing else is said."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from mpno.specs.names import Dataset


@dataclass(frozen=True)
class SetFacts:
    """What holds of a data set of the paper whatever its size.

    Attributes:
        title: as a caption names it.
        defaults: resolution, test resolutions and sample counts where the user gives none.
        licence, published: of the public files; None where there are none.
        periodic: whether the fields are so along every axis of the grid.
        bodies: whether samples are surface meshes rather than fields on a grid.
        channels: of input and output; of bodies, features and values of a surface point.
    """

    title: str
    defaults: Mapping[str, Any]
    licence: str | None = None
    published: str | None = None
    periodic: bool = False
    bodies: bool = False
    channels: tuple[int, int] = (1, 1)


def _sizes(resolution: int, tests: tuple[int, ...], n_train: int, n_test: int) -> Mapping[str, Any]:
    return MappingProxyType({"resolution": resolution, "test_resolutions": tests, "n_train": n_train, "n_test": n_test})


SETS: dict[str, SetFacts] = {
    "darcy": SetFacts(
        "Darcy flow", _sizes(16, (16, 32), 1000, 50), "MIT", "the neuraloperator wheel (16, 32), Zenodo 12784353"
    ),
    "navier-stokes": SetFacts(
        "Navier-Stokes vorticity", _sizes(64, (64, 128), 200, 20), "CC-BY-4.0", "Zenodo 12825163", periodic=True
    ),
    "shallow-water": SetFacts("Spherical shallow water", _sizes(32, (32, 64), 120, 20), channels=(3, 3)),
    "car": SetFacts(
        "Shape-Net Car", _sizes(32, (32,), 100, 20), "CC-BY-4.0", "Zenodo 13936501", bodies=True, channels=(3, 1)
    ),
    "ahmed": SetFacts("Ahmed bodies", _sizes(32, (32,), 100, 20), bodies=True, channels=(3, 1)),
}
assert set(SETS) == set(get_args(Dataset))
BODIES = tuple(name for name, facts in SETS.items() if facts.bodies)
"""The sets whose samples are surface meshes."""


def errors_of(name: str) -> tuple[str, ...]:
    """The relative test errors that runs on the set report: H1 takes differences, which need a grid."""
    return ("l2",) if name in BODIES else ("l2", "h1")


def title_of(name: str) -> str:
    """The data set as a caption names it; an imported one goes by its name."""
    return SETS[name].title if name in SETS else name


def imported_folder() -> Path:
    """Where imported sets lie: MPNO_IMPORTED, else results/data/imported."""
    return Path(os.environ.get("MPNO_IMPORTED") or Path("results", "data", "imported"))
