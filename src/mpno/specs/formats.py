"""Number formats by name: what a format is, without torch."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from mpno.specs.errors import MpnoError, allowed


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with subnormals.

    Attributes:
        name: as written in configs and tables.
        exponent_bits: width of the exponent field.
        mantissa_bits: explicitly stored fraction bits.
        max: largest finite value.

    Source: IEEE 754-2019 for fp32 and fp16; the OCP 8-bit floating-point specification (2023) for fp8.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    max: float

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent_bits - 1) - 1

    @property
    def eps(self) -> float:
        """Distance from 1 to the next larger value."""
        return 2.0**-self.mantissa_bits

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding a normal value to nearest."""
        return self.eps / 2

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)

    @property
    def smallest_subnormal(self) -> float:
        return self.smallest_normal * self.eps


def _ieee(name: str, exponent_bits: int, mantissa_bits: int) -> Format:
    top = 2 ** (exponent_bits - 1) - 1
    return Format(name, exponent_bits, mantissa_bits, math.ldexp(2.0 - 2.0**-mantissa_bits, top))


FORMATS: dict[str, Format] = {
    "fp32": _ieee("fp32", 8, 23),
    "tf32": _ieee("tf32", 8, 10),
    "fp16": _ieee("fp16", 5, 10),
    "bf16": _ieee("bf16", 8, 7),
    "fp8_e5m2": _ieee("fp8_e5m2", 5, 2),
    # e4m3 spends the top exponent on numbers, all but one code: its maximum is 448, not 240.
    "fp8_e4m3": Format("fp8_e4m3", 4, 3, 448.0),
}


def get_format(name: str) -> Format:
    """Return the format called `name`, or an IEEE-like ``eXmY`` (X exponent, Y mantissa bits).

    ``e5m2`` is fp16 with 2 mantissa bits: the control that shows whether a test can see precision at all.

    Raises:
        MpnoError: the name is neither a known format nor ``eXmY`` with 2 <= X <= 8, 1 <= Y <= 23.
    """
    if name in FORMATS:
        return FORMATS[name]
    match = re.fullmatch(r"e([2-8])m(\d{1,2})", name)
    if match and 1 <= int(match[2]) <= 23:
        return _ieee(name, int(match[1]), int(match[2]))
    raise MpnoError(
        f"number format {name!r}: {allowed(name, FORMATS)}, or eXmY with 2 to 8 exponent and 1 to 23 mantissa bits"
    )
