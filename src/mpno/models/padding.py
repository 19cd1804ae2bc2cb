"""Zeros around a field that is not periodic, so that its two ends do not meet in a Fourier transform."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def pad(x: Float[Tensor, "b *grid c"], share: float) -> Float[Tensor, "b *padded c"]:
    """Zeros on both sides of every axis, on each side `share` of its points, rounded to whole ones.

    Source: the domain padding of the neuraloperator library, version 2.0, whose outputs it reproduces.
    """
    widths = _widths(tuple(x.shape[1:-1]), share)
    # torch wants the last axis first: the channels, which get none.
    return torch.nn.functional.pad(x, (0, 0, *(w for width in reversed(widths) for w in (width, width))))


def unpad(x: Float[Tensor, "b *padded c"], grid: tuple[int, ...], share: float) -> Float[Tensor, "b *grid c"]:
    """Cut the field on `grid` out of one that :func:`pad` made of it."""
    for axis, (points, width) in enumerate(zip(grid, _widths(grid, share), strict=True), start=1):
        x = x.narrow(axis, width, points)
    return x


def _widths(grid: tuple[int, ...], share: float) -> list[int]:
    return [round(share * points) for points in grid]
