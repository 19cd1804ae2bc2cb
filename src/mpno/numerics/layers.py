"""Real operations as autocast would run them, on any device.

torch.autocast does nothing on meta tensors and has no native half matrix products on most CPUs, so
mpno applies autocast's policy itself: matrix products in the low format, everything else in the format
that type promotion gives. One code path serves CUDA, CPU and traced shapes.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics.native import DTYPES
from mpno.numerics.recompute import cheap
from mpno.numerics.rounding import hold


def no_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """Where formats are the setting's to say, a surrounding torch.autocast has no part in them."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def widest(first: str, second: str) -> str:
    """The format that type promotion gives two operands: their own if equal, else fp32."""
    return first if first == second else "fp32"


class PointwiseLinear(nn.Module):
    """The same affine map at every grid point, in a given format.

    Args:
        in_channels, out_channels: sizes of the last axis.
        bias: whether to add a bias.
        format: format of operands and result; products are accumulated in fp32.

    Weights are initialised as torch.nn.Linear does.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True, format: str = "fp32") -> None:
        super().__init__()
        self.format = format
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        bound = in_channels**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        bias = None if self.bias is None else hold(self.bias, self.format)
        y = _affine(hold_anew(x, self.format), hold(self.weight, self.format), bias)
        return y if self.format == "fp32" else hold(y, self.format)


def hold_anew(x: Float[Tensor, "..."], format: str) -> Float[Tensor, "..."]:
    """:func:`hold`, whose copy, if it makes one, is not kept for the backward pass."""
    unchanged = x.dtype is torch.float32 if format == "fp32" else x.dtype is DTYPES.get(format)
    return x if unchanged else cheap(lambda v: hold(v, format), x)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x @ weight.T + bias over the last axis.

    On a CPU as a 1x1 convolution over a channels-last picture: torch hands that to oneDNN, but a linear layer in
    fp32 to MKL, which on the AMD processor measured reached less than half of its rate. Below 16 pictures
    torch keeps convolutions from oneDNN too.
    """
    pictures = x.shape[:-2].numel()
    if x.device.type != "cpu" or pictures < 16:
        return nn.functional.linear(x, weight, bias)
    rows = x.reshape(pictures, 1, *x.shape[-2:]).permute(0, 3, 1, 2)
    y = nn.functional.conv2d(rows, weight[:, :, None, None], bias)
    return y.permute(0, 2, 3, 1).reshape(*x.shape[:-1], weight.shape[0])


def add(x: Float[Tensor, "..."], y: Float[Tensor, "..."], format: str) -> Float[Tensor, "..."]:
    """Sum in `format`, the one that promotion gives the operands (see :func:`widest`)."""
    return x + y if format == "fp32" else hold(x + y, format)


def add_gated(
    y: Float[Tensor, "*batch c"], gate: Float[Tensor, " c"], x: Float[Tensor, "*batch c"], format: str
) -> Float[Tensor, "*batch c"]:
    """y + gate * x, one gate per channel, in `format`: one pass over memory."""
    z = torch.addcmul(hold(y, format), hold(gate, format), hold_anew(x, format))
    return z if format == "fp32" else hold(z, format)


def gelu(x: Float[Tensor, "..."], format: str) -> Float[Tensor, "..."]:
    """Exact GELU, stored in `format`."""
    y = nn.functional.gelu(x)
    return y if format == "fp32" else hold(y, format)
