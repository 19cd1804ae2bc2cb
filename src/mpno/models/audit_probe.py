"""One handle for every kind of spectral layer, mpno's own and converted ones: its weights in float64, its settings."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mpno.models.convert import Converted
from mpno.models.kernels import CornerKernel, JointKernel, SphericalKernel
from mpno.specs import MpnoError, PrecisionSetting
from mpno.specs.names import RunTransform, Stabiliser
from mpno.spectral import SpectralConv, SphericalConv
from mpno.spectral.exact import Exact, convolve_exactly
from mpno.spectral.modes import KeptModes, kept_modes
from mpno.spectral.sht import Truncation, truncate
from mpno.spectral.weights import SpectralWeight

SpectralLayer = SpectralConv | SphericalConv | Converted
"""The layers that an audit sees into."""


@dataclass(frozen=True)
class Probe:
    """A spectral layer, to be run in any setting and evaluated in float64."""

    layer: SpectralLayer

    @property
    def kind(self) -> str:
        return self.layer._conversion.kind if isinstance(self.layer, Converted) else type(self.layer).__name__

    @property
    def transform(self) -> RunTransform:
        return self.layer._conversion.transform if isinstance(self.layer, Converted) else self.layer.transform

    @property
    def precision(self) -> PrecisionSetting:
        return self.layer._conversion.precision if isinstance(self.layer, Converted) else self.layer.precision

    @property
    def channels_last(self) -> bool:
        return not isinstance(self.layer, Converted) and self.layer.channels_last

    def run(self, x: Tensor, precision: PrecisionSetting, transform: RunTransform) -> Tensor:
        """The layer's output in a setting, which it then keeps; its transform is as before."""
        layer, given = self.layer, self.transform
        layer.set_precision(precision)
        self._set_transform(transform)
        try:
            # Not layer(x), which would run the user's hooks.
            return layer.forward(x)
        finally:
            self._set_transform(given)

    def _set_transform(self, transform: RunTransform) -> None:
        layer: Any = self.layer
        if isinstance(layer, Converted):
            layer.__dict__["_conversion"] = replace(layer._conversion, transform=transform)  # type: ignore[arg-type]
        else:
            layer.transform = transform

    def kept(self, grid: tuple[int, ...]) -> KeptModes | Truncation:
        """The modes that the layer keeps on a grid, on the sphere harmonics."""
        return _read(self.layer, grid)[0]

    def exact(self, x: Tensor, stabiliser: Stabiliser = "none") -> Exact:
        """The layer in float64 on `x`, which is in the layer's layout, as is the output."""
        x = x.double() if self.channels_last else x.double().movedim(1, -1)
        kept, weight, bias = _read(self.layer, tuple(x.shape[1:-1]))
        found = convolve_exactly(x, kept, weight, bias, transform=self.transform, stabiliser=stabiliser)
        return found if self.channels_last else replace(found, output=found.output.movedim(-1, 1))


def is_sphere(exact: Exact) -> bool:
    """Whether its transform runs along the last axis of the grid alone."""
    return max((stage.axes for stage in exact.stages), default=0) < len(exact.grid)


def _read(layer: SpectralLayer, grid: tuple[int, ...]) -> tuple[KeptModes | Truncation, Tensor, Tensor | None]:
    """Kept modes, their matrices (*modes, in, out) in complex128, and the bias."""
    with torch.no_grad():
        if isinstance(layer, SphericalConv):
            harmonics = truncate(grid[0], grid[1], layer.modes, layer.grid)
            return harmonics, _complex(layer.weight[: harmonics.degrees]), layer.bias
        if isinstance(layer, SpectralConv):
            kept = kept_modes(grid, layer.modes, layer.layout)
            dense = layer.weight
            if isinstance(dense, SpectralWeight):
                # Widened before it is rebuilt, so that no product of factors is rounded.
                return kept, _cut(torch.view_as_complex(copy.deepcopy(dense).double().dense()), kept), layer.bias
            return kept, _cut(_complex(dense), kept), layer.bias
        return _read_kernel(layer, grid)


def _read_kernel(layer: Converted, grid: tuple[int, ...]) -> tuple[KeptModes | Truncation, Tensor, Tensor | None]:
    kernel = layer._conversion.kernel(layer)
    if isinstance(kernel, SphericalKernel):
        return kernel.kept(grid, layer), kernel.weight.to(torch.complex128).permute(2, 0, 1), kernel.bias
    if isinstance(kernel, CornerKernel):
        weight = kernel.joined(grid).to(torch.complex128).movedim((0, 1), (-2, -1))
        return KeptModes(grid, tuple(weight.shape[:-2]), (0,) * len(grid)), weight, kernel.bias
    if isinstance(kernel, JointKernel):
        kept = kernel.kept(grid, layer)
        return kept, _cut(_rebuilt(kernel).movedim((0, 1), (-2, -1)), kept), kernel.bias
    raise MpnoError(f"audit: {type(layer).__name__} convolves with a {type(kernel).__name__}, which it cannot read")


def _rebuilt(kernel: JointKernel) -> Tensor:
    """(in, out, *modes) from factors."""
    parts = [part.to(torch.complex128) for part in kernel.parts]
    axes, ranks = "ioacd"[: len(kernel.modes) + 2], "efghj"
    if kernel.factorization == "dense":
        return parts[0]
    terms = {
        "cp": ["e", *(f"{axis}e" for axis in axes)],
        "tucker": [ranks[: len(axes)], *(axis + rank for axis, rank in zip(axes, ranks, strict=False))],
        # The first and the last bond have length one.
        "tt": [f"{bond}{axis}{after}" for bond, axis, after in zip(ranks, axes, f"{ranks[1:]}k", strict=False)],
    }[kernel.factorization]
    return torch.einsum(f"{','.join(terms)}->{axes}", *parts)


def _cut(weight: Tensor, kept: KeptModes) -> Tensor:
    for axis, (start, count) in enumerate(zip(kept.starts, kept.counts, strict=True)):
        weight = weight.narrow(axis, start, count)
    return weight


def _complex(weight: Tensor) -> Tensor:
    """Of (..., in, 2, out) real pairs (..., in, out)."""
    real, imag = weight.double().unbind(-2)
    return torch.complex(real, imag)


def spectral_layers(model: nn.Module) -> dict[str, SpectralLayer]:
    """By their paths."""
    return {name: module for name, module in model.named_modules() if isinstance(module, SpectralLayer)}
