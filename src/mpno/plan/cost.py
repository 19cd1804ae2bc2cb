"""What runs take on disk, from their specs alone."""

from __future__ import annotations

from math import prod

from mpno.specs import DataSpec, RunSpec
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
    *whole, last = spec.model.modes
    modes = prod(whole) * (last // 2 + 1)
    return 8 * spec.model.layers * spec.model.width**2 * modes + _RECORD
