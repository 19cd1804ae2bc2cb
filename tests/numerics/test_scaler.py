"""Loss scaling of complex parameters against torch's own on the same numbers as real pairs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpno import GradScaler


def train(complex_parameters: bool, scaler: torch.amp.GradScaler, steps: int = 5, spoil: int = -1) -> list[Tensor]:
    torch.manual_seed(0)
    pairs = torch.randn(4, 2)
    weights = nn.Parameter(torch.view_as_complex(pairs) if complex_parameters else pairs)
    real = nn.Parameter(torch.randn(3))
    optimiser = torch.optim.SGD([{"params": [weights]}, {"params": [real], "lr": 0.02}], lr=0.1)
    for step in range(steps):
        optimiser.zero_grad()
        values = torch.view_as_real(weights) if complex_parameters else weights
        loss = (values - 1).square().sum() + real.square().sum()
        scaler.scale(loss).backward()
        if step == spoil:
            assert weights.grad is not None
            weights.grad[0] = torch.inf
        scaler.step(optimiser)
        scaler.update()
    assert optimiser.param_groups[0]["params"][0] is weights
    return [torch.view_as_real(weights.detach()) if complex_parameters else weights.detach(), real.detach()]


@pytest.mark.parametrize("spoil", [-1, 2])
def test_the_same_updates_as_torchs_own_on_real_pairs(spoil: int) -> None:
    scalers = GradScaler("cpu", init_scale=8.0), torch.amp.GradScaler("cpu", init_scale=8.0)
    ours, theirs = train(True, scalers[0], spoil=spoil), train(False, scalers[1], spoil=spoil)
    # A complex update may round once more than a real one.
    assert all(torch.allclose(a, b, rtol=1e-6, atol=1e-7) for a, b in zip(ours, theirs, strict=True))
    assert scalers[0].get_scale() == scalers[1].get_scale() == (8.0 if spoil < 0 else 4.0)


def test_torchs_own_refuses_complex_gradients() -> None:
    """Where this fails, torch has learnt it and the class can go."""
    with pytest.raises(NotImplementedError):
        train(True, torch.amp.GradScaler("cpu"))


def test_unscaled_gradients_can_be_clipped_before_the_step() -> None:
    p = nn.Parameter(torch.tensor([3 + 4j]))
    optimiser = torch.optim.SGD([p], lr=1.0)
    scaler = GradScaler("cpu", init_scale=1024.0)
    scaler.scale((p.conj() * p).real.sum()).backward()
    scaler.unscale_(optimiser)
    assert p.grad is not None and torch.equal(p.grad, torch.tensor([6 + 8j]))
    nn.utils.clip_grad_norm_([p], 5.0)
    scaler.step(optimiser)
    assert torch.allclose(p.detach(), torch.tensor([0 + 0j]), atol=1e-5)
