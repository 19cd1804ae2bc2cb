"""The spherical harmonic transform as dense complex128 matrices, from definitions and scipy's harmonics alone."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import sph_harm_y
from torch import Tensor


def colatitudes(nlat: int, grid: str) -> tuple[np.ndarray, np.ndarray]:
    """Nodes from the north pole and their weights: the ones that integrate polynomials below degree nlat in cos."""
    if grid == "legendre-gauss":
        x, w = np.polynomial.legendre.leggauss(nlat)
        return np.arccos(x[::-1]), w[::-1].copy()
    theta = np.pi * np.arange(nlat) / (nlat - 1)
    moments = np.zeros(nlat)
    moments[0] = 2.0
    return theta, np.linalg.solve(np.polynomial.legendre.legvander(np.cos(theta), nlat - 1).T, moments)


def harmonics(degrees: int, orders: int, theta: np.ndarray, phi: np.ndarray) -> np.ndarray:
    """Y of every degree and order at points that broadcast, (degrees, orders, *points); zero where order > degree."""
    points = (1,) * np.broadcast(theta, phi).ndim
    degree, order = np.arange(degrees).reshape(-1, 1, *points), np.arange(orders).reshape(-1, *points)
    return np.where(order <= degree, sph_harm_y(degree, np.minimum(order, degree), theta, phi), 0.0)


def dense(nlat: int, nlon: int, degrees: int, orders: int, grid: str) -> tuple[Tensor, Tensor]:
    """Analysis and synthesis, both complex128 (degrees, orders, lat, lon).

    Coefficients are s = (analysis · x) summed over points; fields are Re(synthesis · s) summed over harmonics.
    """
    theta, w = colatitudes(nlat, grid)
    y = harmonics(degrees, orders, theta[:, None], 2 * np.pi * np.arange(nlon) / nlon)
    pairs = np.where(np.arange(orders) == 0, 1.0, 2.0)[:, None, None]
    return torch.from_numpy(y.conj() * w[:, None] * 2 * np.pi / nlon), torch.from_numpy(pairs * y)
