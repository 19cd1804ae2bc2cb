"""Interpolation against the cardinal function of the periodic box, numpy's own lines, and waves that are known."""

from __future__ import annotations

import numpy as np
import pytest

from mpno import MpnoError
from mpno.measurement.interpolation import interpolate


def cardinal(m: int, points: int) -> np.ndarray:
    """(points, m): the trigonometric polynomial that is 1 at j / m and 0 at the other points, sampled (even m)."""
    x = 2 * np.pi * (np.arange(points)[:, None] / points - np.arange(m) / m)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.sin(m * x / 2) / (m * np.tan(x / 2))
    return np.where(np.isclose(np.sin(x / 2), 0), 1.0, values)


@pytest.mark.parametrize(("m", "points"), [(8, 16), (8, 32), (6, 6), (16, 48)])
def test_fourier_is_the_sum_of_cardinal_functions(m: int, points: int) -> None:
    field = np.random.default_rng(0).standard_normal((2, 3, m, m))
    matrix = cardinal(m, points)
    fine = interpolate(field, points, "fourier")
    # m terms per axis of rounding 2^-53 each, the sum of |cardinal functions| being below 3 for these m
    np.testing.assert_allclose(fine, matrix @ field @ matrix.T, rtol=0, atol=9 * 4 * m * 2**-53 * np.abs(field).max())


@pytest.mark.parametrize("kind", ["fourier", "linear"])
def test_given_points_are_kept(kind: str) -> None:
    field = np.random.default_rng(0).standard_normal((1, 1, 8, 8)).astype(np.float32)
    fine = interpolate(field, 24, kind)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(fine[..., ::3, ::3], field, rtol=0, atol=1e-14)


def test_highest_wavenumber_has_no_sine() -> None:
    m, points = 8, 32
    x, fine = np.arange(m) / m, np.arange(points) / points
    wave = np.cos(np.pi * m * x)[None, None, :, None] * np.ones(m)
    expected = np.cos(np.pi * m * fine)[:, None] * np.ones(points)
    np.testing.assert_allclose(interpolate(wave, points, "fourier")[0, 0], expected, atol=1e-13)


def test_linear_is_numpys_along_each_axis() -> None:
    field = np.random.default_rng(0).standard_normal((8, 8))
    x, fine = np.arange(8) / 8, np.arange(32) / 32
    along = np.stack([np.interp(fine, x, column, period=1) for column in field.T], axis=1)
    both = np.stack([np.interp(fine, x, row, period=1) for row in along])
    np.testing.assert_allclose(interpolate(field[None, None], 32, "linear")[0, 0], both, atol=1e-14)


def test_grids_that_share_no_points_are_refused() -> None:
    with pytest.raises(MpnoError, match="from 8 to 20 points"):
        interpolate(np.zeros((1, 1, 8, 8)), 20, "fourier")
