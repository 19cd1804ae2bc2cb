"""What the Fourier neural operators on planes, boxes and spheres share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.blocks import ChannelMLP, apply_setting, make_blocks
from mpno.models.checks import check_field
from mpno.numerics import no_autocast, recomputing
from mpno.specs import FNOSpec, PrecisionSetting, SFNOSpec
from mpno.spectral import SpectralConv, SphericalConv

LARGE = 2**20
"""Values of a batch of fields from which on memory counts for more than the time to make some of them again."""


Spec = TypeVar("Spec", FNOSpec, SFNOSpec)


class FourierOperator(nn.Module, Generic[Spec]):
    """Lifting, blocks around spectral convolutions, and projection, on fields with grid coordinates appended.

    Args:
        in_channels, out_channels: channels of the data.
        spec: sizes.
        conv: makes the convolution of a block, of `spec.width` channels, channels last.
        precision: a :class:`PrecisionSetting` or its short form.
        recompute: make cheap activations again in the backward pass rather than keep them; the numbers are the same.
            By default where a batch of fields is large.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        spec: Spec,
        conv: Callable[[], SpectralConv | SphericalConv],
        *,
        precision: PrecisionSetting | str,
        recompute: bool | None,
    ) -> None:
        super().__init__()
        self.spec: Spec = spec
        self.in_channels, self.out_channels, self.recompute = in_channels, out_channels, recompute
        width = spec.width
        self.lifting = ChannelMLP(in_channels + len(spec.modes), round(spec.lifting_ratio * width), width)
        self.blocks = nn.ModuleList(make_blocks(spec, conv))
        self.projection = ChannelMLP(width, round(spec.projection_ratio * width), out_channels)
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.of(precision, where=type(self).__name__, layers=self.spec.layers)
        apply_setting(self.precision, self.blocks, self.lifting, self.projection)

    def forward(self, x: Float[Tensor, "b i *grid"]) -> Float[Tensor, "b o *grid"]:
        """Map a field to a field on the same grid; the result is fp32."""
        self._check(x)
        x = torch.cat([x.movedim(1, -1), _coordinates(x)], -1)
        large = x.shape[:-1].numel() * self.spec.width >= LARGE
        # Formats are the setting's to say.
        recompute = large if self.recompute is None else self.recompute
        kept = recomputing(recompute, saved=self.precision.saved, apart=self.parameters())
        with no_autocast(x.device), kept:
            x = self.through_blocks(self.lifting(x))
            return self.projection(x).movedim(-1, 1).float()

    def _check(self, x: object) -> None:
        modes, device = tuple(self.spec.modes), self.lifting.first.weight.device
        sphere = isinstance(self.spec, SFNOSpec)
        name = type(self).__name__
        check_field(name, x, channels=self.in_channels, axes=len(modes), device=device, modes=modes, sphere=sphere)

    def through_blocks(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        """The lifted field after every block."""
        for block in self.blocks:
            x = block(x)
        return x


def _coordinates(x: Tensor) -> Tensor:
    axes = [torch.arange(n, device=x.device, dtype=x.dtype) / n for n in x.shape[2:]]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    return grid.expand(x.shape[0], *grid.shape)
