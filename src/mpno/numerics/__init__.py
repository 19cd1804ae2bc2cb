"""Number formats on tensors: rounding, what is native where, layers in a precision setting, stabilisers."""

from mpno.numerics.layers import PointwiseLinear, add, add_gated, gelu, hold_anew, no_autocast, widest
from mpno.numerics.live import LiveBytes, step_bytes
from mpno.numerics.monitor import RangeMonitor, observe
from mpno.numerics.native import DTYPES, evidence_of, fft_is_native, matmul_is_native, processor_name, refuse_shortcuts
from mpno.numerics.recompute import cheap, recomputing
from mpno.numerics.rounding import hold, round_to
from mpno.numerics.scaler import GradScaler
from mpno.numerics.schedule import set_precision
from mpno.numerics.stabilisers import stabilise, undo_factor
from mpno.numerics.trace import trace_dtypes

__all__ = [
    "DTYPES",
    "GradScaler",
    "LiveBytes",
    "PointwiseLinear",
    "RangeMonitor",
    "add",
    "add_gated",
    "cheap",
    "evidence_of",
    "fft_is_native",
    "gelu",
    "hold",
    "hold_anew",
    "matmul_is_native",
    "no_autocast",
    "observe",
    "processor_name",
    "recomputing",
    "refuse_shortcuts",
    "round_to",
    "set_precision",
    "stabilise",
    "step_bytes",
    "trace_dtypes",
    "undo_factor",
    "widest",
]
