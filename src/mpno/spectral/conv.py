"""The spectral convolution: transform, contraction with learned weights, inverse transform."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import add, cheap, hold, no_autocast, observe, stabilise, undo_factor, widest
from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting, allowed
from mpno.specs.names import Transform, WeightLayout
from mpno.spectral.checks import check_input
from mpno.spectral.fft import as_complex, fft_forward, fft_inverse
from mpno.spectral.matmul import matmul_forward, matmul_inverse
from mpno.spectral.modes import KeptModes, kept_modes, weight_modes
from mpno.spectral.weights import SpectralWeight


class SpectralConv(nn.Module):
    """Convolution with a learned kernel that is band-limited to the lowest Fourier modes.

    y = F^-1( W · F(stabiliser(x)) ) + b, with F the real Fourier transform truncated to `modes` and W one
    complex (in_channels, out_channels) matrix per mode. Works on 1-D, 2-D and 3-D periodic grids of any
    size; a grid that resolves fewer modes uses the lowest ones.

    Args:
        in_channels, out_channels: numbers of channels.
        modes: Fourier modes kept along each axis, both signs counted; the last axis stores ``m // 2 + 1``.
        precision: a :class:`PrecisionSetting` or its short form, as ``"mixed"`` or ``"half-bf16"``.
        transform: ``fft`` (torch.fft; half is native on CUDA and simulated elsewhere) or ``matmul``
            (truncated DFT as real matrix products).
        contraction: a factorised weight, corners, or an option of the paper's: see :class:`ContractionSpec`. None is a
            dense matrix per mode, contracted by one real product per mode.
        hermitian: whether `fft` drops what a real field's spectrum cannot have before the real pass; see
            :func:`mpno.spectral.fft.fft_inverse`. `matmul` always does.
        bias: whether to add one number per output channel.
        channels_last: whether fields are (batch, *grid, channels), the faster layout inside a model, rather
            than (batch, channels, *grid).

    Attributes:
        weight: without `contraction`, real fp32 pairs, (*stored modes, in_channels, 2, out_channels): per mode the real
            part of a matrix beside its imaginary part, as they are multiplied with; else a :class:`SpectralWeight`.
        bias: (out_channels,) or None.

    Parameters are made in fp32 for the optimiser's sake; ``conv.half()`` and ``conv.bfloat16()`` store them in half.

    Raises:
        MpnoError: sizes that do not fit each other.

    Source: Li et al., "Fourier Neural Operator for Parametric PDEs", ICLR 2021; low-precision block as in
    section 4.2 of the paper that mpno reproduces.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        modes: tuple[int, ...],
        *,
        precision: PrecisionSetting | str = "full",
        transform: Transform = "fft",
        contraction: ContractionSpec | None = None,
        hermitian: bool = True,
        bias: bool = True,
        channels_last: bool = False,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, *modes) < 1 or not 1 <= len(modes) <= 3:
            raise MpnoError(
                f"SpectralConv({in_channels}, {out_channels}, {modes}): channels and modes must be at least 1, "
                "with one mode count for each of 1 to 3 axes"
            )
        self.in_channels, self.out_channels, self.modes = in_channels, out_channels, tuple(modes)
        if transform not in get_args(Transform):
            raise MpnoError(f"SpectralConv: transform {transform!r}; {allowed(transform, get_args(Transform))}")
        self.transform: Transform = transform
        self.hermitian, self.channels_last = hermitian, channels_last
        self.layout: WeightLayout = "joint" if contraction is None else contraction.layout
        std = math.sqrt(2 / (in_channels + out_channels))
        self.weight: nn.Parameter | SpectralWeight
        if contraction is None:
            # A complex number of standard deviation std has parts of std / sqrt(2).
            shape = (*weight_modes(self.modes), in_channels, 2, out_channels)
            self.weight = nn.Parameter(torch.randn(shape) * (std / math.sqrt(2)))
        else:
            self.weight = SpectralWeight(in_channels, out_channels, self.modes, spec=contraction)
        self.set_precision(precision)
        self.bias = nn.Parameter(torch.randn(out_channels) * std) if bias else None

    def set_precision(self, precision: PrecisionSetting | str) -> None:
        """Run in another setting from now on; the parameters stay as they are."""
        self.precision = PrecisionSetting.of(precision, where="SpectralConv", packs=False)

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Convolve a field; the result has the same grid, `out_channels` channels and the same layout."""
        check_input(
            "SpectralConv",
            x,
            channels=self.in_channels,
            grid=("n",) * len(self.modes),
            channels_last=self.channels_last,
            device=next(self.parameters()).device,
        )
        # Formats are the setting's to say.
        with no_autocast(x.device):
            if self.channels_last:
                return self._convolve(x)
            return self._convolve(x.movedim(1, -1)).movedim(-1, 1)

    def _convolve(self, x: Float[Tensor, "b *grid i"]) -> Float[Tensor, "b *grid o"]:
        return convolve(
            self,
            x,
            kept_modes(tuple(x.shape[1:-1]), self.modes, self.layout),
            self._contract,
            self.precision,
            transform=self.transform,
            bias=self.bias,
            hermitian=self.hermitian,
        )

    def _contract(self, s: Float[Tensor, "m two b i"], kept: KeptModes) -> Float[Tensor, "m two b o"]:
        p = self.precision
        if isinstance(self.weight, SpectralWeight):
            weight = self.weight
            return by_pairs(s, kept, lambda v: weight.contract(v, kept, inputs=p.contraction, weights=p.weights))
        return products(s, self._cut(self.weight, kept), p.contraction, p.weights)

    @staticmethod
    def _cut(weight: Tensor, kept: KeptModes) -> Tensor:
        """The weights of the kept modes, (modes, in, 2 out)."""
        for axis, (start, count) in enumerate(zip(kept.starts, kept.counts, strict=True)):
            # The gradient of a cut is written into zeros: not for nothing.
            weight = weight if count == weight.shape[axis] else weight.narrow(axis, start, count)
        return weight.flatten(-2).flatten(0, -3)

    def extra_repr(self) -> str:
        return f"{self.in_channels}, {self.out_channels}, modes={self.modes}, {self.precision}, {self.transform}"


def convolve(
    layer: nn.Module,
    x: Float[Tensor, "b *grid i"],
    kept: KeptModes,
    contract: Callable[[Tensor, KeptModes], Tensor],
    precision: PrecisionSetting,
    *,
    transform: Transform = "fft",
    bias: Float[Tensor, " o"] | None = None,
    hermitian: bool = True,
) -> Float[Tensor, "b *grid o"]:
    """Transform, contraction and inverse transform in a setting, whatever holds the weights.

    Args:
        layer: whose spectrum monitors are shown.
        x: fields, channels last.
        kept: modes to keep.
        contract: multiplies each mode's coefficients, (modes, 2, batch, channels), by its complex matrix.
        precision, transform, bias, hermitian: as of :class:`SpectralConv`.
    """
    p = precision
    gain = undo_factor(p.stabiliser, kept.points)
    x = cheap(lambda v: stabilise(v, p.stabiliser, p.forward), x)
    if transform == "matmul":
        s = matmul_forward(x, kept, p.forward, gain=gain).flatten(2, -2).permute(2, 1, 0, 3)
    else:
        s = torch.view_as_real(fft_forward(x, kept, p.forward, gain=gain)).flatten(1, -3).permute(1, 3, 0, 2)
    observe(layer, "spectrum", s if gain == 1 else s / gain, kept.points)
    s = contract(s, kept)
    if transform == "matmul":
        y = matmul_inverse(s.permute(2, 1, 0, 3), kept, p.inverse)
    else:
        pairs = as_complex(s.permute(2, 0, 3, 1).unflatten(1, kept.counts))
        y = fft_inverse(pairs, kept, p.inverse, hermitian=hermitian)
    return y if bias is None else add(y, hold(bias, p.inverse), p.inverse)


def by_pairs(
    s: Float[Tensor, "m two b i"], kept: KeptModes, contract: Callable[[Tensor], Tensor]
) -> Float[Tensor, "m two b o"]:
    """Call what wants (batch, *modes, channels, 2) on (modes, 2, batch, channels), and back."""
    return contract(s.permute(2, 0, 3, 1).unflatten(1, kept.counts)).flatten(1, -3).permute(1, 3, 0, 2)


def products(
    s: Float[Tensor, "m two b i"], w: Float[Tensor, "m i parts"], inputs: str, weights: str
) -> Float[Tensor, "m two b o"]:
    """One real product per mode gives the four products of real and imaginary parts, which two sums combine.

    The batch stands twice in the rows of a product, once for each part; the weights lie side by side in its columns
    as they are stored, so that nothing but a change of format copies them.
    """
    format = widest(inputs, weights)
    s = hold(s.flatten(1, 2), inputs)
    low = w if weights == "fp32" else cheap(lambda v: hold(v, weights).to(s.dtype), w)
    parts = hold(s @ low, format)
    (rr, ri), (ir, ii) = (part.unbind(2) for part in parts.unflatten(2, (2, -1)).unflatten(1, (2, -1)).unbind(1))
    return hold(torch.stack([rr - ii, ri + ir], 1), format)
