"""Whether what the backward pass needs may be packed to eight bits: the gradient's error beside its own noise."""

from __future__ import annotations

import copy
import math
import textwrap
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.numerics import set_precision
from mpno.specs import MpnoError, PrecisionSetting

FRACTION, TOLERANCE = 0.3, 1e-3
"""As of the other advice: errors that add up as squares then grow by 4.4 % at most."""


@dataclass(frozen=True)
class SavedAdvice:
    """The error that packing makes in one gradient, and what the choice of samples makes.

    Attributes:
        setting: its label.
        error: of the gradient by all parameters, relative to the same setting with nothing packed.
        noise: how far, relative, the gradient of a batch is from that of all samples, estimated from two halves of
            the samples; NaN with fewer than two.
        fraction, tolerance: the error may be `fraction` of the noise, or `tolerance`, whichever is more.
    """

    setting: str
    error: float
    noise: float
    fraction: float
    tolerance: float

    @property
    def budget(self) -> float:
        return max(self.tolerance, 0.0 if math.isnan(self.noise) else self.fraction * self.noise)

    @property
    def safe(self) -> bool:
        return self.error <= self.budget  # not so where it is no number

    def __str__(self) -> str:
        noise = "unknown with one sample" if math.isnan(self.noise) else f"{100 * self.noise:.2g} %"
        error = f"{100 * self.error:.2g} %" if math.isfinite(self.error) else "not finite"
        text = (
            f"{self.setting}: packing is {'safe' if self.safe else 'not safe'}. The gradient's error is {error}, its "
            f"noise from the choice of a batch {noise}; allowed: {100 * self.budget:.2g} % ({self.fraction:g} of the "
            f"noise, at least {100 * self.tolerance:g} %). An estimate on a few samples, "
            "of these weights: it is advice, not a guarantee."
        )
        return "\n".join(textwrap.wrap(text, 100))


def advise_saved(
    model: nn.Module,
    batch: Float[Tensor, "n ..."],
    setting: PrecisionSetting | str,
    *,
    batch_size: int | None = None,
    fraction: float = FRACTION,
    tolerance: float = TOLERANCE,
) -> SavedAdvice:
    """Say whether a setting may pack what it saves. The model stays as it is.

    The loss is the sum over samples of the output's norm, so no targets are needed.

    Args:
        model: one of mpno's, that takes fields.
        batch: inputs, (samples, channels, *grid).
        setting: one that packs, as ``compact``.
        batch_size: of the training whose noise counts; by default the samples here are its batch.

    Raises:
        MpnoError: the setting packs nothing, or there are no fields.

    Source: the rule is this project's.
    """
    packed = PrecisionSetting.of(setting, where="advise_saved")
    if packed.saved is None:
        raise MpnoError(f"advise_saved: precision is {packed.label}, which packs nothing; give one such as compact")
    if not isinstance(batch, Tensor):
        raise MpnoError(f"advise_saved: got a {type(batch).__name__}; give fields, (samples, channels, *grid)")
    plain = packed.model_copy(update={"saved": None})
    twin = copy.deepcopy(model).train()
    exact, near = _gradient(twin, batch, plain), _gradient(twin, batch, packed)
    noise = math.nan
    if len(batch) > 1:
        half = len(batch) // 2
        first, second = (_gradient(twin, part, plain) for part in (batch[:half], batch[-half:]))
        noise = float((first - second).norm() / (first + second).norm())
        noise *= math.sqrt(2 * half / (batch_size or 2 * half))
    error = float((near - exact).norm() / exact.norm())
    return SavedAdvice(packed.label, error, noise, fraction, tolerance)


def _gradient(model: nn.Module, batch: Tensor, setting: PrecisionSetting) -> Tensor:
    """By all parameters, as one vector."""
    set_precision(model, setting)
    model.zero_grad(set_to_none=True)
    model(batch).flatten(1).norm(dim=1).sum().backward()
    return torch.cat([p.grad.flatten().double() for p in model.parameters() if p.grad is not None])
