"""What tanh does to the sup-norm and the Lipschitz constant of what trained models transform, layer by layer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from mpno.datasets import load_split, read_attrs
from mpno.spectral import SpectralConv
from mpno.theory import bounds
from mpno.theory.functions import Nodal
from mpno.theory.probes.inputs import Asked
from mpno.theory.systems import of_format
from mpno.training import load_run

WAVE = (1, 0)


def tanh_effect(arms: Sequence[Asked], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sup-norm and Lipschitz constant of every channel before each spectral layer, and of its tanh.

    A channel is taken as multilinear between the grid's points. The constants are those of Theorems 1 and 4, whose
    bounds for the first frequency on the run's own grid stand beside them. Runs that diverged are left out.

    Args:
        arms: with runs on fields of two axes.
        settings: ``samples``, how many test samples; ``format``.

    Returns:
        Rows of part, arm, seed, layer (from 1), stage (``before``, ``after`` tanh), ``norm`` and ``lipschitz``
        (medians over channels and samples) with ``norm_high`` and ``lipschitz_high`` (largest), ``disc_upper``,
        ``prec_upper`` (medians), evidence.
    """
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for seed, folder in arm.runs.items():
            if json.loads((folder / "metrics.json").read_text(encoding="utf-8"))["diverged"] is not None:
                continue
            about = {"part": arm.part, "arm": arm.name, "seed": seed}
            rows += [about | row for row in _of_run(folder, arm, settings)]
    return rows


def _of_run(folder: Path, arm: Asked, settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    finished, data = load_run(folder, device="cpu"), arm.spec.data
    x = load_split(arm.data, "test", data.resolution, min(int(settings["samples"]), data.n_test)).x
    periodic = bool(read_attrs(arm.data).get("periodic", False))
    seen: list[tuple[bool, Tensor]] = []

    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, SpectralConv)
        seen.append((layer.channels_last, given[0].detach()))

    layers = [layer for layer in finished.model.modules() if isinstance(layer, SpectralConv)]
    handles = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        finished.predict(x)
    finally:
        for handle in handles:
            handle.remove()
    rows = []
    for number, (channels_last, given) in enumerate(seen, start=1):
        fields = given.movedim(-1, 1) if channels_last else given
        values = fields.double().flatten(0, 1).numpy()
        for stage, held in (("before", values), ("after", np.tanh(values))):
            about = {"layer": number, "stage": stage, "evidence": finished.evidence}
            rows.append(about | constants(held, periodic=periodic, format=settings["format"]))
    return rows


def constants(fields: np.ndarray, *, periodic: bool, format: str) -> dict[str, float]:
    """Sup-norm, Lipschitz constant and bounds of fields (f, rows, columns)."""
    family = Nodal(np.pad(fields, ((0, 0), (0, 1), (0, 1)), mode="wrap") if periodic else fields)
    bound, steep, system = family.bound, family.lipschitz, of_format(format)
    disc = bounds.fourier_upper(fields.shape[1], WAVE, lipschitz=steep, bound=bound)
    return {
        "norm": float(np.median(bound)),
        "norm_high": float(bound.max()),
        "lipschitz": float(np.median(steep)),
        "lipschitz_high": float(steep.max()),
        "disc_upper": float(np.median(disc)),
        "prec_upper": float(np.median(bounds.precision_upper(system, bound=bound))),
    }
