"""Predicted device memory of trainings that are not run: shapes and dtypes alone, no weights and no data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.memory import predict_bytes
from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError, RunSpec, build_spec
from mpno.specs.grid import shown
from mpno.specs.sets import BODIES, SETS


def memory(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per size and precision setting, in the order of the file.

    `settings` holds under `sizes` mappings of `name`, `run` (a run without its precision) and `precisions` (short
    forms).

    Returns:
        Rows of part (the size's name), data, setting, model, batch, grid, parameters (bytes) and the other parts of
        :func:`mpno.measurement.predict_bytes`, None where nothing is predicted.

    Raises:
        MpnoError: a run is wrong, or on bodies, whose memory takes a body of the data file.
    """
    rows = []
    for size in settings["sizes"]:
        for precision in size["precisions"]:
            where = f"probe memory, size {size['name']}, {precision}"
            spec = build_spec({**size["run"], "precision": precision}, where=where)
            if spec.data.name in BODIES:
                raise MpnoError(f"{where}: bodies of {spec.data.name} differ in their points; take the part of them")
            rows.append(_row(size["name"], spec))
    return rows


def _row(name: str, spec: RunSpec) -> dict[str, Any]:
    found = predict_bytes(spec, *SETS[spec.data.name].channels) or {}
    return {
        "part": name,
        "data": spec.data.name,
        "setting": spec.precision.label,
        "model": spec.model.title,
        "batch": spec.training.batch_size,
        "grid": shown(spec.data.resolution, spec.axes, name=spec.data.name),
        **{part: found.get(part) for part in ("parameters", "gradients", "optimiser", "activations", "peak")},
        "evidence": "predicted",
    }
