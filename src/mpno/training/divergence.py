"""Where the first number that is not finite came from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Divergence:
    """A training that left the finite numbers: a result, not a failure.

    Attributes:
        epoch, step: where it was seen, both counted from 1.
        where: the first layer whose output was not finite, or the parameters if those already were not.
    """

    epoch: int
    step: int
    where: str


def first_not_finite(model: nn.Module, x: Tensor) -> str:
    """Run `model` on `x` once more and name the first layer whose output is not finite."""
    broken = [name for name, p in model.named_parameters() if not p.isfinite().all()]
    if broken:
        return f"parameters, after a gradient that was not finite: {broken[0]}"
    found: list[str] = []

    def watch(name: str) -> None:
        def hook(_module: nn.Module, _args: object, output: Tensor) -> None:
            if not found and not output.isfinite().all():
                found.append(name)

        handles.append(modules[name].register_forward_hook(hook))

    modules = dict(model.named_modules())
    handles: list[torch.utils.hooks.RemovableHandle] = []
    for name in modules:
        watch(name)
    try:
        with torch.no_grad():
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return (found[0] or "model") if found else "loss"
