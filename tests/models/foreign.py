"""A model as somebody else might write it: Fourier layers with complex weights by corners, 1-D to 3-D."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn


class _Corners(nn.Module):
    """weights1, weights2, ... (in, out, *modes), the first axis' sign changing fastest."""

    axes = 0
    equation = "bi...,io...->bo..."

    def __init__(self, in_channels: int, out_channels: int, *modes: int) -> None:
        super().__init__()
        self.out_channels, self.modes = out_channels, modes
        for axis, m in enumerate(modes, start=1):
            setattr(self, f"modes{axis}", m)
        for corner in range(2 ** (self.axes - 1)):
            weights = torch.rand(in_channels, out_channels, *modes, dtype=torch.cfloat) / in_channels
            setattr(self, f"weights{corner + 1}", nn.Parameter(weights))

    def forward(self, x: Tensor) -> Tensor:
        dims = tuple(range(2, x.ndim))
        spectrum = torch.fft.rfftn(x, dim=dims)
        out = spectrum.new_zeros(x.shape[0], self.out_channels, *spectrum.shape[2:])
        last = slice(self.modes[-1])
        halves = [(slice(m), slice(-m, None)) for m in reversed(self.modes[:-1])]
        for number, signs in enumerate(itertools.product(*halves), start=1):
            place = (slice(None), slice(None), *reversed(signs), last)
            out[place] = torch.einsum(self.equation, spectrum[place], getattr(self, f"weights{number}"))
        return torch.fft.irfftn(out, s=x.shape[2:], dim=dims)


class SpectralConv1d(_Corners):
    axes = 1


class SpectralConv2d(_Corners):
    axes = 2


class SpectralConv3d(_Corners):
    axes = 3


class TransposedSpectralConv2d(_Corners):
    """Looks the same, and takes its matrices the other way round."""

    axes = 2
    equation = "bi...,oi...->bo..."


LAYERS: dict[int, type[_Corners]] = {1: SpectralConv1d, 2: SpectralConv2d, 3: SpectralConv3d}
_POINTWISE: dict[int, Any] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


class Net(nn.Module):
    """Lifting, two Fourier layers with a linear map beside each, projection."""

    def __init__(self, axes: int = 2, width: int = 4, modes: int = 3) -> None:
        super().__init__()
        pointwise = _POINTWISE[axes]
        self.lift = pointwise(1, width, 1)
        self.conv0 = LAYERS[axes](width, width, *[modes] * axes)
        self.conv1 = LAYERS[axes](width, width, *[modes] * axes)
        self.w0, self.w1 = pointwise(width, width, 1), pointwise(width, width, 1)
        self.project = pointwise(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.lift(x)
        x = nn.functional.gelu(self.conv0(x) + self.w0(x))
        return self.project(self.conv1(x) + self.w1(x))
