"""Loss scaling for models with complex parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


class GradScaler(torch.amp.GradScaler):
    """torch.amp.GradScaler, which also takes complex parameters.

    torch's own raises NotImplementedError at their gradients, on every device. Here a complex gradient is checked and
    unscaled as pairs of real numbers. Arguments, methods and state are torch's.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018.
    """

    def unscale_(self, optimizer: torch.optim.Optimizer) -> None:
        """Divide the gradients by the scale, in place, and note whether one of them is not finite."""
        with _real_gradients(optimizer):
            super().unscale_(optimizer)


@contextmanager
def _real_gradients(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Within it, the optimiser shows stand-ins for complex parameters, whose gradients are real views of theirs."""
    lists = [group["params"] for group in optimizer.param_groups]
    try:
        for group, params in zip(optimizer.param_groups, lists, strict=True):
            group["params"] = [_stand_in(p) if p.is_complex() and p.grad is not None else p for p in params]
        yield
    finally:
        for group, params in zip(optimizer.param_groups, lists, strict=True):
            group["params"] = params


def _stand_in(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    real = torch.view_as_real(parameter.detach())
    # A gradient that autograd made may be a lazy conjugate, which has no real view; resolving it copies.
    parameter.grad = parameter.grad.resolve_conj()
    real.grad = torch.view_as_real(parameter.grad)
    return real
