"""Where the two bounds cross: by format, number of axes and rate."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpno.paper.drawing import Table
from mpno.paper.records import NONE, ItemTables

EXAMPLE = "example, from memory"
BAND = "band-limited, any format"


def table(item: ItemTables) -> Table:
    """A row per system and number of axes: crossing points of bare rates, and of the bounds with their constants."""
    frame = item.probes["crossing"]
    rows = frame.to_dict("records")
    cells = [_cells(row) for row in rows]
    bands = {row["axes"]: row["band"] for row in rows}
    cells += [_band(axes, points) for axes, points in bands.items()]
    systems = [*frame["system"], *[BAND] * len(bands)]
    return Table(frame, pd.DataFrame(cells), NOTES, roles=systems)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    return {
        "system": EXAMPLE if row["system"] == "example" else row["system"],
        "d": str(row["axes"]),
        "unit roundoff": f"{row['roundoff']:.2e}",
        "n^(-1/d) = u": _points(row["slow"]),
        "n^(-2/d) = u": _points(row["fast"]),
        "bounds cross": _points(row["bounds"]),
        "an axis": _side(row),
        "fixed kink": _points(row["kink"]),
    }


def _band(axes: int, points: float) -> dict[str, str]:
    """Where the grid's error vanishes there is nothing to cross."""
    empty = dict.fromkeys(("unit roundoff", "n^(-1/d) = u", "n^(-2/d) = u"), NONE)
    side = round(points ** (1 / axes))
    found = {"system": BAND, "d": str(axes), **empty, "bounds cross": f"grid error 0 from {points:.0f}"}
    return found | {"an axis": str(side), "fixed kink": NONE}


NOTES = [
    "evidence: predicted, from formulas alone; numbers of grid points n; what is compared are upper bounds, of one "
    "coefficient of "
    "one layer, not errors of a trained network",
    "n^(-1/d) = u, n^(-2/d) = u: where the bare rates fall to the unit roundoff u = eps / (2 + eps); the first is "
    "the rate of the "
    "upper bound and of the worst case over the class, the second that of one periodic function with a kink",
    "example: relative precision 1e-4, d = 3, rate n^(-2/d): 1,000,000 points. It is remembered from the paper and "
    "could not be "
    "sourced, so it is no published value here; float16's unit roundoff is 4.9e-4, which by the same formula gives "
    "9.3e4 points",
    "bounds cross: where Theorem 1's upper bound for L = M = |w| = 1 falls to Theorem 4's (docs/theory.md), "
    "constants and all, and how "
    "many points an axis that is; on coarser grids the grid's bound is the larger",
    "fixed kink: where the proved lower bound of the error of |x_1 - 1/2| falls to the upper bound of its rounding "
    "error; on coarser "
    "grids the grid's error is proved to be the larger one, for this function and frequency; below 1 none is so coarse",
    "band-limited: from so many points on a function of frequencies up to 1 has no discretization error for |w| = 1, "
    "in any "
    "format: rounding dominates",
]


def _points(value: float) -> str:
    if math.isnan(value):
        return NONE
    return f"{value:.3g}" if value < 1e4 else f"{value:.1e}"


def _side(row: Mapping[str, Any]) -> str:
    return NONE if math.isnan(row["bounds"]) else _points(row["bounds"] ** (1 / row["axes"]))
