"""Advice on packing: what it measures, and on which side of its rule it comes out."""

from __future__ import annotations

import math

import pytest
import torch

from mpno import FNO
from mpno.numerics import set_precision
from mpno.specs import MpnoError
from mpno.theory.advice_saved import SavedAdvice, advise_saved


@pytest.fixture
def model() -> FNO:
    torch.manual_seed(0)
    return FNO(in_channels=1, out_channels=1, modes=(6, 6), width=16, layers=2)


def gradient(model: FNO, x: torch.Tensor, setting: str) -> torch.Tensor:
    set_precision(model, setting)
    model.zero_grad()
    model(x).flatten(1).norm(dim=1).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def test_error_and_noise_are_those_of_gradients(model: FNO) -> None:
    x = torch.randn(6, 1, 16, 16)
    found = advise_saved(model, x, "full, saved mxfp8")
    exact = gradient(model, x, "full")
    off = (gradient(model, x, "full, saved mxfp8") - exact).norm() / exact.norm()
    assert found.error == pytest.approx(float(off), rel=1e-4)
    first, second = gradient(model, x[:3], "full"), gradient(model, x[3:], "full")
    noise = float((first - second).norm() / (first + second).norm())
    assert found.noise == pytest.approx(noise, rel=1e-4)
    assert advise_saved(model, x, "full, saved mxfp8", batch_size=24).noise == pytest.approx(noise / 2, rel=1e-4)


def test_safe_below_a_share_of_the_noise_and_in_any_case_below_the_tolerance(model: FNO) -> None:
    x = torch.randn(4, 1, 16, 16)
    assert advise_saved(model, x, "compact").safe
    alike = x[:1].repeat(4, 1, 1, 1)
    # No noise: equal samples leave nothing to hide behind.
    refused = advise_saved(model, alike, "compact")
    assert not refused.safe and refused.budget == 1e-3 and "is not safe" in str(refused)
    assert advise_saved(model, alike, "compact", tolerance=0.2).safe
    one = advise_saved(model, x[:1], "compact")
    assert math.isnan(one.noise) and not one.safe and "unknown with one sample" in str(one)
    assert not SavedAdvice("compact", math.nan, 0.5, 0.3, 1e-3).safe


def test_mistakes(model: FNO) -> None:
    with pytest.raises(MpnoError, match="precision is mixed, which packs nothing; give one such as compact"):
        advise_saved(model, torch.randn(2, 1, 16, 16), "mixed")
    with pytest.raises(MpnoError, match=r"got a list; give fields, \(samples, channels"):
        advise_saved(model, [1], "compact")  # type: ignore[arg-type]
