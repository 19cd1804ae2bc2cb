"""How many gradients of spectral weights a format holds with fewer digits than it has, or not at all."""

from __future__ import annotations

from types import TracebackType

from torch import Tensor, nn

from mpno.specs import get_format
from mpno.spectral import SpectralConv, SphericalConv


class SmallGradients:
    """Counts, while entered, gradients of the spectral layers' parameters below a format's smallest normal number.

    They are counted as each backward pass has added them up, so under loss scaling as the format held them. What is
    exactly zero counts, for that is what a format makes of the smallest.

    Args:
        model: whose spectral layers.
        format: name of the format; None counts nothing and costs nothing.
    """

    def __init__(self, model: nn.Module, format: str | None) -> None:
        layers = [layer for layer in model.modules() if isinstance(layer, SpectralConv | SphericalConv)]
        self._parameters = [p for layer in layers for p in layer.parameters()] if format is not None else []
        self._least = get_format(format or "fp32").smallest_normal
        self._below, self._seen = 0, 0

    def __enter__(self) -> SmallGradients:
        self._hooks = [p.register_post_accumulate_grad_hook(self._count) for p in self._parameters]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _count(self, parameter: Tensor) -> None:
        assert parameter.grad is not None
        self._below += int((parameter.grad.abs() < self._least).sum())
        self._seen += parameter.grad.numel()

    @property
    def share(self) -> float:
        """From 0 to 1; a ratio of two whole numbers, so that it is the same whenever the gradients are."""
        return self._below / self._seen
