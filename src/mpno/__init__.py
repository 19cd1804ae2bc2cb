"""mpno: mixed-precision neural operators, as a library and as a runnable reproduction of their paper.

Public names load on first use, so that importing :mod:`mpno` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpno.measurement import describe
    from mpno.models import (
        FNO,
        GINO,
        SFNO,
        Audit,
        Geometry,
        UNet,
        audit,
        convert,
        from_neuralop,
        load,
        make_model,
        register_adapter,
        revert,
        save,
    )
    from mpno.numerics import GradScaler, RangeMonitor, round_to, set_precision, trace_dtypes
    from mpno.specs import (
        ContractionSpec,
        FNOSpec,
        GINOSpec,
        MpnoError,
        PrecisionSetting,
        RunSpec,
        SFNOSpec,
        UNetSpec,
        build_spec,
    )
    from mpno.spectral import Basis, BasisConv, SpectralConv, SphericalConv, graph_basis, haar_basis, sphere_basis
    from mpno.theory.advice import Advice, advise
    from mpno.training import evaluate_run, load_run, predict_run, train_run

__version__ = "0.1.0"

_HOMES = {
    "Advice": "mpno.theory.advice",
    "Audit": "mpno.models",
    "Basis": "mpno.spectral",
    "BasisConv": "mpno.spectral",
    "ContractionSpec": "mpno.specs",
    "FNO": "mpno.models",
    "FNOSpec": "mpno.specs",
    "GINO": "mpno.models",
    "GINOSpec": "mpno.specs",
    "Geometry": "mpno.models",
    "GradScaler": "mpno.numerics",
    "MpnoError": "mpno.specs",
    "PrecisionSetting": "mpno.specs",
    "RangeMonitor": "mpno.numerics",
    "RunSpec": "mpno.specs",
    "SFNO": "mpno.models",
    "SFNOSpec": "mpno.specs",
    "SpectralConv": "mpno.spectral",
    "SphericalConv": "mpno.spectral",
    "UNet": "mpno.models",
    "UNetSpec": "mpno.specs",
    "advise": "mpno.theory.advice",
    "audit": "mpno.models",
    "build_spec": "mpno.specs",
    "convert": "mpno.models",
    "describe": "mpno.measurement",
    "evaluate_run": "mpno.training",
    "from_neuralop": "mpno.models",
    "graph_basis": "mpno.spectral",
    "haar_basis": "mpno.spectral",
    "load": "mpno.models",
    "load_run": "mpno.training",
    "make_model": "mpno.models",
    "predict_run": "mpno.training",
    "register_adapter": "mpno.models",
    "revert": "mpno.models",
    "round_to": "mpno.numerics",
    "save": "mpno.models",
    "set_precision": "mpno.numerics",
    "sphere_basis": "mpno.spectral",
    "trace_dtypes": "mpno.numerics",
    "train_run": "mpno.training",
}

__all__ = [
    "FNO",
    "GINO",
    "SFNO",
    "Advice",
    "Audit",
    "Basis",
    "BasisConv",
    "ContractionSpec",
    "FNOSpec",
    "GINOSpec",
    "Geometry",
    "GradScaler",
    "MpnoError",
    "PrecisionSetting",
    "RangeMonitor",
    "RunSpec",
    "SFNOSpec",
    "SpectralConv",
    "SphericalConv",
    "UNet",
    "UNetSpec",
    "__version__",
    "advise",
    "audit",
    "build_spec",
    "convert",
    "describe",
    "evaluate_run",
    "from_neuralop",
    "graph_basis",
    "haar_basis",
    "load",
    "load_run",
    "make_model",
    "predict_run",
    "register_adapter",
    "revert",
    "round_to",
    "save",
    "set_precision",
    "sphere_basis",
    "trace_dtypes",
    "train_run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mpno' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
