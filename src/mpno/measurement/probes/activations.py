"""Quantiles of what finished models transform, before and after the stabiliser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from mpno.datasets import load_split
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.overflow import read_record
from mpno.numerics import stabilise
from mpno.specs import MpnoError
from mpno.spectral import SpectralConv, SphericalConv
from mpno.training import load_run
from mpno.training.finished import FinishedRun

QUANTILES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def activations(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Quantiles of the input of every spectral layer over a test batch, all samples, points and channels together.

    Runs that diverged are left out: they have no final weights.

    Args:
        arms: with runs on fields.
        settings: ``samples``, how many test samples of the training grid make the batch; by default all.

    Returns:
        Rows of part, arm, seed, evidence, stabiliser, ``layer`` (counted from 1 in the order of the model), ``stage``
        (``before`` or ``after`` the stabiliser), ``quantile`` (0 is the smallest value, 1 the largest), ``value``.

    Raises:
        MpnoError: other settings; a run cannot be read, or is one on bodies; the batch's file is not there.
    """
    if not set(settings) <= {"samples"}:
        raise MpnoError(f"probe activations: settings are {', '.join(settings)}; it takes samples alone")
    return [
        {"part": arm.part, "arm": arm.name, "seed": seed, **row}
        for arm in arms
        for seed, run in arm.runs.items()
        if read_record(run)["diverged"] is None
        for row in _rows(load_run(run), arm, settings.get("samples"))
    ]


def _rows(finished: FinishedRun, arm: ProbedArm, count: int | None) -> list[dict[str, Any]]:
    data = arm.spec.data
    x = load_split(arm.data, "test", data.resolution, min(count or data.n_test, data.n_test)).x
    rows: list[dict[str, Any]] = []
    for layer, (conv, given) in enumerate(_inputs(finished, x), start=1):
        setting = conv.precision
        stages = {"before": given, "after": stabilise(given, setting.stabiliser, setting.forward)}
        about = {"evidence": finished.evidence, "stabiliser": setting.stabiliser, "layer": layer}
        for stage, values in stages.items():
            found = np.quantile(values.float().cpu().numpy(), QUANTILES)
            rows += [
                about | {"stage": stage, "quantile": q, "value": float(value)}
                for q, value in zip(QUANTILES, found, strict=True)
            ]
    return rows


def _inputs(finished: FinishedRun, x: np.ndarray) -> list[tuple[SpectralConv | SphericalConv, Tensor]]:
    """Every spectral layer of a run with what it is given when the run predicts from `x`, in the data's units."""
    seen: list[tuple[SpectralConv | SphericalConv, Tensor]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, SpectralConv | SphericalConv)
        seen.append((layer, given[0]))

    layers = [layer for layer in finished.model.modules() if isinstance(layer, SpectralConv | SphericalConv)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        finished.predict(x)
    finally:
        for handle in handles:
            handle.remove()
    return seen
