"""Precision settings on one data set: errors on every grid, and their curves while training."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from mpno.paper.drawing import Drawing, Table
from mpno.paper.figure import draw_curves
from mpno.paper.notes import table_notes
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.settings_table import format_settings, settings_table

_UNITS = {"l2": "L2", "h1": "H1", "seconds_per_epoch": "seconds per epoch", "memory": "memory"}


def table(item: ItemTables) -> Table:
    data = item.only
    numbers = settings_table(data)
    return Table(numbers, format_settings(numbers), table_notes(data), list(numbers["role"]), _beside(data))


def figure(item: ItemTables) -> Drawing:
    data = item.only
    caption = (
        "Relative test error while training; thin lines are seeds, bold ones their mean. Dashes are the evidence: "
        "solid native, dashed emulated, dotted simulated. Only native settings have a time."
    )
    alt = f"{item.context['title']}: test errors against epochs on two grids, and against time"
    return Drawing(draw_curves(data), data.history, caption, alt)


def _beside(item: ItemData) -> pd.DataFrame | None:
    """The paper's values, each with what is nearest of ours: the authors' recipe where it was run."""
    data = item.context["data"]
    ours = f"ours ({item.grid(data['resolution'])}, {data['n_train']} samples, {item.context['epochs']} epochs)"
    rows = []
    for row in item.reference.to_dict("records"):
        arm = _nearest(item, row["setting"])
        rows.append(
            {
                "setting": row["setting"],
                "quantity": _UNITS.get(row["metric"], row["metric"]),
                "the paper": f"{row['value']:g} {row['unit'] if isinstance(row['unit'], str) else ''}".strip(),
                "obtained under": row["conditions"],
                "provenance": f"{row['provenance']}: {row['place']}",
                ours: _value(item, arm, row["metric"]) if arm else NONE,
                "recipe, evidence": f"{arm['recipe']}, {arm['evidence']}" if arm else "",
            }
        )
    return pd.DataFrame(rows) if rows else None


def _nearest(item: ItemData, setting: str) -> dict[str, Any] | None:
    arms = [arm for arm in item.arms.to_dict("records") if (arm["setting"], arm["transform"]) == (setting, "fft")]
    return max(arms, key=lambda arm: arm["role"] == "authors", default=None)


def _value(item: ItemData, arm: dict[str, Any], metric: str) -> str:
    if metric == "seconds_per_epoch":
        return NONE if math.isnan(arm["seconds"]) else f"{arm['seconds']:.2f} s"
    if metric == "memory":
        return NONE if math.isnan(arm["predicted_peak"]) else f"{arm['predicted_peak'] / 2**20:.1f} MiB, predicted"
    values = list(item.values(arm["arm"], metric, item.resolutions[0]).values())
    return f"{sum(values) / len(values):.4f}" if values else NONE
