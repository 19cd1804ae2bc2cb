"""mpno: mixed-precision neural operators, as a library and as a runnable reproduction of their paper.

Public names load on first use, so that importing :mod:`mpno` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpno.models import FNO, Audit, audit, convert, register_adapter, revert
    from mpno.numerics import GradScaler, RangeMonitor, round_to, set_precision, trace_dtypes
    from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting, RunSpec
    from mpno.spectral import SpectralConv, SphericalConv

__version__ = "0.1.0"

_HOMES = {
    "Audit": "mpno.models",
    "ContractionSpec": "mpno.specs",
    "FNO": "mpno.models",
    "GradScaler": "mpno.numerics",
    "MpnoError": "mpno.specs",
    "PrecisionSetting": "mpno.specs",
    "RangeMonitor": "mpno.numerics",
    "RunSpec": "mpno.specs",
    "SpectralConv": "mpno.spectral",
    "SphericalConv": "mpno.spectral",
    "audit": "mpno.models",
    "convert": "mpno.models",
    "register_adapter": "mpno.models",
    "revert": "mpno.models",
    "round_to": "mpno.numerics",
    "set_precision": "mpno.numerics",
    "trace_dtypes": "mpno.numerics",
}

__all__ = [
    "FNO",
    "Audit",
    "ContractionSpec",
    "GradScaler",
    "MpnoError",
    "PrecisionSetting",
    "RangeMonitor",
    "RunSpec",
    "SpectralConv",
    "SphericalConv",
    "__version__",
    "audit",
    "convert",
    "register_adapter",
    "revert",
    "round_to",
    "set_precision",
    "trace_dtypes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mpno' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
