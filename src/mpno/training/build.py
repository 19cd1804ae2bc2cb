"""What a run's spec says, as objects: model, optimiser, learning-rate schedule, loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpno.models import make_model
from mpno.specs import MpnoError, RunSpec
from mpno.training.losses import relative_h1, relative_l2
from mpno.training.samples import memory

COPIES = 4
"""Weights, gradients, and the two moments of Adam."""


def build_model(spec: RunSpec, in_channels: int, out_channels: int, latent_channels: int = 1) -> nn.Module:
    """The model of `spec`, initialised from its seed alone: arms that share a seed share initial weights.

    Where the precision is a schedule, it starts in the first phase.

    Raises:
        MpnoError: its weights and what an optimiser keeps of them are more than the memory.
    """

    def made() -> nn.Module:
        return make_model(
            spec.model,
            in_channels,
            out_channels,
            precision=spec.precision.at(0.0),
            transform=spec.transform,
            latent_channels=latent_channels,
        )

    device = torch.empty(0).device
    if device.type != "meta":
        with torch.device("meta"):
            weights = sum(parameter.nbytes for parameter in made().parameters())
        if COPIES * weights > memory(device):
            raise MpnoError(
                f"the model of {spec.id} needs {COPIES * weights} bytes with gradients and optimiser; there are "
                f"{memory(device)}: lower model.width, model.modes or model.layers"
            )
    torch.manual_seed(spec.seed)
    return made()


def build_optimizer(spec: RunSpec, model: nn.Module) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[spec.optimizer.name]
    fused = next(model.parameters()).device.type in ("cpu", "cuda")
    return kind(model.parameters(), lr=spec.optimizer.lr, weight_decay=spec.optimizer.weight_decay, fused=fused)


def build_scheduler(
    spec: RunSpec, optimizer: torch.optim.Optimizer, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """A schedule that is stepped once per optimiser step."""
    total = spec.training.epochs * steps_per_epoch
    if spec.scheduler.name == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=spec.optimizer.lr, total_steps=total)
    if spec.scheduler.name == "step":
        assert spec.scheduler.step_epochs is not None and spec.scheduler.gamma is not None
        period = spec.scheduler.step_epochs * steps_per_epoch
        return torch.optim.lr_scheduler.StepLR(optimizer, period, spec.scheduler.gamma)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)


def build_loss(spec: RunSpec, periodic: bool | None) -> Callable[[Tensor, Tensor], Tensor]:
    """The training loss: relative error of each sample, summed over the batch as in the authors' setup.

    Summing rather than averaging matters in half precision: it keeps gradients above the smallest numbers.
    `periodic` is that of the samples: None where they have no grid, as bodies. Of a body every point counts the same,
    whatever area belongs to it.
    """
    if spec.training.loss == "h1":
        if periodic is None:
            raise MpnoError("training.loss is h1, whose differences need a grid; give l2 for bodies")
        return lambda prediction, target: relative_h1(prediction, target, periodic=periodic).sum()
    return lambda prediction, target: relative_l2(prediction, target).sum()
