"""In which setting every epoch of finished runs was, and what their gradients were when that was decided."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.specs import MpnoError
from mpno.training.records import BELOW_NORMAL


def epoch_settings(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The history of every run, as far as precision goes.

    Returns:
        Rows of part, arm, seed, epoch, ``setting`` and ``below_normal``, the share of the spectral weights' gradients
        below the format's smallest normal number in that epoch; NaN of runs that do not measure it.

    Raises:
        MpnoError: settings, of which there are none, or a run without its history.
    """
    if settings:
        raise MpnoError(f"probe epoch_settings: settings are {', '.join(settings)}; it takes none")
    rows: list[dict[str, Any]] = []
    for arm in arms:
        for seed, run in arm.runs.items():
            try:
                with (run / "history.csv").open(encoding="utf-8", newline="") as file:
                    history = list(csv.DictReader(file))
            except OSError as error:
                raise MpnoError(f"{run}/history.csv: no history ({error}); delete the folder, train again") from None
            for row in history:
                about = {"part": arm.part, "arm": arm.name, "seed": seed, "epoch": int(row["epoch"])}
                below = float(row.get(BELOW_NORMAL) or math.nan)
                rows.append(about | {"setting": row["precision"], "below_normal": below})
    return rows
