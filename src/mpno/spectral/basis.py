"""Bases other than Fourier's on fixed points: wavelets, harmonics of a sphere, eigenvectors of a graph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mpno.specs import MpnoError
from mpno.spectral.sht import legendre_matrices, truncate


@dataclass(frozen=True, eq=False)
class Basis:
    """Functions phi_k on points xi_j of masses w_j, which add up to 1: the coefficient of v is sum_j v_j phi_k(j) w_j.

    Attributes:
        name: for error messages.
        synthesis: phi_k(xi_j) in float64, (points, k), orthonormal under the masses.
        weights: w_j, (points,).
        groups: for each function the number, from 0, of the matrix that its coefficients are multiplied by: a degree of
            the sphere has one for all its orders.
    """

    name: str
    synthesis: Float[Tensor, "n k"]
    weights: Float[Tensor, " n"]
    groups: Int[Tensor, " k"]

    @property
    def analysis(self) -> Float[Tensor, "k n"]:
        """The matrix from values to coefficients, masses folded in, so that no partial sum exceeds a mean."""
        return (self.synthesis * self.weights[:, None]).T

    @property
    def height(self) -> float:
        """B, the largest size of a function on the points."""
        return float(self.synthesis.abs().max())


def haar_basis(points: int, levels: int) -> Basis:
    """The constant and the Haar wavelets of levels 0 ... `levels` - 1 on [0, 1] at left corners, 2^levels functions.

    Every wavelet has a matrix of its own.

    Raises:
        MpnoError: the wavelets do not divide the points evenly.
    """
    if levels < 1 or points % 2**levels:
        raise MpnoError(f"Haar basis of {levels} levels on {points} points; give a multiple of 2^levels")
    x = torch.arange(points, dtype=torch.float64) / points
    columns = [torch.ones_like(x)]
    for level in range(levels):
        for place in range(2**level):
            at = x * 2**level - place
            up, down = (at >= 0) & (at < 0.5), (at >= 0.5) & (at < 1)
            columns.append(2.0 ** (level / 2) * (up.double() - down.double()))
    return _of_columns(f"Haar, {levels} levels", torch.stack(columns, 1))


def graph_basis(laplacian: Float[Tensor, "rows columns"], count: int) -> Basis:
    """The `count` smoothest eigenvectors of a graph's Laplacian, of mean square 1; every node has the mass 1/n.

    Every eigenvector has a matrix of its own. Its sign is that in which its largest entry is positive.

    Raises:
        MpnoError: the matrix is not symmetric, or has fewer eigenvectors.
    """
    n = len(laplacian)
    if laplacian.shape != (n, n) or not torch.allclose(laplacian, laplacian.mT) or not 1 <= count <= n:
        raise MpnoError(
            f"graph basis: {count} eigenvectors of a matrix {tuple(laplacian.shape)}; give a symmetric one and a count "
            "from 1 to its size"
        )
    vectors = torch.linalg.eigh(laplacian.double())[1][:, :count] * math.sqrt(n)
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()
    return _of_columns(f"graph of {n} nodes", vectors * signs)


def sphere_basis(latitudes: int, longitudes: int, degrees: int) -> Basis:
    """Real spherical harmonics below `degrees` on an equiangular grid, latitudes before longitudes, poles included.

    Masses are the quadrature's over 4 pi, functions sqrt(4 pi) times the orthonormal ones; a degree has one matrix for
    all its orders, so that a layer is a convolution with a zonal kernel.

    Raises:
        MpnoError: torch-harmonics is missing, or the grid does not resolve the degrees.
    """
    kept = truncate(latitudes, longitudes, (degrees, degrees))
    if (kept.degrees, kept.orders) != (degrees, degrees):
        raise MpnoError(
            f"sphere basis: {degrees} degrees on {latitudes} x {longitudes} points; this grid resolves {kept.orders}"
        )
    legendre = legendre_matrices(kept, "inverse").double()  # (orders, latitudes, degrees)
    forward = legendre_matrices(kept, "forward").double()  # with 2 pi times the masses of latitudes
    phi = 2 * math.pi * torch.arange(longitudes, dtype=torch.float64) / longitudes
    columns, groups = [], []
    for degree in range(degrees):
        for order in range(degree + 1):
            waves = [math.sqrt(2) * wave(order * phi) for wave in (torch.cos, torch.sin)] if order else [phi * 0 + 1]
            for wave in waves:
                columns.append(math.sqrt(4 * math.pi) * torch.outer(legendre[order, :, degree], wave).flatten())
                groups.append(degree)
    # Degree 0 is constant, so that its row of the forward step over it is what the circles weigh.
    circles = forward[0, 0] / legendre[0, :, 0] / (4 * math.pi)
    weights = (circles / longitudes).repeat_interleave(longitudes)
    return Basis(f"sphere, {degrees} degrees", torch.stack(columns, 1), weights, torch.tensor(groups))


def _of_columns(name: str, synthesis: Tensor) -> Basis:
    """Points of equal mass, and a matrix for every function."""
    points, count = synthesis.shape
    weights = torch.full((points,), 1 / points, dtype=torch.float64)
    return Basis(name, synthesis, weights, torch.arange(count))
