"""Predicted device memory: one real training step, traced on meta tensors in the true dtypes."""

from __future__ import annotations

import torch

from mpno.numerics import DTYPES, step_bytes
from mpno.specs import RunSpec
from mpno.specs.grid import grid_of
from mpno.training.build import build_loss, build_model


def predict_bytes(spec: RunSpec, in_channels: int = 1, out_channels: int = 1) -> dict[str, int] | None:
    """Predict the device memory of one training step of `spec` on its training grid, in a schedule's costliest phase.

    Returns:
        What :func:`mpno.numerics.step_bytes` counts, which is ``parameters``, ``gradients``, ``optimiser``,
        ``activations`` and ``peak`` in bytes; None for a format that no hardware stores, whose memory would
        mean nothing.
    """
    if any(setting.format not in DTYPES for setting in spec.precision.variants):
        return None
    phases = [spec.model_copy(update={"precision": setting}) for _, setting in spec.precision.phases]
    return max((_predict(phase, in_channels, out_channels) for phase in phases), key=lambda sizes: sizes["peak"])


def _predict(spec: RunSpec, in_channels: int, out_channels: int) -> dict[str, int]:
    grid = grid_of(spec.data.resolution, spec.axes, name=spec.data.name)
    with torch.device("meta"):
        model = build_model(spec, in_channels, out_channels)
        x = torch.empty(spec.training.batch_size, in_channels, *grid)
        y = torch.empty(spec.training.batch_size, out_channels, *grid)
    loss_of = build_loss(spec, periodic=True)
    return step_bytes(lambda: loss_of(model(x), y), list(model.parameters()), [x, y])
