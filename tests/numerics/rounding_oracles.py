"""Number formats as other libraries have them: all codes of the small ones, and rounding to any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gfloat
import ml_dtypes
import numpy as np
import torch
from gfloat.types import Domain
from numpy.typing import NDArray

from mpno.specs import get_format

# Name here, the type that has the same values, its bits. e5m10 and e8m7 go other ways than fp16 and bf16 do.
TYPES: dict[str, tuple[Any, int]] = {
    "fp16": (np.float16, 16),
    "e5m10": (np.float16, 16),
    "bf16": (ml_dtypes.bfloat16, 16),
    "e8m7": (ml_dtypes.bfloat16, 16),
    "fp8_e4m3": (ml_dtypes.float8_e4m3fn, 8),
    "e4m3_max448": (ml_dtypes.float8_e4m3fn, 8),
    "fp8_e5m2": (ml_dtypes.float8_e5m2, 8),
    "e4m3": (ml_dtypes.float8_e4m3, 8),
    "e3m4": (ml_dtypes.float8_e3m4, 8),
    "e3m2_max28": (ml_dtypes.float6_e3m2fn, 6),
    "e2m3_max7.5": (ml_dtypes.float6_e2m3fn, 6),
    "e2m1_max6": (ml_dtypes.float4_e2m1fn, 4),
}


def codes(name: str) -> NDArray[np.float64]:
    """The values of all codes, in the order of the codes: positive ones first, then negative ones."""
    dtype, bits = TYPES[name]
    integers = np.arange(2**bits, dtype=np.uint16 if bits == 16 else np.uint8)
    with np.errstate(invalid="ignore"):  # NaN codes
        return integers.view(dtype).astype(np.float64)


@dataclass
class Gaps:
    """Neighbouring magnitudes, up to the maximum and the number that would follow it."""

    below: NDArray[np.float64]
    above: NDArray[np.float64]
    even: NDArray[np.float64]
    """The one of the two whose code is even."""

    @property
    def middle(self) -> NDArray[np.float64]:
        return (self.below + self.above) / 2


def gaps(name: str) -> Gaps:
    values = codes(name)
    values = values[: len(values) // 2]
    values = values[np.isfinite(values)]
    values = np.append(values, 2 * values[-1] - values[-2])
    below, above = values[:-1], values[1:]
    return Gaps(below, above, np.where(np.arange(len(below)) % 2 == 0, below, above))


def same(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Equal bit by bit, any NaN being any other."""
    integer = torch.int32 if x.dtype is torch.float32 else torch.int64
    return bool(((x.view(integer) == y.view(integer)) | (x.isnan() & y.isnan())).all()) and x.dtype == y.dtype


def by_gfloat(x: torch.Tensor, name: str) -> torch.Tensor:
    """Round with gfloat as if the exponent had one bit more, then send what exceeds the maximum to infinity."""
    ours = get_format(name)
    wide = gfloat.FormatInfo(
        "wide",
        k=ours.exponent_bits + 2 + ours.mantissa_bits,
        precision=ours.mantissa_bits + 1,
        bias=2 ** (ours.exponent_bits - 1) - 1,
        is_signed=True,
        domain=Domain.Extended,
        has_nz=True,
        num_high_nans=1,
        has_subnormals=True,
        is_twos_complement=False,
    )
    with np.errstate(over="ignore"):
        rounded = torch.from_numpy(gfloat.round_ndarray(wide, x.double().numpy()))
    return torch.where(rounded.abs() > ours.max, rounded * torch.inf, rounded).to(x.dtype)
