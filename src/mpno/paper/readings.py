"""What an arm's errors say beside another's, in both readings: relative change, and points of relative error."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import compared, error_cell, percent_cell, power, seeds_cell
from mpno.paper.records import NONE, ItemData
from mpno.paper.statistics import paired_change, paired_points
from mpno.specs.sets import errors_of, title_of

NAMES = {"l2": "L2", "h1": "H1"}


def read_arm(data: ItemData, arm: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an arm of the context: errors after the last epoch on the training grid, and their changes.

    Per error: ``l2_mean`` and ``l2_std`` over seeds, ``l2_change`` (relative) and ``l2_points`` against the arm it is
    paired with, each with ``_low``, ``_high`` and ``_each`` (per seed). The verdict is that on the error compared.
    """
    name, against = arm["name"], arm["against"]
    row: dict[str, Any] = {"arm": name, "setting": arm["label"], "role": arm["role"], "against": against}
    row |= {"epochs": arm["epochs"], "seeds": len(arm["runs"]), "diverged": data.diverged(name)}
    row["diverged_epoch"] = data.errors.loc[data.errors["arm"] == name, "diverged_epoch"].min()
    row["evidence"] = data.arms.set_index("arm").loc[name, "evidence"]
    confidence = data.context["compare"]["confidence"]
    for metric in errors_of(data.context["data"]["name"]):
        values = data.values(name, metric, data.resolutions[0])
        each = list(values.values())
        row[f"{metric}_mean"] = float(np.mean(each)) if each else math.nan
        row[f"{metric}_std"] = float(np.std(each, ddof=1)) if len(each) > 1 else math.nan
        reference = data.values(against, metric, data.resolutions[0]) if against in data.arm_names else {}
        for kind, paired in (("change", paired_change), ("points", paired_points)):
            change = paired(values, reference, confidence=confidence)
            key = f"{metric}_{kind}"
            row |= {key: change.mean, f"{key}_low": change.low, f"{key}_high": change.high}
            row[f"{key}_each"] = " ".join(f"{value:.6g}" for value in change.each)
    return row | {"verdict": compared(data, dict(arm))["verdict"]}


def read_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of :func:`read_arm` as a reader sees them."""
    cells = {"setting": row["setting"], "epochs": str(row["epochs"]), "seeds": seeds_cell(row)}
    cells["evidence"] = row["evidence"]
    for metric, name in NAMES.items():
        cells[name] = _error(row, metric)
        cells[f"{name} change"] = _change(row, f"{metric}_change", percent_cell)
        cells[f"{name} points"] = _change(row, f"{metric}_points", points_cell)
    return cells | {"verdict": row["verdict"] or NONE}


def published(reference: pd.DataFrame, data: ItemData, **wanted: str) -> pd.DataFrame:
    """The rows of the paper's values whose conditions begin with the data set's name, of the columns' values wanted."""
    rows = reference.loc[reference["conditions"].astype(str).str.startswith(lead(data))]
    for column, value in wanted.items():
        rows = rows.loc[rows[column] == value]
    return rows


def lead(data: ItemData) -> str:
    """The first word of the data set's name."""
    return title_of(data.context["data"]["name"]).split()[0]


def points_cell(mean: float, low: float, high: float) -> str:
    """Points of relative error with their interval."""
    interval = "" if math.isnan(low) else f" [{low:+.2f}, {high:+.2f}]"
    return NONE if math.isnan(mean) else f"{mean:+.2f}{interval}"


def reading_notes(data: ItemData, part: str) -> list[str]:
    """What a copied table must keep of a part: its data, the rule of its verdicts, its control, what diverged."""
    compare, context = data.context["compare"], data.context
    notes = [
        f"{part}: {data.title}, at {data.grid(data.resolutions[0])}, {context['data']['n_train']} training and "
        f"{context['data']['n_test']} test samples; verdict: change of {NAMES[compare['metric']]}, margin "
        f"{100 * compare['margin']:g} %, {100 * compare['confidence']:g} % t interval, fixed beforehand; {_power(data)}"
    ]
    gone = data.errors.dropna(subset=["diverged_epoch"]).drop_duplicates(subset=["run"])
    return notes + [
        f"{part}: {row['arm']}, seed {row['seed']}, diverged at epoch {row['diverged_epoch']:.0f}, step "
        f"{row['diverged_step']:.0f}: first not finite in {row['diverged_where']}"
        for row in gone.to_dict("records")
    ]


READINGS = (
    "errors: relative test errors on the training grid after the last epoch, mean ± sample standard deviation over "
    "seeds; H1 needs a grid, so bodies have none",
    "change: relative, (error - full's) / full's; points: 100 (error - full's), of relative error; both paired by seed",
)
"""What the columns of :func:`read_cells` are."""


def _error(row: Mapping[str, Any], metric: str) -> str:
    if row["diverged"] and row["diverged"] == row["seeds"]:
        return f"diverged at epoch {row['diverged_epoch']:.0f}"
    return error_cell(row.get(f"{metric}_mean", math.nan), row.get(f"{metric}_std", math.nan))


def _change(row: Mapping[str, Any], key: str, cell: Any) -> str:
    return cell(*(row.get(f"{key}{tail}", math.nan) for tail in ("", "_low", "_high")))


def _power(data: ItemData) -> str:
    rule = data.context["compare"]["power"]
    control = next((arm for arm in data.context["arms"] if rule and arm["name"] == rule["control"]), None)
    known = None if control is None else power(data, control)
    if rule is None or control is None or known is None:
        return "no control here, so no verdict of equivalence"
    labels = {arm["name"]: arm["label"] for arm in data.context["arms"]}
    names = " and ".join(labels[name] for name in rule["told_from"])
    tail = "is told from" if known else "is not told from"
    return f"the control {control['label']} {tail} {names}" + ("" if known else ", so no verdict of equivalence")
