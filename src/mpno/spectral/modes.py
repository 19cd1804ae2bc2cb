"""Which Fourier modes are kept, and where they sit in a transform's output."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mpno.specs import MpnoError
from mpno.specs.names import WeightLayout


@dataclass(frozen=True)
class KeptModes:
    """The modes kept on one grid.

    Axes other than the last hold signed frequencies ``-k//2 ... k//2 + k%2 - 1``; the last holds
    ``0 ... k-1``, the other half following from Hermitian symmetry.

    Attributes:
        grid: points along each axis.
        counts: frequencies kept along each axis.
        starts: where each axis' kept frequencies begin among those that a weight made for `modes` stores.
    """

    grid: tuple[int, ...]
    counts: tuple[int, ...]
    starts: tuple[int, ...]

    @property
    def points(self) -> int:
        return math.prod(self.grid)

    def frequencies(self, axis: int) -> range:
        """The kept frequencies along `axis`, in storage order."""
        count = self.counts[axis]
        if axis == len(self.grid) - 1:
            return range(count)
        return range(-(count // 2), count // 2 + count % 2)


def weight_modes(modes: tuple[int, ...], layout: WeightLayout = "joint") -> tuple[int, ...]:
    """Frequencies stored along each axis for `modes` kept: all but half of the last, which is redundant.

    ``joint`` stores m frequencies per axis and m // 2 + 1 on the last, as the public library does today.
    ``corners`` stores m // 2 of either sign and m // 2 on the last, as the authors' library did.
    """
    if layout == "corners":
        return (*(2 * (m // 2) for m in modes[:-1]), modes[-1] // 2)
    return (*modes[:-1], modes[-1] // 2 + 1)


def kept_modes(grid: tuple[int, ...], modes: tuple[int, ...], layout: WeightLayout = "joint") -> KeptModes:
    """Keep as many of `modes` as `grid` resolves and `layout` stores.

    Raises:
        MpnoError: grid and modes have different numbers of axes, or corners of no mode at all.
    """
    if len(grid) != len(modes):
        raise MpnoError(f"input has {len(grid)} grid axes {grid}, modes {modes} want {len(modes)}; pass one per axis")
    stored = weight_modes(modes, layout)
    if min(stored) < 1:
        raise MpnoError(f"modes {modes} leave layout {layout} an axis without frequencies; use at least 2 per axis")
    resolved = (*grid[:-1], grid[-1] // 2 + 1)
    counts = tuple(min(size, keep) for size, keep in zip(resolved, stored, strict=True))
    # Frequency 0 stands at keep // 2 in the weight and at count // 2 here.
    starts = tuple(keep // 2 - count // 2 for keep, count in zip(stored[:-1], counts[:-1], strict=True))
    return KeptModes(grid, counts, (*starts, 0))
