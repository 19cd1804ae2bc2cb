"""Searches for the worst functions: a linear programme over a Lipschitz class, and rounding errors that add up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Complex, Float
from scipy import sparse
from scipy.optimize import linprog

from mpno.specs import MpnoError
from mpno.theory.bounds import TOUCH
from mpno.theory.functions import Nodal, Wave, hat_weights, plane_wave
from mpno.theory.systems import PrecisionSystem

PHASES = 4


def error_weights(m: int, w: Wave, cells: int) -> Complex[np.ndarray, "*nodes"]:
    """What each nodal value on `cells` cells an axis, a multiple of m, adds to integral less left-corner sum."""
    if cells % m:
        raise MpnoError(f"cells = {cells}: must be a multiple of m = {m}, so that corners are nodes")
    whole = np.ones(())
    for k in w:
        whole = np.multiply.outer(whole, hat_weights(cells, k))
    corner = (slice(0, cells, cells // m),) * len(w)
    whole = whole.astype(complex)
    whole[corner] -= plane_wave(m, w) / m ** len(w)
    return whole


def search_discretization(
    m: int, w: Wave, *, lipschitz: float, bound: float, refine: int = 2, phases: int = PHASES
) -> tuple[float, Nodal]:
    """The largest error among functions multilinear on `refine` m cells an axis with L and M: a linear programme.

    Along each axis the slope is kept to L / sqrt(d), which keeps the Lipschitz constant to L. So what is found is a
    member of the class, and the class's largest error is at least as large. The modulus is the largest of
    Re(exp(-i alpha) error); `phases` of the angles alpha are tried.

    Returns:
        The error, and the function found.
    """
    d, cells = len(w), refine * m
    weights = error_weights(m, w, cells)
    edges = _edges((cells + 1,) * d)
    limits = np.full(2 * len(edges.indptr) - 2, lipschitz / math.sqrt(d) / cells)
    rows: Any = sparse.vstack([edges, -edges], format="csr")
    best = 0.0, Nodal(np.zeros((1, *weights.shape)))
    for angle in np.pi * np.arange(phases if any(w) else 1) / phases:
        aim = (np.exp(-1j * angle) * weights).real.ravel()
        found = linprog(-aim, A_ub=rows, b_ub=limits, bounds=(-bound, bound), method="highs")
        if found.x is None:
            raise MpnoError(f"search for m = {m}, w = {w}: the linear programme ends with {found.message!r}")
        # The solver keeps its constraints to 1e-7; scaled back, the function is in the class.
        nodal = Nodal(found.x.reshape(1, *weights.shape))
        excess = max(1.0, float(nodal.lipschitz[0]) / lipschitz, float(nodal.bound[0]) / bound)
        nodal = Nodal(nodal.nodes / excess)
        value = float(abs((nodal.nodes[0] * weights).sum()))
        best = max(best, (value, nodal), key=lambda pair: pair[0])
    return best


def _edges(shape: tuple[int, ...]) -> sparse.csr_array:
    """A row for every edge between neighbours of a grid: +1 at its upper end, -1 at its lower."""
    numbers = np.arange(math.prod(shape)).reshape(shape)
    pairs = []
    for axis, size in enumerate(shape):
        low, high = (np.take(numbers, range(*ends), axis=axis).ravel() for ends in ((0, size - 1), (1, size)))
        pairs.append(np.stack([low, high], 1))
    ends = np.concatenate(pairs)
    rows = np.repeat(np.arange(len(ends)), 2)
    return sparse.csr_array((np.tile([-1.0, 1.0], len(ends)), (rows, ends.ravel())))


@dataclass(frozen=True)
class Biased:
    """Values around a midpoint of a system, above it where the wave is positive: their rounding errors add up.

    v(x) = t + tau cos(2 pi <w, x> - angle), with the largest midpoint t up to the bound, half the distance g of its
    neighbours, and tau = `TOUCH` g; for w = 0 a constant beside the midpoint, on either side.

    Attributes:
        system, wave: whose numbers it lies between, and with which wave.
        below: M.
        angle: of the wave; 0 is the function of Theorem 5.
    """

    system: PrecisionSystem
    wave: Wave
    below: float
    angle: float = 0.0

    @property
    def lipschitz(self) -> float:
        _, half = self.system.tie(self.below * (1 - TOUCH))
        return 2 * math.pi * math.dist(self.wave, [0] * len(self.wave)) * TOUCH * half

    def grid(self, m: int) -> Float[np.ndarray, "1 *grid"]:
        middle, half = self.system.tie(self.below * (1 - TOUCH))
        swing = (np.exp(-1j * self.angle) * plane_wave(m, self.wave)).real
        return (middle + TOUCH * half * swing)[None]
