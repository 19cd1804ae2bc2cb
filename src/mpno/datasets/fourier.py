"""Real band-limited functions on the torus [0, 2 pi)^2: their coefficients, and their values on any grid.

The function sum of c(k) exp(i k . x) over |k_x|, |k_y| <= K is kept as ``modes``, complex (..., 2 K + 1, K + 1):
k_x runs over 0 ... K, -K ... -1, and k_y over 0 ... K, the others being conjugates.
"""

from __future__ import annotations

import numpy as np


def sample(modes: np.ndarray, n: int) -> np.ndarray:
    """Values at the points 2 pi (i, j) / n, float64 (..., n, n), for any n.

    The values are those of the function: where n points do not resolve it nothing is filtered, so that a grid holds
    the same numbers, but for rounding, as the finer grids it is part of.
    """
    cut = modes.shape[-1] - 1
    fine = n * -(-(2 * cut + 1) // n)
    padded = np.zeros((*modes.shape[:-2], fine, fine // 2 + 1), dtype=np.complex128)
    padded[..., : cut + 1, : cut + 1] = modes[..., : cut + 1, :]
    padded[..., fine - cut :, : cut + 1] = modes[..., cut + 1 :, :]
    return np.fft.irfft2(padded, s=(fine, fine), norm="forward")[..., :: fine // n, :: fine // n]


def analyse(values: np.ndarray, cut: int) -> np.ndarray:
    """Modes up to `cut` of values (..., n, n) with n above 2 cut."""
    full = np.fft.rfft2(np.asarray(values, dtype=np.float64), norm="forward")[..., : cut + 1]
    return np.concatenate([full[..., : cut + 1, :], full[..., full.shape[-2] - cut :, :]], axis=-2)


def resize(modes: np.ndarray, cut: int) -> np.ndarray:
    """The modes up to another `cut`: less of them, or zeros beyond."""
    old = modes.shape[-1] - 1
    low = min(old, cut)
    out = np.zeros((*modes.shape[:-2], 2 * cut + 1, cut + 1), dtype=modes.dtype)
    out[..., : low + 1, : low + 1] = modes[..., : low + 1, : low + 1]
    if low:
        out[..., -low:, : low + 1] = modes[..., -low:, : low + 1]
    return out
