"""What rounding to a format can cost a Fourier coefficient at most: inequalities, with the numbers they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mpno.specs import Format, get_format

FP32 = get_format("fp32").unit_roundoff


@dataclass(frozen=True)
class CoefficientBound:
    """An error of a coefficient (1/n) sum_j v_j conj(phi_j) is at most ``growth`` · mean|v| + ``floor``.

    Attributes:
        growth: relative to the mean magnitude of the field.
        floor: what underflow adds, in the units of the coefficient.
    """

    growth: float
    floor: float

    def at(self, mean: float) -> float:
        """The bound for a field whose magnitudes have this mean."""
        return self.growth * mean + self.floor


def paper_bound(format: Format) -> CoefficientBound:
    """|(1/n) sum q(v_j) q(phi_j) - (1/n) sum v_j phi_j| for |phi_j| = 1, sums exact, nothing overflowing.

    Proof. Let u be the unit roundoff and h the smallest subnormal number. Rounding to nearest changes a real number by
    at most u|v| where it stays normal and by at most h/2 below, so by at most u|v| + h/2; a complex number, rounded in
    its two parts, by at most u|z| + h/sqrt(2). With b = u + h/sqrt(2), |q(phi) - phi| <= b, and

        |q(v) q(phi) - v phi| <= |q(v) - v| |q(phi)| + |v| |q(phi) - phi| <= (u|v| + h/2)(1 + b) + b|v|
                               = ((1 + u)(1 + b) - 1) |v| + (h/2)(1 + b).

    The mean over j gives growth = (1 + u)(1 + b) - 1 and floor = (h/2)(1 + b). Without underflow the growth is
    (1 + u)^2 - 1, and mean|v| <= max|v| gives the form of the paper.

    Raises:
        ValueError: a block format, whose unit roundoff does not hold below its blocks' largest values.

    Source: the inequality behind the paper's Theorem 3.2, with the constants of IEEE 754 formats.
    """
    u, h = _constants(format)
    b = u + h / math.sqrt(2)
    return CoefficientBound((1 + u) * (1 + b) - 1, h / 2 * (1 + b))


def fft_bound(format: Format, grid: Sequence[int], gain: float = 1.0) -> CoefficientBound:
    """The same for a transform that rounds its operand, each unscaled one-dimensional pass and the scaled result.

    Proof. Let E_t be the mean modulus, over the points that are left, of the error after t passes, in units scaled by
    1/P_t where P_t points have been summed; the exact partial coefficients have mean modulus at most m = mean|v|, since
    a mean of terms of modulus one times v is no larger. Rounding the operand gives E_0 <= u m + h/2. A pass, exact in
    itself, does not increase the mean; rounding it adds at most u(m + E) + h/(sqrt(2) P_t). So
    m + E_t <= (1 + u)(m + E_{t-1}) + h/(sqrt(2) P_t), and the scaled result, multiplied with `gain`, ends likewise.

    The passes themselves are computed in fp32 by a library whose error bound is not published, so this is an
    inequality for the roundings to the format alone. The order of the axes is that of :mod:`mpno.spectral.fft`.

    Raises:
        ValueError: as :func:`paper_bound`.
    """
    u, h = _constants(format)
    total, floor, points = 1 + u, h / 2, 1
    for n in reversed(grid):
        points *= n
        total, floor = total * (1 + u), floor * (1 + u) + h / (math.sqrt(2) * points)
    total, floor = gain * total * (1 + u), gain * floor * (1 + u) + h / math.sqrt(2)
    return CoefficientBound(total - gain, floor)


def matmul_bound(format: Format, grid: Sequence[int], gain: float = 1.0) -> CoefficientBound:
    """The same for matrix products with rounded matrices and results, summed in fp32 in any order.

    Proof. As for :func:`fft_bound`, with three more things per axis of n points. The matrix is computed in float64,
    kept in fp32 and rounded to the format: an entry of modulus 1/n is off by at most ((1 + v)(1 + u) - 1)/n +
    h/sqrt(2), v being fp32's roundoff, so the mean modulus of what it multiplies grows by at most
    (1 + v)(1 + u) + n h/sqrt(2). A sum of L products in fp32 is off by at most g = L v / (1 - L v) times the sum of
    their moduli (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), in each of two parts: a
    factor 1 + sqrt(2) g. The rounded result adds a factor 1 + u and h/sqrt(2). L is n on the last axis, whose input
    is real, and 2n on the others.
    Taken for granted besides: fp32 does not underflow.

    Raises:
        ValueError: as :func:`paper_bound`.
    """
    u, h = _constants(format)
    total, floor = 1 + u, h / 2
    for place, n in enumerate(reversed(grid)):
        terms = n if place == 0 else 2 * n
        gamma = terms * FP32 / (1 - terms * FP32)
        factor = ((1 + FP32) * (1 + u) + n * h / math.sqrt(2)) * (1 + math.sqrt(2) * gamma) * (1 + u)
        total, floor = total * factor, floor * factor + h / math.sqrt(2)
    if gain != 1:
        total, floor = gain * total * (1 + u), gain * floor * (1 + u) + h / math.sqrt(2)
    return CoefficientBound(total - gain, floor)


def _constants(format: Format) -> tuple[float, float]:
    """Unit roundoff and smallest subnormal."""
    if format.element is not None:
        raise ValueError(f"{format.name} shares scales within blocks, so no bound per value holds")
    return format.unit_roundoff, format.smallest_subnormal
