"""Rounding of tensors to number formats, and tensors held in a format."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics.native import DTYPES, matmul_is_native
from mpno.specs import Format, get_format

Overflow = Literal["inf", "saturate"]


def round_to(x: Float[Tensor, ...], format: str, *, overflow: Overflow = "inf") -> Float[Tensor, ...]:
    """Round a float32 tensor to the nearest value of `format`, ties to even, subnormals included.

    Args:
        x: float32 values, any shape.
        format: a format name (see :func:`mpno.specs.get_format`).
        overflow: what becomes of values that round beyond the format's maximum: ``inf``, or its maximum.

    Returns:
        float32 tensor of the same shape. NaN stays NaN. The gradient passes straight through.

    Source: IEEE 754-2019, section 4.3.1 (roundTiesToEven) and 7.4 (overflow).
    """
    return _StraightThrough.apply(x, get_format(format), overflow)  # type: ignore[no-any-return]


def hold(x: Float[Tensor, ...], format: str) -> Float[Tensor, ...]:
    """Return `x` as a tensor stored in `format`; its gradient is stored in the format too.

    Where the device computes in the format natively this is a change of dtype. Elsewhere the tensor stays
    float32 and its values, and those of the gradient that comes back, are rounded with the format's own
    overflow: the values a native run would see, at float32's cost.
    """
    if format == "fp32":
        return x.float()
    if matmul_is_native(format, x.device):
        return x.to(DTYPES[format])
    return _RoundBoth.apply(x, get_format(format))  # type: ignore[no-any-return]


def _round(x: Tensor, fmt: Format, overflow: Overflow) -> Tensor:
    if x.dtype is not torch.float32:
        raise TypeError(f"round_to takes float32 tensors, got {x.dtype}; convert with .float() first")
    if fmt.name == "fp32":
        return x
    if overflow == "saturate":
        return _round(x.clamp(-fmt.max, fmt.max), fmt, "inf")
    if fmt.name in ("fp16", "bf16"):
        return x.to(DTYPES[fmt.name]).float()
    return _round_by_bits(x, fmt) if fmt.exponent_bits == 8 else _round_by_spacing(x, fmt)


def _round_by_spacing(x: Tensor, fmt: Format) -> Tensor:
    """Round with float32 additions alone, which is several times faster than comparing and selecting.

    Adding a number whose own spacing is the one wanted makes the addition round, ties to even, to a
    multiple of that spacing; 1.5 keeps the sum in one binade. The spacing follows from x's exponent,
    bounded below by the smallest normal's (subnormals share its spacing) and above by the format's top.
    """
    top = math.floor(math.log2(fmt.max))
    exponent = (x.view(torch.int32) & 0x7F800000).view(torch.float32)
    shift = exponent.clamp_(fmt.smallest_normal, 2.0**top).mul_(1.5 * 2.0 ** (23 - fmt.mantissa_bits))
    rounded = (x + shift).sub_(shift)
    if fmt.max == math.ldexp(2.0 - fmt.eps, top):
        # Beyond the format's top exponent the product leaves float32's range and stays infinite.
        rounded.mul_(2.0 ** (127 - top)).mul_(2.0 ** (top - 127))
    else:
        rounded = torch.where(rounded.abs() > fmt.max, rounded * torch.inf, rounded)
    return torch.copysign(rounded, x, out=rounded)


def _round_by_bits(x: Tensor, fmt: Format) -> Tensor:
    """Round a format with float32's exponents, where the spacing method would overflow."""
    drop = 23 - fmt.mantissa_bits
    bits = x.view(torch.int32)
    bits = (bits + ((1 << (drop - 1)) - 1) + ((bits >> drop) & 1)) & ~((1 << drop) - 1)
    return torch.where(x.isfinite(), bits.view(torch.float32), x)


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fmt: Format, overflow: Overflow) -> Tensor:
        return _round(x, fmt, overflow)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return grads[0], None, None


class _RoundBoth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fmt: Format) -> Tensor:
        ctx.fmt = fmt
        return _round(x, fmt, "inf")

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _round(grads[0], ctx.fmt, "inf"), None
