"""The convolution in a general basis: analysis, contraction with one matrix per function, synthesis."""

from __future__ import annotations

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import add, cheap, hold, no_autocast, stabilise, undo_factor, widest
from mpno.specs import MpnoError, PrecisionSetting
from mpno.spectral.basis import Basis
from mpno.spectral.checks import check_input


class BasisConv(nn.Module):
    """A layer that is a matrix for every function of a basis, in any precision setting.

    y = S( W · A(stabiliser(x)) ) + b, with A and S the analysis and synthesis of `basis` as matrix products and W one
    real (in_channels, out_channels) matrix per group of functions. Fields live on the basis' points, along one axis.

    Args:
        in_channels, out_channels: numbers of channels.
        basis: which functions, on which points.
        precision: a :class:`PrecisionSetting` or its short form, as ``"mixed"`` or ``"half-bf16"``.
        bias: whether to add one number per output channel.
        channels_last: whether fields are (batch, points, channels) rather than (batch, channels, points).

    Attributes:
        weight: (groups, in_channels, out_channels), real and fp32.
        bias: (out_channels,) or None.

    The basis is no parameter and is not saved with the layer.

    Raises:
        MpnoError: no channels.

    Source: the general-basis form of the paper's theorems (its Appendix A.3, as remembered; see docs/theory.md).
    """

    transform: Literal["matmul"] = "matmul"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        basis: Basis,
        *,
        precision: PrecisionSetting | str = "full",
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels) < 1:
            raise MpnoError(f"BasisConv({in_channels}, {out_channels}): channels must be at least 1")
        self.in_channels, self.out_channels, self.basis = in_channels, out_channels, basis
        self.channels_last = channels_last
        self.register_buffer("_analysis", basis.analysis.float().contiguous(), persistent=False)
        self.register_buffer("_synthesis", basis.synthesis.float().contiguous(), persistent=False)
        self.register_buffer("_groups", basis.groups, persistent=False)
        std = math.sqrt(2 / (in_channels + out_channels))
        self.weight = nn.Parameter(torch.randn(int(basis.groups.max()) + 1, in_channels, out_channels) * std)
        self.bias = nn.Parameter(torch.randn(out_channels) * std) if bias else None
        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on; the parameters stay as they are."""
        self.precision = PrecisionSetting.of(precision, where="BasisConv")

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Convolve a field; the result has the same points, `out_channels` channels and the same layout.

        Raises:
            MpnoError: another shape, dtype or device, or other points than the basis has.
        """
        check_input(
            "BasisConv",
            x,
            channels=self.in_channels,
            grid=("points",),
            channels_last=self.channels_last,
            device=self.weight.device,
        )
        points, wanted = x.shape[1 if self.channels_last else 2], len(self.basis.weights)
        if points != wanted:
            raise MpnoError(f"BasisConv got {points} points; its basis ({self.basis.name}) has {wanted}; give those")
        with no_autocast(x.device):
            return self._convolve(x) if self.channels_last else self._convolve(x.mT).mT

    def _convolve(self, x: Float[Tensor, "b n i"]) -> Float[Tensor, "b n o"]:
        p = self.precision
        gain = undo_factor(p.stabiliser, x.shape[1])
        x = cheap(lambda v: stabilise(v, p.stabiliser, p.forward), x)
        s = hold(hold(self._matrix("_analysis"), p.forward) @ x, p.forward)
        s = self._contract((s if gain == 1 else hold(s * gain, p.forward)).transpose(0, 1)).transpose(0, 1)
        y = hold(hold(self._matrix("_synthesis"), p.inverse) @ hold(s, p.inverse), p.inverse)
        return y if self.bias is None else add(y, hold(self.bias, p.inverse), p.inverse)

    def _contract(self, s: Float[Tensor, "k b i"]) -> Float[Tensor, "k b o"]:
        p = self.precision
        s = hold(s, p.contraction)
        weight = hold(self.weight, p.weights).to(s.dtype)[self._matrix("_groups")]
        return hold(s @ weight, widest(p.contraction, p.weights))

    def _matrix(self, name: str) -> Tensor:
        """A buffer, which moves with the layer."""
        return self.get_buffer(name)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, {self.basis.name}, {self.precision}"
