"""The bounds of docs/theory.md with their constants. Numbers in the statements' letters:

d, m        axes, cells along each; n = m^d
L, M        Lipschitz constant and sup-norm of v
B, Lambda   sup-norm and Lipschitz constant of the basis function; 1 and 2 pi |w| for exp(2 pi i <w, x>)
u, eta, R   of a precision system
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float

from mpno.specs import MpnoError
from mpno.theory.functions import Nodal, Wave
from mpno.theory.systems import PrecisionSystem

Number = Any
"""A float, or an array of one number for each function."""


def length(w: Wave) -> float:
    """The Euclidean norm of a frequency."""
    return math.dist(w, [0] * len(w))


def mean_distance(d: int) -> float:
    """kappa_d, the mean distance of a point of the unit cube to a corner: 0.5, 0.765, 0.961; below sqrt(d / 3).

    Closed forms up to d = 3; from d = 4 on sqrt(d / 3), which Jensen's inequality puts above it.
    """
    if d == 1:
        return 0.5
    if d == 2:
        return (math.sqrt(2) + math.log(1 + math.sqrt(2))) / 3
    if d == 3:
        return math.sqrt(3) / 4 + math.log(2 + math.sqrt(3)) / 2 - math.pi / 24
    return math.sqrt(d / 3)


def discretization_upper(
    m: int, d: int, *, lipschitz: Number, bound: Number, steep: float, height: float = 1.0, jumps: int = 0
) -> Number:
    """Theorem 1: (L B + M Lambda) kappa_d / m, and 2 M B / n for each of the `jumps` cells that the basis jumps in.

    `steep` is Lambda, `height` is B. Never more than 2 M B, which holds for any v.
    """
    smooth = (lipschitz * height + bound * steep) * mean_distance(d) / m
    return np.minimum(smooth + 2 * bound * height * jumps / m**d, 2 * bound * height)


def fourier_upper(m: int, w: Wave, *, lipschitz: Number, bound: Number) -> Number:
    """Theorem 1 for exp(2 pi i <w, x>)."""
    return discretization_upper(m, len(w), lipschitz=lipschitz, bound=bound, steep=2 * math.pi * length(w))


def discretization_lower(m: int, w: Wave, *, lipschitz: float, bound: float) -> float:
    """Theorem 2: no smaller is the largest error over all v with L and M; reached by :class:`functions.Ramp`.

    Raises:
        MpnoError: m <= 2 max |w_i|: the grid cannot tell 2w from lower frequencies.
    """
    _resolved(m, 2 * max(map(abs, w)))
    d = len(w)
    slope = ramp_slope(w, lipschitz=lipschitz, bound=bound)
    return slope * math.sqrt(d) / (4 if any(w) else 2) / m


def ramp_slope(w: Wave, *, lipschitz: float, bound: float) -> float:
    """The slope at which :class:`functions.Ramp` is in the class of L and M."""
    d = len(w)
    return min(lipschitz / (1 + math.pi * math.sqrt(d) * length(w)), 2 * bound / math.sqrt(d))


def kink_lower(m: int, w: Wave) -> float:
    """Theorem 3, lower: the error of one periodic function for all grids, |x_1 - 1/2| cos(2 pi <w - e_1, x>).

    Raises:
        MpnoError: m <= 2 max |w_i| + 1.
    """
    _resolved(m, 2 * max(map(abs, w)) + 1)
    first = tuple(int(axis == 0) for axis in range(len(w)))
    return 1 / ((12 if w == first else 24) * m**2)


def _resolved(m: int, least: int) -> None:
    if m <= least:
        raise MpnoError(f"m = {m}: the grid does not resolve the frequencies; give m > {least}")


def periodic_upper(m: int, w: Wave, family: Nodal) -> Float[np.ndarray, "f"]:
    """Theorem 3, upper: (1 / 12 m^2) sum_i (V_i + 4 pi |w_i| S_i + (2 pi w_i)^2 M) for periodic functions.

    V_i is the largest variation of the slope along axis i and S_i the steepest slope, over lines.
    """
    total = np.zeros(len(family.nodes))
    for axis, k in enumerate(w):
        steepest = family.slopes(axis).reshape(len(total), -1).max(1)
        total += family.turns[axis] + 4 * math.pi * abs(k) * steepest + (2 * math.pi * k) ** 2 * family.bound
    return total / (12 * m**2)


def precision_upper(
    system: PrecisionSystem, *, bound: Number, height: float = 1.0, complex_basis: bool = True
) -> Number:
    """Theorem 4: ((1 + u)^2 - 1) M B + eta (1 + u) (B + p M) + p eta^2, p = sqrt(2) for a complex basis, else 1.

    It holds on every grid. Infinite where M or B exceed R, for there the numbers are out of range.
    """
    u, eta, p = system.roundoff, system.underflow, math.sqrt(2) if complex_basis else 1.0
    value = ((1 + u) ** 2 - 1) * bound * height + eta * (1 + u) * (height + p * bound) + p * eta**2
    return np.where(np.maximum(bound, height) > system.largest, np.inf, value)


def precision_lower(system: PrecisionSystem, m: int, w: Wave, *, bound: float) -> float:
    """Theorem 5: no smaller is the largest error over all v of sup-norm at most M, however small L; on every grid.

    With g half the distance of the neighbours of S around the largest midpoint below M: g for w = 0, else
    g ((1 - u) c_p - eta), where p = m / gcd(w, m) is the period of the wave on the grid and c_p the mean of |cos|
    over it.

    Raises:
        MpnoError: p is odd; the theorem needs the grid to hold with every phase its opposite.
    """
    _, half = system.tie(bound * (1 - TOUCH))
    if not any(w):
        return half
    period = m // math.gcd(m, *w)
    if period % 2:
        raise MpnoError(f"m = {m}, w = {w}: the wave's period on the grid is {period}; give m for which it is even")
    return half * ((1 - system.roundoff) * mean_cosine(period) - system.underflow)


TOUCH = 1e-6
"""How far the functions of Theorem 5 swing about a midpoint, over g; in the theorem, as little as one likes."""


def mean_cosine(period: int) -> float:
    """c_p, the mean of |cos(2 pi j / p)| over an even period: 2/pi in the limit, 1/2 for p = 4, never less."""
    half = math.pi / period
    return 2 / period / (math.tan(half) if period % 4 == 0 else math.sin(half))


def crossing(target: float, d: int, *, constant: float = 1.0, power: int = 1) -> float:
    """The number of points n at which constant n^(-power / d) falls to `target`."""
    return (constant / target) ** (d / power)


def stochastic_rms(
    system: PrecisionSystem, n: int, *, bound: Number, height: float = 1.0, complex_basis: bool = True
) -> Number:
    """Theorem 7: of the root mean square error where each number is rounded stochastically, independently and unbiased.

    One product errs by at most what Theorem 4 says with both neighbours in reach, 2u / (1 - u) and 2 eta in place of
    u and eta; the mean of n of them, each of mean zero, by that over sqrt(n).
    """
    u = system.roundoff
    wider = replace(system, roundoff=2 * u / (1 - u), underflow=2 * system.underflow)
    return precision_upper(wider, bound=bound, height=height, complex_basis=complex_basis) / math.sqrt(n)
