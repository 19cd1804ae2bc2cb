"""The aliasing view of the discretization error, and errors too small for float64, in mpmath.

For periodic v the left-corner sum takes frequency k for k + l m, so the error is the sum of the Fourier coefficients
of v at l m - w over all l but 0. Source of the view: Lanthaler, Stuart, Trautner, "Discretization Error of Fourier
Neural Operators", arXiv 2405.02221, which bounds whole operators by it.
"""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np

from mpno.specs import MpnoError
from mpno.theory.functions import Wave

DIGITS = 60


def sobolev_upper(m: int, w: Wave, *, s: float, seminorm: float) -> float:
    """Theorem 6: |v|_s (pi m)^-s (sum over l but 0 of |l|_max^-2s)^(1/2), for periodic v, s > d/2, |w_i| <= m/2.

    Args:
        seminorm: |v|_s, the root of the sum over k of (2 pi |k|)^2s |v_k|^2.

    Raises:
        MpnoError: s is too small, or the grid does not hold w.
    """
    d = len(w)
    if s <= d / 2 or max(map(abs, w)) > m / 2:
        raise MpnoError(f"s = {s}, m = {m}, w = {w}: needs s > {d / 2} and |w_i| <= {m / 2}")
    shells = {1: lambda r: 2, 2: lambda r: 8 * r, 3: lambda r: 24 * r**2 + 2}
    if d not in shells:
        raise MpnoError(f"d = {d}: shells are counted for d = 1, 2, 3")
    total = mpmath.nsum(lambda r: shells[d](r) * mpmath.mpf(r) ** (-2 * s), [1, mpmath.inf])
    return seminorm * (math.pi * m) ** -s * math.sqrt(float(total))


def tent_error(m: int, w: int) -> Any:
    """The error of |x - 1/2| in one dimension, exactly: a sum of 1 / (pi k)^2 over the odd k = l m - w, l not 0."""
    with mpmath.workdps(DIGITS):
        pi = mpmath.pi

        def all_of(step: int, start: int) -> Any:
            """The sum of 1 / (pi k)^2 over k = start + l step, l in Z, no k being 0."""
            return 1 / (step * mpmath.sin(pi * mpmath.mpf(start) / step)) ** 2

        if w % 2:
            return all_of(m if m % 2 == 0 else 2 * m, -w) - 1 / (pi * w) ** 2
        return all_of(2 * m, m - w) if m % 2 else mpmath.mpf(0)


def analytic_error(m: int, w: int) -> Any:
    """The error of exp(cos(2 pi x)), whose coefficients are the Bessel functions I_|k|(1): beyond every power of m."""
    with mpmath.workdps(DIGITS):
        return mpmath.fsum(mpmath.besseli(abs(j * m - w), 1) for j in range(-8, 9) if j)


def random_series(rng: np.random.Generator, count: int, band: int, decay: float) -> np.ndarray:
    """Coefficients v_k, k = 0..K, of real periodic functions of random phase with |v_k| = k^-decay; (f, K+1)."""
    k = np.arange(1, band + 1)
    phases = np.exp(2j * np.pi * rng.random((count, band)))
    return np.concatenate([np.zeros((count, 1)), phases * k**-decay], 1)


def series_error(series: np.ndarray, m: int, w: int) -> np.ndarray:
    """The error of each function by the alias sum, |sum over l but 0 of v_(l m - w)|; (f,)."""
    band = series.shape[1] - 1
    k = m * np.arange(-(band // m) - 1, band // m + 2) - w
    k = k[(np.abs(k) <= band) & (k != -w)]
    values = np.where(k >= 0, series[:, np.abs(k)], np.conj(series[:, np.abs(k)]))
    return np.abs(values.sum(1))


def series_seminorm(series: np.ndarray, s: float) -> np.ndarray:
    """|v|_s of each function; (f,)."""
    k = np.arange(series.shape[1])
    return np.sqrt(2 * ((2 * np.pi * k) ** (2 * s) * np.abs(series) ** 2).sum(1))
