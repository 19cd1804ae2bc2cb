"""The Fourier neural operator, with the topology of the public library's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.blocks import Block, ChannelMLP, make_blocks
from mpno.models.checks import check_field, check_sizes
from mpno.numerics import recomputing
from mpno.specs import FNOSpec, PrecisionSetting
from mpno.specs.names import Transform
from mpno.spectral import SpectralConv

LARGE = 2**20
"""Values of a batch of fields from which on memory counts for more than the time to make some of them again."""


class FNO(nn.Module):
    """Fourier neural operator on a regular grid over the unit cube.

    Args:
        in_channels, out_channels: channels of the data; grid coordinates on [0, 1) are appended to the input.
        spec: sizes (see :class:`FNOSpec`).
        precision: a :class:`PrecisionSetting` or its short form.
        transform: ``fft`` or ``matmul``.
        recompute: make cheap activations again in the backward pass rather than keep them; the numbers are the same.
            By default where a batch of fields is large.

    Source: Li et al., ICLR 2021; topology (lifting and projection MLPs, linear and soft-gating skips) of
    the neuraloperator library, which the paper used.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        spec: FNOSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        transform: Transform = "fft",
        recompute: bool | None = None,
    ) -> None:
        super().__init__()
        spec = spec or FNOSpec()
        check_sizes("FNO", in_channels, out_channels, spec, FNOSpec)
        self.spec, self.in_channels, self.recompute = spec, in_channels, recompute
        width = spec.width
        lifted = in_channels + len(spec.modes)
        self.lifting = ChannelMLP(lifted, round(spec.lifting_ratio * width), width)
        self.blocks = nn.ModuleList(
            make_blocks(
                spec,
                lambda: SpectralConv(
                    width, width, spec.modes, transform=transform, contraction=spec.contraction, channels_last=True
                ),
            )
        )
        self.projection = ChannelMLP(width, round(spec.projection_ratio * width), out_channels)

        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.of(precision, where="FNO", layers=self.spec.layers)
        for mlp in (self.lifting, self.projection):
            mlp.set_format(self.precision.real)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.set_precision(self.precision.layer(index))

    def forward(self, x: Float[Tensor, "b i *grid"]) -> Float[Tensor, "b o *grid"]:
        """Map a field to a field on the same grid; the result is fp32."""
        spec = self.spec
        device = self.lifting.first.weight.device
        check_field("FNO", x, channels=self.in_channels, axes=len(spec.modes), device=device, modes=spec.modes)
        x = torch.cat([x.movedim(1, -1), self._coordinates(x)], -1)
        large = x.shape[:-1].numel() * self.spec.width >= LARGE
        with recomputing(large if self.recompute is None else self.recompute):
            x = self.lifting(x)
            for block in self.blocks:
                x = block(x)
            return self.projection(x).movedim(-1, 1).float()

    def _coordinates(self, x: Tensor) -> Tensor:
        axes = [torch.arange(n, device=x.device, dtype=x.dtype) / n for n in x.shape[2:]]
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
        return grid.expand(x.shape[0], *grid.shape)
