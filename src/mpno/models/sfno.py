"""The spherical Fourier neural operator, with the topology of the public library's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.blocks import Block, ChannelMLP, make_blocks
from mpno.models.checks import check_field
from mpno.models.fno import LARGE
from mpno.numerics import recomputing
from mpno.specs import PrecisionSetting, SFNOSpec
from mpno.specs.names import SphericalTransform
from mpno.spectral import SphericalConv


class SFNO(nn.Module):
    """Fourier neural operator on the sphere: the FNO with spherical harmonics in the place of Fourier modes.

    Args:
        in_channels, out_channels: channels of the data; two coordinates are appended to the input.
        spec: sizes and grid (see :class:`SFNOSpec`).
        precision: a :class:`PrecisionSetting` or its short form.
        transform: ``sht`` or ``matmul``.
        recompute: make cheap activations again in the backward pass rather than keep them; the numbers are the same.
            By default where a batch of fields is large.

    The coordinates are row / rows and column / columns, as the public library has them. The longitude's share jumps at
    the zero meridian, and the latitude's belongs to another point on another grid, by up to one row. So what depends
    on them converges with the grid to first order only; all else converges as the quadrature does.

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
    ) -> None:
        super().__init__()
        spec = spec or SFNOSpec()
        self.spec, self.in_channels, self.out_channels, self.recompute = spec, in_channels, out_channels, recompute
        width = spec.width
        self.lifting = ChannelMLP(in_channels + 2, round(spec.lifting_ratio * width), width)
        self.blocks = nn.ModuleList(
            make_blocks(
                spec,
                lambda: SphericalConv(
                    width, width, spec.modes, transform=transform, grid=spec.grid, channels_last=True
                ),
            )
        )
        self.projection = ChannelMLP(width, round(spec.projection_ratio * width), out_channels)
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.model_validate(precision)
        for mlp in (self.lifting, self.projection):
            mlp.set_format(self.precision.real)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.set_precision(self.precision.layer(index))

    def forward(self, x: Float[Tensor, "b i ..."]) -> Float[Tensor, "b o ..."]:
        """Map a field to a field on the same grid; the result is fp32."""
        spec = self.spec
        device = self.lifting.first.weight.device
        check_field("SFNO", x, channels=self.in_channels, axes=2, device=device, modes=spec.modes, sphere=True)
        x = torch.cat([x.movedim(1, -1), _coordinates(x)], -1)
        large = x.shape[:-1].numel() * self.spec.width >= LARGE
        with recomputing(large if self.recompute is None else self.recompute):
            x = self.lifting(x)
            for block in self.blocks:
                x = block(x)
            return self.projection(x).movedim(-1, 1).float()


def _coordinates(x: Tensor) -> Tensor:
    axes = [torch.arange(n, device=x.device, dtype=x.dtype) / n for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return grid.expand(x.shape[0], *grid.shape)
