"""Formats that clip: against torch's saturating cast and gfloat, through gradients, transforms and spectral layers."""

from __future__ import annotations

import gfloat
import gfloat.formats
import pytest
import torch
from gfloat.types import RoundMode
from hypothesis import given
from hypothesis import strategies as st
from rounding_oracles import same

from mpno import SpectralConv
from mpno.numerics import hold, round_to
from mpno.spectral.fft import fft_forward
from mpno.spectral.matmul import matmul_forward
from mpno.spectral.modes import kept_modes

GFLOAT = {
    "fp8_e5m2_sat": gfloat.formats.format_info_ocp_e5m2,
    "fp8_e4m3_sat": gfloat.formats.format_info_ocp_e4m3,
    "fp16_sat": gfloat.formats.format_info_binary16,
}
VALUES = st.lists(st.floats(width=32) | st.floats(-1e5, 1e5, width=32), min_size=1, max_size=64)


@pytest.mark.parametrize("name", GFLOAT)
@given(values=VALUES)
def test_values_are_those_of_gfloats_saturating_conversion(name: str, values: list[float]) -> None:
    x = torch.tensor(values)
    exact = gfloat.round_ndarray(GFLOAT[name], x.double().numpy(), RoundMode.TiesToEven, True)
    assert same(round_to(x, name), torch.from_numpy(exact).float())


@given(values=VALUES)
def test_e4m3_clips_as_torchs_cast_does(values: list[float]) -> None:
    x = torch.tensor(values)
    assert same(round_to(x, "fp8_e4m3_sat"), x.to(torch.float8_e4m3fn).float())


@pytest.mark.parametrize("name", ["fp8_e4m3_sat", "e4m10_max448_sat"])
def test_what_is_held_and_its_gradient_are_clipped(name: str) -> None:
    x = torch.tensor([1000.0, -torch.inf, 2.0], requires_grad=True)
    held = hold(x, name)
    assert torch.equal(held, torch.tensor([448.0, -448.0, 2.0]))
    held.backward(torch.tensor([1.0, 1000.0, -1000.0]))
    assert x.grad is not None and torch.equal(x.grad, torch.tensor([1.0, 448.0, -448.0]))


def test_asking_for_infinity_comes_before_the_format() -> None:
    x = torch.tensor([1000.0])
    assert torch.equal(round_to(x, "fp8_e4m3_sat", overflow="inf"), torch.tensor([torch.inf]))
    drawn = round_to(x, "fp8_e4m3_sat", rounding="stochastic")
    assert torch.equal(drawn, torch.tensor([448.0]))


def test_a_transform_clips_the_plain_sum_of_every_pass_before_it_is_scaled() -> None:
    """Ones sum to 1024 along one axis of 1024 points: 448 of them are left. Along two axes of 32 points, the first pass
    stores 32, the second 1024. Matrix products hold means and lose nothing."""
    for grid in ((1024,), (32, 32)):
        kept, x = kept_modes(grid, (1,) * len(grid)), torch.ones(1, *grid, 1)
        assert fft_forward(x, kept, "fp8_e4m3_sat").flatten().tolist() == [448 / 1024]
        assert not fft_forward(x, kept, "fp8_e4m3").isfinite().any()
    kept, x = kept_modes((32, 32), (1, 1)), torch.ones(1, 32, 32, 1)
    assert matmul_forward(x, kept, "fp8_e4m3_sat").flatten().tolist() == [1.0, 0.0]


@pytest.mark.parametrize("transform", ["fft", "matmul"])
@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2", "e4m10_max448"])
def test_within_range_clipping_changes_no_bit_of_a_layer(name: str, transform: str) -> None:
    torch.manual_seed(0)
    x, cotangent = torch.randn(2, 3, 12, 15), torch.randn(2, 2, 12, 15)
    found = []
    for format in (name, f"{name}_sat"):
        torch.manual_seed(1)
        conv = SpectralConv(3, 2, (6, 7), precision=f"half-{format}", transform=transform)  # type: ignore[arg-type]
        given = x.clone().requires_grad_()
        y = conv(given)
        y.backward(cotangent)
        found.append([y.detach(), given.grad, *(p.grad for p in conv.parameters())])
    assert all(part.isfinite().all() and torch.equal(part, other) for part, other in zip(*found, strict=True))


def test_beyond_range_a_layer_that_clips_stays_finite() -> None:
    """1024 points of tanh(3) sum to twice e4m3's maximum."""
    for format, finite in (("fp8_e4m3", False), ("fp8_e4m3_sat", True)):
        torch.manual_seed(0)
        conv = SpectralConv(1, 1, (4, 4), precision=f"half-{format}")
        x = torch.full((1, 1, 32, 32), 3.0, requires_grad=True)
        y = conv(x)
        y.sum().backward()
        assert bool(y.isfinite().all()) is finite
        assert x.grad is not None and (not finite or bool(x.grad.isfinite().all()))
