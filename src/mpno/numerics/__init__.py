"""Number formats on tensors: rounding, what is native where, layers in a precision setting, stabilisers."""

from mpno.numerics.layers import PointwiseLinear, add, add_gated, gelu, hold_anew, stabilise, widest
from mpno.numerics.native import DTYPES, evidence_of, fft_is_native, matmul_is_native, processor_name
from mpno.numerics.recompute import cheap, recomputing
from mpno.numerics.rounding import hold, round_to

__all__ = [
    "DTYPES",
    "PointwiseLinear",
    "add",
    "add_gated",
    "cheap",
    "evidence_of",
    "fft_is_native",
    "gelu",
    "hold",
    "hold_anew",
    "matmul_is_native",
    "processor_name",
    "recomputing",
    "round_to",
    "stabilise",
    "widest",
]
