"""The inequalities on precision errors, against roundings by other libraries and transforms by numpy."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
import torch

from mpno.specs import get_format
from mpno.spectral.modes import KeptModes, kept_modes
from mpno.theory.advice_bounds import fft_bound, matmul_bound, paper_bound
from mpno.theory.advice_spectra import low_spectrum

DTYPES: dict[str, Any] = {
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
}
FORMATS = [*DTYPES, "tf32", "fp32"]


def rounded(values: np.ndarray, format: str) -> np.ndarray:
    if np.iscomplexobj(values):
        return rounded(np.real(values), format) + 1j * rounded(np.imag(values), format)
    return values.astype(np.float32).astype(DTYPES[format]).astype(np.float64)


def fields(n: int) -> dict[str, np.ndarray]:
    """Fields that fp32 holds, among them ones that lie half-way between neighbours and ones that underflow."""
    rng = np.random.default_rng(0)
    tiny = rng.normal(size=n) * 2.0**-12
    ties = (1 + 2.0 ** -rng.integers(3, 13, n)) * rng.choice([-1.0, 1.0], n)
    wave = np.cos(2 * np.pi * np.arange(n) / n)
    made = {"wave": wave, "noise": rng.normal(size=n), "tiny": tiny, "ties": ties, "spike": np.eye(1, n)[0] * 3.3}
    return {name: values.astype(np.float32).astype(np.float64) for name, values in made.items()}


@pytest.mark.parametrize("format", DTYPES)
@pytest.mark.parametrize("k", [0, 1, 5])
def test_the_paper_s_precision_error_is_below_its_bound(format: str, k: int) -> None:
    n = 256
    phi = np.exp(-2j * np.pi * k * np.arange(n) / n)
    for name, v in fields(n).items():
        error = abs((rounded(v, format) * rounded(phi, format)).mean() - (v * phi).mean())
        assert error <= paper_bound(get_format(format)).at(float(np.abs(v).mean())), name


def test_the_bound_is_no_larger_than_twice_what_happens() -> None:
    # 1 + u lies half-way between 1 and its neighbour, and goes to 1: the rounding of the field alone costs u.
    for format in DTYPES:
        fmt = get_format(format)
        v = np.full(64, 1 + fmt.unit_roundoff)
        error = abs(rounded(v, format).mean() - v.mean())
        assert error >= 0.4 * paper_bound(fmt).at(float(v.mean()))


@pytest.mark.parametrize("format", ["fp16", "bf16", "fp32"])
def test_without_underflow_the_growth_is_that_of_two_roundings(format: str) -> None:
    fmt = get_format(format)
    u = mpmath.mpf(2) ** (-fmt.mantissa_bits - 1)
    rest = paper_bound(fmt).growth - float((1 + u) ** 2 - 1)
    assert 0 <= rest <= 2 * fmt.smallest_subnormal + 1e-15


def test_blocks_have_no_bound_per_value() -> None:
    with pytest.raises(ValueError, match="shares scales"):
        paper_bound(get_format("mxfp8"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("grid", [(64,), (16, 32), (8, 8, 16), (2048,)])  # 1/2048 is 0 in e4m3
@pytest.mark.parametrize("gain", [1.0, 1024.0])
def test_every_coefficient_of_a_low_transform_is_within_its_bound(
    format: str, transform: Any, grid: tuple[int, ...], gain: float
) -> None:
    kept = kept_modes(grid, tuple(n // 2 for n in grid))
    fmt, n = get_format(format), math.prod(grid)
    bound = (fft_bound if transform == "fft" else matmul_bound)(fmt, grid, gain)
    for name, values in fields(n).items():
        if gain > 1:
            values = (values / gain).astype(np.float32).astype(np.float64)
        v = values.reshape(1, *grid, 1)
        low = low_spectrum(torch.from_numpy(v).float(), kept, format, transform, gain=gain)
        exact = gain * numpy_spectrum(v, kept)
        if not bool(low.isfinite().all()):
            continue  # the hypothesis of no overflow does not hold
        error = np.abs(low.numpy() - exact)
        # An fft's passes are in fp32, which its bound takes as exact.
        slack = 1e-6 * gain * np.abs(v).mean() if transform == "fft" else 0.0
        assert error.max() <= bound.at(float(np.abs(v).mean())) + slack, name


def numpy_spectrum(v: np.ndarray, kept: KeptModes) -> np.ndarray:
    s = np.fft.fftn(v, axes=range(1, v.ndim - 1), norm="forward")
    for axis in range(len(kept.grid)):
        s = np.take(s, [k % kept.grid[axis] for k in kept.frequencies(axis)], axis + 1)
    return s
