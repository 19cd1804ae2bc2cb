"""Relative errors against analytic values and the peer library."""

from __future__ import annotations

import math

import pytest
import torch

from mpno.training import relative_h1, relative_l2
from mpno.training.losses import _derivative


def wave(n: int, k: int) -> torch.Tensor:
    t = 2 * math.pi * torch.arange(n, dtype=torch.float64) / n
    return torch.sin(k * t)[None, None, :, None].expand(1, 1, n, n)


def test_l2_of_a_scaled_field() -> None:
    y = torch.randn(3, 2, 8, 8)
    assert torch.allclose(relative_l2(1.25 * y, y), torch.full((3,), 0.25))


def test_h1_of_waves_is_analytic() -> None:
    """p = y + a·sin(kx), y = sin(x): error a·sqrt((1 + k'²) / (1 + 1'²)), k' = sin(kh)/h the discrete wave number."""
    n, k, a = 64, 5, 0.1
    h = 2 * math.pi / n
    discrete = [1 + (math.sin(m * h) / h) ** 2 for m in (k, 1)]
    expected = a * math.sqrt(discrete[0] / discrete[1])
    got = relative_h1(wave(n, 1) + a * wave(n, k), wave(n, 1), periodic=True)
    assert got.item() == pytest.approx(expected, rel=1e-10)


def test_edges_are_third_order_where_fields_are_not_periodic() -> None:
    """Cubic polynomials have exact one-sided differences, so their error is that of the interior alone."""
    n = 16
    t = torch.arange(n, dtype=torch.float64) * 2 * math.pi / n
    y = (t**3)[None, None, :, None].expand(1, 1, n, n)
    edge = 3 * t**2
    d = _derivative(y, 2, False)[0, 0, :, 0]
    assert torch.allclose(d[[0, -1]], edge[[0, -1]], rtol=1e-10, atol=1e-9)
    assert not torch.allclose(_derivative(y, 2, True)[0, 0, [0, -1], 0], edge[[0, -1]], rtol=0.1)


@pytest.mark.parametrize("periodic", [True, False])
def test_peer_library_agrees(periodic: bool) -> None:
    losses = pytest.importorskip("neuralop.losses.data_losses", reason="neuraloperator is not installed")
    p, y = torch.randn(4, 1, 16, 12), torch.randn(4, 1, 16, 12)
    h1 = losses.H1Loss(d=2, measure=2 * math.pi, periodic_in_x=periodic, periodic_in_y=periodic)
    assert torch.allclose(relative_h1(p, y, periodic=periodic).sum(), h1(p, y), rtol=1e-5)
    assert torch.allclose(relative_l2(p, y).sum(), losses.LpLoss(d=2)(p, y), rtol=1e-5)
