"""The spherical Fourier neural operator, with the topology of the public library's."""

from __future__ import annotations

from typing import Any

from mpno.models.checks import check_sizes, spec_of
from mpno.models.operator import FourierOperator
from mpno.specs import PrecisionSetting, SFNOSpec
from mpno.specs.names import SphericalTransform
from mpno.spectral import SphericalConv


class SFNO(FourierOperator[SFNOSpec]):
    """Fourier neural operator on the sphere: the FNO with spherical harmonics in the place of Fourier modes.

    Args:
        in_channels, out_channels: channels of the data; two coordinates are appended to the input.
        spec: sizes, and the grid's kind of latitudes (see :class:`SFNOSpec`).
        precision: a :class:`PrecisionSetting` or its short form.
        transform: ``sht`` or ``matmul``.
        recompute: make cheap activations again in the backward pass rather than keep them; the numbers are the same.
            By default where a batch of fields is large.

    The coordinates are row / rows and column / columns, as the public library has them. The second jumps at the zero
    meridian, and the first, at one latitude, differs between grids by up to 1 / rows. So what depends on them converges
    with the grid to first order only, and does not turn with the input about the axis; all else does both as the
    spherical convolutions do.

    Source: Bonev et al., "Spherical Fourier Neural Operators", ICML 2023; topology (lifting and projection MLPs, linear
    and soft-gating skips) of the neuraloperator library, which the paper used.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        spec: SFNOSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        transform: SphericalTransform = "sht",
        recompute: bool | None = None,
        **sizes: Any,
    ) -> None:
        spec = spec_of("SFNO", SFNOSpec, spec, sizes)
        check_sizes("SFNO", in_channels, out_channels, spec, SFNOSpec)
        width, modes, grid = spec.width, spec.modes, spec.grid

        def conv() -> SphericalConv:
            return SphericalConv(width, width, modes, transform=transform, grid=grid, channels_last=True)

        super().__init__(in_channels, out_channels, spec, conv, precision=precision, recompute=recompute)
