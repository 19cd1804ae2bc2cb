"""Estimated discretization errors beside integrals that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mpno.spectral.modes import kept_modes
from mpno.spectral.sht import truncate
from mpno.theory.advice_discretization import Discretization, finer, subsampled

MODES = 12


def sampled(name: str, n: int) -> Tensor:
    x = np.arange(n) / n
    values = {"ramp": x, "kink": np.abs(x - 0.5), "waves": np.sin(2 * np.pi * x) + 0.5 * np.cos(6 * np.pi * x)}[name]
    return torch.from_numpy(values).reshape(1, n, 1)


def true_error(name: str, n: int) -> float:
    """Of the coefficients 0 ... 6 on n points, relative, from the integrals of x and |x - 1/2| with exp(-2πikx)."""
    k = np.arange(1, MODES // 2 + 1)
    rest = {"ramp": 1j / (2 * np.pi * k), "kink": (1 - (-1.0) ** k) / (2 * np.pi**2 * k**2)}[name]
    exact = np.array([{"ramp": 0.5, "kink": 0.25}[name], *rest])
    found = np.fft.fft(sampled(name, n)[0, :, 0].numpy())[: len(exact)] / n
    return float(np.linalg.norm(found - exact) / np.linalg.norm(found))


def of_function(name: str, n: int, *, fine: bool) -> Discretization:
    v, kept = sampled(name, n), kept_modes((n,), (MODES,))
    return finer(v, kept, sampled(name, 2 * n), kept_modes((2 * n,), (MODES,))) if fine else subsampled(v, kept)


@pytest.mark.parametrize("fine", [False, True])
@pytest.mark.parametrize(("name", "rate"), [("ramp", 0.5), ("kink", 0.25)])
@pytest.mark.parametrize("n", [64, 256])
def test_the_estimate_is_the_error_of_a_known_function(name: str, rate: float, n: int, fine: bool) -> None:
    found = of_function(name, n, fine=fine)
    assert found.error == pytest.approx(true_error(name, n), rel=0.15)
    assert found.rate == pytest.approx(rate, rel=0.1)
    assert found.how == ("finer grid" if fine else "subsampled")
    assert found.compared == found.kept == MODES // 2 + 1


@pytest.mark.parametrize("fine", [False, True])
def test_of_resolved_waves_it_vanishes(fine: bool) -> None:
    assert of_function("waves", 64, fine=fine).vanishes
    assert not of_function("kink", 64, fine=fine).vanishes


def test_two_axes_add_up() -> None:
    # On the plane the ramp along one axis has the coefficients it has on the line, where the other frequency is 0.
    n = 64
    plane = sampled("ramp", n)[:, :, None, :].expand(1, n, n, 1)
    for v in (plane, plane.transpose(1, 2)):
        found = subsampled(v, kept_modes((n, n), (MODES, MODES)))
        both = np.concatenate([np.arange(-6, 0), np.arange(6)]) if v is plane else np.arange(7)
        exact = np.array([0.5 if k == 0 else 1j / (2 * np.pi * k) for k in both])
        there = np.array([np.fft.fft(np.arange(n) / n)[k % n] / n for k in both])
        wanted = np.linalg.norm(there - exact) / np.linalg.norm(there)
        assert found.error == pytest.approx(float(wanted), rel=0.15)


def test_frequencies_that_the_half_grid_does_not_hold_are_left_out() -> None:
    found = subsampled(sampled("ramp", 16), kept_modes((16,), (16,)))
    assert (found.compared, found.kept) == (4, 9)  # 0 ... 3 of 8 points, whose Nyquist frequency is 4


def test_where_there_is_no_half_there_is_no_estimate() -> None:
    odd = torch.zeros(1, 15, 1)
    assert not subsampled(odd, kept_modes((15,), (4,))).known
    sphere = subsampled(torch.zeros(1, 16, 32, 1), truncate(16, 32, (8, 8)))
    assert not sphere.known and "latitudes" in sphere.how and sphere.kept == 64


def test_first_order_is_taken_where_no_rate_can_be_seen() -> None:
    found = subsampled(sampled("ramp", 6), kept_modes((6,), (2,)))
    assert np.isnan(found.rate) and found.error > 0


def test_on_the_sphere_the_finer_grid_says_it() -> None:
    def field(nlat: int, power: int) -> Tensor:
        z = torch.cos(torch.linspace(0, torch.pi, nlat, dtype=torch.float64))
        return (z.abs() if power == 1 else z**power).reshape(1, nlat, 1, 1).expand(1, nlat, 2 * nlat, 1)

    def of(power: int) -> Discretization:
        kept, fine = truncate(16, 32, (6, 6)), truncate(32, 64, (6, 6))
        return finer(field(16, power), kept, field(32, power), fine)

    assert of(2).vanishes and of(1).error > 1e-4
