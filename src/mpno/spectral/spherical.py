"""The spherical convolution: harmonic transform, contraction with one matrix per degree, inverse transform."""

from __future__ import annotations

import math
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import add, cheap, hold, no_autocast, observe, stabilise, undo_factor
from mpno.specs import MpnoError, PrecisionSetting, allowed
from mpno.specs.names import SphericalTransform
from mpno.spectral.checks import check_input
from mpno.spectral.conv import products
from mpno.spectral.sht import SphericalGrid, Truncation, sht_forward, sht_inverse, truncate


class SphericalConv(nn.Module):
    """Convolution on the sphere with a learned zonal kernel that is band-limited to the lowest degrees.

    y = S^-1( W · S(stabiliser(x)) ) + b, with S the spherical harmonic transform truncated to `modes` and W one
    complex (in_channels, out_channels) matrix per degree, the same for all its orders. Grids are (latitudes,
    longitudes), of any size; one that resolves fewer modes uses the lowest ones.

    Args:
        in_channels, out_channels: numbers of channels.
        modes: (degrees, orders) kept: degrees 0 ... modes[0] - 1 and orders below modes[1] in size.
        precision: a :class:`PrecisionSetting` or its short form, as ``"mixed"`` or ``"half-bf16"``.
        transform: ``sht`` (torch.fft along longitudes; half is native on CUDA and simulated elsewhere) or
            ``matmul`` (both steps as real matrix products).
        grid: ``equiangular``, poles included, or ``legendre-gauss``.
        legendre: format of the Legendre step of both transforms; None for the precision setting's own.
        bias: whether to add one number per output channel.
        channels_last: whether fields are (batch, lat, lon, channels), the faster layout inside a model, rather
            than (batch, channels, lat, lon).

    Attributes:
        weight: real fp32 pairs, (degrees, in_channels, 2, out_channels): per degree the real part of a matrix beside
            its imaginary part, as in :class:`SpectralConv`.
        bias: (out_channels,) or None.

    Real weights commute with every rotation. An imaginary part turns harmonics about the axis by a quarter of
    their period, which only rotations about the axis commute with.

    Raises:
        MpnoError: sizes that do not fit each other, or an unknown transform or grid.

    Source: Driscoll and Healy, "Computing Fourier transforms and convolutions on the 2-sphere", 1994, as in
    Bonev et al., "Spherical Fourier Neural Operators", ICML 2023, and the neuraloperator library's layer of this
    name (its ``dhconv``); low-precision block as in section 4.2 of the paper that mpno reproduces.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: tuple[int, int],
        *,
        precision: PrecisionSetting | str = "full",
        transform: SphericalTransform = "sht",
        grid: SphericalGrid = "equiangular",
        legendre: str | None = None,
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if len(modes) != 2 or min(in_channels, out_channels, *modes) < 1:
            raise MpnoError(
                f"SphericalConv({in_channels}, {out_channels}, {modes}): channels and modes must be at least 1, "
                "with modes (degrees, orders)"
            )
        for name, value, kind in (("transform", transform, SphericalTransform), ("grid", grid, SphericalGrid)):
            if value not in get_args(kind):
                raise MpnoError(f"SphericalConv: {name} {value!r}; {allowed(value, get_args(kind))}")
        self.in_channels, self.out_channels, self.modes = in_channels, out_channels, modes
        self.transform: SphericalTransform = transform
        self.grid: SphericalGrid = grid
        self.legendre = legendre
        self.channels_last = channels_last
        self.set_precision(precision)
        std = math.sqrt(2 / (in_channels + out_channels))
        # A complex number of standard deviation std has parts of std / sqrt(2).
        self.weight = nn.Parameter(torch.randn(modes[0], in_channels, 2, out_channels) * (std / math.sqrt(2)))
        self.bias = nn.Parameter(torch.randn(out_channels) * std) if bias else None

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on; the parameters stay as they are."""
        self.precision = PrecisionSetting.of(precision, where="SphericalConv", packs=False)

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Convolve a field; the result has the same grid, `out_channels` channels and the same layout."""
        check_input(
            "SphericalConv",
            x,
            channels=self.in_channels,
            grid=("lat", "lon"),
            channels_last=self.channels_last,
            device=self.weight.device,
        )
        with no_autocast(x.device):
            if self.channels_last:
                return self._convolve(x)
            return self._convolve(x.movedim(1, -1)).movedim(-1, 1)

    def _convolve(self, x: Float[Tensor, "b lat lon i"]) -> Float[Tensor, "b lat lon o"]:
        kept = truncate(x.shape[1], x.shape[2], self.modes, self.grid)
        weight = self.weight[: kept.degrees]
        return convolve_sphere(
            self, x, kept, weight, self.precision, transform=self.transform, legendre=self.legendre, bias=self.bias
        )

    def extra_repr(self) -> str:
        sizes = f"{self.in_channels}, {self.out_channels}, modes={self.modes}"
        return f"{sizes}, {self.precision}, {self.transform}, {self.grid}"


def convolve_sphere(
    layer: nn.Module,
    x: Float[Tensor, "b lat lon i"],
    kept: Truncation,
    weight: Float[Tensor, "degrees i two o"],
    precision: PrecisionSetting,
    *,
    transform: SphericalTransform = "sht",
    legendre: str | None = None,
    bias: Float[Tensor, " o"] | None = None,
) -> Float[Tensor, "b lat lon o"]:
    """Transform, contraction and inverse transform in a setting, whatever holds the weights.

    Args:
        layer: whose spectrum monitors are shown.
        x: fields, channels last.
        kept: harmonics to keep.
        weight: one matrix per kept degree, as :class:`SphericalConv` stores them.
        precision, transform, legendre, bias: as of :class:`SphericalConv`.
    """
    p = precision
    gain = undo_factor(p.stabiliser, kept.nlat * kept.nlon)
    x = cheap(lambda v: stabilise(v, p.stabiliser, p.forward), x)
    s = sht_forward(
        x,
        kept,
        fourier=p.forward,
        legendre=legendre or p.forward,
        transform=transform,
        gain=gain,
        # The pass that can overflow runs over one circle of latitude, so that is its number of points.
        watch=lambda circles: observe(layer, "circles", circles if gain == 1 else circles / gain, kept.nlon),
    )
    # (b, 2, degrees, orders, i) -> (degrees, 2, orders · b, i): one matrix per degree.
    s = s.permute(2, 1, 3, 0, 4).flatten(2, 3)
    s = products(s, weight.flatten(-2), p.contraction, p.weights)
    s = s.unflatten(2, (kept.orders, x.shape[0])).permute(3, 1, 0, 2, 4)
    y = sht_inverse(s, kept, fourier=p.inverse, legendre=legendre or p.inverse, transform=transform)
    return y if bias is None else add(y, hold(bias, p.inverse), p.inverse)
