"""The Fourier neural operator, with the topology of the public library's."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import PointwiseLinear, add, add_gated, cheap, gelu, hold_anew, recomputing, widest
from mpno.specs import ContractionSpec, ModelSpec, MpnoError, PrecisionSetting
from mpno.specs.names import Norm, Transform
from mpno.spectral import SpectralConv

CHUNK = 2**22
"""Hidden values that a channel MLP holds at a time: enough to keep a device busy, few beside a batch of fine fields."""

LARGE = 2**20
"""Values of a batch of fields from which on memory counts for more than the time to make some of them again."""


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
        return torch.cat([self._apply_to(part) for part in x.tensor_split(min(parts, len(x)))])

    def _apply_to(self, x: Tensor) -> Tensor:
        # A wide hidden layer is made again too; a narrow one costs more to make than to keep.
        hidden = cheap(self.first, x) if self.first.weight.shape[0] > x.shape[-1] else self.first(x)
        return self.second(cheap(lambda h: gelu(h, self.format), hidden))


class FieldNorm(nn.Module):
    """Group normalisation with one group: mean and variance over the whole field, then one gain per channel.

    Runs in fp32, as autocast has it. Source: Wu and He, "Group Normalization", 2018.
    """

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.gain, self.shift, self.eps = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)), eps

    def forward(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        x = x.float()
        variance, mean = torch.var_mean(x, tuple(range(1, x.ndim)), correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + self.eps) * self.gain + self.shift


class FNOBlock(nn.Module):
    """Spectral convolution with a linear skip, then a channel MLP with a soft-gating skip.

    Args:
        width: channels in and out.
        modes: see :class:`SpectralConv`.
        mlp_hidden: hidden channels of the channel MLP.
        last: the last block ends without an activation.
        contraction: how the spectral weight is stored and multiplied; see :class:`SpectralConv`.
    """

    def __init__(
        self,
        width: int,
        modes: tuple[int, ...],
        mlp_hidden: int,
        norm: Norm,
        last: bool,
        transform: Transform,
        contraction: ContractionSpec | None,
    ) -> None:
        super().__init__()
        self.last = last
        self.conv = SpectralConv(width, width, modes, transform=transform, contraction=contraction, channels_last=True)
        self.skip = PointwiseLinear(width, width, bias=False)
        self.mlp = ChannelMLP(width, mlp_hidden, width)
        self.gate = nn.Parameter(torch.ones(width))
        self.norms = nn.ModuleList(FieldNorm(width) for _ in range(2)) if norm == "group" else None

        self.set_precision(PrecisionSetting())

    def set_precision(self, precision: PrecisionSetting) -> None:
        """Run in another setting from now on."""
        self.precision = precision
        self.conv.set_precision(precision)
        self.skip.format = precision.real
        self.mlp.set_format(precision.real)
        # The gate is an fp32 parameter, so promotion carries the residual stream back to fp32, as in the authors'
        # setup. Blocks by matrix products, which are ours, leave it in the low format that the next block wants.
        low = self.conv.transform == "matmul" and precision.real == precision.forward == precision.inverse
        self.stream = precision.real if low else "fp32"

    def forward(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        p = self.precision
        # Where transform and real layers share a low format, so does the block's input, which the skips save.
        x = hold_anew(x, p.forward) if p.forward == p.real else x
        y = self.conv(x)
        format = p.inverse
        if self.norms is not None:
            y, format = self.norms[0](y), "fp32"
        format = widest(format, p.real)
        y = add(y, self.skip(x), format)
        y = y if self.last else cheap(lambda u: gelu(u, format), y)
        y = add_gated(self.mlp(y), self.gate, x, self.stream)
        if self.norms is not None:
            y = self.norms[1](y)
        format = "fp32" if self.norms is not None else self.stream
        return y if self.last else cheap(lambda u: gelu(u, format), y)


class FNO(nn.Module):
    """Fourier neural operator on a regular grid over the unit cube.

    Args:
        in_channels, out_channels: channels of the data; grid coordinates on [0, 1) are appended to the input.
        spec: sizes (see :class:`ModelSpec`).
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
        spec: ModelSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        transform: Transform = "fft",
        recompute: bool | None = None,
    ) -> None:
        super().__init__()
        spec = spec or ModelSpec()
        self.spec, self.in_channels, self.recompute = spec, in_channels, recompute
        width = spec.width
        lifted = in_channels + len(spec.modes)
        self.lifting = ChannelMLP(lifted, round(spec.lifting_ratio * width), width)
        self.blocks = nn.ModuleList(
            FNOBlock(
                width,
                spec.modes,
                max(1, round(spec.mlp_expansion * width)),
                spec.norm,
                index == spec.layers - 1,
                transform,
                spec.contraction,
            )
            for index in range(spec.layers)
        )
        self.projection = ChannelMLP(width, round(spec.projection_ratio * width), out_channels)

        self.set_precision(precision)

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on, each block in its own where the setting names it."""
        self.precision = PrecisionSetting.model_validate(precision)
        for mlp in (self.lifting, self.projection):
            mlp.set_format(self.precision.real)
        for index, block in enumerate(self.blocks):
            assert isinstance(block, FNOBlock)
            block.set_precision(self.precision.layer(index))

    def forward(self, x: Float[Tensor, "b i *grid"]) -> Float[Tensor, "b o *grid"]:
        """Map a field to a field on the same grid; the result is fp32."""
        if x.ndim != len(self.spec.modes) + 2 or x.shape[1] != self.in_channels:
            grid = ", ".join("n" for _ in self.spec.modes)
            raise MpnoError(f"FNO got shape {tuple(x.shape)}; it wants (batch, {self.in_channels}, {grid})")
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
