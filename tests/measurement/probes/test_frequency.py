"""Rounding noise of the ten sines against its size, and against numpy's own half precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mpno.measurement.probes.frequency import LENGTH, RATE, draw, frequency, signal


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return frequency([], {"seeds": 3})


def of(rows: list[dict[str, Any]], way: str, seed: int) -> dict[int, dict[str, Any]]:
    return {row["frequency"]: row for row in rows if row["way"] == way and row["seed"] == seed}


def test_the_authors_way_is_numpy_s_rounding(rows: list[dict[str, Any]]) -> None:
    time = np.arange(RATE * LENGTH) / RATE
    values = signal(draw(1), time)
    exact = np.fft.fft(values)
    half = np.fft.fft(values.astype(np.float16).astype(np.float64))
    rounded = half.real.astype(np.float16).astype(float) + 1j * half.imag.astype(np.float16).astype(float)
    for i, row in of(rows, "authors", 1).items():
        at = i * LENGTH
        assert row["relative"] == pytest.approx(100 * abs(rounded[at] - exact[at]) / abs(exact[at]), rel=1e-6)
        around = np.abs(rounded - exact)[at - 2 : at + 3].sum() / 6  # six bins, of which one is half each
        assert row["unscaled"] == pytest.approx(100 * around / draw(1)[i - 1], rel=0.25)


def test_no_way_errs_by_more_than_rounding_can(rows: list[dict[str, Any]]) -> None:
    """A coefficient sums 1200 samples, each off by unit roundoff times its size at most."""
    for row in rows:
        if row["way"] in ("input rounded", "matmul fp16"):
            largest = sum(draw(row["seed"]))
            bound = 2**-11 * largest * 2 / row["amplitude"]  # of N values over an unscaled coefficient of N/2 amplitude
            steps = 1 if row["way"] == "input rounded" else 4
            assert row["relative"] <= 100 * steps * bound


def test_bf16_errs_more_than_fp16_and_small_amplitudes_more_than_large(rows: list[dict[str, Any]]) -> None:
    mean = {
        way: {i: np.mean([of(rows, way, seed)[i]["relative"] for seed in range(3)]) for i in range(1, 11)}
        for way in ("input rounded", "matmul fp16", "matmul bf16")
    }
    assert sum(mean["matmul bf16"].values()) > 3 * sum(mean["matmul fp16"].values())
    assert mean["input rounded"][10] > 5 * mean["input rounded"][1]
