"""Rounding to nearest against torch's casts, ml_dtypes and gfloat: all codes, all ties, any format."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from rounding_oracles import TYPES, by_gfloat, codes, gaps, same

from mpno.numerics import elementwise, round_to
from mpno.specs import get_format

FLOATS = st.lists(st.floats(width=32), min_size=1, max_size=64)
# Few bits set and exponents near one: where small formats round, tie, underflow and overflow.
SMALL = st.builds(math.ldexp, st.integers(-(2**12), 2**12), st.integers(-24, 6))
DTYPES = [torch.float32, torch.float64]
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", TYPES)
def test_every_code_is_a_fixed_point(name: str, dtype: torch.dtype) -> None:
    values = torch.from_numpy(codes(name)).to(dtype)
    assert same(round_to(values, name), values)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", TYPES)
def test_every_tie_goes_to_even_and_its_neighbours_to_their_side(name: str, dtype: Any) -> None:
    """Also beyond the maximum, where the number that would follow it stands for overflow."""
    g = gaps(name)
    middle = g.middle.astype(dtype)
    assert (middle == g.middle).all()
    for expected, shift in ((g.even, None), (g.below, -np.inf), (g.above, np.inf)):
        x = middle if shift is None else np.nextafter(middle, dtype(shift))
        expected = np.where(expected > get_format(name).max, np.inf, expected).astype(dtype)
        assert same(round_to(torch.from_numpy(x), name), torch.from_numpy(expected))
        assert same(round_to(torch.from_numpy(-x), name), torch.from_numpy(-expected))


@pytest.mark.parametrize(("name", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
@given(values=FLOATS)
def test_agrees_with_torchs_half_casts(name: str, dtype: torch.dtype, values: list[float]) -> None:
    x = torch.tensor(values)
    expected = x.to(dtype).float()
    fmt = get_format(name)
    for spelt in (name, f"e{fmt.exponent_bits}m{fmt.mantissa_bits}"):
        assert same(round_to(x, spelt), expected)


@pytest.mark.parametrize("name", TYPES)
@given(values=FLOATS | st.lists(SMALL, min_size=1, max_size=64))
def test_agrees_with_ml_dtypes(name: str, values: list[float]) -> None:
    dtype, bits = TYPES[name]
    x = torch.tensor(values)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = torch.from_numpy(x.numpy().astype(dtype).astype(np.float32))
    has_nan = bits > 6
    # Its 4 and 6 bit formats hold finite values only and saturate.
    got = round_to(x, name, overflow="inf" if has_nan else "saturate")
    finite = expected.isfinite() & x.isfinite()
    assert same(got[finite], expected[finite])
    if has_nan:
        # e4m3fn overflows to NaN, the one special value it has; here to infinity.
        assert torch.equal(got.isfinite(), expected.isfinite())
        assert torch.equal(got.isnan(), x.isnan())
        assert not (expected.isinf() & (got != expected)).any()


@pytest.mark.parametrize("name", [*TYPES, "tf32", "e8m22", "e8m10_max65504", "e5m22"])
def test_no_nan_becomes_a_number(name: str) -> None:
    """Whatever its payload, which rounding its bits could carry into the exponent or cut to that of infinity."""
    payload = torch.cat([2 ** torch.arange(23), 2 ** torch.arange(1, 24) - 1]).to(torch.int32)
    for sign in (0, -(2**31)):
        nans = (payload + (0x7F800000 + sign)).view(torch.float32)
        assert nans.isnan().all() and round_to(nans, name).isnan().all()


@st.composite
def names(draw: st.DrawFn) -> str:
    """Any eXmY, with the IEEE maximum or another: a value of the format up to twice that."""
    exponent_bits, mantissa_bits = draw(st.integers(2, 8)), draw(st.integers(1, 23))
    name = f"e{exponent_bits}m{mantissa_bits}"
    if draw(st.booleans()):
        return name
    last = 2 ** (exponent_bits - 1) - (exponent_bits == 8)
    top = draw(st.just(last) | st.integers(0, last))
    maximum = math.ldexp(draw(st.integers(2**mantissa_bits, 2 ** (mantissa_bits + 1) - 1)), top - mantissa_bits)
    text = str(int(maximum)) if maximum.is_integer() else f"{maximum:.30f}"
    return f"{name}_max{text}"


@given(name=names(), values=st.lists(SMALL | st.floats(width=32), min_size=1, max_size=32))
def test_agrees_with_gfloat_in_any_format(name: str, values: list[float]) -> None:
    fmt = get_format(name)
    edges = [fmt.max, fmt.max * (1 + fmt.eps / 4), fmt.max * (1 + fmt.eps), fmt.smallest_normal * (1 - fmt.eps / 2)]
    x = torch.tensor(values + edges + SPECIAL + [v * fmt.smallest_subnormal for v in values])
    assert same(round_to(x, name), by_gfloat(x, name))


@given(name=names(), values=st.lists(SMALL | st.floats(), min_size=1, max_size=32))
def test_float64_is_rounded_once(name: str, values: list[float]) -> None:
    x = torch.tensor(values + SPECIAL, dtype=torch.float64)
    assert same(round_to(x, name), by_gfloat(x, name))
    # Just above a tie in the format, and at the tie once it has gone through float32.
    assume(get_format(name).mantissa_bits < 22)
    x = torch.tensor([1 + get_format(name).eps / 2 + 2.0**-40], dtype=torch.float64)
    assert same(round_to(x, name), by_gfloat(x, name))


@given(values=st.lists(st.floats(2.0**-14, 2.0**15, width=32), min_size=1, max_size=64), bits=st.integers(1, 23))
def test_relative_error_is_within_the_unit_roundoff(values: list[float], bits: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    rounded = round_to(x.float(), f"e5m{bits}").double()
    assert ((rounded - x).abs() <= get_format(f"e5m{bits}").unit_roundoff * x.abs()).all()


@pytest.mark.parametrize("name", ["e5m2", "fp8_e4m3", "tf32"])
def test_a_large_tensor_is_rounded_like_its_parts(name: str) -> None:
    x = torch.randn(elementwise._LARGE + 1) * 100
    pieces = [round_to(part, name) for part in x.split(1000)]
    assert same(round_to(x, name), torch.cat(pieces))
    strided = x[1:].reshape(1024, -1).T
    assert same(round_to(strided, name).T.reshape(-1), torch.cat(pieces)[1:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", [*TYPES, "tf32", "e5m22", "mxfp8", "mxfp8_e5m2"])
def test_a_gpu_rounds_as_the_cpu_does(name: str) -> None:
    bits = torch.randint(-(2**31), 2**31, (2**20,), dtype=torch.int64).to(torch.int32)
    x = torch.cat([bits.view(torch.float32), torch.randn(2**20), 1e-40 * torch.randn(2**10)])
    assert same(round_to(x.cuda(), name).cpu(), round_to(x, name))
    assert same(round_to(x.double().cuda(), name).cpu(), round_to(x.double(), name))
