"""Normalisation over whole fields, whose backward pass keeps its input alone and works through a batch in parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import cheap, hold
from mpno.specs import gradient_format
from mpno.specs.names import Norm

CHUNK = 2**22
"""Values that are in fp32 at a time: enough to keep a device busy, few beside a batch of fine fields."""


class FieldNorm(nn.Module):
    """Mean and variance over the whole field, together for all channels (``group``) or for each (``instance``).

    Group normalisation has one group and then a gain and a shift per channel, instance normalisation neither. Runs in
    fp32, as autocast has it, and stores its result in `format`.

    Source: Wu and He, "Group Normalization", 2018; Ulyanov et al., "Instance Normalization", 2016.
    """

    def __init__(self, channels: int, kind: Norm = "group", eps: float = 1e-5) -> None:
        super().__init__()
        self.eps, self.kind, self.format = eps, kind, "fp32"
        self.gain, self.shift = (
            (nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels)))
            if kind == "group"
            else (None, None)
        )

    def forward(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        together = x.ndim if self.kind == "group" else x.ndim - 1

        def normalise(v: Tensor) -> Tensor:
            y = _Normalise.apply(v, self.gain, self.shift, tuple(range(1, together)), self.eps, self.format)
            assert isinstance(y, Tensor)
            return y

        return cheap(normalise, x)


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor | None, shift: Tensor | None, axes: tuple[int, ...], eps: float, format: str
    ) -> Tensor:
        ctx.axes, ctx.eps, ctx.format = axes, eps, format
        ctx.save_for_backward(x, gain)
        out: Tensor | None = None
        for rows in _parts(x):
            normal, _ = _normal(x[rows], axes, eps)
            if gain is not None and shift is not None:
                normal = torch.addcmul(shift, normal, gain)
            part = hold(normal, format)
            if len(part) == len(x):
                return part
            if out is None:
                out = part.new_empty(x.shape)
            out[rows] = part
        return x.float() if out is None else out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, gain = ctx.saved_tensors
        out = torch.empty_like(x)
        sums = [torch.zeros_like(gain) for _ in range(2)] if gain is not None else []
        for rows in _parts(x):
            normal, scale = _normal(x[rows], ctx.axes, ctx.eps)
            g = hold(grads[0][rows], gradient_format(ctx.format)).float()
            if gain is not None:
                sums[0] += (g * normal).sum(tuple(range(x.ndim - 1)))
                sums[1] += g.sum(tuple(range(x.ndim - 1)))
                g = g * gain
            along = (g * normal).mean(ctx.axes, keepdim=True)
            # Mean and deviation are functions of x too: what they carry away is the gradient's mean and its part along.
            g = (g - g.mean(ctx.axes, keepdim=True)).addcmul_(normal, along, value=-1).mul_(scale)
            out[rows] = g.to(x.dtype)
        return (out, *(sums or (None, None)), None, None, None)


def _normal(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Mean 0 and deviation 1, and what the deviation was divided by, inverted."""
    x = hold(x, "fp32")
    variance, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
    scale = torch.rsqrt(variance + eps)
    return (x - mean).mul_(scale), scale


def _parts(x: Tensor) -> Iterator[slice]:
    """Of the batch, so that each holds about :data:`CHUNK` values."""
    step = max(1, CHUNK // max(1, x[:1].numel()))
    return (slice(start, start + step) for start in range(0, len(x), step))
