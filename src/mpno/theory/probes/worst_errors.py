"""Both errors of built, searched and random functions against the number of points, beside their bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpno.theory import aliasing, bounds
from mpno.theory.errors import discretization_error, fourier_precision_error, precision_error
from mpno.theory.functions import Kink, Ramp, Wave, plane_wave, random_trigonometric
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import of_format
from mpno.theory.worst_case import Biased, search_discretization

LIPSCHITZ, BOUND = 4.0, 1.0
"""The class: sup-norm 1, as after tanh."""
SERIES = {"rough": 1.6, "smooth": 3.1}
"""Decay of the coefficients of the functions for the aliasing view, |v_k| = k^-decay: in |.|_s for s < decay - 1/2."""


def worst_errors(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Errors and bounds for the first frequency, the class of L = 4 and M = 1, and every grid.

    Args:
        arms: none are needed.
        settings: ``grids``, ``searched``: by number of axes (as text), numbers of cells an axis; ``formats``;
            ``functions``, how many random ones.

    Returns:
        Rows of axes, m, n, format (empty for discretization), ``what``: ``disc upper``, ``disc lower`` (Theorems 1
        and 2), ``searched``, ``ramp``, ``kink``, ``kink lower`` (Theorem 3), ``prec upper``, ``prec lower`` (Theorems 4
        and 5), ``biased`` (the function of Theorem 5), ``average`` (mean over random band-limited functions),
        ``rough``, ``smooth``, ``analytic`` and bounds of the first two (Theorem 6, one axis); ``value``; evidence
        ``emulated`` where a format rounds, else ``native``.
    """
    rows: list[dict[str, Any]] = []
    for axes in map(int, settings["grids"]):
        wave: Wave = (1,) + (0,) * (axes - 1)
        rng = np.random.default_rng(axes)
        family = random_trigonometric(rng, int(settings["functions"]), axes, 2)
        for m in settings["grids"][str(axes)]:
            values = _discretization(wave, m) | (_aliasing(m) if axes == 1 else {})
            rows += [_row(axes, m, "", what, value) for what, value in values.items()]
            for name in settings["formats"]:
                system = of_format(name)
                biased = precision_error(Biased(system, wave, BOUND).grid(m), plane_wave(m, wave), system)[0]
                found = {
                    "prec upper": bounds.precision_upper(system, bound=BOUND),
                    "prec lower": bounds.precision_lower(system, m, wave, bound=BOUND),
                    "biased": biased,
                    "average": fourier_precision_error(family, m, wave, system).mean(),
                }
                rows += [_row(axes, m, name, what, value) for what, value in found.items()]
        for m in settings["searched"][str(axes)]:
            best, _ = search_discretization(m, wave, lipschitz=LIPSCHITZ, bound=BOUND, refine=8 if axes == 1 else 2)
            rows.append(_row(axes, m, "", "searched", best))
    return rows


def _discretization(wave: Wave, m: int) -> dict[str, float]:
    slope = bounds.ramp_slope(wave, lipschitz=LIPSCHITZ, bound=BOUND)
    return {
        "disc upper": float(bounds.fourier_upper(m, wave, lipschitz=LIPSCHITZ, bound=BOUND)),
        "disc lower": bounds.discretization_lower(m, wave, lipschitz=LIPSCHITZ, bound=BOUND),
        "ramp": discretization_error(Ramp(wave, slope), m, wave)[0],
        "kink": discretization_error(Kink((0,) * len(wave)), m, wave)[0],
        "kink lower": bounds.kink_lower(m, wave),
    }


def _aliasing(m: int) -> dict[str, float]:
    found = {"analytic": float(aliasing.analytic_error(m, 1))}
    for name, decay in SERIES.items():
        series = aliasing.random_series(np.random.default_rng(0), 50, 2**14, decay)
        s = decay - 0.55
        seminorm = float(aliasing.series_seminorm(series, s).max())
        found[name] = float(aliasing.series_error(series, m, 1).max())
        found[f"{name} upper"] = aliasing.sobolev_upper(m, (1,), s=s, seminorm=seminorm)
    return found


def _row(axes: int, m: int, name: str, what: str, value: Any) -> dict[str, Any]:
    evidence = "emulated" if what in ("biased", "average") else "native"
    about = {"axes": axes, "m": m, "n": m**axes, "format": name, "what": what, "evidence": evidence}
    return about | {"value": float(value) if math.isfinite(float(value)) else None}
