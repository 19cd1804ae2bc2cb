"""Stabilisers: what keeps the input of a half spectral block from overflowing its transform.

All work on real tensors of any device, in the block's own format, and none has parameters. Only ``pre_scale`` must be
undone, and since the block is linear up to its bias that is one factor, known from the grid alone:
:func:`undo_factor`. A layer multiplies the coefficients with it, best together with the transform's own 1/n.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics.rounding import hold
from mpno.specs.names import Stabiliser


def stabilise(x: Float[Tensor, "..."], stabiliser: Stabiliser, format: str) -> Float[Tensor, "..."]:
    """Apply a stabiliser to a field (batch, *grid, channels), stored in `format` before and after.

    With n grid points an unscaled Fourier coefficient is at most n·max|x|, so bounding x bounds it.

    - ``none``: the field as it is.
    - ``tanh``: bounded by 1; the paper's choice.
    - ``hard_clip``: clamped to [-1, 1]. No gradient where it clamps.
    - ``sigma_clip``: clamped to mean ± 2 standard deviations of the whole tensor, batch included. The two
      bounds count as constants in the gradient, and there is none where it clamps.
    - ``pre_scale``: divided by the power of two next above or at n, which makes an unscaled coefficient at most max|x|.
      The division is exact but for underflow: fp16 is left with steps of n·2^-24 in x. On 1024 x 1024
      points the divisor is 1.05e6, the authors' division by a million. To be undone by :func:`undo_factor`.
    - ``norm``: mean 0 and variance 1 over each sample's whole field, computed in fp32: group normalisation
      with one group and no parameters. Not undone: a layer of its own, as in the paper.

    Source: paper, section 4.3 and Appendix B.5; the clips and the division from the authors' code.
    """
    x = hold(x, format)
    if stabiliser == "none":
        return x
    if stabiliser == "hard_clip":
        return x.clamp(-1.0, 1.0)
    if stabiliser == "sigma_clip":
        return _sigma_clip(x, format)
    if stabiliser == "tanh":
        y = _Tanh.apply(x)
    elif stabiliser == "pre_scale":
        y = x / undo_factor(stabiliser, math.prod(x.shape[1:-1]))
    else:
        y = torch.nn.functional.layer_norm(x.float(), x.shape[1:])
    return y if format == "fp32" else hold(y, format)


def undo_factor(stabiliser: Stabiliser, points: int) -> float:
    """What to multiply the coefficients, or the block's result without bias, with; 1 for all but ``pre_scale``.

    A power of two, so that the product is exact in every binary format.
    """
    return float(1 << (points - 1).bit_length()) if stabiliser == "pre_scale" else 1.0


@torch.library.custom_op("mpno::tanh", mutates_args=(), device_types="cpu", schema="(Tensor x) -> Tensor")
def _onednn_tanh(x: Tensor) -> Tensor:
    # An operation of its own, so that what traces tensors sees none in oneDNN's layout, which has no storage.
    return x.to_mkldnn().tanh().to_dense()


class _Tanh(torch.autograd.Function):
    """tanh, on a CPU by oneDNN, which takes half the time of torch's own with the same accuracy."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        onednn = x.device.type == "cpu" and x.dtype in (torch.float32, torch.bfloat16)
        y = _onednn_tanh(x) if onednn and torch.backends.mkldnn.is_available() else torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(grads[0], y)


def _sigma_clip(x: Tensor, format: str) -> Tensor:
    with torch.no_grad():
        std, mean = torch.std_mean(x.float())
        low, high = (hold(mean + sign * 2 * std, format).to(x.dtype) for sign in (-1, 1))
    return x.clamp(low, high)
