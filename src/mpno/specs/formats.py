"""Number formats by name: what a format is, without torch."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, replace

from mpno.specs.errors import MpnoError, allowed

BLOCK = 32
"""Values that share a scale in a Microscaling format."""
SCALE_BIAS = 127
"""The shared scale is E8M0, a power of two from 2^-127 to 2^127 or NaN."""
_CLIPPED, _BACK, _CHANCE = "_sat", "_back_", "_stochastic"


@dataclass(frozen=True)
class Format:
    """A binary floating-point format with subnormals, or blocks of one (Microscaling).

    A block format stores `BLOCK` neighbours on the last axis as elements of a small format times one power of two.
    Its maximum and smallest values are those with the largest and the smallest scale; within one block the
    values reach down to ``element.smallest_subnormal / element.max`` of the largest, as in the element format.

    Attributes:
        name: as written in configs and tables.
        exponent_bits: width of the exponent field (of an element).
        mantissa_bits: explicitly stored fraction bits (of an element).
        max: largest finite value.
        element: what a block format stores its values as; None for a plain format.
        clamps: whether a block's scale is that of the OCP specification, by which its largest values may be clamped;
            else it is the smallest by which they are not.
        saturates: whether what exceeds the maximum becomes the maximum, infinity too, and not infinity. Overflow of
            such a format means clipping wherever a largest number is held against its maximum.
        gradient: the format that holds the gradients of what is held in this one; None for the format itself.
        stochastic: whether values are rounded up or down by chance, so that the mean is the value itself.

    Source: IEEE 754-2019 for fp32 and fp16; the OCP 8-bit Floating Point Specification 1.0 (2023) for fp8; the OCP
    Microscaling Formats Specification 1.0 (2023) for mxfp8 and mxint8.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    max: float
    element: Format | None = None
    clamps: bool = True
    saturates: bool = False
    gradient: Format | None = None
    stochastic: bool = False

    @property
    def bias(self) -> int:
        """A field of one bit tells subnormals from [1, 2), which have one spacing: it writes integers."""
        return 2 ** (self.exponent_bits - 1) - 1 if self.exponent_bits > 1 else 1

    @property
    def top(self) -> int:
        """Exponent of the largest finite value: it lies in [2^top, 2^(top + 1))."""
        return math.frexp(self.max)[1] - 1

    @property
    def fills_top(self) -> bool:
        """Whether the maximum is the last number before 2^(top + 1), as in IEEE formats."""
        return self.max == math.ldexp(2.0 - self.eps, self.top)

    @property
    def eps(self) -> float:
        """Distance from 1 to the next larger value."""
        return 2.0**-self.mantissa_bits

    @property
    def unit_roundoff(self) -> float:
        """Largest relative error of rounding a value from the smallest normal to the maximum.

        In a block format this holds for values that are normal under their block's scale. The specification's scale
        brings the block's largest value below 2^(top + 1) and not below its maximum, so what lies between the two is
        clamped: with e4m3 elements by up to 1/8, twice what rounding costs.
        """
        clamped = 0.0
        if self.element is not None and self.clamps:
            clamped = 1.0 - math.ldexp(self.element.max, -self.element.top - 1)
        return max(self.eps / 2, clamped)

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias - (SCALE_BIAS if self.element else 0))

    @property
    def smallest_subnormal(self) -> float:
        return self.smallest_normal * self.eps


def _ieee(name: str, exponent_bits: int, mantissa_bits: int) -> Format:
    top = 2 ** (exponent_bits - 1) - 1
    return Format(name, exponent_bits, mantissa_bits, math.ldexp(2.0 - 2.0**-mantissa_bits, top))


def _blocks(name: str, element: Format, *, clamps: bool = True) -> Format:
    largest = math.ldexp(element.max, SCALE_BIAS)
    return Format(name, element.exponent_bits, element.mantissa_bits, largest, element, clamps)


# e4m3 spends the top exponent on numbers, all but one code: its maximum is 448, not 240.
_E4M3, _E5M2 = Format("fp8_e4m3", 4, 3, 448.0), _ieee("fp8_e5m2", 5, 2)
# Multiples of 1/64 up to 127/64. The specification allows to leave -2 unused, so that both signs clip alike.
_INT8 = Format("int8", 1, 6, 127 / 64)

FORMATS: dict[str, Format] = {
    "fp32": _ieee("fp32", 8, 23),
    "tf32": _ieee("tf32", 8, 10),
    "fp16": _ieee("fp16", 5, 10),
    "bf16": _ieee("bf16", 8, 7),
    "fp8_e5m2": _E5M2,
    "fp8_e4m3": _E4M3,
    "mxfp8": _blocks("mxfp8", _E4M3),
    "mxfp8_e5m2": _blocks("mxfp8_e5m2", _E5M2),
    "mxfp8_up": _blocks("mxfp8_up", _E4M3, clamps=False),
    "mxint8": _blocks("mxint8", _INT8),
}


@functools.cache
def get_format(name: str) -> Format:
    """Return the format called `name`, or the one that ``eXmY`` or ``eXmY_maxV`` spells out, clipped with ``_sat``.

    ``eXmY`` is IEEE-like with X exponent and Y mantissa bits: ``e5m2`` is fp16 with 2 mantissa bits, the control that
    shows whether a test can see precision at all. ``_maxV`` gives it another maximum, so that range and precision
    can be told apart: ``e4m10_max448`` has the range of fp8_e4m3 and the mantissa of fp16. A maximum
    beyond the IEEE one uses the exponent that IEEE keeps for infinity and NaN, as e4m3 does.

    ``_sat`` after any of these clips what is out of range to the maximum, each time something is rounded:
    ``fp8_e4m3_sat``. Without it, what is out of range becomes infinity.

    ``A_back_B`` holds values in A and their gradients in B, as in ``mxfp8_back_mxfp8_e5m2``. ``_stochastic`` at the end
    rounds the gradients by chance.

    Raises:
        MpnoError: the name is neither a known format nor ``eXmY`` with 2 <= X <= 8, 1 <= Y <= 23, or V is not a
            value of the format, at least 1, that its exponent can hold; or ``_sat`` follows a block format; or A or B
            is itself one with a format of its own for gradients, or A rounds by chance.
    """
    if _BACK in name:
        return _with_gradient(name)
    if name.endswith(_CHANCE):
        nearest = get_format(name.removesuffix(_CHANCE))
        return replace(nearest, name=nearest.name + _CHANCE, stochastic=True)
    if name.endswith(_CLIPPED):
        return _saturating(name)
    if name in FORMATS:
        return FORMATS[name]
    match = re.fullmatch(r"e([2-8])m(\d{1,2})(?:_max(\d+(?:\.\d+)?))?", name)
    if match and 1 <= int(match[2]) <= 23:
        exponent_bits, mantissa_bits = int(match[1]), int(match[2])
        ieee = _ieee(f"e{exponent_bits}m{mantissa_bits}", exponent_bits, mantissa_bits)
        return _with_max(ieee, match[3], name) if match[3] else ieee
    raise MpnoError(
        f"number format {name!r}: {allowed(name, FORMATS)}, or eXmY with 2 to 8 exponent and 1 to 23 mantissa bits, "
        f"or eXmY_maxV with the maximum V; {_CLIPPED} clips what is out of range, {_BACK}FORMAT is of gradients"
    )


def gradient_format(name: str) -> str:
    """The name of the format that holds the gradients of what is held in `name`."""
    fmt = get_format(name)
    return (fmt.gradient or fmt).name


def _with_gradient(name: str) -> Format:
    forward, backward = (get_format(part) for part in name.split(_BACK, 1))
    if forward.stochastic or forward.gradient or backward.gradient:
        raise MpnoError(
            f"number format {name!r}: only gradients may be rounded by chance, and have one format; write it as "
            f"mxfp8{_BACK}mxfp8_e5m2{_CHANCE}"
        )
    return replace(forward, name=forward.name + _BACK + backward.name, gradient=backward)


def _saturating(name: str) -> Format:
    plain = get_format(name.removesuffix(_CLIPPED))
    if plain.element or plain.saturates:
        what = "scales its values into range by itself" if plain.element else "clips already"
        raise MpnoError(f"number format {name!r}: {plain.name} {what}; leave out {_CLIPPED}")
    return replace(plain, name=plain.name + _CLIPPED, saturates=True)


def _with_max(ieee: Format, text: str, name: str) -> Format:
    largest = float(text)
    # One exponent more than IEEE's, unless float32, which holds the values, has no more.
    last = ieee.max if ieee.exponent_bits == 8 else 2 * ieee.max
    if not 1.0 <= largest <= last:
        raise MpnoError(
            f"number format {name!r}: the maximum of {ieee.name} is {text}; it must be from 1 to {last:.17g}"
        )
    spacing = math.ldexp(ieee.eps, math.frexp(largest)[1] - 1)
    if largest % spacing:
        below = largest - largest % spacing
        raise MpnoError(
            f"number format {name!r}: the maximum {text} is not a value of {ieee.name}; "
            f"its neighbours are {below:.17g} and {below + spacing:.17g}"
        )
    if largest == ieee.max:
        return ieee
    written = int(largest) if largest.is_integer() else largest
    return Format(f"{ieee.name}_max{written}", ieee.exponent_bits, ieee.mantissa_bits, largest)
