"""One FNO on finer and finer grids: its outputs at the points they share converge."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from mpno import FNO
from mpno.specs import FNOSpec, get_format
from mpno.specs.names import Transform

STORED = 12 * 3 + 6
"""Roundings to a format on the way through three blocks, a dozen each, and through lifting and projection."""


def field(points: int, axes: int) -> Tensor:
    """Two analytic functions of period 1, sampled."""
    grid = torch.meshgrid(*[torch.arange(points).double() / points * 2 * math.pi] * axes, indexing="ij")
    one = torch.exp(torch.sin(grid[0]) + 0.7 * torch.cos(grid[-1]))
    return 3 * torch.stack([one, torch.cos(grid[0] + grid[-1])])[None].float()


def make(axes: int, precision: str, transform: Transform, *, coordinates: bool) -> FNO:
    """A model whose fields are far from linear; without coordinates if their channels have no weight."""
    spec = FNOSpec(modes=(6,) * axes, width=8, layers=3)
    model = FNO(2, 1, spec, precision=precision, transform=transform)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("skip.linear.weight"):
                p.mul_(3)
        if not coordinates:
            model.lifting.first.weight[:, 2:] = 0
    return model


def steps(model: FNO, axes: int, grids: list[int]) -> list[float]:
    """Distances of the outputs on each grid and on the next, at the points of the first, relative to the last."""
    fields = []
    for points in grids:
        common = (..., *[slice(None, None, points // grids[0])] * axes)
        fields.append(model(field(points, axes)).detach()[common])
    return [((a - b).norm() / fields[-1].norm()).item() for a, b in itertools.pairwise(fields)]


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("axes", [1, 2])
def test_periodic_fields_converge_spectrally(axes: int, transform: Transform) -> None:
    """The one error is aliasing: of what GELU makes beyond a grid's Nyquist frequency.

    All fields are analytic and periodic, so that it falls geometrically with the number of points: twice the points
    square it, until rounding is left.
    """
    first, second, third = steps(make(axes, "full", transform, coordinates=False), axes, [8, 16, 32, 64])
    floor = get_format("fp32").unit_roundoff * STORED**0.5
    assert first > 100 * floor, "nothing to converge"
    assert second < first / 30 and third < max(second / 30, floor)


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("axes", [1, 2])
def test_coordinates_make_it_first_order(axes: int, transform: Transform) -> None:
    """Coordinates on [0, 1) jump at the period: the mean over a grid is half a spacing off, and all modes with it."""
    first, second, third = steps(make(axes, "full", transform, coordinates=True), axes, [16, 32, 64, 128])
    assert 1.8 < first / second < 2.2 and 1.9 < second / third < 2.1


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("format", ["fp16", "bf16"])
@pytest.mark.parametrize("coordinates", [False, True])
def test_in_mixed_it_converges_to_the_formats_level(coordinates: bool, format: str, transform: Transform) -> None:
    """Each step is at most that in full plus rounding on either grid, and rounding does not grow with the grid."""
    axes, grids = 2, [8, 16, 32, 64]
    mixed = make(axes, f"mixed-{format}", transform, coordinates=coordinates)
    full = make(axes, "full+tanh", transform, coordinates=coordinates)
    full.load_state_dict(mixed.state_dict())
    level = get_format(format).unit_roundoff * STORED**0.5
    got, exact = steps(mixed, axes, grids), steps(full, axes, grids)
    assert all(a < b + 2 * level for a, b in zip(got, exact, strict=True)), (got, exact)
    assert got[-1] < level
    if format == "fp16":
        assert got[0] > 2 * got[-1], got
