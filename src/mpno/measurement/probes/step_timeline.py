"""Live bytes through a training step, by kind: what stands stacked in a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from mpno.measurement.accounting import KINDS, PHASES
from mpno.measurement.probes._cases import cases_of
from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.step import MIB


def step_timeline(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """At `points` stretches of a step the most that was live, by kind at that moment.

    `settings` holds ``cases`` as :func:`mpno.measurement.probes._cases.cases_of` reads them, and ``points``.

    Returns:
        Rows of case, setting, implementation, `at` (the share of the step's events that lie before), phase, and MiB by
        kind.
    """
    rows: list[dict[str, Any]] = []
    for case in cases_of(settings):
        step = case.prepare().trace()
        lines = step.timeline()
        by_kind = np.array([lines.get(kind, [0] * step.ends[-1]) for kind in KINDS])
        total = by_kind.sum(0)
        edges = np.linspace(0, step.ends[-1], min(settings["points"], step.ends[-1]) + 1).astype(int)
        for start, end in pairwise(edges):
            event = start + int(total[start:end].argmax())
            phase = next(name for name, last in zip(PHASES, step.ends, strict=True) if event < last)
            live = {kind: value / MIB for kind, value in zip(KINDS, by_kind[:, event], strict=True)}
            rows.append({**case.about(), "at": start / step.ends[-1], "phase": phase, **live, "evidence": "predicted"})
    return rows
