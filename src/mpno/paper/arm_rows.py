"""An arm of an item as a row: what its errors say, its size, its costs; and the paper's values as plain rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import cost_cells, costs
from mpno.paper.readings import READINGS, read_arm, read_cells, reading_notes
from mpno.paper.records import ItemData


def arm_row(data: ItemData, name: str) -> dict[str, Any]:
    """The numbers of an arm: those of :func:`mpno.paper.readings.read_arm`, its model, parameters, time and memory."""
    arm = next(entry for entry in data.context["arms"] if entry["name"] == name)
    timed = data.arms.set_index("arm").loc[name]
    row = {"model": arm["model"], "parameters": int(timed["parameters"])} | read_arm(data, arm)
    return row | {"compared": data.context["compare"]["metric"]} | costs(timed)


def arm_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of :func:`arm_row` as a reader sees them; the changes are those of the error that is compared."""
    cells = read_cells(row)
    shown = {"model": row["model"], **{key: cells[key] for key in ("setting", "evidence", "seeds")}}
    shown["parameters"] = f"{row['parameters']:,}"
    metric = row["compared"].upper()
    shown |= {"L2": cells["L2"], "H1": cells["H1"]}
    shown |= {"change": cells[f"{metric} change"], "points": cells[f"{metric} points"], "verdict": cells["verdict"]}
    return shown | cost_cells(row)


def spread(name: str, values: Mapping[int, float]) -> dict[str, float]:
    """Mean and sample standard deviation (divisor n - 1) over seeds, NaN where there are too few."""
    each = np.array(list(values.values()))
    return {
        f"{name}_mean": float(each.mean()) if len(each) else math.nan,
        f"{name}_std": float(each.std(ddof=1)) if len(each) > 1 else math.nan,
    }


def training_loss(data: ItemData, name: str) -> dict[int, float]:
    """The mean training loss of the last epoch of each seed that finished."""
    finished = data.values(name, data.context["compare"]["metric"], data.resolutions[0])
    rows = sorted(data.history.query("arm == @name").to_dict("records"), key=lambda row: row["epoch"])
    return {int(row["seed"]): float(row["train_loss"]) for row in rows if row["seed"] in finished}


def arm_notes(context: Mapping[str, Any], parts: Mapping[str, ItemData]) -> list[str]:
    """What a copied table of an item must keep: changes, scale, machine, data and rule of each part, columns."""
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    where = f"on {context['device']} ({context['processor']}), {context['threads']} thread(s) per run"
    notes.append(f"scale {context['scale']}, {where}")
    for name, data in parts.items():
        notes += reading_notes(data, name)
        epochs = " or ".join(map(str, sorted({arm["epochs"] for arm in data.context["arms"]})))
        notes.append(f"{name}: {epochs} epochs")
    return [*notes, *READINGS, *_COSTS]


_COSTS = (
    "s/epoch: median of exclusive, interleaved timings, only where this processor runs the setting natively",
    "predicted: peak training memory on a GPU from traced shapes and dtypes, not measured; none for formats that no "
    "hardware stores",
)


def said(reference: pd.DataFrame, **where: str) -> list[dict[str, Any]]:
    """The published values with this setting, metric or place."""
    rows = reference.to_dict("records")
    return [row | {"value": float(row["value"])} for row in rows if all(row[key] == where[key] for key in where)]
