"""Attempts to break a bound: the largest ratio of an error to its bound over many functions. Above 1 it is broken."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mpno.theory import bounds
from mpno.theory.errors import discretization_error, fourier_precision_error, precision_error
from mpno.theory.functions import (
    Family,
    Kink,
    Nodal,
    Ramp,
    Trigonometric,
    plane_wave,
    random_nodal,
    random_trigonometric,
    waves,
)
from mpno.theory.systems import PrecisionSystem, geometric, of_format
from mpno.theory.worst_case import Biased, search_discretization

GRIDS = {1: (1, 2, 3, 7, 16, 61), 2: (1, 2, 3, 5, 12), 3: (1, 2, 3, 5)}
CELLS = {1: (1, 5, 24), 2: (1, 3, 7), 3: (1, 2, 4)}
HIGHEST = {1: 9, 2: 2, 3: 1}
FORMATS = ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp32")


ROOM = 1e-15
"""What float64 itself may err by, relative to the sup-norm: an error of 0 is found as that."""


def families(dim: int, count: int, *, periodic: bool = False) -> list[Nodal]:
    """Random functions of several finenesses, `count` of each."""
    rng = np.random.default_rng(dim)
    return [random_nodal(rng, count, dim, cells, periodic=periodic) for cells in CELLS[dim]]


def some_waves(dim: int) -> list[tuple[int, ...]]:
    return waves(dim, HIGHEST[dim])[:12]


def discretization_ratio(dim: int, count: int) -> float:
    """Theorem 1 on random functions."""
    rng = np.random.default_rng(10 + dim)
    random: list[Family] = [*families(dim, count), random_trigonometric(rng, count, dim, 2)]
    built: list[Family] = [kind(w) for kind in (Ramp, Kink) for w in some_waves(dim)]
    return max(_discretization(family, m, w) for family in random + built for m in GRIDS[dim] for w in some_waves(dim))


def _discretization(family: Family, m: int, w: tuple[int, ...]) -> float:
    limit = bounds.fourier_upper(m, w, lipschitz=family.lipschitz, bound=family.bound)
    return _ratio(discretization_error(family, m, w), limit, family)


def _ratio(error: np.ndarray, limit: np.ndarray, family: Family) -> float:
    return float(((error - ROOM * family.bound) / np.maximum(limit, 1e-12)).max())


def cone_ratio(dim: int) -> float:
    """Theorem 1 on |x| and one cell, where the error is the mean distance itself; here by a fine midpoint rule."""
    fine = {1: 2000, 2: 400, 3: 100}[dim]
    middles = (np.arange(fine) + 0.5) / fine
    squares = sum(np.meshgrid(*[middles**2] * dim, indexing="ij"), np.zeros(()))
    return float(np.sqrt(squares).mean() / bounds.mean_distance(dim))


def searched_ratio(dim: int) -> float:
    """Theorem 1 on functions that a linear programme finds, for gentle and steep classes."""
    found = []
    for m in {1: (1, 2, 5, 16), 2: (1, 2, 5), 3: (1, 2, 3)}[dim]:
        for w in some_waves(dim)[:3]:
            for lipschitz in (0.5, 20.0):
                _, nodal = search_discretization(m, w, lipschitz=lipschitz, bound=1.0)
                limit = bounds.fourier_upper(m, w, lipschitz=lipschitz, bound=1.0)
                found.append(float(discretization_error(nodal, m, w)[0] / limit))
    return max(found)


def periodic_ratio(dim: int, count: int) -> float:
    """Theorem 3 on random periodic functions."""
    return max(
        _ratio(discretization_error(family, m, w), bounds.periodic_upper(m, w, family), family)
        for family in families(dim, count, periodic=True)
        if min(family.cells) > 1
        for m in GRIDS[dim]
        for w in some_waves(dim)
    )


def systems() -> list[PrecisionSystem]:
    return [*map(of_format, FORMATS), geometric(1e-6, 1e-3, 30000), geometric(1e-3, 0.2, 100)]


def precision_ratio(dim: int, count: int, given: Iterable[PrecisionSystem] | None = None) -> float:
    """Theorem 4 on random functions of all magnitudes, and on those whose rounding errors add up."""
    worst = 0.0
    for system in systems() if given is None else given:
        for w in some_waves(dim)[:4]:
            m = GRIDS[dim][-1]
            for scale in (1.0, 1e-3, 3 * system.underflow):
                for family in families(dim, count):
                    nodal = Nodal(scale * family.nodes)
                    limit = bounds.precision_upper(system, bound=nodal.bound)
                    worst = max(worst, float((fourier_precision_error(nodal, m, w, system) / limit).max()))
            for angle in np.linspace(0, np.pi, 5):
                values = Biased(system, w, 1.0, angle).grid(2 * m)
                error = precision_error(values, plane_wave(2 * m, w), system)
                worst = max(worst, float(error[0] / bounds.precision_upper(system, bound=1.0)))
    return worst


def tie_ratio(system: PrecisionSystem, *, claimed: PrecisionSystem | None = None) -> float:
    """Theorem 4 on two constants that both lie just above a midpoint with the largest relative error.

    `claimed` is what the bound is told of the system.
    """
    middle = just_above_tie(system)
    values, basis = np.full((1, 4), middle), np.full(4, middle)
    limit = bounds.precision_upper(claimed or system, bound=middle, height=middle, complex_basis=False)
    return float(precision_error(values, basis, system)[0] / limit)


def just_above_tie(system: PrecisionSystem) -> float:
    """The midpoint after 64, or any of the geometric system's, and a little."""
    middle, half = system.tie(64 * (1 + 2 * system.roundoff / (1 - system.roundoff)))
    assert abs(half / middle - system.roundoff) < 1e-9 * system.roundoff
    return middle * (1 + 1e-13)


def band_limited_error(dim: int, count: int) -> float:
    """The largest error of band-limited functions on grids that hold band and wave together."""
    rng = np.random.default_rng(dim)
    family: Trigonometric = random_trigonometric(rng, count, dim, 2)
    return max(float(discretization_error(family, 3 + max(map(abs, w)), w).max()) for w in some_waves(dim))
