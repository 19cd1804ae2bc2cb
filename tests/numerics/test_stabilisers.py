"""Stabilisers in every format, values and gradients against float64 autograd of the formulas."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpno.numerics import round_to, stabilise, undo_factor
from mpno.numerics.stabilisers import _Tanh
from mpno.specs import get_format
from mpno.specs.names import STABILISERS, Stabiliser
from mpno.spectral.fft import fft_forward
from mpno.spectral.modes import kept_modes

SHAPE = (3, 12, 10, 4)  # 120 points; the power of two at or above is 128


def clipped(x: Tensor) -> Tensor:
    low, high = (x.mean() + sign * 2 * x.std() for sign in (-1, 1))
    return x.clamp(low.detach(), high.detach())


def normalised(x: Tensor) -> Tensor:
    flat = x.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return (centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()).view_as(x)


EXACT: dict[Stabiliser, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x * 1.0,
    "tanh": torch.tanh,
    "hard_clip": lambda x: x.clamp(-1, 1),
    "sigma_clip": clipped,
    "pre_scale": lambda x: x / 128,
    "norm": normalised,
}


def field(format: str) -> Tensor:
    """Values of the format, so that only what the stabiliser does is compared, a few of them outliers."""
    x = 0.6 + 0.9 * torch.randn(SHAPE)
    x[0, 0, 0] = 6.0
    return round_to(x, format)


@pytest.mark.parametrize("format", ["fp32", "fp16", "bf16", "e5m4"])
@pytest.mark.parametrize("stabiliser", STABILISERS)
def test_values_and_gradients(stabiliser: Stabiliser, format: str) -> None:
    x = field(format).requires_grad_()
    cotangent = round_to(torch.randn(SHAPE), format)
    y = stabilise(x, stabiliser, format)
    y.backward(cotangent.to(y.dtype))
    exact_x = x.detach().double().requires_grad_()
    exact = EXACT[stabiliser](exact_x)
    exact.backward(cotangent.double())
    assert x.grad is not None and exact_x.grad is not None
    # One rounding of the result (two where the operation itself is in the format), one or two of the
    # gradient, whose terms can cancel: relative to its largest value.
    roundoff = 4 * get_format(format).unit_roundoff
    assert ((y.double() - exact).abs() <= roundoff * exact.abs().clamp_min(1e-3) + 1e-7).all()
    wrong = (x.grad.double() - exact_x.grad).abs() > roundoff * exact_x.grad.abs().max() + 1e-7
    if stabiliser == "sigma_clip":
        # The bounds are rounded too, so values next to one may lie on its other side.
        for bound in (exact.min(), exact.max()):
            wrong &= (exact_x - bound).abs() > roundoff * bound.abs()
    assert not wrong.any()
    assert torch.equal(y.float(), round_to(y.float(), format)), "the result is stored in the format"


@pytest.mark.parametrize("stabiliser", STABILISERS)
def test_stored_in_the_formats_own_dtype_on_the_cuda_route(stabiliser: Stabiliser) -> None:
    x = torch.empty(SHAPE, device="meta", requires_grad=True)
    y = stabilise(x, stabiliser, "fp16")
    assert y.dtype is torch.float16 and y.shape == x.shape
    y.sum().backward()
    assert x.grad is not None and x.grad.dtype is torch.float32


@pytest.mark.parametrize("stabiliser", ["tanh", "hard_clip"])
def test_bounded_by_one(stabiliser: Stabiliser) -> None:
    assert stabilise(100 * torch.randn(SHAPE), stabiliser, "fp16").abs().max() == 1.0


def test_two_sigma_are_those_of_the_whole_tensor() -> None:
    """An outlier in one sample moves the bounds of all: the authors' statistics are not per sample."""
    x = field("fp32")
    y = stabilise(x, "sigma_clip", "fp32")
    bound = float(x.double().mean() + 2 * x.double().std())
    assert y.max().item() == pytest.approx(bound, rel=1e-6) and 0 < (y != x).sum() < 0.1 * x.numel()
    assert torch.equal(y[1:][x[1:].abs() < 1], x[1:][x[1:].abs() < 1])


@pytest.mark.parametrize(("points", "factor"), [(1, 1.0), (2, 2.0), (120, 128.0), (128, 128.0), (1024**2, 2.0**20)])
def test_the_factor_is_the_next_power_of_two(points: int, factor: float) -> None:
    assert undo_factor("pre_scale", points) == factor
    assert all(undo_factor(name, points) == 1.0 for name in EXACT if name != "pre_scale")


def test_pre_scale_keeps_a_half_transform_finite_and_is_undone() -> None:
    """A constant field of 20 on 128 x 128 points has an unscaled coefficient of 327,680, five times fp16's maximum."""
    x = 20.0 + torch.randn(1, 128, 128, 1)
    kept = kept_modes((128, 128), (4, 4))
    assert not fft_forward(stabilise(x, "none", "fp16"), kept, "fp16").isfinite().all()
    scaled = fft_forward(stabilise(x, "pre_scale", "fp16"), kept, "fp16") * undo_factor("pre_scale", 128 * 128)
    exact = torch.fft.rfft2(x.double(), dim=(1, 2), norm="forward")[:, 0, 0]
    assert scaled[:, 2, 0].real.item() == pytest.approx(exact.real.item(), rel=4 * get_format("fp16").unit_roundoff)


def test_pre_scale_is_exact_but_for_underflow() -> None:
    """What survives in x is a multiple of the divisor times fp16's smallest value, 2^-24."""
    x = field("fp16")
    back = stabilise(x, "pre_scale", "fp16") * 128
    assert ((back - x).abs() <= 128 * 2.0**-25).all()
    assert torch.equal(stabilise(x, "pre_scale", "fp32") * 128, x)
    assert stabilise(torch.full(SHAPE, 128 * 2.0**-26), "pre_scale", "fp16").abs().max() == 0.0


def test_norm_forgets_scale_and_offset_of_each_sample() -> None:
    x = field("fp32")
    other = x * torch.tensor([1.0, 7.0, 0.5]).view(3, 1, 1, 1) + torch.tensor([0.0, -3.0, 2.0]).view(3, 1, 1, 1)
    # The eps of 1e-5 in the variance counts most where it is smallest, about 0.2 for the third sample.
    assert torch.allclose(stabilise(x, "norm", "fp32"), stabilise(other, "norm", "fp32"), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tanh_is_accurate_from_the_smallest_to_infinity(dtype: torch.dtype) -> None:
    values = torch.cat([torch.logspace(-37, 2, 4000), torch.tensor([0.0, -0.0, torch.inf, torch.nan])]).to(dtype)
    values = torch.cat([values, -values]).requires_grad_()
    y = _Tanh.apply(values)
    exact = torch.tanh(values.detach().double())
    finite = ~exact.isnan()
    # One stored result and a polynomial good to a unit roundoff of fp32.
    allowed = (torch.finfo(dtype).eps / 2 + 2.0**-24) * exact.abs()
    assert ((y.double() - exact).abs()[finite] <= allowed[finite]).all()
    assert torch.equal(y.isnan(), ~finite) and torch.equal(y.signbit()[finite], exact.signbit()[finite])
    y.sum().backward()
    assert values.grad is not None
    slope = 1 - y.detach().double().square()
    assert ((values.grad.double() - slope).abs()[finite] <= 4 * torch.finfo(dtype).eps).all()
