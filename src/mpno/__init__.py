"""mpno: mixed-precision neural operators, as a library and as a runnable reproduction of their paper.

Public names load on first use, so that importing :mod:`mpno` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpno.measurement import describe
    from mpno.models import FNO, load, make_model, save
    from mpno.numerics import RangeMonitor, round_to, set_precision, trace_dtypes
    from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting, RunSpec
    from mpno.spectral import SpectralConv, SphericalConv
    from mpno.training import evaluate_run, load_run, predict_run, train_run

__version__ = "0.1.0"

_HOMES = {
    "ContractionSpec": "mpno.specs",
    "FNO": "mpno.models",
    "MpnoError": "mpno.specs",
    "PrecisionSetting": "mpno.specs",
    "RangeMonitor": "mpno.numerics",
    "RunSpec": "mpno.specs",
    "SpectralConv": "mpno.spectral",
    "SphericalConv": "mpno.spectral",
    "describe": "mpno.measurement",
    "evaluate_run": "mpno.training",
    "load": "mpno.models",
    "load_run": "mpno.training",
    "make_model": "mpno.models",
    "predict_run": "mpno.training",
    "round_to": "mpno.numerics",
    "save": "mpno.models",
    "set_precision": "mpno.numerics",
    "trace_dtypes": "mpno.numerics",
    "train_run": "mpno.training",
}

__all__ = [
    "FNO",
    "ContractionSpec",
    "MpnoError",
    "PrecisionSetting",
    "RangeMonitor",
    "RunSpec",
    "SpectralConv",
    "SphericalConv",
    "__version__",
    "describe",
    "evaluate_run",
    "load",
    "load_run",
    "make_model",
    "predict_run",
    "round_to",
    "save",
    "set_precision",
    "trace_dtypes",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mpno' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
