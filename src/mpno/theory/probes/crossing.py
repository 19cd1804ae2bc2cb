"""At how many points the discretization bound falls to the precision bound: by rate, number of axes and format."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mpno.theory import bounds
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import of_format

EXAMPLE = 1e-4
"""The relative precision of the paper's example of 1,000,000 points at d = 3, remembered and unverified."""
LIPSCHITZ = BOUND = 1.0


def crossing(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Crossing points of the bare rates, of Theorems 1 and 4 with their constants, and of Theorems 3 and 4.

    Args:
        arms: none are needed.
        settings: ``formats``; ``axes``, numbers of axes.

    Returns:
        Rows of system, axes, roundoff; ``slow`` and ``fast``, n at which n^(-1/d) and n^(-2/d) fall to the roundoff;
        ``bounds``, n at which Theorem 1's bound, for L = M = |w| = 1, falls to Theorem 4's; ``kink``, n at which the
        lower bound of Theorem 3's fixed function falls to Theorem 4's for M = 1/2: beyond it the grid's error may be
        the smaller; ``band``, n from which functions of frequencies up to 1 have none; evidence ``predicted``.
    """
    rows = []
    for name in ("example", *settings["formats"]):
        system = None if name == "example" else of_format(name)
        for d in settings["axes"]:
            u = EXAMPLE if system is None else system.roundoff
            wave = (1,) + (0,) * (d - 1)
            row: dict[str, Any] = {"system": name, "axes": d, "roundoff": u, "evidence": "predicted"}
            row |= {"slow": bounds.crossing(u, d), "fast": bounds.crossing(u, d, power=2), "band": 3**d}
            if system is not None:
                constant = (LIPSCHITZ + 2 * math.pi * BOUND) * bounds.mean_distance(d)
                allowed = float(bounds.precision_upper(system, bound=BOUND))
                kinked = float(bounds.precision_upper(system, bound=BOUND / 2))
                row |= {"prec_upper": allowed, "bounds": bounds.crossing(allowed, d, constant=constant)}
                row["kink"] = bounds.crossing(kinked, d, constant=bounds.kink_lower(16, wave) * 16**2, power=2)
            rows.append(row)
    return rows
