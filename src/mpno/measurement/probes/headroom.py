"""How much of fp16's range each layer of finished runs has used, epoch by epoch."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mpno.measurement.probes.inputs import ProbedArm
from mpno.measurement.probes.overflow import read_record
from mpno.specs import MpnoError


def headroom(arms: Sequence[ProbedArm], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What trainings wrote down of their range (:func:`mpno.training.headroom.used_range`), diverged ones included.

    Returns:
        Rows of part, arm, seed, evidence, epoch, ``layer`` (counted from 1 in the order of the model), points, ratio.
        The ratio is infinite where a coefficient was not finite.

    Raises:
        MpnoError: settings, of which there are none, or a run whose files cannot be read.
    """
    if settings:
        raise MpnoError(f"probe headroom: settings are {', '.join(settings)}; it takes none")
    return [
        {"part": arm.part, "arm": arm.name, "seed": seed, "evidence": read_record(run)["evidence"], **row}
        for arm in arms
        for seed, run in arm.runs.items()
        for row in _rows(run / "range.csv")
    ]


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            read = list(csv.DictReader(file))
        layers = {name: number for number, name in enumerate(dict.fromkeys(row["layer"] for row in read), start=1)}
        return [
            {"epoch": int(row["epoch"]), "layer": layers[row["layer"]]}
            | {"points": int(row["points"]), "ratio": float(row["ratio"])}
            for row in read
        ]
    except (OSError, KeyError, ValueError) as error:
        raise MpnoError(f"{path}: no range of a run ({error!r}); delete the folder and train again") from None
