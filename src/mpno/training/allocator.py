"""How the C library hands out memory to tensors on a CPU."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # the names of mallopt's options in malloc.h
_GIB = 2**30


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next tensor instead of returning each to the kernel.

    A training step frees and allocates the same tensors over and over; faulting their pages in again costs
    a tenth of the step and more. Does nothing where the C library has no mallopt. Lasts for the process.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in ((_MMAP_THRESHOLD, _GIB), (_TRIM_THRESHOLD, 2 * _GIB - 1), (_TOP_PAD, 2**26)):
            mallopt(option, value)
