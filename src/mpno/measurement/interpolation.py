"""Periodic fields from a grid to a finer one: what a prediction on the coarse grid is worth without a model."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from scipy import signal

from mpno.specs import MpnoError

Interpolation = Literal["fourier", "linear"]


def interpolate(
    values: Float[np.ndarray, "b c *coarse"], points: int, kind: Interpolation
) -> Float[np.ndarray, "b c *fine"]:
    """Values at `points` per axis of a periodic box, of which every (points / m)-th is a point of the given grid.

    ``fourier`` is the trigonometric polynomial through the given values, the one of least degree and, at the highest
    wavenumber of an even m, without a sine; ``linear`` is bilinear between neighbours. Both in float64.

    Args:
        values: at the points (i, j) / m of the box.
        points: n, a multiple of m.

    Raises:
        MpnoError: `points` is no multiple.
    """
    m = values.shape[-1]
    if points % m:
        raise MpnoError(f"interpolation from {m} to {points} points: they share none but one; give a multiple of {m}")
    field = np.asarray(values, dtype=np.float64)
    if kind == "fourier":
        for axis in (-2, -1):
            field = np.asarray(signal.resample(field, points, axis=axis))
        return field
    closed = np.pad(field, [(0, 0)] * (field.ndim - 2) + [(0, 1)] * 2, mode="wrap")
    fine = torch.nn.functional.interpolate(
        torch.from_numpy(closed), (points + 1, points + 1), mode="bilinear", align_corners=True
    )
    return fine[..., :-1, :-1].numpy()
