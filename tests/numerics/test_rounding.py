"""Rounding against torch's own casts, ml_dtypes and the formats' definitions."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mpno.numerics import hold, round_to
from mpno.specs import FORMATS, MpnoError, get_format

FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=64)


def same(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Equal bit by bit, any NaN being any other."""
    return bool(((x.view(torch.int32) == y.view(torch.int32)) | (x.isnan() & y.isnan())).all())


def every_fp16() -> torch.Tensor:
    return torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16).float()


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
@given(values=FLOATS)
def test_agrees_with_torch_casts(name: str, dtype: torch.dtype, values: list[float]) -> None:
    x = torch.tensor(values)
    assert same(round_to(x, name), x.to(dtype).float())


@given(values=FLOATS)
def test_the_spacing_method_agrees_with_half_casts(values: list[float]) -> None:
    x = torch.tensor(values)
    assert same(round_to(x, "e5m10"), x.half().float())


@given(values=FLOATS)
def test_the_bit_method_agrees_with_bfloat_casts(values: list[float]) -> None:
    x = torch.tensor(values)
    assert same(round_to(x, "e8m7"), x.bfloat16().float())


@pytest.mark.parametrize(
    ("name", "oracle"),
    [("fp8_e5m2", ml_dtypes.float8_e5m2), ("fp8_e4m3", ml_dtypes.float8_e4m3fn), ("e4m3", ml_dtypes.float8_e4m3)],
)
def test_agrees_with_ml_dtypes_on_every_half(name: str, oracle: type) -> None:
    x = every_fp16()
    expected = torch.from_numpy(x.numpy().astype(oracle).astype(np.float32))
    # ml_dtypes overflows e4m3fn to NaN, the only special value that format has; ours to infinity.
    got = round_to(x, name)
    finite = expected.isfinite()
    assert same(got[finite], expected[finite])
    assert torch.equal(got.isfinite(), finite)


@pytest.mark.parametrize("name", [*FORMATS, "e5m4", "e3m2", "e2m1", "e8m1"])
def test_format_values_are_fixed_points_and_overflow_is_as_asked(name: str) -> None:
    f = get_format(name)
    edge = torch.tensor([f.max, -f.max, f.smallest_normal, f.smallest_subnormal, 0.0, -0.0, 1.0, 1.0 + f.eps])
    assert same(round_to(edge, name), edge)
    if f.exponent_bits < 8:
        beyond = torch.tensor([f.max * 1.5, -f.max * 1.5, torch.inf])
        assert torch.equal(round_to(beyond, name), torch.tensor([torch.inf, -torch.inf, torch.inf]))
        assert torch.equal(round_to(beyond, name, overflow="saturate"), torch.tensor([f.max, -f.max, f.max]))
    assert round_to(torch.tensor([torch.nan]), name).isnan().all()


@given(values=st.lists(st.floats(2.0**-14, 2.0**15, width=32), min_size=1, max_size=64), bits=st.integers(1, 10))
def test_relative_error_is_within_the_unit_roundoff(values: list[float], bits: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    rounded = round_to(x.float(), f"e5m{bits}").double()
    assert ((rounded - x).abs() <= get_format(f"e5m{bits}").unit_roundoff * x.abs()).all()


def test_gradients_straight_through_and_rounded() -> None:
    x = torch.tensor([1.0, 3e-9], requires_grad=True)
    gradient = torch.tensor([1.0 + 2.0**-12, 3e-9])
    round_to(x, "fp16").backward(gradient)
    assert x.grad is not None and torch.equal(x.grad, gradient)
    x = x.detach().requires_grad_()
    hold(x, "fp16").float().backward(gradient)
    # As in a native half run: the gradient has 10 fraction bits, and what is below the subnormals is lost.
    assert x.grad is not None and torch.equal(x.grad, torch.tensor([1.0, 0.0]))


def test_mistakes_are_named() -> None:
    with pytest.raises(MpnoError, match=r"number format 'fp61': did you mean fp16\?"):
        round_to(torch.ones(1), "fp61")
    with pytest.raises(TypeError, match=r"got torch\.float64"):
        round_to(torch.ones(1, dtype=torch.float64), "fp16")
