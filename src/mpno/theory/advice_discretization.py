"""An estimate of the discretization error of kept coefficients: the same function on grids twice as coarse and fine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.spectral.modes import KeptModes
from mpno.spectral.sht import Truncation
from mpno.theory.advice_spectra import Kept, common, cut, exact_spectrum

FIRST_ORDER = 0.5
"""What an error of order one is multiplied with when the grid is doubled: the paper's slowest rate, n^(-1/d)."""
VANISHES = 2.0**-23
"""A discretization error of at most this share of the coefficients is none: keeping the field in fp32 costs as much."""


@dataclass(frozen=True)
class Discretization:
    """The estimated discretization error of a layer's kept coefficients.

    Attributes:
        error: root mean square over coefficients, channels and samples, over that of the coefficients: relative. NaN
            where there is no estimate.
        how: ``finer grid``, ``subsampled``, or why there is none.
        rate: what doubling the grid multiplies the error with, as observed; NaN where it was not.
        compared, kept: coefficients that the estimate rests on, and that the layer keeps.
    """

    error: float
    how: str
    rate: float
    compared: int
    kept: int

    @property
    def known(self) -> bool:
        return not math.isnan(self.error)

    @property
    def vanishes(self) -> bool:
        """Whether the estimate is none to speak of, as of periodic fields that the grid resolves."""
        return self.known and self.error <= VANISHES


def subsampled(v: Float[Tensor, "b *grid c"], kept: Kept) -> Discretization:
    """The estimate from the field on every second and every fourth point.

    With c_n the coefficients on n points along an axis, d = |c_n - c_(n/2)| and d' = |c_(n/2) - c_(n/4)|, the rate is
    r = d/d' over the coefficients that all three grids hold, at most 1/2, and by Richardson's extrapolation the error
    on n points is d r/(1 - r) over those that the first two hold. Where there is no quarter of the grid, first order is
    taken for granted, r = 1/2. Coefficients that the half grid does not hold do not enter: the estimate is low.

    Args:
        v: the layer's stabilised input, channels last.
        kept: what the layer keeps.

    Source: Richardson extrapolation; the quantity is Disc of the paper's section 3, for these functions.
    """
    if isinstance(kept, Truncation):
        return _none("no estimate: the latitudes of half the grid are no subset", kept)
    if any(n % 2 or n < 4 for n in kept.grid):
        return _none("no estimate: the grid has no half", kept)
    s = exact_spectrum(v, kept)
    half = _half(kept)
    t = exact_spectrum(_thinned(v, 2), half)
    places, rest = common(kept, half)
    change = cut(t, rest) - cut(s, places)
    rate = _rate(v, kept, half, s, t)
    used = FIRST_ORDER if math.isnan(rate) else rate
    size = _norm(cut(s, places))
    error = _over(_norm(change) * used / (1 - used), size)
    return Discretization(error, "subsampled", rate, math.prod(map(len, places)), math.prod(kept.counts))


def finer(
    v: Float[Tensor, "b *grid c"], kept: Kept, fine: Float[Tensor, "b *fine c"], kept_fine: Kept
) -> Discretization:
    """The estimate from the layer's input for the same samples on a grid twice as fine, upstream layers included.

    With D = |c_n - c_2n| the error on n points is D/(1 - r), r = D/|c_n - c_(n/2)| being the rate, at most 1/2; where
    that is not known, it is D, which is low for an error that falls slowly.
    """
    s, t = exact_spectrum(v, kept), exact_spectrum(fine, kept_fine)
    if isinstance(kept, Truncation) or isinstance(kept_fine, Truncation):
        degrees, orders = (min(a, b) for a, b in zip(s.shape[1:3], t.shape[1:3], strict=True))
        places = rest = [range(degrees), range(orders)]
        total, rate = math.prod(s.shape[1:3]), math.nan
    else:
        places, rest = common(kept, kept_fine)
        total, rate = math.prod(kept.counts), math.nan
        if all(n % 2 == 0 and n >= 4 for n in kept.grid):
            half = _half(kept)
            here, there = common(kept, half)
            coarse = _norm(cut(exact_spectrum(_thinned(v, 2), half), there) - cut(s, here))
            both = common(kept_fine, half)[0]
            now = _norm(cut(t, both) - cut(s, here))
            rate = min(now / coarse, FIRST_ORDER) if coarse else math.nan
    change, size = _norm(cut(t, rest) - cut(s, places)), _norm(cut(s, places))
    error = _over(change / (1 - (0.0 if math.isnan(rate) else rate)), size)
    return Discretization(error, "finer grid", rate, math.prod(map(len, places)), total)


def _rate(v: Tensor, kept: KeptModes, half: KeptModes, s: Tensor, t: Tensor) -> float:
    if any(n % 4 or n < 8 for n in kept.grid):
        return math.nan
    quarter = _half(half)
    w = exact_spectrum(_thinned(v, 4), quarter)
    here, last = common(kept, quarter)
    middle = common(half, quarter)[0]
    before = _norm(cut(w, last) - cut(t, middle))
    after = _norm(cut(t, middle) - cut(s, here))
    return min(after / before, FIRST_ORDER) if before else math.nan


def _half(kept: KeptModes) -> KeptModes:
    """The same frequencies, as far as half of the grid holds them."""
    grid = tuple(n // 2 for n in kept.grid)
    most = (*grid[:-1], grid[-1] // 2 + 1)
    return replace(kept, grid=grid, counts=tuple(min(a, b) for a, b in zip(kept.counts, most, strict=True)))


def _thinned(v: Tensor, step: int) -> Tensor:
    return v[(slice(None), *(slice(None, None, step) for _ in v.shape[1:-1]))]


def _none(why: str, kept: Kept) -> Discretization:
    total = kept.degrees * kept.orders if isinstance(kept, Truncation) else math.prod(kept.counts)
    return Discretization(math.nan, why, math.nan, 0, total)


def _norm(s: Tensor) -> float:
    return float(torch.linalg.vector_norm(s))


def _over(error: float, size: float) -> float:
    return error / size if size else 0.0 if not error else math.inf
