"""Loss scaling, clipping and delayed updates against the plain arithmetic they stand for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpno.numerics import hold
from mpno.specs import TrainingSpec
from mpno.training.techniques import PATIENCE, Updater


class Half(nn.Module):
    """y = w·x with the gradient of y stored in fp16, as the backward pass of a half layer has it."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

    def forward(self, x: Tensor) -> Tensor:
        return hold(x * self.w, "fp16").sum()


def make(fused: bool | None = None, rate: float = 0.1, **techniques: Any) -> tuple[Half, Updater]:
    model = Half()
    optimizer: torch.optim.Optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    if fused is not None:
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, fused=fused)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    return model, Updater(optimizer, scheduler, TrainingSpec(**techniques))


X = torch.tensor([[0.5, 1.0, -2.0], [2.0, 0.25, 1.0], [-1.0, 3.0, 0.5], [1.0, 1.0, 1.0]])


def trained(steps: int, loss_factor: float = 1.0, fused: bool | None = None, **techniques: Any) -> Tensor:
    model, updater = make(fused, **techniques)
    for x in X.repeat(2, 1)[:steps]:
        updater.backward(loss_factor * model(x))
    updater.update()
    return model.w.detach()


@pytest.mark.parametrize("fused", [None, False, True])
@pytest.mark.parametrize("scaling", ["dynamic", 128.0])
def test_a_scaled_loss_gives_the_same_update(scaling: Any, fused: bool | None) -> None:
    """All gradients are multiples of 1/4 below 2^8 here, so scaling by a power of two changes no bit of them."""
    factor = 2.0**-8
    assert torch.equal(trained(8, factor, fused, loss_scaling=scaling), trained(8, factor, fused))


def test_scaling_saves_gradients_that_fp16_would_lose() -> None:
    """2^-26 is a quarter of fp16's smallest number: without scaling the update is nothing."""
    start = Half().w.detach()
    rate = 2.0**20
    lost, plain = make(rate=rate)
    saved, scaled = make(rate=rate, loss_scaling=1024)
    for model, updater in ((lost, plain), (saved, scaled)):
        updater.backward(2.0**-26 * model(X[0]))
    assert torch.equal(lost.w, start) and torch.equal(saved.w.detach(), start - rate * 2.0**-26 * X[0])


@pytest.mark.parametrize("fused", [None, False, True])
def test_an_update_that_overflows_is_skipped_and_dynamic_scaling_recovers(fused: bool | None) -> None:
    """The initial factor, 2^16, sends a gradient of 1 beyond fp16's maximum; half of it does not."""
    model, updater = make(fused, loss_scaling="dynamic")
    start = model.w.detach().clone()
    updater.backward(model(X[3]))
    assert torch.equal(model.w, start) and (updater.skipped, updater.skipped_in_a_row) == (1, 1)
    updater.backward(model(X[3]))
    assert not torch.equal(model.w, start) and (updater.skipped, updater.skipped_in_a_row) == (1, 0)
    expected, plain = make(fused)
    plain.backward(expected(X[3]))
    assert torch.equal(model.w, expected.w), "the skipped update left no trace in the optimiser"


def test_a_constant_factor_stays_and_gives_up() -> None:
    model, updater = make(loss_scaling=2.0**16)
    for count in range(1, PATIENCE + 1):
        assert not updater.gave_up
        updater.backward(model(X[3]))
        assert updater.skipped == count
    assert updater.gave_up and model.w.isfinite().all()
    updater.backward(2.0**-4 * model(X[3]))
    assert updater.skipped == PATIENCE and not updater.gave_up


def test_without_scaling_nothing_is_skipped() -> None:
    model, updater = make()
    updater.backward(1e6 * model(X[3]))
    assert not model.w.isfinite().all() and updater.skipped == 0 and not updater.scales_loss


@pytest.mark.parametrize("scaling", [None, "dynamic"])
def test_three_batches_are_one_update_with_the_summed_gradient(scaling: Any) -> None:
    model, updater = make(delayed_updates=3, loss_scaling=scaling)
    start = model.w.detach().clone()
    for x in X[:2]:
        updater.backward(2.0**-4 * model(x))
        assert torch.equal(model.w, start)
    updater.backward(2.0**-4 * model(X[2]))
    assert torch.equal(model.w.detach(), start - 0.1 * 2.0**-4 * X[:3].sum(0))


def test_what_waits_at_the_end_of_an_epoch_is_used_once() -> None:
    model, updater = make(delayed_updates=3)
    start = model.w.detach().clone()
    updater.backward(model(X[0]))
    updater.update()
    assert torch.equal(model.w.detach(), start - 0.1 * X[0])
    updater.update()
    assert torch.equal(model.w.detach(), start - 0.1 * X[0])
    for x in X[1:]:
        updater.backward(model(x))
    assert torch.allclose(model.w.detach(), start - 0.1 * X.sum(0), atol=1e-6)


@pytest.mark.parametrize("scaling", [None, "dynamic", 4.0])
def test_clipping_bounds_the_norm_of_the_true_gradient(scaling: Any) -> None:
    """The gradient is 8·x with norm 8·sqrt(14), clipped at 5; another of norm below 5 is left alone."""
    x = torch.tensor([1.0, 2.0, 3.0])
    for factor, expected in ((8.0, 5 * x / x.norm()), (0.125, 0.125 * x)):
        model, updater = make(grad_clip=5, loss_scaling=scaling)
        start = model.w.detach().clone()
        for _ in range(5):  # the first updates of dynamic scaling are skipped
            updater.backward(factor * model(x))
            if not torch.equal(model.w, start):
                break
        # clip_grad_norm_ divides by the norm plus 1e-6.
        assert torch.allclose(model.w.detach() - start, -0.1 * expected, rtol=1e-6, atol=1e-6)


def test_clipping_comes_after_the_sum() -> None:
    """The sum (3, 4, 0) has norm 5 and stays; clipped one by one the three would sum to (0, 4, 0)."""
    model, updater = make(grad_clip=5, delayed_updates=3)
    start = model.w.detach().clone()
    for x in ([30.0, 0.0, 0.0], [0.0, 4.0, 0.0], [-27.0, 0.0, 0.0]):
        updater.backward(model(torch.tensor(x)))
    assert torch.allclose(model.w.detach(), start - 0.1 * torch.tensor([3.0, 4.0, 0.0]), atol=1e-6)


def test_the_scheduler_steps_once_per_update() -> None:
    model = Half()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    updater = Updater(optimizer, scheduler, TrainingSpec(delayed_updates=2))
    for x in X:
        updater.backward(model(x))
    assert optimizer.param_groups[0]["lr"] == 0.25
