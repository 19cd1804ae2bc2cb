"""Precision systems: the paper's geometric one and number formats, as what a bound needs to know of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from mpno.numerics import round_to
from mpno.specs import MpnoError, get_format

Real = Float[np.ndarray, "..."]


@dataclass(frozen=True)
class PrecisionSystem:
    """A finite set S of numbers, symmetric about 0, and rounding to the nearest of them.

    Attributes:
        name: as written in tables.
        roundoff: u, the largest relative error of rounding a number from the smallest to the largest.
        underflow: eta, the largest error of a number whose relative error is larger; |q(x) - x| <= max(u |x|, eta).
        largest: R, the largest number; the bounds hold up to it.
        round: q, element by element, in float64.
    """

    name: str
    roundoff: float
    underflow: float
    largest: float
    round: Callable[[Real], Real]

    def round_complex(self, z: np.ndarray) -> np.ndarray:
        """Real and imaginary part rounded each for itself; a real array stays real."""
        if not np.iscomplexobj(z):
            return self.round(np.asarray(z, float))
        return self.round(np.ascontiguousarray(np.real(z))) + 1j * self.round(np.ascontiguousarray(np.imag(z)))

    def tie(self, below: float) -> tuple[float, float]:
        """The largest midpoint of two neighbours in S that is at most `below`, and half their distance.

        No number errs by more than this half distance on the way to `below`, but for those beyond the midpoint.

        Raises:
            MpnoError: no midpoint lies there.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Geometric(PrecisionSystem):
    """The (a0, epsilon, T)-system: 0 and +-a0 (1 + epsilon)^i for i = 0..T."""

    smallest: float = 0.0
    ratio: float = 1.0

    def tie(self, below: float) -> tuple[float, float]:
        middle = 1 + (self.ratio - 1) / 2
        if below < self.smallest * middle:
            raise MpnoError(f"{self.name}: no midpoint up to {below:g}; the first is {self.smallest * middle:g}")
        power = math.floor(math.log(min(below, self.largest) / (self.smallest * middle)) / math.log(self.ratio) + 1e-9)
        at = self.smallest * self.ratio**power
        return at * middle, at * (self.ratio - 1) / 2


@dataclass(frozen=True)
class Floating(PrecisionSystem):
    """A binary floating-point format with subnormals."""

    spacing: float = 0.0
    normal: float = 0.0

    def tie(self, below: float) -> tuple[float, float]:
        below = min(below, self.largest)
        binade = 2.0 ** math.floor(math.log2(below))
        half = self.spacing * max(binade, self.normal) / 2
        middle = (2 * math.floor((below / half - 1) / 2) + 1) * half
        if middle <= 0:
            raise MpnoError(f"{self.name}: no midpoint up to {below:g}; the first is {half:g}")
        # Between a power of two and the midpoint after it, the last midpoint is one of the finer binade.
        return (middle, half) if middle >= binade or binade < self.normal else self.tie(math.nextafter(binade, 0.0))


def geometric(a0: float, epsilon: float, steps: int) -> Geometric:
    """The paper's (a0, epsilon, T)-precision system, with T = `steps`.

    Between a and a (1 + epsilon) the midpoint has the largest relative error, so u = epsilon / (2 + epsilon). Below
    a0 a number errs by at most a0 / 2. Ties go to the smaller number.

    Raises:
        MpnoError: a0 or epsilon is not positive, or T is negative.

    Source: paper, section 3, as remembered; see docs/theory.md.
    """
    if not (a0 > 0 and epsilon > 0 and steps >= 0):
        raise MpnoError(f"precision system ({a0}, {epsilon}, {steps}): a0 and epsilon must be positive, T at least 0")
    numbers = np.concatenate([[0.0], a0 * (1 + epsilon) ** np.arange(steps + 1)])
    middles = (numbers[1:] + numbers[:-1]) / 2

    def nearest(x: Real) -> Real:
        return np.copysign(numbers[np.searchsorted(middles, np.abs(x))], x)

    name = f"({a0:g}, {epsilon:g}, {steps})"
    return Geometric(name, epsilon / (2 + epsilon), a0 / 2, float(numbers[-1]), nearest, a0, 1 + epsilon)


def of_format(name: str) -> Floating:
    """A number format by name, such as fp16, bf16, fp8_e4m3.

    The largest relative error of a normal number is eps / (2 + eps), with eps the spacing above 1: that of the
    midpoint after a power of two. It is smaller than the customary eps / 2.

    Raises:
        MpnoError: the format is unknown, or shares scales between neighbours, so that rounding is not by element.
    """
    fmt = get_format(name)
    if fmt.element is not None:
        raise MpnoError(f"precision system {name!r}: its numbers share scales; give a format that rounds one by one")

    def nearest(x: Real) -> Real:
        return round_to(torch.from_numpy(np.ascontiguousarray(x, dtype=float)), name).numpy()

    return Floating(
        fmt.name, fmt.eps / (2 + fmt.eps), fmt.smallest_subnormal / 2, fmt.max, nearest, fmt.eps, fmt.smallest_normal
    )
