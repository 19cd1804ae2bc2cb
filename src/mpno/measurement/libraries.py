"""What a GPU's libraries take beside the tensors of a step: stated constants, none of them fitted.

They were fixed before any prediction was set beside a measurement.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CONTEXT_MIB = 400
"""CUDA context, kernels and library handles of a process, which nvidia-smi counts and torch does not: 300 to 500 MiB
on the cards and versions of 2023."""
PRODUCTS = 8 * 2**20 + 2**17
"""Bytes that torch reserves once for cuBLAS, by its default configuration ``:4096:2:16:8``."""

_FFT = torch.ops.aten
_TRANSFORMS = {_FFT._fft_r2c.default, _FFT._fft_c2c.default, _FFT._fft_c2r.default}


def workspace(operation: Any, operands: Sequence[Any], result: Any) -> list[int]:
    """Bytes that a library borrows during an operation, each in turn.

    Args:
        operation: an aten overload.
        operands, result: what it took and gave.

    Returns:
        For a transform by cuFFT as much as the complex side of it, for which NVIDIA's manual gives no formula but this
        order; for one back to real numbers before that a copy of its operand, which torch makes because cuFFT writes
        over it. Nothing for other operations.
    """
    if operation not in _TRANSFORMS or not isinstance(result, Tensor):
        return []
    operand = operands[0]
    sides = [_bytes(tensor) for tensor in (operand, result) if tensor.is_complex()]
    copies = [_bytes(operand)] if operation is _FFT._fft_c2r.default else []
    return [*copies, max(sides)]


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
