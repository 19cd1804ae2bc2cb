"""A spectral convolution in float64 by torch.fft, apart from the code it judges, and how large its numbers get."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float64, Shaped
from torch import Tensor

from mpno.numerics import undo_factor
from mpno.specs import PrecisionSetting
from mpno.specs.names import RunTransform, Stabiliser
from mpno.spectral.modes import KeptModes
from mpno.spectral.sht import Truncation, legendre_matrices


@dataclass(frozen=True)
class Stage:
    """The largest number that one step of a spectral convolution stores.

    Attributes:
        step: ``forward transform``, ``contraction`` or ``inverse transform``.
        largest: largest magnitude of any kept part, real or imaginary; unscaled where the step scales by 1/n last.
        axes: grid axes that it is a plain sum over. Refined f times along every axis, the same continuous function
            reaches f^axes times as much.
    """

    step: str
    largest: float
    axes: int

    def format(self, precision: PrecisionSetting) -> str:
        """What the step computes in under a setting."""
        parts = {"forward transform": precision.forward, "contraction": precision.contraction}
        return parts.get(self.step, precision.inverse)


@dataclass(frozen=True)
class Exact:
    """A spectral convolution evaluated in float64.

    Attributes:
        output: the field, channels last.
        spectrum: kept coefficients of the stabilised input, as the contraction gets them: (batch, *modes, channels),
            scaled by 1/n; on the sphere (batch, degrees, orders, channels).
        stages: the largest numbers on the way, in order.
        grid: points along each axis.
    """

    output: Float64[Tensor, "b ..."]
    spectrum: Complex128[Tensor, "b ..."]
    stages: tuple[Stage, ...]
    grid: tuple[int, ...]


@torch.no_grad()
def convolve_exactly(
    x: Float64[Tensor, "b *grid i"],
    kept: KeptModes | Truncation,
    weight: Complex128[Tensor, "*modes i o"],
    bias: Shaped[Tensor, " o"] | None,
    *,
    transform: RunTransform,
    stabiliser: Stabiliser = "none",
) -> Exact:
    """What a spectral convolution would give without rounding.

    Args:
        x: fields, channels last.
        kept: modes to keep, on the sphere harmonics.
        weight: one matrix per kept mode, on the sphere per degree.
        bias: added to the result.
        transform: which steps' numbers to note; all give the same result.
        stabiliser: applied to the input in float64.
    """
    grid = tuple(x.shape[1:-1])
    gain = undo_factor(stabiliser, math.prod(grid))
    x, scaled = stabilised(x, stabiliser), transform == "matmul"
    if isinstance(kept, Truncation):
        y, spectrum, forward, contracted = _on_sphere(x, kept, weight, gain, scaled)
    else:
        y, spectrum, forward, contracted = _on_torus(x, kept, weight, gain, scaled)
    y = y if bias is None else y + bias.double()
    stages = (
        *forward,
        Stage("contraction", max(_largest(spectrum), _largest(contracted)), 0),
        Stage("inverse transform", _largest(y), 0),
    )
    return Exact(y, spectrum, stages, grid)


_Steps = tuple[Tensor, Tensor, list[Stage], Tensor]


def _on_torus(x: Tensor, kept: KeptModes, weight: Tensor, gain: float, scaled: bool) -> _Steps:
    grid, last = kept.grid, len(kept.grid) - 1
    indices = [
        torch.tensor([frequency % n for frequency in kept.frequencies(axis)], device=x.device)
        for axis, n in enumerate(grid)
    ]
    s = torch.fft.rfft(x, dim=last + 1).index_select(last + 1, indices[last])
    stages = [_pass(s, grid[last:], scaled)]
    for axis in reversed(range(last)):
        s = torch.fft.fft(s, dim=axis + 1).index_select(axis + 1, indices[axis])
        stages.append(_pass(s, grid[axis:], scaled))
    s = s * (gain / kept.points)
    contracted = torch.einsum("b...i,...io->b...o", s, weight)
    full = contracted
    for axis, n in enumerate(grid):
        shape = list(full.shape)
        shape[axis + 1] = n // 2 + 1 if axis == last else n
        full = full.new_zeros(shape).index_copy(axis + 1, indices[axis], full)
    y = torch.fft.irfftn(full, s=grid, dim=tuple(range(1, last + 2)), norm="forward")
    return y, s, stages, contracted


def _on_sphere(x: Tensor, kept: Truncation, weight: Tensor, gain: float, scaled: bool) -> _Steps:
    circles = torch.fft.rfft(x, dim=2).narrow(2, 0, kept.orders)
    stages = [_pass(circles, (kept.nlon,), scaled)]
    analysis, synthesis = (legendre_matrices(kept, way).to(x.device, x.dtype) for way in ("forward", "inverse"))
    s = torch.einsum("mlk,bkmi->blmi", analysis.to(circles.dtype), circles * (gain / kept.nlon))
    contracted = torch.einsum("blmi,lio->blmo", s, weight)
    circles = torch.einsum("mkl,blmo->bkmo", synthesis.to(s.dtype), contracted)
    # irfft pads with zeros by itself.
    return torch.fft.irfft(circles, n=kept.nlon, dim=2, norm="forward"), s, stages, contracted


def _pass(s: Tensor, summed: tuple[int, ...], scaled: bool) -> Stage:
    """A forward pass over the last grid axes: a half FFT stores plain sums, matrix products means."""
    return Stage("forward transform", _largest(s) / (math.prod(summed) if scaled else 1), 0 if scaled else len(summed))


def _largest(x: Tensor) -> float:
    parts = torch.view_as_real(x) if x.is_complex() else x
    return float(parts.abs().max())


def stabilised(x: Tensor, stabiliser: Stabiliser) -> Tensor:
    """A field, channels last, as :func:`mpno.numerics.stabilise` states it, but in its own dtype."""
    if stabiliser == "tanh":
        return x.tanh()
    if stabiliser == "hard_clip":
        return x.clamp(-1.0, 1.0)
    if stabiliser == "sigma_clip":
        std, mean = torch.std_mean(x)
        return x.clamp(mean - 2 * std, mean + 2 * std)
    if stabiliser == "pre_scale":
        return x / undo_factor(stabiliser, math.prod(x.shape[1:-1]))
    return torch.nn.functional.layer_norm(x, x.shape[1:]) if stabiliser == "norm" else x
