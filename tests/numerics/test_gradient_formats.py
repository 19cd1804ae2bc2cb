"""Formats whose gradients are held in another: what goes forward, what comes back, and rounding by chance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpno import FNO, SFNO
from mpno.models.norms import FieldNorm
from mpno.numerics import hold, round_to, set_precision
from mpno.specs import ContractionSpec, MpnoError, PrecisionSetting, build_spec, get_format, gradient_format
from mpno.spectral.fft import fft_forward, fft_inverse
from mpno.spectral.modes import kept_modes
from mpno.spectral.weights import SpectralWeight


def spread(*shape: int) -> Tensor:
    return torch.randn(shape) * torch.exp2(torch.randint(-12, 6, shape).float())


@pytest.mark.parametrize("values", ["mxfp8", "fp8_e4m3_sat", "e5m3", "bf16"])
@pytest.mark.parametrize("gradients", ["mxfp8_e5m2", "fp8_e5m2_sat", "fp32", "fp16"])
def test_values_and_gradients_are_held_each_in_their_own(values: str, gradients: str) -> None:
    x, given = spread(5, 64).requires_grad_(), spread(5, 64)
    held = hold(x, f"{values}_back_{gradients}")
    assert torch.equal(held, round_to(x.detach(), values))
    held.backward(given)
    assert x.grad is not None and torch.equal(x.grad, round_to(given, gradients))


def step(model: Any, precision: str, x: Tensor) -> tuple[Tensor, Tensor]:
    set_precision(model, precision)
    model.zero_grad(set_to_none=True)
    y = model(x)
    y.square().sum().backward()
    return y.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def models() -> list[tuple[Any, Tensor]]:
    torch.manual_seed(0)
    cp = ContractionSpec(factorization="cp", rank=0.3)
    sizes: Any = {"in_channels": 1, "out_channels": 1, "width": 8, "layers": 1}
    plane, sphere = torch.randn(2, 1, 8, 8), torch.randn(2, 1, 8, 16)
    return [
        (FNO(modes=(4, 4), **sizes), plane),
        (FNO(modes=(4, 4), transform="matmul", norm="group", **sizes), plane),
        (FNO(modes=(4, 4), contraction=cp, **sizes), plane),
        (SFNO(modes=(4, 4), **sizes), sphere),
    ]


@pytest.mark.parametrize("case", range(4))
def test_every_layer_rounds_its_gradients_in_their_format_and_nothing_else(case: int) -> None:
    model, x = models()[case]
    whole, whole_gradient = step(model, "mixed-mxfp8", x)
    said, said_gradient = step(model, "mixed-mxfp8_back_mxfp8", x)
    assert torch.equal(whole, said) and torch.equal(whole_gradient, said_gradient)
    # With fp32's values nothing is rounded but gradients.
    exact, exact_gradient = step(model, "mixed-e8m23", x)
    for gradients, least, most in (("e8m23", 0.0, 1e-6), ("e8m7", 1e-4, 2e-2), ("e8m3", 1e-3, 0.3)):
        output, gradient = step(model, f"mixed-e8m23_back_{gradients}", x)
        off = float((gradient - exact_gradient).norm() / exact_gradient.norm())
        assert torch.equal(output, exact) and least <= off <= most, (gradients, off)


LARGE = 2.0**20
FORMAT = "e8m23_back_fp8_e4m3_sat"
"""Values as fp32 has them, gradients clipped at 448."""


def test_a_norm_clips_the_gradients_that_it_is_given() -> None:
    norm = FieldNorm(4, "group")
    norm.format = FORMAT
    x = torch.randn(2, 8, 8, 4, requires_grad=True)
    norm(x).backward(LARGE * torch.randn(2, 8, 8, 4))
    assert x.grad is not None and 0 < float(x.grad.abs().max()) < 2.0**12


def test_transforms_clip_the_gradients_that_they_give() -> None:
    kept = kept_modes((8, 8), (4, 4), "joint")
    x = torch.randn(2, 8, 8, 3, requires_grad=True)
    s = fft_forward(x, kept, FORMAT)
    s.backward(torch.full_like(s, LARGE))
    given = s.detach().requires_grad_()
    y = fft_inverse(given, kept, FORMAT)
    y.backward(torch.full_like(y, LARGE))
    assert x.grad is not None and given.grad is not None
    assert float(x.grad.abs().max()) <= 448 and float(torch.view_as_real(given.grad).abs().max()) <= 448


@pytest.mark.parametrize(("size", "most"), [(1e-5, 1.0), (1.0, 448.0)])
def test_contractions_clip_gradients_on_their_way_in_and_out(size: float, most: float) -> None:
    """With small weights only what comes in exceeds the maximum, with weights of order 1 what goes out does too."""
    torch.manual_seed(0)
    weight = SpectralWeight(3, 3, (4, 4), spec=ContractionSpec(factorization="cp", rank=0.5))
    kept = kept_modes((8, 8), (4, 4), "joint")
    for parameter in weight.parameters():
        torch.nn.init.constant_(parameter, size ** (1 / 5))
    s = torch.randn(2, *kept.counts, 3, 2, requires_grad=True)
    y = weight.contract(s, kept, inputs=FORMAT, weights=FORMAT)
    y.backward(torch.full_like(y, LARGE))
    assert s.grad is not None and 0 < float(s.grad.abs().max()) <= most


def test_chance_leaves_the_mean_of_a_gradient() -> None:
    x = torch.zeros(4000, 32, requires_grad=True)
    given = torch.linspace(0.1, 1.0, 32).expand(4000, 32)
    torch.manual_seed(0)
    hold(x, "mxfp8_back_mxfp8_stochastic").backward(given)
    assert x.grad is not None
    spacing = 2.0**-4  # of the largest
    assert float((x.grad.mean(0) - given[0]).abs().max()) < 4 * spacing / 4000**0.5
    assert (x.grad.std(0) > 0).sum() > 16


def test_names() -> None:
    fmt = get_format("mxfp8_back_mxfp8_e5m2_stochastic")
    assert fmt.gradient is not None and fmt.gradient.stochastic and not fmt.stochastic
    assert gradient_format(fmt.name) == "mxfp8_e5m2_stochastic" and gradient_format("fp16") == "fp16"
    assert get_format(fmt.name) == fmt
    setting = PrecisionSetting.model_validate("mixed-mxfp8_back_mxfp8_e5m2_stochastic FHH")
    assert PrecisionSetting.model_validate(setting.label) == setting


@pytest.mark.parametrize(
    ("precision", "words"),
    [
        ("mixed-mxfp8_stochastic", "rounds values by chance, .* write mxfp8_back_mxfp8_stochastic"),
        ("mixed-mxfp8_stochastic_back_mxfp8", "only gradients may be rounded by chance"),
        ("mixed-mxfp8_back_fp16_back_fp16", "only gradients may be rounded by chance, and have one format"),
        ("mixed-mxfp8_back_fp17", "is not a number format; did you mean fp16"),
    ],
)
def test_mistakes(precision: str, words: str) -> None:
    with pytest.raises(MpnoError, match=words):
        build_spec({"precision": precision})
