"""One training step of untrained models where a whole training would take too long: whether all of it is finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import evidence_of
from mpno.specs import MpnoError, PrecisionSetting, RunSpec
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples
from mpno.training.divergence import first_not_finite
from mpno.training.samples import Samples


def one_step(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One forward and backward pass of every arm's initial weights on the first training samples, one after the other.

    Args:
        arms: whose spec and data count; they need no runs.
        settings: ``samples``, of which the gradients are added up.

    Returns:
        A row per arm: part, arm, precision, transform, grid (of the data, as its resolution), samples, evidence;
        ``finite``, whether the loss and every gradient are, where not with ``where`` and ``operation`` of the first
        that is not; ``loss``; ``gradient_change``, the norm of the gradient's difference from the one in full
        precision after the same stabiliser, over the norm of the latter. No numbers where the step is not finite.

    Raises:
        MpnoError: the settings are not ``samples``.
    """
    if set(settings) != {"samples"}:
        raise MpnoError(f"probe one_step: settings are {', '.join(settings) or 'none'}; give samples")
    rows = []
    for arm in arms:
        spec = arm.spec
        samples = load_samples(spec, arm.data, torch.device("cpu"))
        row = {"part": arm.part, "arm": arm.name, "precision": spec.precision.label, "transform": spec.transform}
        count = min(int(settings["samples"]), len(samples.x))
        row |= {"grid": spec.data.resolution, "samples": count}
        row["evidence"] = evidence_of(spec.precision, spec.transform, torch.device("cpu"))
        rows.append(row | _outcome(spec, samples, count))
    return rows


def _outcome(spec: RunSpec, samples: Samples, count: int) -> dict[str, Any]:
    loss, gradient, where, operation = _step(spec, samples, count)
    if where:
        unknown = {"loss": math.nan, "gradient_change": math.nan}
        return {"finite": False, "where": where, "operation": operation, **unknown}
    plain = PrecisionSetting.model_validate({"setting": "full", "stabiliser": spec.precision.stabiliser})
    _, reference, *_ = _step(spec.model_copy(update={"precision": plain}), samples, count)
    change = float((gradient - reference).norm() / reference.norm())
    return {"finite": True, "where": "", "operation": "", "loss": loss, "gradient_change": change}


def _step(spec: RunSpec, samples: Samples, count: int) -> tuple[float, Tensor, str, str]:
    """Loss, gradient in one piece, and where the first number that is not finite came from, empty for none."""
    model = build_model(spec, *samples.channels)
    loss_of, total = build_loss(spec, samples.periodic), 0.0
    for index in torch.arange(count).split(1):
        x = samples.x[index]
        loss = loss_of(model(x), samples.y[index])
        if not loss.isfinite():
            return math.nan, torch.empty(0), *first_not_finite(model, x)
        loss.backward()
        total += loss.item()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).double()
    return total, gradient, "" if gradient.isfinite().all() else "gradient", ""
