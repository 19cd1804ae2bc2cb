"""The truncated Fourier transform as real matrix products: only the kept modes, any grid size, no complex dtype.

One axis is one product. Real and imaginary planes travel as an axis of length two that always stands
right before the next axis to transform, so that every product is over contiguous memory:
forward (b, X, Y, c) -> (b, X, 2·ky, c) -> (b, 2·kx, ky·c), and back in the opposite order.
The 1/n of the forward transform is folded into its matrices, so that a half-precision transform by matrix
products cannot overflow as a half FFT does.
"""

from __future__ import annotations

import functools
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics import hold
from mpno.spectral.modes import KeptModes

Direction = Literal["forward", "inverse"]


def matmul_forward(
    x: Float[Tensor, "b *grid c"], kept: KeptModes, format: str, *, gain: float = 1.0
) -> Float[Tensor, "b two *modes c"]:
    """Fourier coefficients of the kept modes, scaled by gain/n, as (batch, 2, *kept.counts, channels)."""
    batch, *grid, channels = x.shape
    x = hold(x, format)
    tail = channels
    for axis in reversed(range(len(grid))):
        matrix = _matrix(kept, axis, "forward", format, x.device)
        x = hold(matrix @ x.reshape(batch * math.prod(grid[:axis]), matrix.shape[1], tail), format)
        tail *= kept.counts[axis]
    x = x if gain == 1 else hold(x * gain, format)
    return x.reshape(batch, 2, *kept.counts, channels)


def matmul_inverse(s: Float[Tensor, "b two ... c"], kept: KeptModes, format: str) -> Float[Tensor, "b *grid c"]:
    """The real field whose kept coefficients are `s`, all others zero. Inverse of :func:`matmul_forward`.

    The axes of kept modes may also come as one.
    """
    batch, channels = s.shape[0], s.shape[-1]
    s = hold(s, format)
    for axis in range(len(kept.grid)):
        matrix = _matrix(kept, axis, "inverse", format, s.device)
        rows = batch * math.prod(kept.grid[:axis])
        s = hold(matrix @ s.reshape(rows, matrix.shape[1], math.prod(kept.counts[axis + 1 :]) * channels), format)
    return s.reshape(batch, *kept.grid, channels)


def _matrix(kept: KeptModes, axis: int, direction: Direction, format: str, device: torch.device) -> Tensor:
    last = axis == len(kept.grid) - 1
    matrix = _build(kept.grid[axis], tuple(kept.frequencies(axis)), last, direction)
    return hold(matrix.to(device), format)


@functools.lru_cache(maxsize=256)
def _build(n: int, frequencies: tuple[int, ...], last: bool, direction: Direction) -> Tensor:
    """One axis' matrix in fp32, from angles reduced in integers so that no accuracy is lost at large n.

    Rows and columns that carry a complex number are ordered (plane, frequency) on the spectral side and
    (point, plane) on the grid side; the last axis is real on the grid side.
    """
    # Cached, so it must not take on what surrounds the first call: a device context or inference mode.
    with torch.device("cpu"), torch.inference_mode(False):
        return _planes(n, frequencies, last, direction)


def _planes(n: int, frequencies: tuple[int, ...], last: bool, direction: Direction) -> Tensor:
    k = torch.tensor(frequencies).unsqueeze(1)
    angle = 2 * math.pi * ((k * torch.arange(n)) % n).double() / n
    cos, sin = angle.cos(), angle.sin()
    if direction == "forward":
        if last:
            matrix = torch.cat([cos, -sin]) / n
        else:
            real, imag = torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)
            matrix = torch.cat([real, imag]).flatten(1) / n
    elif last:
        weight = torch.full((len(frequencies), 1), 2.0, dtype=torch.float64)
        weight[0] = 1.0
        if n % 2 == 0 and frequencies[-1] == n // 2:
            weight[-1] = 1.0
        matrix = torch.cat([cos * weight, -sin * weight]).T
    else:
        real, imag = torch.cat([cos, -sin]).T, torch.cat([sin, cos]).T
        matrix = torch.stack([real, imag], 1).flatten(0, 1)
    return matrix.float().contiguous()
