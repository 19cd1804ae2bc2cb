"""What runs take on disk, from their specs alone."""

from __future__ import annotations

from math import prod

from mpno.specs import DataSpec, RunSpec, SFNOSpec, UNetSpec
from mpno.specs.grid import grid_of

_RECORD = 64 * 2**10  # spec, history, metrics and log of a run, generously
_FETCHED = 16 * 2**20  # the shipped Darcy set: its archive (4 MB), kept, and the HDF5 file


def data_bytes(spec: DataSpec, axes: int = 2) -> int:
    """Bytes of a data file: fp32 input and output fields."""
    if spec.source == "import":
        return 0  # it is there
    if spec.shipped:
        return _FETCHED
    points = sum(count * prod(grid_of(resolution, axes, name=spec.name)) for _, resolution, count in spec.wanted)
    return 2 * 4 * points


def run_bytes(spec: RunSpec) -> int:
    """Bytes a run leaves: its weights in fp32 (the complex spectral ones dominate) and its records."""
    model = spec.model
    if isinstance(model, UNetSpec):
        # Two 3 x 3 convolutions a level, down and up: 30 times the square of the channels at the bottom over 4^depth.
        return 4 * 30 * model.features**2 * 4**model.depth + _RECORD
    *whole, last = model.modes
    modes = whole[0] if isinstance(model, SFNOSpec) else prod(whole) * (last // 2 + 1)
    return 8 * model.layers * model.width**2 * modes + _RECORD
