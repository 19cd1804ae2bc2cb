"""Relative errors between fields on a grid: what trainings minimise and tables report."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def relative_l2(prediction: Float[Tensor, "b c *grid"], target: Float[Tensor, "b c *grid"]) -> Float[Tensor, " b"]:
    """Relative L2 error of each sample: ‖p - y‖ / ‖y‖ over channels and grid, dimensionless."""
    return _norm(prediction - target) / _norm(target)


def relative_h1(
    prediction: Float[Tensor, "b c *grid"], target: Float[Tensor, "b c *grid"], *, periodic: bool
) -> Float[Tensor, " b"]:
    """Relative H1 error of each sample: sqrt(‖e‖² + Σ‖∂e‖²) / sqrt(‖y‖² + Σ‖∂y‖²), dimensionless.

    Derivatives are second-order central differences on a box of side 2π, as in the authors' setup; where
    the field is not periodic the outermost points use third-order one-sided differences.

    Source: paper, section 5; the authors' configuration for the box and the differences.
    """
    return _sobolev(prediction - target, periodic) / _sobolev(target, periodic)


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _sobolev(x: Tensor, periodic: bool) -> Tensor:
    squares = _norm(x) ** 2
    for axis in range(2, x.ndim):
        squares = squares + _norm(_derivative(x, axis, periodic)) ** 2
    return squares.sqrt()


def _derivative(x: Tensor, axis: int, periodic: bool) -> Tensor:
    n = x.shape[axis]
    h = 2 * math.pi / n
    if periodic:
        return (x.roll(-1, axis) - x.roll(1, axis)) / (2 * h)
    inner = (x.narrow(axis, 2, n - 2) - x.narrow(axis, 0, n - 2)) / (2 * h)

    def one_sided(points: list[int], sign: float) -> Tensor:
        weights = (-11 / 6, 3.0, -3 / 2, 1 / 3)
        terms = [w * x.narrow(axis, i, 1) for w, i in zip(weights, points, strict=True)]
        return torch.stack(terms).sum(0) * (sign / h)

    first, last = one_sided([0, 1, 2, 3], 1.0), one_sided([n - 1, n - 2, n - 3, n - 4], -1.0)
    return torch.cat([first, inner, last], axis)
