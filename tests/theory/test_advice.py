"""Advice on models and fields whose errors and overflows are known."""

from __future__ import annotations

import copy
import math

import ml_dtypes
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpno import FNO, Advice, MpnoError, SpectralConv, UNet, advise
from mpno.models.audit_probe import spectral_layers
from mpno.theory.advice_layers import CERTIFICATE, COST, LayerInFormat, bits_of


def row(advice: Advice, format: str, layer: int = 0) -> LayerInFormat:
    return next(found for found in advice.layers[layer].formats if found.format == format)


def wave(n: int = 64, size: float = 1.0) -> Tensor:
    return size * torch.sin(2 * math.pi * torch.arange(n) / n).reshape(1, 1, n)


def ramp(n: int = 64) -> Tensor:
    return (torch.arange(n) / n).reshape(1, 1, n)


def layer(transform: str = "fft", axes: int = 1) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(SpectralConv(1, 1, (8,) * axes, transform=transform, bias=False))  # type: ignore[arg-type]


def test_a_rounding_error_is_that_of_rounding_by_hand() -> None:
    v = torch.randn(1, 1, 64, generator=torch.Generator().manual_seed(1))
    found = row(advise(layer(), v, formats=["fp8_e5m2"], setting="half, stabiliser none"), "fp8_e5m2")

    def q(x: np.ndarray) -> np.ndarray:
        if np.iscomplexobj(x):
            return q(np.real(x)) + 1j * q(np.imag(x))
        return x.astype(np.float32).astype(ml_dtypes.float8_e5m2).astype(np.float64)

    values = v[0, 0].double().numpy()
    exact = np.fft.rfft(values)[:5] / 64
    low = q(q(np.fft.rfft(q(values))[:5]) / 64)
    assert found.precision == pytest.approx(np.linalg.norm(low - exact) / np.linalg.norm(exact), rel=1e-4)
    assert found.evidence == "simulated" and found.bits == 8


def test_a_vanishing_discretization_error_leaves_the_tolerance() -> None:
    advice = advise(layer(), wave(), setting="half, stabiliser none", tolerance=1e-2)
    assert advice.layers[0].discretization.vanishes
    assert {found.yardstick for found in advice.layers[0].formats} == {"tolerance"}
    assert "vanishes in 0" in str(advice) and "tolerance of 1 %" in str(advice)
    assert not row(advice, "fp8_e5m2").safe and row(advice, "fp16").safe
    # Without a tolerance nothing can stay below an error of zero.
    assert advise(layer(), wave(), setting="half, stabiliser none", tolerance=0).cheapest is None


def test_a_coarse_grid_allows_coarse_formats() -> None:
    found = [advise(layer(), ramp(n), setting="half, stabiliser none", tolerance=0) for n in (16, 64, 1024)]
    budgets = [row(advice, "fp16").budget for advice in found]
    # A ramp converges with order one, so the budget falls as 1/n.
    assert budgets[1] == pytest.approx(budgets[0] / 4, rel=0.25) and budgets[2] == pytest.approx(
        budgets[1] / 16, rel=0.1
    )
    costs = [COST.index(str(advice.cheapest)) for advice in found]
    assert costs == sorted(costs) and costs[0] < costs[-1]
    assert {f.yardstick for f in found[0].layers[0].formats} == {"discretization"}


def test_the_fraction_scales_the_budget() -> None:
    one, two = (row(advise(layer(), ramp(), fraction=f, tolerance=0), "fp16").budget for f in (0.2, 0.4))
    assert two == pytest.approx(2 * one)


@pytest.mark.parametrize(("transform", "overflows"), [("fft", True), ("matmul", False)])
def test_a_format_can_fail_by_its_range_alone(transform: str, overflows: bool) -> None:
    x = torch.full((1, 1, 128, 128), 4.5)  # 4.5 · 16384 = 73728, and fp16 ends at 65504
    advice = advise(layer(transform, axes=2), x, setting="half, stabiliser none")
    found = row(advice, "fp16")
    assert found.overflows is overflows and found.safe is not overflows
    if overflows:
        assert found.range == pytest.approx(73728 / 65504, rel=1e-6) and math.isnan(found.bound)
        assert found.bound_kind == "none: it overflows" and "fp16: overflows in 1 of 1 layers" in str(advice)
        assert row(advice, "bf16").range < 1e-30
    # tanh bounds the field.
    assert not row(advise(layer(transform, axes=2), x, setting="half"), "fp16").overflows


def test_clipping_counts_as_the_error_that_it_is() -> None:
    x = torch.full((1, 1, 1024), 1.0)
    advice = advise(layer(), x, formats=["fp8_e4m3", "fp8_e4m3_sat"], setting="half, stabiliser none")
    assert row(advice, "fp8_e4m3").overflows
    clipped = row(advice, "fp8_e4m3_sat")
    assert not clipped.overflows and not clipped.safe and clipped.bound_kind == "none: it may clip"
    # 448 of 1024, scaled and rounded again, is 0.4375: a number of e4m3.
    assert clipped.precision == pytest.approx(1 - 448 / 1024, rel=1e-6)


@pytest.mark.parametrize("transform", ["fft", "matmul"])
def test_measured_errors_lie_below_their_bounds(transform: str) -> None:
    torch.manual_seed(0)
    model = FNO(1, 1, modes=(6, 6), width=4, layers=2, transform=transform)  # type: ignore[arg-type]
    for setting in ("mixed", "mixed, stabiliser none", "half, stabiliser pre_scale"):
        for found in (f for a in advise(model, torch.randn(2, 1, 16, 16), setting=setting).layers for f in a.formats):
            slack = 1e-6 if transform == "fft" else 0
            assert math.isinf(found.precision) or found.precision <= found.bound + slack
            assert (found.bound_kind == CERTIFICATE) == (transform == "matmul" and math.isfinite(found.precision))


def test_the_model_and_the_random_state_stay() -> None:
    torch.manual_seed(0)
    model = FNO(1, 1, modes=(4, 4), width=4, layers=1, precision="mixed").train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    x = torch.randn(1, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    advise(model, x)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state()) and model.training
    assert {conv.precision.label for conv in spectral_layers(model).values()} == {"mixed"}  # type: ignore[union-attr]


def test_finer_samples_replace_the_half_grid() -> None:
    fine = ramp(128)
    plain = advise(layer(), ramp(), setting="half, stabiliser none")
    found = advise(layer(), ramp(), setting="half, stabiliser none", finer=fine)
    assert [a.layers[0].discretization.how for a in (plain, found)] == ["subsampled", "finer grid"]
    errors = [a.layers[0].discretization.error for a in (plain, found)]
    assert errors[0] == pytest.approx(errors[1], rel=0.1)


def test_a_field_that_is_divided_by_its_points_has_the_same_discretization_error() -> None:
    for fine in (None, ramp(128)):
        plain, scaled = (
            advise(layer(), ramp(), setting=f"half, stabiliser {name}", finer=fine).layers[0].discretization.error
            for name in ("none", "pre_scale")
        )
        assert scaled == pytest.approx(plain, rel=1e-9)


def test_the_frame_has_a_row_per_layer_and_format() -> None:
    advice = advise(FNO(1, 1, modes=(4, 4), width=4, layers=2), torch.randn(1, 1, 16, 16))
    frame = advice.frame()
    assert list(frame["format"]) == 2 * list(COST)
    assert {
        "discretization",
        "discretization_evidence",
        "bound",
        "bound_kind",
        "precision",
        "block",
        "evidence",
    } <= set(frame.columns)
    assert set(frame["discretization_evidence"]) == {"estimate, subsampled"}
    assert dict(zip(frame["format"], frame["bits"], strict=True)) == dict(
        zip(COST, (8, 8, 16, 16, 32, 32), strict=True)
    )


def test_tf32_multiplies_and_does_not_transform() -> None:
    advice = advise(FNO(1, 1, modes=(4, 4), width=4, layers=1), torch.randn(1, 1, 16, 16))
    assert row(advice, "tf32").setting == "mixed-tf32 FHF"
    assert row(advice, "tf32").precision == row(advice, "fp32").precision < row(advice, "fp16").precision


def test_bits_are_those_in_memory() -> None:
    assert [bits_of(name) for name in ("e5m2", "fp8_e4m3_sat", "e4m10_max448", "tf32", "bf16")] == [8, 8, 15, 32, 16]


def test_models_of_others_are_advised_on_after_convert() -> None:
    with pytest.raises(MpnoError, match=r"UNet has no spectral layer .* mpno.convert"):
        advise(UNet(1, 1, features=4, depth=2), torch.randn(1, 1, 16, 16))


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"setting": "amp"}, ["'amp'", "no low format"]),
        ({"setting": "mixd"}, ["did you mean mixed"]),
        ({"formats": ["fp17"]}, ["'fp17'", "did you mean fp16"]),
        ({"formats": []}, ["formats", "fp8_e5m2"]),
        ({"fraction": 0.0}, ["fraction 0", "above 0"]),
        ({"tolerance": -1.0}, ["tolerance -1", "0 or more"]),
    ],
)
def test_a_mistake_is_one_line(more: dict, parts: list[str]) -> None:
    with pytest.raises(MpnoError) as caught:
        advise(layer(), ramp(), **more)
    assert "\n" not in str(caught.value) and all(part in str(caught.value) for part in parts)
