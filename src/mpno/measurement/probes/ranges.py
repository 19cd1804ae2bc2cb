"""What the range of a number format alone foretells of a transform that scales last, grid by grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import Format, MpnoError, get_format


def ranges(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Range arithmetic, of formats and grids, without a model and without data.

    Args:
        arms: none are needed.
        settings: ``formats``, names; ``grids``, lists of points along each axis.

    Returns:
        Rows by format and grid (points, axes), evidence ``predicted``, with maximum, smallest normal and subnormal
        number, unit roundoff, and:

        - ``largest``: the largest unscaled coefficient that a field within [-1, 1], as tanh leaves it, can have: the
          number of points, reached by a constant; ``share`` of the maximum; ``overflow``, whether it rounds to more.
          Where it does not, no forward transform after tanh can overflow.
        - ``mean_limit``: the mean of a field from which on its zero coefficient exceeds the maximum, tanh or not.
        - ``normal_mode``, ``last_mode``: the highest odd mode of a triangle wave of amplitude 1 whose coefficient,
          scaled by 1/n, the format holds as a normal number, and does not round to zero; it is 4 / (pi k)^2.
        - ``gradient``: of a relative L2 error with respect to a point of a target of root mean square 1, the root mean
          square over points, 1/n; ``flushed``, whether the format rounds it to zero.

    Raises:
        MpnoError: a setting is missing or unknown, a format is unknown, a grid is empty.
    """
    if set(settings) != {"formats", "grids"} or not all(settings.values()):
        raise MpnoError(f"probe ranges: settings are {', '.join(settings) or 'none'}; give formats and grids")
    grids = [tuple(grid) for grid in settings["grids"]]
    return [_row(get_format(name), grid) for name in settings["formats"] for grid in grids]


def _row(fmt: Format, grid: tuple[int, ...]) -> dict[str, Any]:
    points = math.prod(grid)
    return {
        "format": fmt.name,
        "grid": "x".join(map(str, grid)),
        "axes": len(grid),
        "points": points,
        "maximum": fmt.max,
        "smallest_normal": fmt.smallest_normal,
        "smallest_subnormal": fmt.smallest_subnormal,
        "unit_roundoff": fmt.unit_roundoff,
        "largest": points,
        "share": points / fmt.max,
        "overflow": points >= overflows_from(fmt),
        "mean_limit": fmt.max / points,
        "normal_mode": _odd_mode(fmt.smallest_normal),
        # Half of the smallest number is a tie, which goes to zero.
        "last_mode": _odd_mode(math.nextafter(fmt.smallest_subnormal / 2, 1.0)),
        "gradient": 1 / points,
        "flushed": 1 / points <= fmt.smallest_subnormal / 2,
        "evidence": "predicted",
    }


def overflows_from(fmt: Format) -> float:
    """The smallest magnitude that rounds beyond the maximum, or just above it where that tie goes to the maximum.

    Source: IEEE 754-2019, section 4.3.1: as if the exponent were unbounded, ties to even.
    """
    spacing = math.ldexp(fmt.eps, fmt.top)
    tie = fmt.max + spacing / 2
    even = round(fmt.max / spacing) % 2 == 0
    return math.nextafter(tie, math.inf) if even else tie


def _odd_mode(smallest: float) -> int:
    """The highest odd k with 4 / (pi k)^2 at least `smallest`; 0 where there is none."""
    highest = math.floor(2 / (math.pi * math.sqrt(smallest)))
    return highest if highest % 2 else max(0, highest - 1)
