"""Predicted memory of training steps as nvidia-smi would show it, in our implementation and in the authors'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.accounting import KINDS, Step
from mpno.measurement.probes._cases import Case, cases_of
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.step import MIB, reading_of


def step_memory(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per case, in the order of the file.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them.

    Returns:
        Rows of case, implementation, data, setting, option, model, batch, grid; MiB allocated, reserved and shown at
        the peak; what the allocated part is at its peak, in MiB by kind (those of
        :data:`mpno.measurement.accounting.KINDS`); the phase of the peak; the share of the peak's bytes that the
        spectral convolutions made.

    Raises:
        MpnoError: a case is wrong.
    """
    return [_row(case, case.prepare().trace()) for case in cases_of(settings)]


def _row(case: Case, step: Step) -> dict[str, Any]:
    reading, parts = reading_of(step), step.peak()
    layers = step.peak(lambda block: "spectral" if _spectral(block.layer) else "other")
    return {
        **case.about(),
        **{name: getattr(reading, name) for name in ("allocated", "reserved", "shown")},
        **{kind: parts.get(kind, 0) / MIB for kind in KINDS},
        "phase": step.phase_of_peak(),
        "spectral_share": layers.get("spectral", 0) / sum(layers.values()),
        "evidence": "predicted",
    }


def _spectral(layer: str) -> bool:
    """Ours lie in blocks, as ``blocks.3.conv``, the authors' in a list of their own, as ``convs.3``."""
    return any(part in ("conv", "convs") for part in layer.split("."))
