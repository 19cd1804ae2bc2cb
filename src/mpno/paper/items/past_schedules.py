"""A schedule that measured gradients decide, beside the paper's: at equal epochs, and in equal modelled time."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mpno.paper.comparison import error_cell, number_cell, percent_cell, power
from mpno.paper.drawing import Drawing, Table
from mpno.paper.readings import READINGS, reading_notes
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.style import OKABE, TEXT_WIDTH, colour, look
from mpno.specs import PrecisionSetting

CARD = "RTX 3090 Ti"
"""The card whose modelled seconds count, one that the paper measured on."""
EPOCHS, TIME = "epochs", "time"


def table(item: ItemTables) -> Table:
    """A row per arm at equal epochs, then a row per setting in equal modelled time."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=list(frame["at_equal"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per arm and budget: full's epochs, or full's modelled time, of which a seed takes the whole epochs."""
    data = item.only
    rows = []
    for budget in (EPOCHS, TIME):
        for arm in chosen(data, budget):
            rows.append(_row(item, arm, budget))
    return pd.DataFrame(rows)


def chosen(data: ItemData, budget: str) -> list[dict[str, Any]]:
    """The arms of a budget: of settings that were trained both shorter and longer, the one that reaches it.

    A longer training stands for a shorter one where its first epochs are the same: not where phases take shares of
    all.
    """
    arms = data.context["arms"]
    least = data.context["epochs"]
    found: dict[str, dict[str, Any]] = {}
    for arm in arms:
        held = found.get(arm["label"])
        longer = held is not None and arm["epochs"] > held["epochs"]
        if held is None or (longer if budget == TIME else False):
            found[arm["label"]] = arm
    if budget == EPOCHS:
        return [arm for arm in found.values() if arm["epochs"] == least or _prefix(arm)]
    return [arm for arm in found.values() if arm["role"] != "control"]


def _prefix(arm: Mapping[str, Any]) -> bool:
    return PrecisionSetting.model_validate(arm["label"]).shares is None


def _row(item: ItemTables, arm: Mapping[str, Any], budget: str) -> dict[str, Any]:
    data = item.only
    ends = {name: last_epochs(item, one, budget) for name, one in _by_label(data, budget).items()}
    errors = {label: at_epochs(data, one["name"], ends[label]) for label, one in _by_label(data, budget).items()}
    own = errors[arm["label"]]
    spent = {seed: epochs_of_full(item, arm["name"], seed, end) for seed, end in ends[arm["label"]].items()}
    compare = data.context["compare"]
    row: dict[str, Any] = {"at_equal": budget, "arm": arm["name"], "setting": arm["label"], "role": arm["role"]}
    row |= {"evidence": data.arms.set_index("arm").loc[arm["name"], "evidence"], "seeds": len(own)}
    row |= {"epochs": float(np.mean(list(ends[arm["label"]].values()))), "time": float(np.mean(list(spent.values())))}
    row |= {"switches": switches(item, arm["name"]), "diverged": data.diverged(arm["name"])}
    each = list(own.values())
    row |= {"l2_mean": float(np.mean(each)), "l2_std": float(np.std(each, ddof=1)) if len(each) > 1 else math.nan}
    for other in ("full", "schedule"):
        change = Change((), math.nan, math.nan, math.nan)
        if other in errors and other != arm["label"]:
            change = paired_change(own, errors[other], confidence=compare["confidence"])
        row |= {f"{other}": change.mean, f"{other}_low": change.low, f"{other}_high": change.high}
        row[f"{other}_verdict"] = _verdict(data, arm, change)
    return row


def _by_label(data: ItemData, budget: str) -> dict[str, dict[str, Any]]:
    return {arm["label"]: arm for arm in chosen(data, budget)}


def _verdict(data: ItemData, arm: Mapping[str, Any], change: Change) -> str:
    compare = data.context["compare"]
    if not change.each:
        return ""
    if arm["role"] == "control" and len(change.each) > 1:
        return "control: told apart" if change.told_apart else "control: not told apart"
    control = next((one for one in data.context["arms"] if one["role"] == "control"), None)
    known = None if control is None else power(data, control)
    return verdict(change, margin=compare["margin"], power=known, diverged=data.diverged(arm["name"]))


def last_epochs(item: ItemTables, arm: Mapping[str, Any], budget: str) -> dict[int, int]:
    """Of each seed the last epoch within the budget: full's epochs, or what takes no longer than they do."""
    data = item.only
    least, seeds = data.context["epochs"], [int(seed) for seed in arm["runs"]]
    if budget == EPOCHS:
        return dict.fromkeys(seeds, least)
    ends = {}
    for seed in seeds:
        within = [e for e in range(1, arm["epochs"] + 1) if epochs_of_full(item, arm["name"], seed, e) <= least + 1e-9]
        ends[seed] = max(within)
    return ends


def epochs_of_full(item: ItemTables, arm: str, seed: int, epoch: int) -> float:
    """Modelled time of the first epochs of a run, in epochs of full; NaN where a setting has none."""
    ratios, frame = step_ratios(item), item.probes["epochs"]
    own = frame[(frame["arm"] == arm) & (frame["seed"] == seed) & (frame["epoch"] <= epoch)]
    return float(sum(ratios.get(setting, math.nan) for setting in own["setting"]))


def step_ratios(item: ItemTables) -> dict[str, float]:
    """Modelled seconds of a step of each setting over full's."""
    frame = item.probes["seconds"]
    own = frame[frame["card"] == CARD].set_index("setting")["seconds"]
    return {str(setting): float(seconds / own["full"]) for setting, seconds in own.items()}


def at_epochs(data: ItemData, arm: str, ends: Mapping[int, int]) -> dict[int, float]:
    """The error compared after these epochs of each seed; none of a run that had diverged."""
    frame, metric = data.history, data.context["compare"]["metric"]
    own = frame[(frame["arm"] == arm) & (frame["metric"] == metric) & (frame["resolution"] == data.resolutions[0])]
    rows = own.to_dict("records")
    return {int(row["seed"]): float(row["value"]) for row in rows if ends.get(int(row["seed"])) == row["epoch"]}


def switches(item: ItemTables, arm: str) -> str:
    """The settings of the first seed by their last epochs, as in ``mixed to 1, full+tanh to 8``; empty for one."""
    frame = item.probes["epochs"]
    own = frame[(frame["arm"] == arm) & (frame["seed"] == frame.loc[frame["arm"] == arm, "seed"].min())]
    runs, last = [], 0
    for setting, group in itertools.groupby(own.sort_values("epoch")["setting"]):
        last += len(list(group))
        runs.append(f"{setting} to {last}")
    return "; ".join(runs) if len(runs) > 1 else ""


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    whole = row["epochs"] == round(row["epochs"])
    cells = {
        "at equal": row["at_equal"],
        "setting": row["setting"],
        "phases, first seed": row["switches"] or NONE,
        "evidence": row["evidence"],
        "seeds": str(row["seeds"]),
        "epochs": f"{row['epochs']:.{0 if whole else 1}f}",
        "time": number_cell(row["time"], 2),
        "L2": error_cell(row["l2_mean"], row["l2_std"]),
    }
    for other in ("full", "schedule"):
        cells[f"change from {other}"] = percent_cell(*(row[f"{other}{tail}"] for tail in ("", "_low", "_high")))
        cells[f"verdict ({other})"] = row[f"{other}_verdict"] or NONE
    return cells


def _notes(item: ItemTables) -> list[str]:
    data, context = item.only, item.context
    used = set(item.probes["epochs"]["setting"])
    ratios = ", ".join(f"{setting} {ratio:.3f}" for setting, ratio in step_ratios(item).items() if setting in used)
    return [
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run",
        *reading_notes(data, "navier-stokes"),
        *READINGS,
        "full above P: an epoch is in full, tanh kept, if in the one before it more than P % of the spectral weights' "
        "gradients lay below fp16's smallest normal number, zeros among them; the first epoch is mixed",
        f"epochs: at equal epochs {data.context['epochs']}, full's; in equal time those of each seed that take no "
        "longer than full's, or as many as there were. The rate falls by epochs in every row, so that a longer "
        "training decays further",
        f"time: predicted, in epochs of full: by the model of time for a step of the authors' implementation at the "
        f"published size, batch 16, on an {CARD}, over full's: {ratios}. No row was timed",
    ]


def figure(item: ItemTables) -> Drawing:
    """What was measured and decided in each epoch, and the error against modelled time."""
    data, epochs = item.only, item.probes["epochs"]
    measured = next(arm for arm in data.context["arms"] if "full above" in arm["label"])
    limit = PrecisionSetting.model_validate(measured["label"]).full_above or 0.0
    own = epochs[epochs["arm"] == measured["name"]]
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 2.5), layout="constrained")
        left, right = drawn.subplots(1, 2)
        _decisions(left, own, limit)
        points = _curves(right, item)
        for panel in (left, right):
            sns.despine(ax=panel)
        drawn.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    caption = (
        "Navier-Stokes. (a) The share of the spectral weights' gradients below fp16's smallest normal number in each "
        f"epoch of {measured['label']}, every seed; filled: the epoch was mixed, hollow: full+tanh. Above the dashed "
        "line the next epoch is in full. (b) L2 test error, mean over the seeds that all have, against predicted time "
        f"in epochs of full (model of time, published size, {CARD}). Errors of half settings are simulated."
    )
    shares = own.assign(panel="a", value=100 * own["below_normal"])[
        ["panel", "arm", "seed", "epoch", "setting", "value"]
    ]
    return Drawing(drawn, pd.concat([shares, points], ignore_index=True), caption, ALT)


ALT = "Left, the share of small gradients by epoch with a limit; right, test error against modelled time by setting"


def _decisions(axes: Any, own: pd.DataFrame, limit: float) -> None:
    for _, rows in own.groupby("seed"):
        axes.plot(rows["epoch"], 100 * rows["below_normal"], color="0.75", linewidth=0.6, zorder=1)
        for low, face in ((True, OKABE[0]), (False, "white")):
            some = rows[rows["setting"].str.startswith("full") != low]
            axes.plot(
                some["epoch"], 100 * some["below_normal"], "o", color=OKABE[0], markersize=3, markerfacecolor=face
            )
    axes.axhline(limit, color="0.4", linewidth=0.6, linestyle=(0, (3, 2)))
    axes.set(title="(a) decided by what is measured", xlabel="epoch", ylabel="gradients below normal, %")


def _curves(axes: Any, item: ItemTables) -> pd.DataFrame:
    """Mean error after each epoch against the mean modelled time, over the seeds that all curves have."""
    data, rows = item.only, []
    shared = set.intersection(*({int(seed) for seed in arm["runs"]} for arm in chosen(data, TIME)))
    for arm in chosen(data, TIME):
        each = []
        for epoch in range(1, arm["epochs"] + 1):
            ends = dict.fromkeys(sorted(shared), epoch)
            errors = at_epochs(data, arm["name"], ends)
            spent = [epochs_of_full(item, arm["name"], seed, epoch) for seed in ends]
            if errors:
                each.append((float(np.mean(spent)), float(np.mean(list(errors.values())))))
            rows += [
                {
                    "panel": "b",
                    "arm": arm["name"],
                    "seed": seed,
                    "epoch": epoch,
                    "setting": arm["label"],
                    "value": error,
                }
                for seed, error in errors.items()
            ]
        shade = OKABE[1] if "full above" in arm["label"] else colour(arm["label"])
        axes.plot(*zip(*each, strict=True), color=shade, linewidth=1.0, marker=".", markersize=2.5, label=arm["label"])
    axes.axvline(data.context["epochs"], color="0.4", linewidth=0.6, linestyle=(0, (3, 2)))
    axes.set(
        title="(b) error against modelled time", xlabel="predicted time, epochs of full", ylabel="L2", yscale="log"
    )
    axes.yaxis.set_minor_formatter("{x:.2g}")
    return pd.DataFrame(rows)
