"""The first training step of an untrained model in many settings and on many grids: what overflows, what is flushed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mpno.datasets import fit_stored, load_split, read_attrs
from mpno.datasets.store import read_pairs
from mpno.measurement.probes.inputs import ProbedArm
from mpno.numerics import RangeMonitor, evidence_of
from mpno.specs import MpnoError, PrecisionSetting, RunSpec, get_format
from mpno.training.build import build_loss, build_model
from mpno.training.divergence import first_not_finite


def first_step(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One forward and backward pass of every arm's initial weights, on all test samples of each grid of its data.

    Args:
        arms: what is varied is their precision alone: model, loss, transform and seed are theirs.
        settings: ``precisions``, short forms.

    Returns:
        Rows by part, arm, precision and resolution (points, samples), with format, evidence, and:

        - ``share``: the largest unscaled coefficient of any layer's forward transform over the format's maximum, with
          the same stabiliser and weights but computed in full: above 1 it does not fit.
        - ``finite``: whether loss and gradients are; where not, ``where`` and ``operation`` name the first that is not.
        - ``loss``, and ``zero``, the share of the parameters' gradients that are zero; None where not finite.

    Raises:
        MpnoError: the settings are not ``precisions``, or a precision is none.
    """
    if set(settings) != {"precisions"}:
        raise MpnoError(f"probe first_step: settings are {', '.join(settings) or 'none'}; give precisions")
    precisions = [PrecisionSetting.of(text, where="probe first_step") for text in settings["precisions"]]
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for resolution, x, y, periodic in _batches(arm):
            about = {"part": arm.part, "arm": arm.name, "resolution": resolution, "points": x.shape[2:].numel()}
            needed: dict[str, float] = {}
            for precision in precisions:
                if precision.stabiliser not in needed:
                    needed[precision.stabiliser] = _needed(arm.spec, precision.stabiliser, x)
                share = needed[precision.stabiliser] / get_format(precision.format).max
                spec = arm.spec.model_copy(update={"precision": precision})
                rows.append(about | {"samples": len(x), "share": share} | _step(spec, x, y, periodic))
    return rows


def _batches(arm: ProbedArm) -> Iterator[tuple[int | str, Tensor, Tensor, bool]]:
    """Test samples of every grid that the arm's file has, coarse first, with inputs as a training would see them."""
    pairs = read_pairs(arm.data)
    (resolution, n_train), *_ = [(grid, n) for (split, grid), n in pairs.items() if split == "train"]
    normaliser = fit_stored(arm.data, "x", resolution, n_train)
    periodic = bool(read_attrs(arm.data).get("periodic", False))
    for grid, n in sorted((grid, n) for (split, grid), n in pairs.items() if split == "test"):
        test = load_split(arm.data, "test", grid, n)
        x = torch.as_tensor(normaliser.encode(test.x), dtype=torch.float32)
        yield grid, x, torch.from_numpy(test.y), periodic


@torch.no_grad()
def _needed(spec: RunSpec, stabiliser: str, x: Tensor) -> float:
    """The largest unscaled coefficient of any layer, computed in full."""
    full = PrecisionSetting.model_validate({"setting": "full", "stabiliser": stabiliser})
    model = build_model(spec.model_copy(update={"precision": full}), x.shape[1], 1)
    with RangeMonitor(model, format="fp32") as monitor:
        model(x)
    return max((seen.largest * seen.points for seen in monitor.report().layers), default=0.0)


def _step(spec: RunSpec, x: Tensor, y: Tensor, periodic: bool) -> dict[str, Any]:
    model = build_model(spec, x.shape[1], y.shape[1])
    loss = build_loss(spec, periodic)(model(x), y)
    row: dict[str, Any] = {
        "precision": spec.precision.label,
        "format": spec.precision.format,
        "evidence": evidence_of(spec.precision, spec.transform, x.device),
    }
    unknown = {"loss": None, "zero": None, "finite": False}
    if not loss.isfinite():
        where, operation = first_not_finite(model, x)
        return row | unknown | {"where": where, "operation": operation}
    loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if not all(bool(g.isfinite().all()) for g in gradients):
        return row | unknown | {"loss": loss.item(), "where": "gradient", "operation": ""}
    zero = sum(int((g == 0).sum()) for g in gradients) / sum(g.numel() for g in gradients)
    return row | {"loss": loss.item(), "zero": zero, "finite": True, "where": "", "operation": ""}
