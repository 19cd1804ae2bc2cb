"""What rounding does to one training step: the error of a model's output and of its gradient in many settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import evidence_of
from mpno.specs import MpnoError, PrecisionSetting, RunSpec
from mpno.training.build import build_loss, build_model
from mpno.training.data import load_samples


def step_error(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One forward and backward pass of every arm's initial weights on its first batch, beside the same in full.

    Args:
        arms: what is varied is their precision alone: model, loss, transform, samples and seed are theirs.
        settings: ``precisions``, short forms.

    Returns:
        Rows by part, arm and precision, with format and evidence:

        - ``output``: |y - y'| / |y'|, with y' the output in full with the same stabiliser, both over the whole batch.
        - ``gradient``: the same of the gradient of the loss by all parameters, as one vector.
        - ``zero``: the share of the parameters' gradients that are zero.

        None where a number is not finite.

    Raises:
        MpnoError: the settings are not ``precisions``, or a precision is none; a data file is missing.
    """
    if set(settings) != {"precisions"}:
        raise MpnoError(f"probe step_error: settings are {', '.join(settings) or 'none'}; give precisions")
    precisions = [PrecisionSetting.of(text, where="probe step_error") for text in settings["precisions"]]
    rows: list[dict[str, Any]] = []
    for arm in arms:
        exact: dict[str, tuple[Tensor, Tensor]] = {}
        samples = load_samples(arm.spec, arm.data, torch.device("cpu"))
        batch = slice(0, arm.spec.training.batch_size)
        x, y = samples.x[batch], samples.y[batch]
        for precision in precisions:
            full = PrecisionSetting(stabiliser=precision.stabiliser)
            if full.stabiliser not in exact:
                exact[full.stabiliser] = _step(arm.spec, full, x, y, samples.periodic)
            got = _step(arm.spec, precision, x, y, samples.periodic)
            output, gradient = map(_relative, got, exact[full.stabiliser])
            rows.append(
                {
                    "part": arm.part,
                    "arm": arm.name,
                    "precision": precision.label,
                    "format": precision.format,
                    "evidence": evidence_of(precision, arm.spec.transform, x.device),
                    "output": output,
                    "gradient": gradient,
                    "zero": None if gradient is None else float((got[1] == 0).double().mean()),
                }
            )
    return rows


def _step(
    spec: RunSpec, precision: PrecisionSetting, x: Tensor, y: Tensor, periodic: bool | None
) -> tuple[Tensor, Tensor]:
    """Output, and the gradient as one vector."""
    model = build_model(spec.model_copy(update={"precision": precision}), x.shape[1], y.shape[1])
    out = model(x)
    build_loss(spec, periodic)(out, y).backward()
    return out.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def _relative(got: Tensor, exact: Tensor) -> float | None:
    error = float((got.double() - exact.double()).norm() / exact.double().norm())
    return error if torch.tensor(error).isfinite() else None
