"""Data sets: fetched or generated, kept in one HDF5 layout, split and normalised.

Names that need scipy, pyamg or torch load on first use: reading a store needs h5py and numpy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from mpno.datasets.normalise import Normaliser
from mpno.datasets.store import (
    Split,
    Stored,
    fit_stored,
    lazy_split,
    load_split,
    open_split,
    read_attrs,
    read_pairs,
    verify,
    write_store,
    writing,
)

if TYPE_CHECKING:
    from mpno.datasets.build import make
    from mpno.datasets.darcy import FNO2020, SHIPPED, Medium, coefficient, generate, solve
    from mpno.datasets.fetch import fetch_darcy

_HOMES = {
    "FNO2020": "mpno.datasets.darcy",
    "SHIPPED": "mpno.datasets.darcy",
    "Medium": "mpno.datasets.darcy",
    "coefficient": "mpno.datasets.darcy",
    "fetch_darcy": "mpno.datasets.fetch",
    "generate": "mpno.datasets.darcy",
    "make": "mpno.datasets.build",
    "solve": "mpno.datasets.darcy",
}

__all__ = [
    "FNO2020",
    "SHIPPED",
    "Medium",
    "Normaliser",
    "Split",
    "Stored",
    "coefficient",
    "fetch_darcy",
    "fit_stored",
    "generate",
    "lazy_split",
    "load_split",
    "make",
    "open_split",
    "read_attrs",
    "read_pairs",
    "solve",
    "verify",
    "write_store",
    "writing",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mpno.datasets' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
