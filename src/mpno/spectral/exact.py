"""A spectral convolution in float64 by torch.fft, apart from the code it judges, and how large its numbers get."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex128, Float64
from torch import Tensor

from mpno.numerics import undo_factor
from mpno.specs import PrecisionSetting
from mpno.specs.names import Stabiliser
from mpno.spectral.conv import SpectralConv
from mpno.spectral.modes import kept_modes
from mpno.spectral.sht import legendre_matrices, truncate
from mpno.spectral.spherical import SphericalConv
from mpno.spectral.weights import SpectralWeight


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
        output: as the layer's, in the layer's layout.
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
def evaluate_exactly(
    conv: SpectralConv | SphericalConv, x: Float64[Tensor, "b ..."], stabiliser: Stabiliser = "none"
) -> Exact:
    """What `conv` would give without rounding, whatever its precision setting.

    Args:
        conv: its weights are read, factorised ones rebuilt densely; runs where they lie.
        x: the layer's input, in the layer's layout.
        stabiliser: applied to the input in float64.
    """
    x = x if conv.channels_last else x.movedim(1, -1)
    grid = tuple(x.shape[1:-1])
    gain = undo_factor(stabiliser, math.prod(grid))
    x = _stabilised(x, stabiliser)
    steps = _on_sphere if isinstance(conv, SphericalConv) else _on_torus
    y, spectrum, forward, contracted = steps(conv, x, gain)  # type: ignore[arg-type]
    y = y if conv.bias is None else y + conv.bias.double()
    stages = (
        *forward,
        Stage("contraction", max(_largest(spectrum), _largest(contracted)), 0),
        Stage("inverse transform", _largest(y), 0),
    )
    return Exact(y if conv.channels_last else y.movedim(-1, 1), spectrum, stages, grid)


def _on_torus(conv: SpectralConv, x: Tensor, gain: float) -> tuple[Tensor, Tensor, list[Stage], Tensor]:
    grid = tuple(x.shape[1:-1])
    kept = kept_modes(grid, conv.modes, conv.layout)
    indices = [
        torch.tensor([frequency % n for frequency in kept.frequencies(axis)], device=x.device)
        for axis, n in enumerate(grid)
    ]
    last = len(grid) - 1
    s, stages = torch.fft.rfft(x, dim=last + 1).index_select(last + 1, indices[last]), []
    stages.append(_pass(s, conv.transform, grid[last:]))
    for axis in reversed(range(last)):
        s = torch.fft.fft(s, dim=axis + 1).index_select(axis + 1, indices[axis])
        stages.append(_pass(s, conv.transform, grid[axis:]))
    s = s * (gain / kept.points)
    weight = _dense(conv)
    for axis, (start, count) in enumerate(zip(kept.starts, kept.counts, strict=True)):
        weight = weight.narrow(axis, start, count)
    contracted = torch.einsum("b...i,...io->b...o", s, weight)
    full = contracted
    for axis, n in enumerate(grid):
        shape = list(full.shape)
        shape[axis + 1] = n // 2 + 1 if axis == last else n
        full = full.new_zeros(shape).index_copy(axis + 1, indices[axis], full)
    y = torch.fft.irfftn(full, s=grid, dim=tuple(range(1, last + 2)), norm="forward")
    return y, s, stages, contracted


def _on_sphere(conv: SphericalConv, x: Tensor, gain: float) -> tuple[Tensor, Tensor, list[Stage], Tensor]:
    kept = truncate(x.shape[1], x.shape[2], conv.modes, conv.grid)
    circles = torch.fft.rfft(x, dim=2).narrow(2, 0, kept.orders)
    stages = [_pass(circles, conv.transform, (kept.nlon,))]
    analysis, synthesis = (
        legendre_matrices(kept, way).to(x.device, torch.complex128) for way in ("forward", "inverse")
    )
    s = torch.einsum("mlk,bkmi->blmi", analysis, circles * (gain / kept.nlon))
    contracted = torch.einsum("blmi,lio->blmo", s, _complex(conv.weight[: kept.degrees]))
    circles = torch.einsum("mkl,blmo->bkmo", synthesis, contracted)
    # irfft pads with zeros by itself.
    return torch.fft.irfft(circles, n=kept.nlon, dim=2, norm="forward"), s, stages, contracted


def _pass(s: Tensor, transform: str, summed: tuple[int, ...]) -> Stage:
    """A forward pass over the last grid axes: a half FFT stores plain sums, matrix products means."""
    scaled = transform == "matmul"
    return Stage("forward transform", _largest(s) / (math.prod(summed) if scaled else 1), 0 if scaled else len(summed))


def _dense(conv: SpectralConv) -> Tensor:
    """(*stored modes, in, out), complex128."""
    if isinstance(conv.weight, SpectralWeight):
        return torch.view_as_complex(copy.deepcopy(conv.weight).double().dense())
    return _complex(conv.weight)


def _complex(weight: Tensor) -> Tensor:
    """Of (..., in, 2, out) real pairs (..., in, out)."""
    real, imag = weight.double().unbind(-2)
    return torch.complex(real, imag)


def _largest(x: Tensor) -> float:
    parts = torch.view_as_real(x) if x.is_complex() else x
    return float(parts.abs().max())


def _stabilised(x: Tensor, stabiliser: Stabiliser) -> Tensor:
    """As :func:`mpno.numerics.stabilise` states it."""
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
