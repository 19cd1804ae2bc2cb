"""A planted overflow is found where it was planted, and looking for it costs a healthy step nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mpno import FNO, SpectralConv
from mpno.specs import FNOSpec
from mpno.training.divergence import Divergence, first_not_finite

SPEC = FNOSpec(modes=(6, 6), width=8, layers=3)


class Step(nn.Module):
    """One of several layers in a row; `act` is what it does between two harmless operations."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x * 0.5).roll(1, -1)


def divide(x: Tensor) -> Tensor:
    return x / torch.zeros_like(x)


def hidden(x: Tensor) -> Tensor:
    """An infinity on the way that never reaches the result: not where a divergence comes from."""
    return torch.where(x.exp().isfinite(), (x * math.inf).nan_to_num(0, 0, 0) + x, x.log() * 0)


def in_place(x: Tensor) -> Tensor:
    y = x.clone()
    y[..., :2].div_(0.0)
    return y


PLANTED = {"exp": (lambda x: (100 * x).exp(), "exp"), "div": (divide, "div"), "in place": (in_place, "div_")}


@pytest.mark.parametrize("kind", PLANTED)
@pytest.mark.parametrize("at", range(4))
def test_the_layer_and_operation_are_those_planted(kind: str, at: int) -> None:
    act, operation = PLANTED[kind]
    layers = [Step(hidden) for _ in range(4)]
    layers[at] = Step(act)
    assert first_not_finite(nn.Sequential(*layers), torch.full((2, 5), 30.0)) == (str(at), operation)


def test_the_first_of_two_is_named() -> None:
    model = nn.Sequential(Step(hidden), Step(PLANTED["exp"][0]), Step(divide))
    assert first_not_finite(model, torch.full((2, 5), 30.0)) == ("1", "exp")


def test_views_of_a_part_that_is_finite_are_not_blamed() -> None:
    class Kept(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            spectrum = torch.cat([x * math.inf, x], -1)
            return divide(spectrum[..., x.shape[-1] :])

    assert first_not_finite(Kept(), torch.ones(1, 4)) == ("model", "div")


@pytest.mark.parametrize("block", range(3))
def test_a_contraction_that_overflows_is_named(block: int) -> None:
    model = FNO(1, 1, SPEC, precision="half+none")
    with torch.no_grad():
        model.get_parameter(f"blocks.{block}.conv.weight").mul_(1e7)
    where, operation = first_not_finite(model, 10 * torch.ones(1, 1, 12, 12))
    assert where == f"blocks.{block}.conv" and operation.endswith(" in products"), "not of the helper that rounds"


def test_a_half_transform_that_overflows_is_named() -> None:
    """Without tanh a field of 20 on 64 x 64 points overflows fp16 before the transform divides by n."""
    conv = SpectralConv(1, 1, (4, 4), precision="half HFF+none")
    where, operation = first_not_finite(conv, torch.full((1, 1, 64, 64), 20.0))
    assert where == "model" and operation.endswith(" in fft_forward")


def test_an_input_beyond_fp16_names_the_layer_and_no_helper() -> None:
    assert first_not_finite(FNO(1, 1, SPEC, precision="mixed"), torch.full((1, 1, 12, 12), 1e30)) == (
        "lifting.first",
        "to_copy",
    )


def test_what_was_broken_before_is_said() -> None:
    model = FNO(1, 1, SPEC)
    assert first_not_finite(model, torch.ones(1, 1, 12, 12)) == ("loss", "")
    assert first_not_finite(model, torch.full((1, 1, 12, 12), math.nan)) == ("input", "")
    with torch.no_grad():
        for name in ("blocks.0.mlp_skip.gate", "blocks.1.mlp_skip.gate"):
            model.get_parameter(name).fill_(math.inf)
    where, operation = first_not_finite(model, torch.ones(1, 1, 12, 12))
    assert where.endswith("not finite: blocks.1.mlp_skip.gate") and operation == ""
    with torch.no_grad():
        for p in model.parameters():
            p.fill_(math.nan)
    assert first_not_finite(model, torch.ones(1, 1, 12, 12))[0].endswith("not finite: all")


def test_a_divergence_says_all_of_it() -> None:
    assert str(Divergence(2, 7, "blocks.0.conv", "fft_c2c in fft_forward")) == (
        "diverged at epoch 2, step 7: first not finite in blocks.0.conv, fft_c2c in fft_forward"
    )
    assert str(Divergence(2, 7, "input")).endswith("first not finite in input")


def test_no_hook_is_left_on_the_model() -> None:
    model = nn.Sequential(Step(divide))
    first_not_finite(model, torch.ones(1, 2))
    with pytest.raises(RuntimeError):
        first_not_finite(nn.Sequential(model, nn.Linear(3, 3)), torch.ones(1, 2))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
