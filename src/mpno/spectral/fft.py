"""The truncated transform by torch.fft: native half on CUDA, simulated half elsewhere.

Simulation rounds the unscaled result of every one-dimensional pass with the format's own overflow and
only then scales by 1/n, so what overflows on a GPU overflows here. Rounding inside a GPU's transform is
not modelled: simulated errors are a lower estimate. A format that saturates is clipped at the same places: the
operand, the unscaled result of each pass (its kept modes), the scaled coefficients; in the backward passes likewise.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from mpno.numerics import DTYPES, fft_is_native, round_to
from mpno.specs import MpnoError, gradient_format
from mpno.spectral.modes import KeptModes


class NotOnGPU(MpnoError):
    """A half transform of a grid that the GPU's library does not take."""


def fft_forward(
    x: Float[Tensor, "b *grid c"], kept: KeptModes, format: str, *, gain: float = 1.0
) -> Shaped[Tensor, "b *modes c"]:
    """Fourier coefficients of the kept modes, scaled by gain/n (1/n is torch's ``norm="forward"``).

    Shapes: (batch, *grid, channels) real to (batch, *kept.counts, channels) complex.

    Raises:
        NotOnGPU: half on a GPU, whose library transforms half only on grids of powers of two, and another grid.
    """
    _check_native(kept.grid, format, x.device)
    return _Forward.apply(x, kept, format, gain / kept.points)  # type: ignore[no-any-return]


def fft_inverse(
    s: Shaped[Tensor, "b *modes c"], kept: KeptModes, format: str, *, hermitian: bool = True
) -> Float[Tensor, "b *grid c"]:
    """The real field whose kept coefficients are `s`; all others are zero. Inverse of :func:`fft_forward`.

    A real field's coefficients are their own conjugates where the last axis' frequency is 0 or Nyquist. `s` need not be
    so; only the part that is reaches the field. `hermitian` drops the rest before the real pass. Without, that is left
    to the library: pocketfft and MKL do so too, cuFFT makes no promise.

    Raises:
        NotOnGPU: as :func:`fft_forward`.
    """
    _check_native(kept.grid, format, s.device)
    return _Inverse.apply(s, kept, format, hermitian)  # type: ignore[no-any-return]


def as_complex(pairs: Float[Tensor, "*shape 2"]) -> Shaped[Tensor, "*shape"]:
    """View (real, imaginary) pairs as complex numbers. bfloat16 has no complex dtype and is widened."""
    pairs = pairs.float() if pairs.dtype is torch.bfloat16 else pairs
    return torch.view_as_complex(pairs.contiguous())


def _check_native(grid: tuple[int, ...], format: str, device: torch.device) -> None:
    if format != "fp32" and fft_is_native(format, device) and any(n & (n - 1) for n in grid):
        raise NotOnGPU(
            f"fft in {format} on {device.type}: grid {' x '.join(map(str, grid))}; allowed: powers of two along each "
            "axis; choose such a grid, padding included, transform matmul, or forward and inverse transforms in fp32"
        )


def _stored(x: Tensor, format: str) -> Tensor:
    """What memory would hold: nothing to do in fp32 or where the dtype itself is the format."""
    if format == "fp32" or fft_is_native(format, x.device):
        return x
    if x.is_complex():
        # Parts and channels as one axis, along which block formats share a scale.
        pairs = round_to(torch.view_as_real(x).flatten(-2), format).unflatten(-1, (-1, 2))
        return torch.view_as_complex(pairs)
    return round_to(x, format)


def _operand(x: Tensor, format: str) -> Tensor:
    if format == "fp32":
        return x.to(torch.complex64) if x.is_complex() else x.float()
    if not fft_is_native(format, x.device):
        return _stored(x.to(torch.complex64) if x.is_complex() else x.float(), format)
    return x.to(torch.complex32) if x.is_complex() else x.to(DTYPES[format])


def _select(s: Tensor, kept: KeptModes, axis: int) -> Tensor:
    frequencies = kept.frequencies(axis)
    dim, negative = axis + 1, -frequencies.start
    if negative == 0:
        return s.narrow(dim, 0, frequencies.stop)
    tail = s.narrow(dim, s.shape[dim] - negative, negative)
    return torch.cat([tail, s.narrow(dim, 0, frequencies.stop)], dim)


def _spread(s: Tensor, kept: KeptModes, axis: int) -> Tensor:
    frequencies = kept.frequencies(axis)
    dim, n, negative = axis + 1, kept.grid[axis], -frequencies.start
    shape = list(s.shape)
    shape[dim] = n - len(frequencies)
    positive = s.narrow(dim, negative, frequencies.stop)
    return torch.cat([positive, s.new_zeros(shape), s.narrow(dim, 0, negative)], dim)


def _analyse(x: Tensor, kept: KeptModes, format: str) -> Tensor:
    """Unscaled forward passes, last axis first."""
    last = len(kept.grid) - 1
    s = torch.fft.rfft(_operand(x, format), dim=last + 1)
    s = _stored(_select(s, kept, last), format)
    for axis in reversed(range(last)):
        s = _stored(_select(torch.fft.fft(s, dim=axis + 1), kept, axis), format)
    return s


def _synthesise(s: Tensor, kept: KeptModes, format: str, hermitian: bool = True) -> Tensor:
    """Unscaled inverse passes, last axis last. Its real transform counts every conjugate pair."""
    s = _operand(s, format)
    last = len(kept.grid) - 1
    for axis in range(last):
        s = _stored(torch.fft.ifft(_spread(s, kept, axis), dim=axis + 1, norm="forward"), format)
    n = kept.grid[last]
    missing = n // 2 + 1 - kept.counts[last]
    if missing:
        # irfft would pad too, several times slower.
        shape = list(s.shape)
        shape[last + 1] = missing
        s = torch.cat([s, s.new_zeros(shape)], last + 1)
    if hermitian:
        # Written into the spectrum that the passes above made; only on one axis may it still be the caller's.
        s = s.clone() if last == 0 and not missing else s
        imaginary = torch.view_as_real(s)[..., 1]
        for column in {0, n // 2} if n % 2 == 0 else {0}:
            imaginary.select(last + 1, column).zero_()
    # torch leaves the transformed axis innermost, which would slow down every later operation on channels.
    return _stored(torch.fft.irfft(s, n=n, dim=last + 1, norm="forward").contiguous(), format)


def _pairs(s: Tensor, kept: KeptModes, factor: float) -> Tensor:
    """Scale the columns that stand for a conjugate pair: all but the constant and, on even grids, Nyquist."""
    n, count = kept.grid[-1], kept.counts[-1]
    factors = torch.full((count, 1), factor, dtype=torch.float32)
    factors[0] = 1.0
    if n % 2 == 0 and count == n // 2 + 1:
        factors[-1] = 1.0
    return s * factors.to(device=s.device, dtype=torch.float16 if s.dtype is torch.complex32 else torch.float32)


class _Forward(torch.autograd.Function):
    """Linear, so its backward needs no saved tensor: the adjoint passes, in the same format."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: KeptModes, format: str, scale: float) -> Tensor:
        ctx.kept, ctx.format, ctx.dtype, ctx.scale = kept, gradient_format(format), x.dtype, scale
        return _stored(_analyse(x, kept, format) * scale, format)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        g = _pairs(_operand(grads[0], ctx.format), ctx.kept, 0.5)
        x = _synthesise(g, ctx.kept, ctx.format) * ctx.scale
        return _stored(x, ctx.format).to(ctx.dtype), None, None, None


class _Inverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, kept: KeptModes, format: str, hermitian: bool) -> Tensor:
        ctx.kept, ctx.format, ctx.dtype = kept, gradient_format(format), s.dtype
        return _synthesise(s, kept, format, hermitian)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        g = _pairs(_analyse(grads[0], ctx.kept, ctx.format), ctx.kept, 2.0)
        return _stored(g, ctx.format).to(ctx.dtype), None, None, None
