"""Block formats against the OCP rule in numpy and against gfloat, and what must hold whatever the values."""

from __future__ import annotations

from typing import Any

import gfloat
import gfloat.formats
import ml_dtypes
import numpy as np
import pytest
import torch
from gfloat.block import compute_scale_amax, quantize_block
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rounding_oracles import same

from mpno.numerics import hold, round_to
from mpno.specs import MpnoError, get_format

ELEMENTS: dict[str, tuple[Any, float, int]] = {  # type, if numpy has it, maximum, exponent of the maximum
    "mxfp8": (ml_dtypes.float8_e4m3fn, 448.0, 8),
    "mxfp8_e5m2": (ml_dtypes.float8_e5m2, 57344.0, 15),
    "mxint8": (None, 127 / 64, 0),
}
BLOCKS = {"mxfp8": gfloat.formats.format_info_mxfp8_e4m3, "mxfp8_e5m2": gfloat.formats.format_info_mxfp8_e5m2}
BLOCKS["mxint8"] = gfloat.formats.format_info_mxint8
names = pytest.mark.parametrize("name", ELEMENTS)
SCALED_UP = "mxfp8_up"
ROWS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=70)


def by_numpy(x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
    """The specification's conversion, block by block in float64."""
    dtype, largest, top = ELEMENTS[name.removesuffix("_up")]
    rows = []
    for row in x.astype(np.float64).reshape(-1, x.shape[-1]):
        rounded = []
        for start in range(0, len(row), 32):
            block = row[start : start + 32]
            exponent = int(np.frexp(np.abs(block).max())[1]) - 1 - top if block.any() else -127
            scale = 2.0 ** max(exponent, -127)
            if name == SCALED_UP:  # the smallest power of two that leaves nothing to clamp
                scale = 2.0 ** max(np.ceil(np.log2(np.abs(block).max() / largest)), -127) if block.any() else 2.0**-127
            clipped = np.clip(block / scale, -largest, largest)
            # numpy rounds halves to even.
            elements = np.round(64 * clipped) / 64 if dtype is None else clipped.astype(dtype).astype(np.float64)
            rounded.append(elements * scale)
        rows.append(np.concatenate(rounded))
    with np.errstate(over="ignore"):
        return np.stack(rows).reshape(x.shape).astype(np.float32)


def spread(*shape: int) -> torch.Tensor:
    """Values of many magnitudes, so that blocks hold normals, subnormals and zeros."""
    return torch.randn(shape) * torch.exp2(torch.randint(-20, 20, shape).float())


@pytest.mark.parametrize("name", [*ELEMENTS, SCALED_UP])
@pytest.mark.parametrize("shape", [(64,), (3, 32), (2, 3, 80), (5, 7), (4, 1)])
def test_follows_the_specification(name: str, shape: tuple[int, ...]) -> None:
    x = spread(*shape)
    expected = torch.from_numpy(by_numpy(x.numpy(), name))
    assert same(round_to(x, name), expected)
    assert same(round_to(x.double(), name), expected.double())
    strided = spread(*reversed(shape)).permute(*reversed(range(len(shape))))
    assert same(round_to(strided, name), torch.from_numpy(by_numpy(strided.numpy(), name)))


@pytest.mark.parametrize("name", [*ELEMENTS, SCALED_UP])
@given(values=ROWS)
def test_follows_the_specification_at_any_value(name: str, values: list[float]) -> None:
    x = torch.tensor(values)
    assert same(round_to(x, name), torch.from_numpy(by_numpy(x.numpy(), name)))


@names
def test_agrees_with_gfloat(name: str) -> None:
    fmt = BLOCKS[name]
    assert fmt.k == 32
    for _ in range(8):
        x = spread(32)
        expected = quantize_block(fmt, x.double().numpy(), compute_scale_amax)
        assert torch.equal(round_to(x, name).double(), torch.from_numpy(np.asarray(expected)))


@names
@given(values=ROWS, power=st.integers(-60, 60))
def test_a_power_of_two_passes_through(name: str, values: list[float], power: int) -> None:
    x = torch.tensor(values, dtype=torch.float64)
    x = torch.ldexp(x, -torch.frexp(x.abs().amax()).exponent)  # away from the ends of the scale's range
    scaled = round_to(torch.ldexp(x, torch.tensor(power)), name)
    assert same(scaled, torch.ldexp(round_to(x, name), torch.tensor(power)))


@names
@given(values=ROWS)
def test_rounding_twice_changes_nothing(name: str, values: list[float]) -> None:
    once = round_to(torch.tensor(values), name)
    assert same(round_to(once, name), once)


@names
def test_blocks_know_nothing_of_each_other(name: str) -> None:
    x = spread(4, 96)
    changed = x.clone()
    changed[1, 32:64] *= 1000
    touched = round_to(x, name) != round_to(changed, name)
    assert touched[1, 32:64].any()
    touched[1, 32:64] = False
    assert not touched.any()
    order = torch.randperm(32)
    assert same(round_to(x[:, order], name), round_to(x[:, :32], name)[:, order])


@names
def test_the_unit_roundoff_bounds_what_is_normal_in_its_block(name: str) -> None:
    fmt = get_format(name)
    assert fmt.element is not None
    # Within 2^5 of their block's largest; integers are normal in the upper half alone.
    x = torch.rand(2000, 32, dtype=torch.float64) + 2.0**-4
    error = (round_to(x, name) - x).abs() / x
    scale = torch.exp2(torch.floor(torch.log2(x.amax(-1, keepdim=True))) - fmt.element.top)
    normal = x >= scale * fmt.element.smallest_normal
    assert error[normal].max() <= fmt.unit_roundoff
    assert error[normal].max() >= 0.9 * fmt.unit_roundoff
    assert normal.all() or fmt.element.smallest_normal == 1


def test_what_the_scale_leaves_above_the_maximum_is_clamped() -> None:
    x = torch.tensor([511.0, -470.0, 463.0, 1.0])
    assert torch.equal(round_to(x, "mxfp8"), torch.tensor([448.0, -448.0, 448.0, 1.0]))
    assert torch.equal(round_to(x, SCALED_UP), torch.tensor([512.0, -480.0, 448.0, 1.0]))
    assert get_format(SCALED_UP).unit_roundoff == 2.0**-4 and get_format("mxfp8").unit_roundoff == 2.0**-3


@names
def test_extremes(name: str) -> None:
    """The smallest scale, and the largest values that float32 holds."""
    _, largest, top = ELEMENTS[name]
    tiny = torch.tensor([2.0**-149, -(2.0**-130), 2.0**-127])
    assert same(round_to(tiny, name), torch.from_numpy(by_numpy(tiny.numpy(), name)))
    big = torch.tensor([torch.finfo(torch.float32).max, 1.0])
    assert torch.equal(round_to(big, name), torch.tensor([largest * 2.0 ** (127 - top), 0.0]))
    for shape in ((), (0,), (0, 64), (3, 0)):
        assert torch.equal(round_to(torch.ones(shape), name), torch.ones(shape))


@names
def test_overflow_is_a_matter_of_the_block(name: str) -> None:
    _, largest, top = ELEMENTS[name]
    x = torch.ones(96)
    x[40], x[70] = -torch.inf, torch.nan
    got = round_to(x, name)
    assert (got[:32] == 1).all() and got[32:].isnan().all()
    got = round_to(x[:64], name, overflow="saturate")
    assert got[40] == -largest * 2.0 ** (127 - top) and (got[:32] == 1).all() and got.isfinite().all()
    with pytest.raises(MpnoError, match=f"1 of 96 values overflow {name}: the largest magnitude is inf"):
        round_to(x, name, overflow="strict")
    # float64 also holds finite values that no scale reaches.
    beyond = torch.tensor([get_format(name).max * 2, 1.0], dtype=torch.float64)
    assert round_to(beyond, name).isnan().all()
    assert round_to(beyond, name, overflow="saturate")[0] == get_format(name).max
    with pytest.raises(MpnoError, match=f"1 of 2 values overflow {name}"):
        round_to(beyond, name, overflow="strict")


@names
def test_chance_chooses_between_elements(name: str) -> None:
    dtype, largest, top = ELEMENTS[name]
    draws = 4000
    x = spread(64)
    got = round_to(x.expand(draws, -1), name, rounding="stochastic", generator=torch.Generator().manual_seed(0))
    for block in (slice(0, 32), slice(32, 64)):
        scale = 2.0 ** (np.frexp(x[block].abs().max().item())[1] - 1 - top)
        scaled = np.clip(x[block].double().numpy() / scale, -largest, largest)
        codes = np.arange(128, dtype=np.uint8)
        values = codes / 64 if dtype is None else codes.view(dtype).astype(np.float64)
        values = values[np.isfinite(values)]
        above = np.minimum(np.searchsorted(values, np.abs(scaled)), len(values) - 1)
        gap = np.where(values[above] == np.abs(scaled), 1.0, values[above] - values[np.maximum(above - 1, 0)])
        off = (got[:, block].double().mean(0).numpy() / scale - scaled) / gap
        assert np.abs(off).max() <= np.sqrt(np.log(2 * 32 / 1e-9) / (2 * draws))


@names
def test_values_and_gradients_are_held_in_blocks(name: str) -> None:
    x, gradient = spread(5, 64).requires_grad_(), spread(5, 64)
    held = hold(x, name)
    assert same(held.detach(), torch.from_numpy(by_numpy(x.detach().numpy(), name)))
    held.backward(gradient)
    assert x.grad is not None and same(x.grad, torch.from_numpy(by_numpy(gradient.numpy(), name)))
    assert not torch.equal(x.grad, gradient)
    on_meta = hold(torch.empty(3, 40, device="meta"), name)
    assert on_meta.shape == (3, 40) and on_meta.dtype is torch.float32
