"""Finished runs used in other precision settings than they were trained in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.outcome import diverged
from mpno.specs import MpnoError, PrecisionSetting
from mpno.training import evaluate_run

KEPT = ("l2", "h1", "finite", "evidence", "advice")


def inference(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Test errors of every run as it was trained, and in every setting asked for, on its training grid.

    Args:
        arms: of fields or bodies.
        settings: ``{"settings": [...]}``, short forms of precision settings; besides ``control``, one that is coarse
            enough to be told from full.

    Returns:
        Rows by part, arm, seed and setting, the one it was trained in first: resolution, role (``trained``,
        ``setting``, ``control``), l2, h1 (None where not finite, h1 of fields alone), finite, trained (``finished`` or
        ``diverged``: such a run is not evaluated), evidence, range (share of its format's range that a half transform
        used), advice where it is not finite.

    Raises:
        MpnoError: no settings, an unknown key or setting.
    """
    if not settings.get("settings") or set(settings) - {"settings", "control"}:
        given = ", ".join(settings) or "none"
        raise MpnoError(f"probe inference: has {given}; give the list settings: [amp, half, ...], and perhaps control")
    control = [settings["control"]] if "control" in settings else []
    roles = [*((value, "setting") for value in settings["settings"]), *((value, "control") for value in control)]
    asked = {PrecisionSetting.of(value, where="probe inference"): role for value, role in roles}
    return [
        {"part": arm.part, "arm": arm.name, "seed": seed} | row
        for arm in arms
        for seed, run in arm.runs.items()
        for row in _of_run(arm, run, asked)
    ]


def _of_run(arm: ProbedArm, run: Path, asked: Mapping[PrecisionSetting, str]) -> list[dict[str, Any]]:
    own = arm.spec.precision.at(1.0)
    resolution = arm.spec.data.resolution
    gone = diverged(run)
    rows = []
    for setting, role in ({own: "trained"} | {key: role for key, role in asked.items() if key != own}).items():
        row = {"setting": setting.label, "role": role, "resolution": resolution}
        if gone:
            rows.append(row | {"l2": None, "finite": False, "trained": "diverged"})
            continue
        found = evaluate_run(run, data=arm.data, resolution=resolution, precision=setting)
        share = found["range"] and found["range"]["1x"]
        rows.append(row | {key: found.get(key) for key in KEPT} | {"trained": "finished", "range": share})
    return rows
