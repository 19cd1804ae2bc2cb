"""Range arithmetic against casts to the formats themselves, and a transform of a triangle wave."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest

from mpno.measurement.probes.ranges import overflows_from, ranges
from mpno.specs import MpnoError, get_format

DTYPES: dict[str, Any] = {
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "e4m3": ml_dtypes.float8_e4m3,
}
GRIDS = [[n, n] for n in (16, 32, 64, 128, 256, 1024)] + [[32] * 3, [64] * 3]


def cast(value: float, name: str) -> float:
    with np.errstate(over="ignore"):
        return float(np.float64(value).astype(DTYPES[name]))


@pytest.mark.parametrize("name", DTYPES)
def test_overflow_and_underflow_are_those_of_a_cast(name: str) -> None:
    rows = ranges([], {"formats": [name], "grids": GRIDS})
    assert [row["points"] for row in rows] == [256, 1024, 4096, 16384, 65536, 1048576, 32768, 262144]
    for row in rows:
        assert row["overflow"] is not np.isfinite(cast(row["points"], name)).item()
        assert row["flushed"] is (cast(1 / row["points"], name) == 0)
        # The mean at which the sum reaches the maximum.
        assert row["mean_limit"] * row["points"] == pytest.approx(float(ml_dtypes.finfo(DTYPES[name]).max), rel=1e-15)
        assert row["share"] == pytest.approx(1 / row["mean_limit"], rel=1e-15)
        assert row["evidence"] == "predicted"


@pytest.mark.parametrize("name", DTYPES)
def test_overflow_begins_where_a_cast_begins_to_overflow(name: str) -> None:
    """To the digits of float32, by way of which ml_dtypes casts."""
    edge = np.float32(overflows_from(get_format(name)))
    above, below = np.nextafter(edge, np.float32(np.inf)), np.nextafter(edge, np.float32(0))
    assert not np.isfinite(cast(float(above), name)) and np.isfinite(cast(float(below), name))


@pytest.mark.parametrize("name", ["fp8_e5m2", "fp8_e4m3", "e4m3"])
def test_the_last_mode_is_that_of_a_sampled_triangle_wave(name: str) -> None:
    """Its coefficients fall as 1/k^2; of the sampled wave they exceed that by a share of about (k/n)^2."""
    n = 2**14
    t = np.arange(n) / n
    spectrum = np.abs(np.fft.rfft(2 * np.abs(2 * (t % 1) - 1) - 1)) / n
    row = ranges([], {"formats": [name], "grids": [[16]]})[0]
    smallest = float(ml_dtypes.finfo(DTYPES[name]).smallest_normal)
    k = row["last_mode"]
    assert k % 2 == 1 and cast(float(spectrum[k]), name) > 0 and cast(float(spectrum[k + 2]), name) == 0
    k = row["normal_mode"]
    assert k % 2 == 1 and spectrum[k] >= smallest > spectrum[k + 2]


def test_what_the_paper_has_on_128_squared() -> None:
    """With tanh e5m2 cannot overflow a forward transform there, e4m3 does from a mean of 0.027."""
    found = {row["format"]: row for row in ranges([], {"formats": ["fp8_e5m2", "fp8_e4m3"], "grids": [[128, 128]]})}
    assert not found["fp8_e5m2"]["overflow"] and found["fp8_e5m2"]["mean_limit"] == 3.5
    assert found["fp8_e4m3"]["overflow"] and found["fp8_e4m3"]["mean_limit"] == 0.02734375


@pytest.mark.parametrize("settings", [{}, {"formats": ["fp16"]}, {"formats": [], "grids": [[2]]}])
def test_settings_are_asked_for(settings: dict[str, Any]) -> None:
    with pytest.raises(MpnoError, match=r"probe ranges: settings are .*; give formats and grids"):
        ranges([], settings)
