"""Test errors, of a model and of the predictor that knows the mean alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mpno.training.losses import relative_h1, relative_l2
from mpno.training.samples import Batches, Samples

BATCH = 64
"""Test samples at a time; of bodies it is one."""
Pairs = Iterator[tuple[Tensor, Tensor]]
"""Predictions and targets, batch by batch."""
Metrics = dict[str, dict[str, float]]
"""By resolution and name of the error, as ``{"16": {"l2": ..., "h1": ...}}``."""


def evaluate(model: nn.Module, samples: Samples, batch_size: int = BATCH) -> Metrics:
    """Mean relative L2 and H1 test error per resolution, in the data's units.

    Of bodies L2 alone, over the surface points taken of each; every point counts the same, as in the paper, whatever
    area belongs to it.
    """
    model.eval()
    with torch.no_grad():

        def predictions(x: Batches[Any], y: Batches[Tensor]) -> Pairs:
            for part, target in zip(x.split(batch_size), y.split(batch_size), strict=True):
                yield torch.as_tensor(samples.output.decode(model(part))), target

        return _errors(samples, predictions)


def baseline(samples: Samples) -> Metrics:
    """The same errors of a predictor that always gives the mean of the training targets.

    The mean is taken at every grid point; on another grid than the training's it is interpolated linearly, with grid
    points taken for the centres of equal cells. Bodies have no points in common: theirs is one number per channel.
    No inputs are taken, so that no graphs of bodies are built.
    """
    mean = torch.as_tensor(samples.output.decode(_mean(samples)))
    return _errors(samples, lambda _, y: ((_onto(mean, target), target) for target in y.split(BATCH)))


def _errors(samples: Samples, predictions: Callable[[Batches[Any], Batches[Tensor]], Pairs]) -> Metrics:
    metrics: Metrics = {}
    for grid, (x, y) in samples.tests.items():
        found: dict[str, list[Tensor]] = {}
        for prediction, target in predictions(x, y):
            found.setdefault("l2", []).append(relative_l2(prediction, target))
            if samples.periodic is not None:
                found.setdefault("h1", []).append(relative_h1(prediction, target, periodic=samples.periodic))
        metrics[str(grid)] = {name: torch.cat(values).mean().item() for name, values in found.items()}
    return metrics


def _mean(samples: Samples) -> Float[Tensor, "1 c *grid"]:
    """Of the training targets as the model should produce them, accumulated in double."""
    total, count = torch.zeros(()), 0
    for y in samples.y.split(BATCH):
        axes = (0,) if samples.periodic is not None else (0, *range(2, y.ndim))
        total = total.to(y.device) + y.double().sum(axes, keepdim=True)
        count += y.numel() // total.numel()
    return (total / count).float()


def _onto(mean: Float[Tensor, "1 c *from"], target: Float[Tensor, "b c *to"]) -> Float[Tensor, "b c *to"]:
    if mean.shape[2:] != target.shape[2:]:
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[target.ndim - 2]
        mean = nn.functional.interpolate(mean, target.shape[2:], mode=mode)
    return mean.expand_as(target)
