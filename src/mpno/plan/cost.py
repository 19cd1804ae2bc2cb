"""What runs take on disk, from their specs alone."""

from __future__ import annotations

from math import prod

from mpno.specs import DataSpec, RunSpec

_RECORD = 64 * 2**10  # spec, history, metrics and log of a run, generously
_FETCHED = 16 * 2**20  # the shipped Darcy set: its archive (4 MB), kept, and the HDF5 file


def data_bytes(spec: DataSpec) -> int:
    """Bytes of a data file: fp32 input and output fields."""
    if spec.source == "fetch":
        return _FETCHED
    points = spec.n_train * spec.resolution**2 + spec.n_test * sum(r**2 for r in spec.test_resolutions)
    return 2 * 4 * points


def run_bytes(spec: RunSpec) -> int:
    """Bytes a run leaves: its weights in fp32 (the complex spectral ones dominate) and its records."""
    *whole, last = spec.model.modes
    modes = prod(whole) * (last // 2 + 1)
    return 8 * spec.model.layers * spec.model.width**2 * modes + _RECORD
