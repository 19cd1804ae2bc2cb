"""A neural operator on the points of a general basis."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.blocks import Block, ChannelMLP, apply_setting
from mpno.numerics import no_autocast
from mpno.specs import MpnoError, PrecisionSetting
from mpno.spectral import Basis, BasisConv


class BasisOperator(nn.Module):
    """Lifting, blocks around convolutions in a basis, and projection: the FNO's topology with another transform.

    Args:
        in_channels, out_channels: channels of the data; coordinates, where they matter, are among them.
        basis: which functions, on which points.
        width, layers: sizes.
        precision: a :class:`PrecisionSetting` or its short form.

    Raises:
        MpnoError: no width or layers, or a precision that names a layer which is not there.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        basis: Basis,
        *,
        width: int,
        layers: int,
        precision: PrecisionSetting | str = "full",
    ) -> None:
        super().__init__()
        if min(width, layers) < 1:
            raise MpnoError(f"BasisOperator: width {width}, layers {layers}; give at least 1 of each")
        self.lifting = ChannelMLP(in_channels, 2 * width, width)
        self.blocks = nn.ModuleList(
            Block(
                BasisConv(width, width, basis, channels_last=True), width, max(1, width // 2), last=index == layers - 1
            )
            for index in range(layers)
        )
        self.projection = ChannelMLP(width, 2 * width, out_channels)
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.of(precision, where="BasisOperator", layers=len(self.blocks))
        apply_setting(self.precision, self.blocks, self.lifting, self.projection)

    def forward(self, x: Float[Tensor, "b i n"]) -> Float[Tensor, "b o n"]:
        """Map values on the points to values on the points; the result is fp32."""
        with no_autocast(x.device):
            y = self.lifting(x.mT)
            for block in self.blocks:
                y = block(y)
            return self.projection(y).mT.float()
