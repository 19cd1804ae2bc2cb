"""Which axis of an array is what: samples, channels, grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mpno.specs import MpnoError

CHANNELS_MOST = 7
"""An axis without a name is taken for channels up to this length, and for a grid above."""
GRID_LEAST = 4
"""The H1 error takes differences over four points."""
CHOICES = {
    2: ("n x",),
    3: ("n y x", "n c x", "n x c"),
    4: ("n c y x", "n y x c", "n z y x"),
    5: ("n c z y x", "n z y x c"),
}


class Fields:
    """An array read as (n, channels, *grid), whatever the order of its axes.

    Attributes:
        where: the file and key.
        layout: the name of each axis of the file: n, c, and the grid's.
        grid, channels: the sizes.
        inferred: whether nobody said the layout.
    """

    def __init__(self, where: str, array: Any, layout: str, *, inferred: bool) -> None:
        self.where, self._array, self.layout, self.inferred = where, array, layout.split(), inferred
        self.axes = [axis for axis in self.layout if axis not in "nc"]
        size = dict(zip(self.layout, array.shape, strict=True))
        self.n, self.channels = size["n"], size.get("c", 1)
        self.grid = tuple(size[axis] for axis in self.axes)
        self.dtype = np.dtype(array.dtype)

    def __len__(self) -> int:
        return self.n

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples from `start` to before `stop`, (stop - start, channels, *grid), in the file's dtype.

        Raises:
            MpnoError: the file is damaged there.
        """
        place = self.layout.index("n")
        try:
            part = np.asarray(self._array[(slice(None),) * place + (slice(start, stop),)])
        except Exception as error:  # a damaged file can make the reader fail in any way
            raise MpnoError(
                f"{self.where}: samples {start} to {stop - 1} cannot be read ({error}); get it anew"
            ) from None
        if "c" not in self.layout:
            return np.transpose(part, [self.layout.index(axis) for axis in ["n", *self.axes]])[:, None]
        return np.transpose(part, [self.layout.index(axis) for axis in ["n", "c", *self.axes]])


def fields(where: str, array: Any, layout: str | None) -> Fields:
    """Check the dtype and name the axes of an array, by `layout` or from its shape where that leaves one reading.

    A layout with a channel axis also names an array without one.

    Raises:
        MpnoError: no real numbers, a layout that does not fit, more than one reading, or a grid too small.
    """
    shape = tuple(array.shape)
    if np.dtype(array.dtype).kind not in "biuf":
        hint = "give real and imaginary part as two channels" if np.dtype(array.dtype).kind == "c" else "give numbers"
        raise MpnoError(f"{where}: holds {array.dtype}; allowed: bool, integers and floats: {hint}")
    found = Fields(where, array, layout_of(where, shape, layout), inferred=layout is None)
    if min(found.grid) < GRID_LEAST:
        raise MpnoError(
            f"{where}: grid {found.grid} of shape {shape} as {' '.join(found.layout)}; allowed: at least {GRID_LEAST} "
            "points per axis: give --layout if the axes are others"
        )
    return found


def layout_of(where: str, shape: Sequence[int], layout: str | None) -> str:
    """The names of the axes of an array of this shape. Errors as :func:`fields`."""
    if layout is not None:
        names = layout.replace(",", " ").split()
        if len(names) == len(shape) + 1 and "c" in names:
            names.remove("c")
        grid = [name for name in names if name not in ("n", "c")]
        if len(set(names)) != len(names) or "n" not in names or not 1 <= len(grid) <= 3 or len(names) != len(shape):
            raise MpnoError(
                f"{where}: layout {layout!r} does not fit shape {tuple(shape)}; name each axis once: n for samples, c "
                'for channels if there are any, and one to three for the grid, as in "n c y x"'
            )
        return " ".join(names)
    plausible = [choice for choice in CHOICES.get(len(shape), ()) if _plausible(choice, shape)]
    if len(plausible) != 1:
        could = " or ".join(repr(choice) for choice in plausible or CHOICES.get(len(shape), ("n c y x",)))
        raise MpnoError(f"{where}: shape {tuple(shape)} may be {could}; say which with --layout")
    return plausible[0]


def _plausible(choice: str, shape: Sequence[int]) -> bool:
    size = dict(zip(choice.split(), shape, strict=True))
    return size.pop("n") > 0 and size.pop("c", 1) <= CHANNELS_MOST < min(size.values())
