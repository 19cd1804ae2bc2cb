"""Discretization and precision error of one coefficient: of the integral of v times a basis function."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Num

from mpno.theory.functions import Family, Wave, plane_wave
from mpno.theory.systems import PrecisionSystem


def riemann(
    values: Num[np.ndarray, "f *grid"],
    basis: Num[np.ndarray, "*grid"],
    weights: Float[np.ndarray, "*grid"] | None = None,
) -> Num[np.ndarray, "f"]:
    """The sum over cells of v(xi_j) phi(xi_j) |Q_j|; without weights all cells have the same volume, in sum 1."""
    product = values * (basis if weights is None else basis * weights)
    flat = product.reshape(len(product), -1)
    return flat.mean(1) if weights is None else flat.sum(1)


def discretization_error(family: Family, m: int, w: Wave) -> Float[np.ndarray, "f"]:
    """Disc(v, Q_d, w): the modulus of the integral less the left-corner sum on m^d cells, for exp(2 pi i <w, x>).

    Exact to float64's rounding, about 1e-16 times the sup-norm; what is smaller needs :mod:`mpno.theory.aliasing`.

    Source: paper, section 3, as remembered; see docs/theory.md.
    """
    return np.abs(family.coefficient(w) - riemann(family.grid(m), plane_wave(m, w)))


def precision_error(
    values: Float[np.ndarray, "f *grid"],
    basis: Num[np.ndarray, "*grid"],
    system: PrecisionSystem,
    weights: Float[np.ndarray, "*grid"] | None = None,
) -> Float[np.ndarray, "f"]:
    """Prec(v, Q_d, q, phi): the modulus of the sum with v and phi less the sum with both rounded.

    Products and sums are exact, as in the paper's definition: operands alone are rounded. The difference is summed,
    not the sums subtracted, so that float64 keeps its digits.

    Source: paper, section 3, as remembered; see docs/theory.md.
    """
    rounded, held = system.round(values), system.round_complex(basis)
    factor = 1.0 if weights is None else weights
    difference = ((values - rounded) * held + values * (basis - held)) * factor
    flat = difference.reshape(len(difference), -1)
    return np.abs(flat.mean(1) if weights is None else flat.sum(1))


def fourier_precision_error(family: Family, m: int, w: Wave, system: PrecisionSystem) -> Float[np.ndarray, "f"]:
    """Prec for exp(2 pi i <w, x>) on m^d cells."""
    return precision_error(family.grid(m), plane_wave(m, w), system)
