"""Rounding of single values to a format: to nearest or stochastically, overflow to infinity.

Values are held in float32 or float64 and every step is exact but the rounding itself. All functions round first as
if the exponent were unbounded and then send what exceeds the maximum to infinity (IEEE 754-2019, sections 4.3.1
and 7.4); for a format that ends within a binade (e4m3) the OCP specification does the same but ends at NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mpno.numerics.native import DTYPES
from mpno.specs import Format

# Exponent field, fraction bits, largest exponent of the dtypes that hold values.
_LAYOUT = {
    torch.float32: (torch.int32, 0x7F800000, 23, 127),
    torch.float64: (torch.int64, 0x7FF0000000000000, 52, 1023),
}
# Several passes over a piece of this many values stay in a core's cache.
PIECE, _LARGE = 2**17, 2**19


def nearest(x: Tensor, fmt: Format, *, within: bool = False) -> Tensor:
    """Round to nearest, ties to even. A float64 tensor is rounded once, not by way of float32.

    `within` says that no magnitude exceeds the format's maximum, so that nothing has to be done for overflow.
    """
    if fmt.name in DTYPES and x.dtype is torch.float32:
        return x if fmt.name == "fp32" else x.to(DTYPES[fmt.name]).float()
    if x.dtype is torch.float64 or fmt.exponent_bits < 8:
        if x.dtype is torch.float32 and fmt.mantissa_bits > 21:
            return nearest(x.double(), fmt).float()
        return _in_pieces(_nearest_within if within else _nearest_by_spacing, x, fmt)
    return _in_pieces(_nearest_by_bits, x, fmt)


def stochastic(x: Tensor, fmt: Format, generator: torch.Generator | None = None) -> Tensor:
    """Round to one of the two neighbours, to each with the other's share of the distance between them.

    The probability is a multiple of 2^-24 (2^-53 in float64): exact for values that are normal in the format,
    else rounded up. Values of the format stay.
    """
    spacing = _spacing_binade(x, fmt).mul_(fmt.eps)
    steps = x.abs().div_(spacing)
    whole = steps.floor()
    up = torch.rand(x.shape, dtype=x.dtype, device=x.device, generator=generator) < steps.sub_(whole)
    return torch.copysign(_overflow(whole.add_(up).mul_(spacing), fmt), x)


def binade(x: Tensor) -> Tensor:
    """The power of two at or below each magnitude: 2^floor(log2 |x|), 0 for subnormals of the dtype, else infinity."""
    integer, mask, _, _ = _LAYOUT[x.dtype]
    return (x.view(integer) & mask).view(x.dtype)


def largest_magnitude(x: Tensor) -> Tensor:
    """The largest |x| along the last axis, which is kept; a NaN is larger than any number.

    Without their signs numbers are in the order of their bits, and a maximum of integers is several times faster.
    """
    integer, _, _, _ = _LAYOUT[x.dtype]
    return (x.view(integer) & torch.iinfo(integer).max).amax(-1, keepdim=True).view(x.dtype)


def _spacing_binade(x: Tensor, fmt: Format) -> Tensor:
    """The binade whose spacing each value is rounded to: no smaller than the subnormals', no larger than the top."""
    return binade(x).clamp_(fmt.smallest_normal, 2.0**fmt.top)


def unsigned_nearest_(x: Tensor, fmt: Format) -> Tensor:
    """Round in place with additions alone, as if the exponent were unbounded; the sign of zero is lost.

    Adding a number whose own spacing is the one wanted makes the addition round, ties to even, to a multiple of that
    spacing; 1.5 keeps the sum in one binade as long as two bits are dropped. Comparing and selecting takes several
    times as long.
    """
    shift = _spacing_binade(x, fmt).mul_(1.5 * 2.0 ** (_LAYOUT[x.dtype][2] - fmt.mantissa_bits))
    return x.add_(shift).sub_(shift)


def _nearest_by_spacing(x: Tensor, fmt: Format, out: Tensor) -> None:
    torch.copysign(_overflow(unsigned_nearest_(out.copy_(x), fmt), fmt), x, out=out)


def _nearest_within(x: Tensor, fmt: Format, out: Tensor) -> None:
    torch.copysign(unsigned_nearest_(out.copy_(x), fmt), x, out=out)


def _nearest_by_bits(x: Tensor, fmt: Format, out: Tensor) -> None:
    """Round a format with float32's exponents, where the spacing method would overflow."""
    drop = 23 - fmt.mantissa_bits
    if drop:
        bits, rounded = x.view(torch.int32), out.view(torch.int32)
        torch.bitwise_right_shift(bits, drop, out=rounded)
        rounded.bitwise_and_(1).add_((1 << (drop - 1)) - 1).add_(bits).bitwise_and_(-(1 << drop))
        torch.where(x == x, out, x, out=out)  # the carry could have turned a NaN into a number
    else:
        out.copy_(x)
    if fmt.top < 127 or not fmt.fills_top:  # else the carry out of the largest exponent made infinity
        torch.copysign(_overflow(out, fmt), x, out=out)


def _overflow(rounded: Tensor, fmt: Format) -> Tensor:
    """Send what exceeds the maximum to infinity, in place; the sign of zero may be lost."""
    if fmt.fills_top:
        # The next number is 2^(top + 1): from there on the product leaves the dtype's range and stays infinite.
        beyond = _LAYOUT[rounded.dtype][3] - fmt.top
        return rounded.mul_(2.0**beyond).mul_(2.0**-beyond)
    # Zero but for what exceeds the maximum, itself at least 1; comparing and selecting takes five times as long.
    return rounded.add_(torch.nn.functional.hardshrink(rounded, fmt.max).mul_(torch.finfo(rounded.dtype).max))


def _in_pieces(round_into: Callable[[Tensor, Format, Tensor], None], x: Tensor, fmt: Format) -> Tensor:
    """Apply `round_into`; to a large tensor piece by piece, two to four times faster than passes through memory."""
    rounded = torch.empty_like(x)
    if x.device.type != "cpu" or x.numel() < _LARGE or not x.is_contiguous():
        round_into(x, fmt, rounded)
    else:
        for source, target in zip(x.view(-1).split(PIECE), rounded.view(-1).split(PIECE), strict=True):
            round_into(source, fmt, target)
    return rounded
