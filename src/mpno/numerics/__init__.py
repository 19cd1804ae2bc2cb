"""Number formats on tensors: rounding, what is native where, layers in a precision setting, stabilisers."""

from mpno.numerics.layers import PointwiseLinear, add, gelu, stabilise, widest
from mpno.numerics.native import DTYPES, evidence_of, fft_is_native, matmul_is_native, processor_name
from mpno.numerics.rounding import hold, round_to

__all__ = [
    "DTYPES",
    "PointwiseLinear",
    "add",
    "evidence_of",
    "fft_is_native",
    "gelu",
    "hold",
    "matmul_is_native",
    "processor_name",
    "round_to",
    "stabilise",
    "widest",
]
