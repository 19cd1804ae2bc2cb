"""What a table says of an arm: its errors over seeds, its paired change, its costs; and the notes that go with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import (
    compared,
    compared_cells,
    cost_cells,
    costs,
    error_cell,
    power,
    seeds_cell,
)
from mpno.paper.records import ItemData
from mpno.specs.sets import errors_of

NAMES = {"l2": "L2", "h1": "H1"}


def arm_row(data: ItemData, name: str) -> dict[str, Any]:
    """The numbers of an arm: mean and sample deviation of each error over seeds, the paired change, time and memory.

    Errors are relative, at the training resolution, after the last epoch; an arm that was not trained has none.
    """
    arm = next(entry for entry in data.context["arms"] if entry["name"] == name)
    timed = data.arms.set_index("arm").loc[name]
    row: dict[str, Any] = {"arm": name, "model": arm["model"], "setting": arm["label"], "role": arm["role"]}
    row |= {"evidence": timed["evidence"], "seeds": len(arm["runs"]), "diverged": data.diverged(name)}
    row["parameters"] = int(timed["parameters"])
    for metric in errors_of(data.context["data"]["name"]):
        row |= spread(metric, data.values(name, metric, data.resolutions[0]))
    return row | {"against": arm["against"]} | compared(data, arm) | costs(timed)


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


def arm_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The numbers of :func:`arm_row` as a reader sees them."""
    cells = {"model": row["model"], "setting": row["setting"], "evidence": row["evidence"], "seeds": seeds_cell(row)}
    cells["parameters"] = f"{row['parameters']:,}"
    for metric, shown in NAMES.items():
        if f"{metric}_mean" in row:
            cells[shown] = error_cell(row[f"{metric}_mean"], row[f"{metric}_std"])
    return cells | compared_cells(row) | cost_cells(row)


def arm_notes(data: ItemData, *, part: str = "") -> list[str]:
    """What a copied table must keep of a part: data, evidence, how errors and changes came about, what diverged."""
    context, compare = data.context, data.context["compare"]
    lead = f"{part}: " if part else ""
    grid = data.grid(data.resolutions[0])
    epochs = " or ".join(map(str, sorted({arm["epochs"] for arm in context["arms"]})))
    notes = [
        f"{lead}{data.title}, at {grid}, {context['data']['n_train']} training and {context['data']['n_test']} test "
        f"samples, {epochs} epochs",
        f"{lead}change of test {NAMES[compare['metric']]}, relative, paired by seed, with the "
        f"{100 * compare['confidence']:g} % t interval; margin {100 * compare['margin']:g} %, fixed beforehand; "
        f"{power_note(data)}",
    ]
    gone = data.errors.dropna(subset=["diverged_epoch"]).drop_duplicates(subset=["run"])
    notes += [
        f"{lead}diverged: {row['arm']}, seed {row['seed']}, at epoch {row['diverged_epoch']:.0f}, step "
        f"{row['diverged_step']:.0f}: first not finite in {row['diverged_where']}"
        for row in gone.to_dict("records")
    ]
    return notes


def item_notes(context: Mapping[str, Any]) -> list[str]:
    """What every table of an item must keep: what was changed, scale, machine."""
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    where = f"on {context['device']} ({context['processor']}), {context['threads']} thread(s) per run"
    return [*notes, f"scale {context['scale']}, {where}"]


COSTS = (
    "s/epoch: median of exclusive, interleaved timings, only where this processor runs the setting natively",
    "predicted: peak training memory on a GPU from traced shapes and dtypes, not measured; none for formats that no "
    "hardware stores",
)
"""What the columns of costs are."""


def power_note(data: ItemData) -> str:
    """Whether the control with few mantissa bits is told apart, which a verdict of equivalence needs."""
    rule = data.context["compare"]["power"]
    arms = {entry["name"]: entry for entry in data.context["arms"]}
    known = power(data, arms[rule["control"]]) if rule is not None and rule["control"] in arms else None
    if rule is None or known is None:
        return "no control, so no verdict of equivalence"
    names = " and ".join(arms[name]["label"] for name in rule["told_from"])
    told = "is told" if known else "cannot be told"
    tail = "" if known else ", so no verdict of equivalence"
    return f"control: {arms[rule['control']]['label']} {told} from {names}{tail}"


def said(reference: pd.DataFrame, **where: str) -> list[dict[str, Any]]:
    """The published values with this setting, metric or place."""
    rows = reference.to_dict("records")
    return [row | {"value": float(row["value"])} for row in rows if all(row[key] == where[key] for key in where)]
