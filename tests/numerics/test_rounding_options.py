"""What is asked for beside rounding to nearest: overflow, chance, gradients; and what is refused."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import torch
from rounding_oracles import codes, gaps, same

from mpno.numerics import hold, round_to
from mpno.specs import FORMATS, MpnoError, get_format

NAMES = [*FORMATS, "e5m4", "e3m2", "e2m1", "e8m1", "e4m10_max448", "e5m10_max1000", "e8m10_max65504", "e5m22"]
PLAIN = [name for name in NAMES if get_format(name).element is None]


@pytest.mark.parametrize("name", PLAIN)
def test_overflow_is_as_asked(name: str) -> None:
    largest = get_format(name).max
    spacing = math.ulp(largest) * 2.0 ** (52 - get_format(name).mantissa_bits)
    # In float64, which holds what lies beyond fp32's maximum too. Half the spacing may be a tie that stays.
    x = torch.tensor([largest + 0.49 * spacing, largest + 0.51 * spacing, 8 * largest, torch.inf], dtype=torch.float64)
    x = torch.cat([x, -x, torch.tensor([torch.nan, -largest, 0.5], dtype=torch.float64)])
    beyond, within = [largest, torch.inf, torch.inf, torch.inf], [largest] * 4
    rest = [torch.nan, -largest, 0.5 if get_format(name).smallest_subnormal <= 0.5 else 0.0]
    expected = torch.tensor(beyond + [-v for v in beyond] + rest, dtype=torch.float64)
    assert same(round_to(x, name), expected)
    expected = torch.tensor(within + [-v for v in within] + rest, dtype=torch.float64)
    assert same(round_to(x, name, overflow="saturate"), expected)
    with pytest.raises(MpnoError, match=f"6 of 11 values overflow {name}: the largest magnitude is inf"):
        round_to(x, name, overflow="strict")
    fine = torch.tensor([torch.nan, largest, largest + 0.49 * spacing], dtype=torch.float64)
    assert same(
        round_to(fine, name, overflow="strict"), torch.tensor([torch.nan, largest, largest], dtype=torch.float64)
    )


def test_strict_says_what_overflows() -> None:
    with pytest.raises(MpnoError) as error:
        round_to(torch.tensor([1.0, -70000.0, 65519.0, 65520.0]), "fp16", overflow="strict")
    assert str(error.value).startswith(
        "round_to: 2 of 4 values overflow fp16: the largest magnitude is 70000, the format's maximum 65504;"
    )


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3", "e2m3_max7.5"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_stochastic_rounding_has_the_value_as_its_mean(name: str, dtype: torch.dtype) -> None:
    """Hoeffding: the mean of n draws from an interval is off by t intervals with probability below 2 exp(-2 n t^2)."""
    g = gaps(name)
    chosen = np.concatenate([[0, 1, len(g.below) // 2], np.random.default_rng(0).integers(len(g.below) - 1, size=61)])
    below, above = (torch.from_numpy(side[chosen]).to(dtype) for side in (g.below, g.above))
    share = torch.linspace(0.01, 0.99, len(chosen), dtype=dtype)
    x = below + share * (above - below)
    x[1::2] *= -1
    draws = 10_000
    got = round_to(
        x.expand(draws, -1), name, rounding="stochastic", generator=torch.Generator().manual_seed(0), overflow="strict"
    )
    assert ((got.abs() == below) | (got.abs() == above)).all()
    off = (got.double() - x.double()).mean(0) / (above - below).double()
    failure = 1e-9
    assert off.abs().max() <= math.sqrt(math.log(2 * len(x) / failure) / (2 * draws))
    assert abs(float(off.mean())) <= math.sqrt(math.log(2 / failure) / (2 * draws * len(x)))


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "e5m10", "e2m3_max7.5"])
def test_values_of_the_format_are_left_to_no_chance(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = torch.from_numpy(codes(name)).float()
    for draw in (0.0, 1 - 2.0**-24):  # the least and the greatest number drawn
        monkeypatch.setattr(torch, "rand", lambda size, draw=draw, **_options: torch.full(size, draw))
        assert same(round_to(values, name, rounding="stochastic"), values)


def test_a_generator_decides_the_draws() -> None:
    x = torch.randn(1000)

    def draw(seed: int) -> torch.Tensor:
        return round_to(x, "e5m2", rounding="stochastic", generator=torch.Generator().manual_seed(seed))

    before = torch.get_rng_state()
    assert torch.equal(draw(1), draw(1)) and not torch.equal(draw(1), draw(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(*(round_to(x, "e5m2", rounding="stochastic") for _ in range(2)))


@pytest.mark.parametrize("name", ["fp16", "fp8_e4m3", "e5m10_max1000"])
def test_chance_overflows_like_any_rounding(name: str) -> None:
    """A quarter of the way from the maximum to what would follow it, a quarter of the draws overflow."""
    largest = get_format(name).max
    spacing = math.ulp(largest) * 2.0 ** (52 - get_format(name).mantissa_bits)
    draws = 10_000
    x = torch.full((draws,), largest + spacing / 4)
    got = round_to(x, name, rounding="stochastic")
    assert ((got == largest) | (got == torch.inf)).all()
    assert abs(float(got.isinf().double().mean()) - 0.25) <= math.sqrt(math.log(2 / 1e-9) / (2 * draws))
    assert (round_to(x, name, rounding="stochastic", overflow="saturate") == largest).all()
    with pytest.raises(MpnoError, match=r"of 10000 values overflow"):
        round_to(x, name, rounding="stochastic", overflow="strict")
    assert round_to(torch.full((draws,), largest - spacing / 4), name, rounding="stochastic").isfinite().all()


@pytest.mark.parametrize("options", [{}, {"overflow": "saturate"}, {"rounding": "stochastic"}, {"overflow": "strict"}])
@pytest.mark.parametrize("name", ["fp32", "fp16", "fp8_e4m3", "mxfp8"])
def test_gradients_pass_straight_through(name: str, options: dict[str, str]) -> None:
    x = torch.tensor([1.0, 3e-9, 100.3], requires_grad=True)
    gradient = torch.tensor([1.0 + 2.0**-12, 3e-9, 1e30])
    round_to(x, name, **options).backward(gradient)  # type: ignore[arg-type]
    assert x.grad is not None and torch.equal(x.grad, gradient)


def test_a_held_gradient_is_stored_in_the_format() -> None:
    x = torch.tensor([1.0, 3e-9], requires_grad=True)
    hold(x, "fp16").float().backward(torch.tensor([1.0 + 2.0**-12, 3e-9]))
    # As in a native half run: the gradient has 10 fraction bits, and what is below the subnormals is lost.
    assert x.grad is not None and torch.equal(x.grad, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize(("name", "grad"), [("fp8_e4m3", [1.125, torch.inf, 0.0]), ("fp8_e5m2", [1.0, 512.0, 0.0])])
def test_fp8_is_held_by_rounding(name: str, grad: list[float]) -> None:
    x = torch.tensor([1.07, 3.3, 1.0], requires_grad=True)
    held = hold(x, name)
    assert held.dtype is torch.float32 and torch.equal(held, round_to(x.detach(), name))
    held.backward(torch.tensor([1.07, 500.0, 1e-6]))
    assert x.grad is not None and torch.equal(x.grad, torch.tensor(grad))


def test_mistakes_are_named() -> None:
    x = torch.ones(1)
    with pytest.raises(MpnoError, match=r"number format 'fp61': did you mean fp16\?"):
        round_to(x, "fp61")
    with pytest.raises(TypeError, match=r"takes float32 or float64 tensors, got torch\.float16"):
        round_to(x.half(), "fp8_e4m3")
    unchecked = inspect.unwrap(round_to)
    with pytest.raises(MpnoError, match=r"overflow is 'saturated'; did you mean saturate\? allowed: inf, saturate"):
        unchecked(x, "fp16", overflow="saturated")
    with pytest.raises(MpnoError, match="rounding is 'up'; allowed: nearest, stochastic"):
        unchecked(x, "fp16", rounding="up")
