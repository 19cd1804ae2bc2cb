"""The truncated spherical harmonic transform: a Fourier step along longitudes, a Legendre step along latitudes.

The Fourier step is the one-dimensional transform of :mod:`mpno.spectral.fft` or :mod:`mpno.spectral.matmul`, so half
is native on CUDA and simulated elsewhere in the former, and the latter takes any number of longitudes in any format.
The Legendre step is one real matrix product per order. Nodes, quadrature weights and Legendre functions come in
float64 from torch-harmonics, whose transforms these agree with in fp32; its own modules are not called, since
under fp16 autocast they return complex32 and under bf16 autocast they fail.

Conventions: orthonormal spherical harmonics with the Condon-Shortley phase, colatitudes from the north pole, and
for every degree l the orders 0 ... l, those below zero following from the field being real.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics import fft_is_native, hold, no_autocast
from mpno.specs import MpnoError
from mpno.specs.grid import resolved_degrees
from mpno.specs.names import SphericalTransform
from mpno.spectral.fft import NotOnGPU, as_complex, fft_forward, fft_inverse
from mpno.spectral.matmul import matmul_forward, matmul_inverse
from mpno.spectral.modes import KeptModes

"""``sht``: torch.fft along longitudes; ``matmul``: matrix products in both steps, no complex dtype."""
SphericalGrid = Literal["equiangular", "legendre-gauss"]
"""Latitudes: equidistant with both poles (Clenshaw-Curtis quadrature), or the roots of a Legendre polynomial."""


@dataclass(frozen=True)
class Truncation:
    """The spherical harmonics kept on one grid.

    Attributes:
        nlat, nlon: latitudes and longitudes.
        degrees: degrees 0 ... degrees - 1 are kept.
        orders: orders 0 ... orders - 1 are kept; at most `degrees`.
        grid: where the latitudes lie.
    """

    nlat: int
    nlon: int
    degrees: int
    orders: int
    grid: SphericalGrid

    @property
    def longitudes(self) -> KeptModes:
        """The kept orders as Fourier modes of a circle of latitude."""
        return KeptModes((self.nlon,), (self.orders,), (0,))


def truncate(nlat: int, nlon: int, modes: tuple[int, int], grid: SphericalGrid = "equiangular") -> Truncation:
    """Keep as many of `modes`, (degrees, orders), as the grid resolves.

    Degrees are resolved as :func:`resolved_degrees` has it, an order where it lies below nlon/2.

    Raises:
        MpnoError: fewer than 2 latitudes or longitudes, or no modes.
    """
    if min(nlat, nlon) < 2 or min(modes) < 1:
        raise MpnoError(
            f"spherical transform of {nlat} x {nlon} points, modes {modes}: allowed are 2 points or more along both "
            "axes, and at least 1 degree and 1 order"
        )
    degrees = min(modes[0], resolved_degrees(nlat, grid))
    return Truncation(nlat, nlon, degrees, min(modes[1], degrees, (nlon + 1) // 2), grid)


def sht_forward(
    x: Float[Tensor, "b lat lon c"],
    kept: Truncation,
    *,
    fourier: str = "fp32",
    legendre: str = "fp32",
    transform: SphericalTransform = "sht",
    gain: float = 1.0,
    watch: Callable[[Tensor], None] | None = None,
) -> Float[Tensor, "b two degrees orders c"]:
    """Coefficients of the kept harmonics, s = integral of x · conj(Y) over the unit sphere.

    Args:
        x: real fields on the grid of `kept`.
        kept: see :func:`truncate`.
        fourier: format of the step along longitudes. Half `sht` is scaled by 1/nlon only after the pass,
            and can overflow as on a GPU.
        legendre: format of the step along latitudes; products are accumulated in fp32.
        transform: see :data:`SphericalTransform`.
        gain: factor of all coefficients, applied together with the Fourier step's 1/nlon.
        watch: called with the Fourier coefficients of every circle of latitude, gain/nlon times the unscaled ones,
            which are what can overflow.

    Returns:
        (batch, 2, degrees, orders, channels): real parts, then imaginary parts; zero where the order exceeds the
        degree. The same inside and outside torch.autocast. The gradient is the adjoint in the same formats, for
        which nothing of the field is saved.

    Raises:
        MpnoError: torch-harmonics is missing; NotOnGPU: half `sht` on CUDA with `nlon` no power of two.

    Source: Schaeffer, "Efficient spherical harmonic transforms aimed at pseudospectral numerical simulations", 2013.
    """
    with no_autocast(x.device):
        s = _analyse_longitudes(x, kept, fourier, transform, gain)
        if watch is not None:
            watch(s)
        table = _table(kept, "forward", legendre, x.device)
        s = hold(table @ hold(s, legendre), legendre)
        return s.reshape(kept.orders, kept.degrees, x.shape[0], 2, x.shape[-1]).permute(2, 3, 1, 0, 4)


def sht_inverse(
    s: Float[Tensor, "b two degrees orders c"],
    kept: Truncation,
    *,
    fourier: str = "fp32",
    legendre: str = "fp32",
    transform: SphericalTransform = "sht",
) -> Float[Tensor, "b lat lon c"]:
    """The real field whose kept coefficients are `s`, all others zero; arguments as of :func:`sht_forward`.

    Its inverse on fields that the kept harmonics span. Imaginary parts of order 0 do not count.
    """
    with no_autocast(s.device):
        columns = s.permute(3, 2, 0, 1, 4).flatten(2)
        table = _table(kept, "inverse", legendre, s.device)
        circles = hold(table @ hold(columns, legendre), legendre)
        circles = circles.reshape(kept.orders, kept.nlat, s.shape[0], 2, s.shape[-1])
        return _synthesise_longitudes(circles, kept, fourier, transform)


def _analyse_longitudes(x: Tensor, kept: Truncation, format: str, transform: SphericalTransform, gain: float) -> Tensor:
    """Fourier coefficients of every circle of latitude, as (orders, lat, batch · 2 · channels)."""
    circles = x.flatten(0, 1)
    if transform == "matmul":
        s = matmul_forward(circles, kept.longitudes, format, gain=gain).permute(2, 0, 1, 3)
    else:
        _check_native(kept.nlon, format, x.device)
        s = torch.view_as_real(fft_forward(circles, kept.longitudes, format, gain=gain)).permute(1, 0, 3, 2)
    return s.unflatten(1, x.shape[:2]).transpose(1, 2).flatten(2)


def _synthesise_longitudes(s: Tensor, kept: Truncation, format: str, transform: SphericalTransform) -> Tensor:
    """The fields whose circles have the Fourier coefficients `s`, (orders, lat, batch, 2, channels)."""
    if transform == "matmul":
        x = matmul_inverse(s.permute(2, 1, 3, 0, 4).flatten(0, 1), kept.longitudes, format)
    else:
        _check_native(kept.nlon, format, s.device)
        pairs = s.permute(2, 1, 0, 4, 3).flatten(0, 1)
        x = fft_inverse(as_complex(pairs), kept.longitudes, format)
    return x.unflatten(0, (s.shape[2], kept.nlat))


def _check_native(nlon: int, format: str, device: torch.device) -> None:
    if format != "fp32" and fft_is_native(format, device) and nlon & (nlon - 1):
        raise NotOnGPU(
            f"sht in {format} on {device.type}: {nlon} longitudes; allowed: powers of two; "
            "choose such a grid, transform matmul, or the forward and inverse transforms in fp32"
        )


@functools.lru_cache(maxsize=64)
def _table(kept: Truncation, direction: Literal["forward", "inverse"], format: str, device: torch.device) -> Tensor:
    """The Legendre step's matrices as held in `format`: (orders, degrees, lat) forward, (orders, lat, degrees) back."""
    with torch.inference_mode(False), torch.no_grad():
        return hold(legendre_matrices(kept, direction).float().contiguous().to(device), format)


def legendre_matrices(
    kept: Truncation, direction: Literal["forward", "inverse"]
) -> Float[Tensor, "orders degrees_or_lat lat_or_degrees"]:
    """The Legendre step in float64, as :func:`_table` orders it; forward includes the quadrature weights."""
    # Kept for later calls, so it must not take on what surrounds the first: a device context or inference mode.
    with torch.device("cpu"), torch.inference_mode(False), torch.no_grad():
        harmonics = _torch_harmonics()
        colatitudes, weights = harmonics.quadrature.precompute_latitudes(kept.nlat, grid=kept.grid)
        functions = harmonics.legendre.legpoly(kept.orders, kept.degrees, colatitudes.cos())
        return functions * (2 * torch.pi * weights) if direction == "forward" else functions.mT


def _torch_harmonics() -> ModuleType:
    try:
        import torch_harmonics
        import torch_harmonics.legendre
    except ImportError:
        raise MpnoError(
            "the spherical transform needs torch-harmonics, which is not installed; run: pip install 'mpno[sphere]'"
        ) from None
    return torch_harmonics
