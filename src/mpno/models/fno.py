"""The Fourier neural operator, with the topology of the public library's."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from mpno.models.checks import check_sizes, spec_of
from mpno.models.operator import FourierOperator
from mpno.models.padding import pad, unpad
from mpno.specs import FNOSpec, PrecisionSetting
from mpno.specs.names import Transform
from mpno.spectral import SpectralConv


class FNO(FourierOperator[FNOSpec]):
    """Fourier neural operator on a regular grid over the unit cube.

    Args:
        in_channels, out_channels: channels of the data; grid coordinates on [0, 1) are appended to the input.
        spec: sizes (see :class:`mpno.specs.FNOSpec`), which may be given as keywords instead.
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
        spec: FNOSpec | None = None,
        *,
        precision: PrecisionSetting | str = "full",
        transform: Transform = "fft",
        recompute: bool | None = None,
        **sizes: Any,
    ) -> None:
        spec = spec_of("FNO", FNOSpec, spec, sizes)
        check_sizes("FNO", in_channels, out_channels, spec, FNOSpec)
        width, modes = spec.width, spec.modes

        def conv() -> SpectralConv:
            contraction = spec.contraction
            return SpectralConv(width, width, modes, transform=transform, contraction=contraction, channels_last=True)

        super().__init__(in_channels, out_channels, spec, conv, precision=precision, recompute=recompute)

    def through_blocks(self, x: Float[Tensor, "b *grid c"]) -> Float[Tensor, "b *grid c"]:
        """The lifted field after every block, padded for them where the spec says so."""
        padding = self.spec.padding
        if not padding:
            return super().through_blocks(x)
        return unpad(super().through_blocks(pad(x, padding)), tuple(x.shape[1:-1]), padding)
