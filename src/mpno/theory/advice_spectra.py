"""The kept coefficients of a field: exactly, and as a spectral layer's forward transform gives them in a format."""

from __future__ import annotations

import torch
from jaxtyping import Complex128, Float
from torch import Tensor

from mpno.specs.names import RunTransform
from mpno.spectral.fft import fft_forward
from mpno.spectral.matmul import matmul_forward
from mpno.spectral.modes import KeptModes
from mpno.spectral.sht import Truncation, legendre_matrices, sht_forward

Kept = KeptModes | Truncation


def exact_spectrum(v: Float[Tensor, "b *grid c"], kept: Kept) -> Complex128[Tensor, "b *modes c"]:
    """Coefficients in float64, by torch.fft: (batch, *modes, channels), scaled by 1/n; on the sphere integrals."""
    v = v.double()
    if isinstance(kept, Truncation):
        circles = torch.fft.rfft(v, dim=2, norm="forward").narrow(2, 0, kept.orders)
        analysis = legendre_matrices(kept, "forward").to(circles.device, circles.dtype)
        return torch.einsum("mlk,bkmi->blmi", analysis, circles)
    axes = tuple(range(1, v.ndim - 1))
    s = torch.fft.rfftn(v, dim=axes, norm="forward")
    for axis, n in zip(axes, kept.grid, strict=True):
        chosen = torch.tensor([k % n for k in kept.frequencies(axis - 1)], device=v.device)
        s = s.index_select(axis, chosen)
    return s


def low_spectrum(
    v: Float[Tensor, "b *grid c"], kept: Kept, format: str, transform: RunTransform, *, gain: float = 1.0
) -> Complex128[Tensor, "b *modes c"]:
    """The same by mpno's own transform with its field, passes and result in `format`, times `gain`.

    Raises:
        MpnoError: the device does not transform this grid in this format.
    """
    v = v.float()
    if isinstance(kept, Truncation):
        way = "matmul" if transform == "matmul" else "sht"
        pairs = sht_forward(v, kept, fourier=format, legendre=format, transform=way, gain=gain)
    elif transform == "matmul":
        pairs = matmul_forward(v, kept, format, gain=gain)
    else:
        return fft_forward(v, kept, format, gain=gain).to(torch.complex128)
    real, imag = pairs.double().unbind(1)
    return torch.complex(real, imag)


def common(one: KeptModes, other: KeptModes) -> tuple[list[range], list[range]]:
    """Where the frequencies that both grids hold lie in either's spectrum, axis by axis.

    Frequencies at half of the coarser grid's points are left out: there a sine and its alias are one.
    """
    places: tuple[list[range], list[range]] = ([], [])
    for axis in range(len(one.grid)):
        limit = min(one.grid[axis], other.grid[axis])
        a, b = one.frequencies(axis), other.frequencies(axis)
        low = max(a.start, b.start, -((limit - 1) // 2))
        high = min(a.stop, b.stop, (limit - 1) // 2 + 1)
        for found, frequencies in zip(places, (a, b), strict=True):
            found.append(range(low - frequencies.start, high - frequencies.start))
    return places


def cut(s: Tensor, places: list[range]) -> Tensor:
    """The part of a spectrum (batch, *modes, channels) at these places."""
    for axis, place in enumerate(places, start=1):
        s = s.narrow(axis, place.start, len(place))
    return s
