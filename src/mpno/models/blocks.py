"""What Fourier-type models are made of: channel MLPs, norms, skips, and the block around a spectral convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.models.norms import FieldNorm
from mpno.numerics import PointwiseLinear, add, add_gated, cheap, gelu, hold, hold_anew, widest
from mpno.specs import FNOSpec, GINOSpec, PrecisionSetting, SFNOSpec
from mpno.specs.names import Norm
from mpno.specs.names import Skip as SkipKind
from mpno.spectral import BasisConv, SpectralConv, SphericalConv

CHUNK = 2**22
"""Hidden values that a channel MLP holds at a time: enough to keep a device busy, few beside a batch of fine fields."""


class ChannelMLP(nn.Module):
    """Two pointwise linear layers with a GELU between them, over a share of the batch at a time if it is large."""

    def __init__(self, in_channels: int, hidden: int, out_channels: int) -> None:
        super().__init__()
        self.first = PointwiseLinear(in_channels, hidden)
        self.second = PointwiseLinear(hidden, out_channels)
        self.set_format("fp32")

    def set_format(self, format: str) -> None:
        self.format = self.first.format = self.second.format = format

    def forward(self, x: Float[Tensor, "*batch i"]) -> Float[Tensor, "*batch o"]:
        parts = -(-x.shape[:-1].numel() * self.first.weight.shape[0] // CHUNK)
        if parts == 1 or len(x) == 1:
            return self._apply_to(x)
        # The gradient of a split is one join; that of slices would be a whole batch of zeros for each.
        return torch.cat([self._apply_to(part) for part in x.split(-(-len(x) // parts))])

    def _apply_to(self, x: Tensor) -> Tensor:
        # A wide hidden layer is made again too; a narrow one costs more to make than to keep.
        hidden = cheap(self.first, x) if self.first.weight.shape[0] > x.shape[-1] else self.first(x)
        return self.second(cheap(lambda h: gelu(h, self.format), hidden))


class Skip(nn.Module):
    """Adds what is led past a layer: a linear map of its input, the input with a gate per channel, or the input."""

    def __init__(self, kind: SkipKind, width: int) -> None:
        super().__init__()
        self.linear = PointwiseLinear(width, width, bias=False) if kind == "linear" else None
        self.gate = nn.Parameter(torch.ones(width)) if kind == "soft-gating" else None

    def set_formats(self, inner: str, promoted: str, stream: str) -> None:
        """`promoted` is the sum's format with a linear map, which computes in `inner`; else it is `stream`."""
        if self.linear is not None:
            self.linear.format = inner
        self.format = promoted if self.linear is not None else stream

    def forward(self, y: Float[Tensor, "b *grid c"], x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        """y + skip(x)."""
        if self.linear is not None:
            return add(y, self.linear(x), self.format)
        if self.gate is not None:
            return add_gated(y, self.gate, x, self.format)
        return add(hold(y, self.format), hold_anew(x, self.format), self.format)


class Block(nn.Module):
    """Spectral convolution with a skip, then a channel MLP with a skip.

    Args:
        conv: maps fields (batch, *grid, width), channels last, to such fields.
        width: channels in and out.
        mlp_hidden: hidden channels of the channel MLP.
        norm: after each half of the block.
        skip, mlp_skip: what leads past the convolution and past the channel MLP.
        last: the last block ends without an activation.
    """

    def __init__(
        self,
        conv: BasisConv | SpectralConv | SphericalConv,
        width: int,
        mlp_hidden: int,
        *,
        norm: Norm = "none",
        skip: SkipKind = "linear",
        mlp_skip: SkipKind = "soft-gating",
        last: bool = False,
    ) -> None:
        super().__init__()
        self.last = last
        self.conv = conv
        self.skip = Skip(skip, width)
        self.mlp = ChannelMLP(width, mlp_hidden, width)
        self.mlp_skip = Skip(mlp_skip, width)
        self.norms = nn.ModuleList(FieldNorm(width, norm) for _ in range(2)) if norm != "none" else None
        self.set_precision(PrecisionSetting())

    def set_precision(self, precision: PrecisionSetting) -> None:
        """Run in another setting from now on."""
        self.precision = precision
        self.conv.set_precision(precision)
        self.mlp.set_format(precision.real)
        # A gate is an fp32 parameter, so promotion carries the residual stream back to fp32, as in the authors'
        # setup. Blocks by matrix products, which are ours, leave it in the low format that the next block wants.
        low = self.conv.transform == "matmul" and precision.real == precision.forward == precision.inverse
        self.stream = precision.real if low else "fp32"
        convolved = precision.inverse
        for norm in self.norms or ():
            # Norms compute in fp32, as autocast has it; what they give is as the stream.
            assert isinstance(norm, FieldNorm)
            norm.format = convolved = self.stream
        self.skip.set_formats(precision.real, widest(convolved, precision.real), self.stream)
        self.mlp_skip.set_formats(precision.real, precision.real, self.stream)

    def forward(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        p = self.precision
        # Where transform and real layers share a low format, so does the block's input, which the skips save.
        x = hold_anew(x, p.forward) if p.forward == p.real else x
        y = self.conv(x)
        y = self.skip(y if self.norms is None else self.norms[0](y), x)
        y = self._activated(y, self.skip.format)
        y = self.mlp_skip(self.mlp(y), x)
        return self._activated(y if self.norms is None else self.norms[1](y), self.stream)

    def _activated(self, y: Tensor, format: str) -> Tensor:
        return y if self.last else cheap(lambda u: gelu(u, format), y)


def make_blocks(
    spec: FNOSpec | SFNOSpec | GINOSpec, conv: Callable[[], SpectralConv | SphericalConv]
) -> Iterable[Block]:
    """The blocks of a model, each around a convolution of its own.

    Args:
        spec: layers, width, norm and skips.
        conv: makes a convolution of `spec.width` channels, channels last.
    """
    for index in range(spec.layers):
        yield Block(
            conv(),
            spec.width,
            max(1, round(spec.mlp_expansion * spec.width)),
            norm=spec.norm,
            skip=spec.skip,
            mlp_skip=spec.mlp_skip,
            last=index == spec.layers - 1,
        )


@runtime_checkable
class Formatted(Protocol):
    """A real layer that runs in a format."""

    def set_format(self, format: str) -> None: ...


def apply_setting(setting: PrecisionSetting, blocks: Iterable[nn.Module], *around: Formatted) -> None:
    """Run each block in the setting, or in its own where the setting names it, and the real layers around them."""
    for layer in around:
        layer.set_format(setting.real)
    for index, block in enumerate(blocks):
        assert isinstance(block, Block)
        block.set_precision(setting.layer(index))
