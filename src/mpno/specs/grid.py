"""How fine a grid is: one number where axes are alike, a text such as ``60x100`` where they are not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import prod
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

FINEST = 10**6
"""Points along an axis, more than any grid has."""
_GRID = re.compile(r"[1-9][0-9]{0,5}(x[1-9][0-9]{0,5}){1,2}")


def _canonical(value: Any) -> int | str:
    """The one way a resolution is written: axes that are alike are one number, so that 60 and ``60x60`` are equal."""
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= FINEST:
        return value
    if isinstance(value, str) and _GRID.fullmatch(value):
        points = {int(part) for part in value.split("x")}
        return points.pop() if len(points) == 1 else value
    raise ValueError(
        f"must be points along each axis: a number greater than 0 (at most {FINEST}), or a text such as 60x100"
    )


Resolution = Annotated[
    int | str,
    BeforeValidator(_canonical),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": FINEST},
                {"type": "string", "pattern": f"^{_GRID.pattern}$"},
            ]
        }
    ),
]
"""Points along each axis: an int, as many axes as there are, or one number per axis in the order of the arrays."""


def resolution_of(grid: Iterable[int]) -> int | str:
    """The resolution of a grid with these points per axis: (16, 16) is 16, (60, 100) is ``60x100``."""
    points = list(grid)
    return points[0] if len(set(points)) == 1 else "x".join(map(str, points))


def parse_resolution(text: object) -> int | str:
    """A resolution from what stands in a file name, a key or a column.

    Raises:
        ValueError: it is none.
    """
    return _canonical(str(text))


def grid_of(resolution: int | str, axes: int = 2, *, name: str = "") -> tuple[int, ...]:
    """Points along each axis of a grid.

    Args:
        resolution: as in a spec.
        axes: how many axes there are where the resolution is one number.
        name: the data set; ``shallow-water`` has twice as many longitudes as its resolution says latitudes.
    """
    if isinstance(resolution, str):
        return tuple(int(part) for part in resolution.split("x"))
    return (resolution, 2 * resolution) if name == "shallow-water" else (resolution,) * axes


def by_size(resolutions: Iterable[int | str]) -> tuple[int | str, ...]:
    """Each resolution once, coarse before fine."""
    distinct = set(resolutions)
    axes = max((len(grid_of(r)) for r in distinct if isinstance(r, str)), default=2)
    return tuple(sorted(distinct, key=lambda r: (prod(grid_of(r, axes)), str(r))))


def shown(resolution: int | str, axes: int = 2, *, name: str = "") -> str:
    """A grid as a reader sees it: ``16x16``, ``60x100``."""
    return "x".join(map(str, grid_of(resolution, axes, name=name)))


def resolved_degrees(latitudes: int, kind: str) -> int:
    """How many degrees of the spherical harmonics a grid resolves, whose latitudes are of that kind.

    A degree is resolved where the quadrature integrates the product of two such harmonics exactly: below `latitudes`
    on ``legendre-gauss`` ones, below (latitudes + 1) / 2 on ``equiangular`` ones.
    """
    return latitudes if kind == "legendre-gauss" else (latitudes + 1) // 2
