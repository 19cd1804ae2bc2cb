"""Other number formats than FP16: BF16 and TF32, their range and precision beside what trainings in them lose."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

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
    number_cell,
    power,
    seeds_cell,
)
from mpno.paper.drawing import Table
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import paired_change
from mpno.specs import PrecisionSetting, get_format

PUBLISHED_ON = "navier-stokes"
"""The data set of the published values."""
PUBLISHED = {"memory": "published_mb", "seconds_per_epoch": "published_seconds"}


def table(item: ItemTables) -> Table:
    """A row per data set and arm: its format, every seed's error, both readings of the change, cost, published cost."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, frame), roles=list(frame["part"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per part and arm. Errors are relative; bytes are predicted; seconds are of native settings only."""
    rows = []
    for name, data in item.parts.items():
        metric, home = data.context["compare"]["metric"], data.resolutions[0]
        for arm in data.context["arms"]:
            precision = PrecisionSetting.model_validate(arm["label"])
            fmt = get_format(precision.format)
            timed = data.arms.set_index("arm").loc[arm["name"]]
            errors = data.values(arm["name"], metric, home)
            row: dict[str, Any] = {
                "part": name,
                "arm": arm["name"],
                "setting": arm["label"],
                "transform": arm["transform"],
                "role": arm["role"],
                "evidence": timed["evidence"],
                "format": fmt.name,
                "in_format": _in_format(precision),
                "unit_roundoff": fmt.unit_roundoff,
                "maximum": fmt.max,
                "smallest_normal": fmt.smallest_normal,
                "seeds": len(arm["runs"]),
                "diverged": data.diverged(arm["name"]),
                "metric": metric,
                "errors": " ".join(f"{seed}:{value!r}" for seed, value in sorted(errors.items())),
                "error_mean": np.mean(list(errors.values())) if errors else math.nan,
                "error_std": np.std(list(errors.values()), ddof=1) if len(errors) > 1 else math.nan,
            }
            row |= _points(data, arm) | compared(data, arm) | costs(timed)
            row |= _published(item.reference, arm["name"] if name == PUBLISHED_ON else "")
            rows.append(row)
    return pd.DataFrame(rows)


def _in_format(precision: PrecisionSetting) -> str:
    """Which parts of the model the setting computes in its format."""
    if precision.setting == "full":
        return "nothing"
    names = ("transform", "contraction", "inverse")
    parts = [name for name, letter in zip(names, precision.triple, strict=True) if letter == "H"]
    parts = ["block"] if len(parts) == len(names) else parts
    return ", ".join([*parts, *(["real layers"] if precision.real != "fp32" else [])])


def _points(data: ItemData, arm: Mapping[str, Any]) -> dict[str, float]:
    """The paired change in points of relative error (0.01 is one point), with its interval."""
    compare, home = data.context["compare"], data.resolutions[0]
    if arm["against"] is None or arm["against"] not in data.arm_names:
        return dict.fromkeys(("points", "points_low", "points_high"), math.nan)
    values, reference = (data.values(name, compare["metric"], home) for name in (arm["name"], arm["against"]))
    # Against one, a relative change is an absolute one.
    shifted = {seed: 1.0 + value - reference[seed] for seed, value in values.items() if seed in reference}
    change = paired_change(shifted, dict.fromkeys(shifted, 1.0), confidence=compare["confidence"])
    return {"points": change.mean, "points_low": change.low, "points_high": change.high}


def _published(reference: pd.DataFrame, arm: str) -> dict[str, float]:
    """The paper's memory and time of an arm; NaN where none could be had."""
    found = dict.fromkeys(PUBLISHED.values(), math.nan)
    for row in reference[reference["setting"] == arm].to_dict("records"):
        if row["metric"] in PUBLISHED:
            found[PUBLISHED[row["metric"]]] = float(row["value"])
    return found


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {
        "data": row["part"],
        "setting": row["setting"],
        "transform": row["transform"],
        "in the format": row["in_format"],
        "roundoff": f"{row['unit_roundoff']:.1e}",
        "maximum": f"{row['maximum']:.3g}",
        "smallest normal": f"{row['smallest_normal']:.1e}",
        "evidence": row["evidence"],
        "seeds": seeds_cell(row),
        str(row["metric"]).upper(): error_cell(row["error_mean"], row["error_std"]),
        "each seed": " ".join(f"{float(pair.split(':')[1]):.4f}" for pair in row["errors"].split()) or NONE,
        "points": _points_cell(row),
        **compared_cells(row),
        **cost_cells(row),
        "published MB": _blank(row["published_mb"], 0),
        "published s/epoch": _blank(row["published_seconds"], 2),
    }
    return cells


def _points_cell(row: Mapping[str, Any]) -> str:
    if math.isnan(row["points"]):
        return NONE
    interval = (
        "" if math.isnan(row["points_low"]) else (f" [{100 * row['points_low']:+.2f}, {100 * row['points_high']:+.2f}]")
    )
    return f"{100 * row['points']:+.2f}{interval}"


def _blank(value: float, digits: int) -> str:
    """A published value; empty where none could be sourced."""
    return "" if math.isnan(value) else number_cell(value, digits)


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    compare = next(iter(item.parts.values())).context["compare"]
    for name, data in item.parts.items():
        about = data.context["data"]
        epochs = " or ".join(str(n) for n in sorted({arm["epochs"] for arm in data.context["arms"]}))
        notes.append(
            f"scale {context['scale']}, {name}: {data.title}, at {data.grid(data.resolutions[0])}, {about['n_train']} "
            f"training and {about['n_test']} test samples, {epochs} epochs; on {context['device']} "
            f"({context['processor']}), {context['threads']} thread(s) per run; {_control(data)}"
        )
    return [
        *notes,
        "errors: relative, after the last epoch, mean ± sample standard deviation over seeds; points: of relative "
        "error, times 100; change: relative; both against full with the same transform, paired by seed, with the "
        f"{100 * compare['confidence']:g} % t interval; margin {100 * compare['margin']:g} % of the error, fixed "
        "beforehand",
        "fp16 is the paper's format; bf16 has fp32's range and 3 bits fewer than fp16, and nothing of it stands for "
        "fp16",
        "tf32 is a way to multiply, not to store: a graphics card rounds the operands of matrix products to it and "
        "transforms in fp32. Here contraction and real layers round their operands, results and gradients to it, which "
        "is more, and the transforms stay in full; stored, it takes 32 bits, so that its memory is full's",
        "s/epoch: median of exclusive, interleaved timings, only where this processor runs the setting natively",
        "predicted MiB: peak training memory from traced shapes and dtypes, predicted, not measured; none for formats "
        "that no hardware stores",
        *_published_notes(item),
    ]


def _control(data: ItemData) -> str:
    rule = data.context["compare"]["power"]
    arms = {arm["name"]: arm for arm in data.context["arms"]}
    if rule is None or rule["control"] not in arms:
        return "no control at this scale, so no verdict of equivalence"
    known = power(data, arms[rule["control"]])
    names = " and ".join(arms[name]["label"] for name in rule["told_from"] if name in arms)
    tail = "is told from" if known else "cannot be told from"
    return f"control {arms[rule['control']]['label']} {tail} {names}" + ("" if known else ": no verdict of equivalence")


def _published_notes(item: ItemTables) -> list[str]:
    rows = item.reference.drop_duplicates(["provenance", "conditions", "place"])
    sources = [f"{row['place']} ({row['provenance']}): {row['conditions']}" for row in rows.to_dict("records")]
    return [f"published: {'; '.join(sources)}; of bf16 nothing could be had"] if sources else []
