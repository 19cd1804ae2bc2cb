"""What a table says of an arm against another: the paired change, and the verdict that its control allows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mpno.paper.records import NONE, ItemData
from mpno.paper.statistics import Change, paired_change, verdict


def power(data: ItemData, arm: dict[str, Any]) -> bool | None:
    """Whether the control is told from each of its references.

    None where there is no control of the arm's model, transform and recipe.
    """
    rule = data.context["compare"]["power"]
    arms = {entry["name"]: entry for entry in data.context["arms"]}
    if rule is None or rule["control"] not in arms or not set(rule["told_from"]) <= set(arms):
        return None
    control = arms[rule["control"]]
    if any(control[key] != arm[key] for key in ("model", "transform", "recipe")):
        return None
    return all(change_of(data, control["name"], name).told_apart for name in rule["told_from"])


def change_of(data: ItemData, arm: str, against: str | None) -> Change:
    """The paired change of an arm's error at the training resolution; without values where there is no other arm."""
    compare = data.context["compare"]
    if against is None or against not in data.arm_names:
        return Change((), math.nan, math.nan, math.nan)
    metric, resolution = compare["metric"], data.resolutions[0]
    return paired_change(
        data.values(arm, metric, resolution),
        data.values(against, metric, resolution),
        confidence=compare["confidence"],
    )


def against_of(data: ItemData, name: str | None) -> str | None:
    """The other arm as a table names it."""
    found = [arm for arm in data.context["arms"] if arm["name"] == name]
    return f"{found[0]['label']} ({found[0]['transform']})" if found else None


def compared(data: ItemData, arm: dict[str, Any]) -> dict[str, Any]:
    """The numbers of an arm's paired change, and what may be said of it in a few words; empty without another arm."""
    change = change_of(data, arm["name"], arm["against"])
    numbers = {"change": change.mean, "change_low": change.low, "change_high": change.high}
    return {**numbers, "verdict": _verdict(data, arm, change)}


def costs(timed: Any) -> dict[str, float]:
    """Seconds per epoch and predicted bytes, from an arm's row of what was measured."""
    return {"seconds_per_epoch": timed["seconds"], "predicted_bytes": timed["predicted_peak"]}


def _verdict(data: ItemData, arm: dict[str, Any], change: Change) -> str:
    margin = data.context["compare"]["margin"]
    diverged = data.diverged(arm["name"])
    if arm["against"] not in data.arm_names:
        return f"diverged in {diverged}" if diverged else ""
    if arm["role"] == "control" and not diverged and len(change.each) > 1:
        return "control: told apart" if change.told_apart else "control: not told apart"
    return verdict(change, margin=margin, power=power(data, arm), diverged=diverged)


def compared_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells of :func:`compared`."""
    change = percent_cell(row["change"], row["change_low"], row["change_high"])
    return {"change": change, "verdict": row["verdict"] or NONE}


def cost_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """The cells of :func:`costs`."""
    memory = number_cell(row["predicted_bytes"] / 2**20, 1)
    return {"s/epoch": number_cell(row["seconds_per_epoch"], 2), "predicted MiB": memory}


def seeds_cell(row: Mapping[str, Any]) -> str:
    """How many seeds there are, or of how many some finished."""
    seeds, diverged = row["seeds"], row["diverged"]
    return f"{seeds - diverged} of {seeds}" if diverged else str(seeds)


def error_cell(mean: float, std: float) -> str:
    if math.isnan(mean):
        return NONE
    digits = 4 if mean >= 0.02 else 5
    return f"{mean:.{digits}f}" + ("" if math.isnan(std) else f" ± {std:.{digits}f}")


def number_cell(value: float, digits: int) -> str:
    return NONE if math.isnan(value) else f"{value:.{digits}f}"


def percent_cell(mean: float, low: float, high: float) -> str:
    if math.isnan(mean):
        return NONE
    interval = "" if math.isnan(low) else f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return f"{100 * mean:+.1f} %{interval}"
