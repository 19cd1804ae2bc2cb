"""The table of precision settings: one numeric frame with the errors on every grid, and as a reader sees it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import against_of, compared, compared_cells, cost_cells, costs, error_cell, seeds_cell
from mpno.paper.records import NONE, ItemData
from mpno.specs.sets import errors_of

NAMES = {"l2": "L2", "h1": "H1"}


def settings_table(data: ItemData) -> pd.DataFrame:
    """One row per arm: errors as mean and sample standard deviation over seeds, the paired change, time and memory.

    Errors are relative; seconds are the median of exclusive timings, for native settings only; bytes are predicted.
    """
    rows = []
    for arm in data.context["arms"]:
        timed = data.arms.set_index("arm").loc[arm["name"]]
        row: dict[str, Any] = {
            "setting": arm["label"],
            "transform": arm["transform"],
            "recipe": arm["recipe"],
            "role": arm["role"],
            "evidence": timed["evidence"],
            "seeds": len(arm["runs"]),
            "diverged": data.diverged(arm["name"]),
        }
        for metric in errors_of(data.context["data"]["name"]):
            for resolution in data.resolutions:
                values = np.array(list(data.values(arm["name"], metric, resolution).values()))
                row[f"{metric}@{resolution}_mean"] = values.mean() if len(values) else math.nan
                row[f"{metric}@{resolution}_std"] = values.std(ddof=1) if len(values) > 1 else math.nan
        row |= {"against": against_of(data, arm["against"])} | compared(data, arm) | costs(timed)
        rows.append(row)
    return pd.DataFrame(rows)


def format_settings(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a reader sees it: text cells, an en dash where there is no number."""
    errors = [column.removesuffix("_mean") for column in frame if column.endswith("_mean")]
    rows = []
    for row in frame.to_dict("records"):
        shown = {key: str(row[key]) for key in ("setting", "transform", "recipe", "evidence")}
        shown["seeds"] = seeds_cell(row)
        for name in errors:
            metric, resolution = name.split("@")
            shown[f"{NAMES[metric]}@{resolution}"] = error_cell(row[f"{name}_mean"], row[f"{name}_std"])
        shown["vs"] = row["against"] if isinstance(row["against"], str) else NONE
        rows.append(shown | compared_cells(row) | cost_cells(row))
    return pd.DataFrame(rows)
