"""Rounding of tensors to number formats, and tensors held in a format."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from mpno.numerics.blocks import round_blocks
from mpno.numerics.elementwise import nearest, stochastic
from mpno.numerics.native import DTYPES, matmul_is_native
from mpno.numerics.recompute import exempt
from mpno.specs import Format, MpnoError, allowed, get_format

Overflow = Literal["inf", "saturate", "strict"]
Rounding = Literal["nearest", "stochastic"]
_OVERFLOWS, _ROUNDINGS = get_args(Overflow), get_args(Rounding)


def round_to(
    x: Float[Tensor, "..."],
    format: str,
    *,
    overflow: Overflow | None = None,
    rounding: Rounding | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "..."]:
    """Round a float32 or float64 tensor to values of `format`, subnormals included.

    Args:
        x: values, any shape. Block formats (mxfp8) share scales along the last axis.
        format: a format name (see :func:`mpno.specs.get_format`).
        overflow: what becomes of values that exceed the format's maximum once rounded, as if its exponent were
            unbounded. ``inf``: infinity, in every format. fp8_e4m3, like others that end within a binade, has none:
            there it stands for the NaN of the specification, and tells overflow from an invalid operation.
            ``saturate``: the maximum, for infinity too. ``strict``: an error, for infinity too. A block format
            scales its values into range and clamps, so that infinity alone overflows; under ``inf`` its
            block becomes NaN. By default ``saturate`` for a format that saturates, ``inf`` for others.
        rounding: ``nearest``, ties to even; or ``stochastic``, up or down with the probability that makes the mean of
            the result the value itself, before overflow. By default the format's own.
        generator: of the random numbers, on the tensor's device; torch's own by default.

    Returns:
        Tensor of the same shape and dtype. NaN stays NaN. The gradient passes straight through.

    Raises:
        MpnoError: unknown format or option; a value overflows under ``strict``.
        TypeError: the tensor is neither float32 nor float64.

    Source: IEEE 754-2019, section 4.3.1 (roundTiesToEven) and 7.4 (overflow); OCP 8-bit Floating Point Specification
    1.0 and Microscaling Formats Specification 1.0 (2023), conversions.
    """
    if overflow is not None and overflow not in _OVERFLOWS:
        raise MpnoError(f"round_to: overflow is {overflow!r}; {allowed(overflow, _OVERFLOWS)}")
    if rounding is not None and rounding not in _ROUNDINGS:
        raise MpnoError(f"round_to: rounding is {rounding!r}; {allowed(rounding, _ROUNDINGS)}")
    fmt = get_format(format)
    if x.requires_grad and torch.is_grad_enabled():
        return _StraightThrough.apply(x, fmt, overflow, rounding, generator)  # type: ignore[no-any-return]
    return _round(x, fmt, overflow, rounding, generator)


def hold(x: Float[Tensor, "..."], format: str) -> Float[Tensor, "..."]:
    """Return `x` as a tensor stored in `format`; its gradient is stored in the format too, or in its gradients' own.

    Where the device computes in the format natively this is a change of dtype. Elsewhere the tensor stays
    float32 and its values, and those of the gradient that comes back, are rounded with the format's own
    overflow: the values a native run would see, at float32's cost. The gradient of a clipped value is not zero
    but passes through, itself clipped. Block formats share scales along the last axis of
    the tensor and of its gradient, whichever axis a product then sums over.
    """
    held = _held(x, format)
    if isinstance(x if x._base is None else x._base, torch.nn.Parameter):
        exempt(held)
    return held


def _held(x: Tensor, format: str) -> Tensor:
    if format == "fp32":
        return x.float()
    if matmul_is_native(format, x.device):
        return x.to(DTYPES[format])
    # A parameter may be stored in half; its values are rounded on fp32.
    return _RoundBoth.apply(x.float(), get_format(format))  # type: ignore[no-any-return]


def _round(
    x: Tensor,
    fmt: Format,
    overflow: Overflow | None = None,
    rounding: Rounding | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    if x.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"round_to takes float32 or float64 tensors, got {x.dtype}; convert with .float() first")
    within = overflow == "saturate" or (overflow is None and fmt.saturates)
    if within:
        largest = min(fmt.max, torch.finfo(x.dtype).max)
        x = x.clamp(-largest, largest)

    by_chance = fmt.stochastic if rounding is None else rounding == "stochastic"
    chance = partial(stochastic, generator=generator) if by_chance else None
    if fmt.element:
        rounded = round_blocks(x, fmt, chance)
    else:
        rounded = chance(x, fmt) if chance else nearest(x, fmt, within=within)
    if overflow == "strict":
        _refuse_overflow(x, rounded, fmt)
    return rounded


def _refuse_overflow(x: Tensor, rounded: Tensor, fmt: Format) -> None:
    # In a block format what overflows makes its neighbours NaN too: they do not count.
    beyond = rounded.isinf() | (x.abs() >= 2.0 ** (fmt.top + 1))
    count = int(beyond.sum())
    if count:
        largest = float(x[beyond].abs().max())
        raise MpnoError(
            f"round_to: {count} of {x.numel()} values overflow {fmt.name}: the largest magnitude is {largest:.9g}, "
            f"the format's maximum {fmt.max:.9g}; scale the values down, or allow overflow 'inf' or 'saturate'"
        )


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        fmt: Format,
        overflow: Overflow | None,
        rounding: Rounding | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        return _round(x, fmt, overflow, rounding, generator)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        return grads[0], None, None, None, None


class _RoundBoth(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, fmt: Format) -> Tensor:
        ctx.fmt = fmt
        return _round(x, fmt)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return _round(grads[0], ctx.fmt.gradient or ctx.fmt), None
