"""How far a half transform is from overflow: the headroom of every spectral layer, here and on another grid."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from mpno.numerics.aligned import aligned
from mpno.specs import get_format

_active: list[RangeMonitor] = []


def observe(layer: nn.Module, name: str, tensor: Shaped[Tensor, "..."], points: int) -> None:
    """Show a spectrum to the monitors that are on. Spectral layers call it; without a monitor it returns at once.

    Args:
        layer: the module that calls.
        name: what the tensor is, for a layer with several.
        tensor: coefficients scaled by 1/n, complex or as real and imaginary parts.
        points: n, the number of grid points.
    """
    if not _active:
        return
    for monitor in _active:
        monitor._see(layer, name, tensor.detach(), points)


@dataclass(frozen=True)
class Headroom:
    """How much of a format's range one layer's forward transform has used.

    Attributes:
        layer: path in the model.
        name: which tensor of it.
        format: whose maximum counts.
        points: grid points of the transform.
        largest: largest part, real or imaginary, of any kept coefficient scaled by 1/n.
    """

    layer: str
    name: str
    format: str
    points: int
    largest: float

    @property
    def ratio(self) -> float:
        """Largest unscaled coefficient over the format's maximum: a transform that scales last overflows above 1."""
        return self.at(self.points)

    def at(self, points: int) -> float:
        """The ratio to expect on another grid. A fixed continuous function has fixed coefficients in 1/n
        scaling, so the unscaled ones grow as the number of points.
        """
        return self.largest * points / get_format(self.format).max if math.isfinite(self.largest) else math.inf

    @property
    def most_points(self) -> float:
        """The number of points at which the ratio reaches 1."""
        if not math.isfinite(self.largest):
            return 0.0
        return get_format(self.format).max / self.largest if self.largest else math.inf


@dataclass(frozen=True)
class RangeReport:
    """The headroom of every layer seen. Prints itself as a table; `grids` are other grid sizes to show."""

    layers: tuple[Headroom, ...]
    grids: tuple[int, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """One flat mapping per layer and grid: layer, name, format, points, measured (at this grid), ratio."""
        return [
            {"layer": h.layer, "name": h.name, "format": h.format, "points": points, "measured": points == h.points}
            | {"ratio": h.at(points)}
            for h in self.layers
            for points in dict.fromkeys((h.points, *self.grids))
        ]

    def __str__(self) -> str:
        if not self.layers:
            return "no spectral layer has shown a spectrum"
        head = ("layer", "tensor", "largest / n", "points", "of max", *(f"at {n:,}" for n in self.grids), "1 at points")
        rows = [
            [h.layer, h.name, f"{h.largest:.3g}", f"{h.points:,}"]
            + [f"{h.at(n):.3g}" for n in (h.points, *self.grids)]
            + [f"{h.most_points:,.0f}"]
            for h in self.layers
        ]
        return f"largest unscaled coefficient over the maximum of {self.layers[0].format}\n" + aligned(
            head, rows, left=2
        )


class RangeMonitor:
    """Watch the spectra of a model's layers while the context is open.

    Keeps one maximum per layer on the device and reads it only in :meth:`report`, so nothing waits. Sees the final,
    kept coefficients: a pass along one axis can be larger where the other axis cancels.

    Args:
        model: its spectral layers call :func:`observe`.
        format: whose maximum counts, also where the model runs in another format.
        grids: other numbers of grid points to show the headroom for.
    """

    def __init__(self, model: nn.Module, *, format: str = "fp16", grids: Sequence[int] = ()) -> None:
        self._names = {id(module): name for name, module in model.named_modules()}
        self._model = model  # keeps the ids above valid
        self._format = get_format(format).name
        self._grids = tuple(grids)
        self._largest: dict[tuple[str, str, int], Tensor] = {}

    def __enter__(self) -> RangeMonitor:
        _active.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _active.remove(self)

    def _see(self, layer: nn.Module, name: str, tensor: Tensor, points: int) -> None:
        if id(layer) not in self._names:
            return
        parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
        # One pass without a copy, in the order of the memory, which takes a third of the time. It carries NaN along.
        low, high = parts.permute(sorted(range(parts.ndim), key=parts.stride, reverse=True)).aminmax()
        largest = torch.maximum(high, -low)
        key = (self._names[id(layer)], name, points)
        self._largest[key] = torch.maximum(self._largest[key], largest) if key in self._largest else largest

    def report(self) -> RangeReport:
        """The headroom so far, layers in the order in which they first ran."""
        found = [
            Headroom(layer or "model", name, self._format, points, float(largest))
            for (layer, name, points), largest in self._largest.items()
        ]
        return RangeReport(tuple(found), self._grids)
