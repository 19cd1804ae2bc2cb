"""The table of models: what each has learned in each precision setting, as numbers and as a reader sees it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import compared, compared_cells, cost_cells, costs, error_cell, seeds_cell
from mpno.paper.records import ItemData


def models_table(data: ItemData) -> pd.DataFrame:
    """One row per arm: errors beside those of the mean predictor and after one epoch, the paired change, time, memory.

    Errors are relative, in the metric that is compared; `learned` counts the seeds whose last error is at most the
    share of both others that was fixed beforehand.
    """
    compare = data.context["compare"]
    metric, home = compare["metric"], data.resolutions[0]
    rows = []
    for arm in data.context["arms"]:
        name = arm["name"]
        timed = data.arms.set_index("arm").loc[name]
        row: dict[str, Any] = {key: arm[key] for key in ("model", "transform", "recipe", "epochs", "role")}
        row |= {"setting": arm["label"], "evidence": timed["evidence"], "seeds": len(arm["runs"])}
        row |= {"diverged": data.diverged(name), "parameters": int(timed["parameters"])}
        for resolution in data.resolutions:
            values = list(data.values(name, metric, resolution).values())
            row[f"{metric}@{resolution}_mean"] = np.mean(values) if values else math.nan
            row[f"{metric}@{resolution}_std"] = np.std(values, ddof=1) if len(values) > 1 else math.nan
        last = data.values(name, metric, home)
        beside = {kind: data.column(kind, name, metric, home) for kind in ("baseline", "first")}
        row |= {kind: np.mean(list(values.values())) if values else math.nan for kind, values in beside.items()}
        limit = {seed: compare["learned"] * min(values[seed] for values in beside.values()) for seed in last}
        row["learned"] = sum(last[seed] <= limit[seed] for seed in last)
        row |= compared(data, arm) | costs(timed)
        rows.append(row)
    return pd.DataFrame(rows)


def format_models(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a reader sees it: text cells, an en dash where there is no number."""
    errors = [column.removesuffix("_mean") for column in frame if column.endswith("_mean")]
    rows = []
    for row in frame.to_dict("records"):
        shown = {key: str(row[key]) for key in ("model", "setting", "transform", "evidence")}
        shown["seeds"] = seeds_cell(row)
        shown["epochs"] = str(row["epochs"])
        shown["parameters"] = f"{row['parameters']:,}"
        for name in errors:
            shown[name.upper()] = error_cell(row[f"{name}_mean"], row[f"{name}_std"])
        shown["mean predictor"] = error_cell(row["baseline"], math.nan)
        shown["1 epoch"] = error_cell(row["first"], math.nan)
        all_learned = row["learned"] == row["seeds"]
        shown["learned"] = "yes" if all_learned else f"{row['learned']} of {row['seeds']}"
        rows.append(shown | compared_cells(row) | cost_cells(row))
    return pd.DataFrame(rows)
