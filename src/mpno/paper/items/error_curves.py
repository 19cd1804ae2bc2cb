"""Test error while training: against epochs, against time, and at the end of equal budgets."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from mpno.paper.comparison import number_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.readings import NAMES, READINGS, lead, published, read_arm, read_cells, reading_notes
from mpno.paper.records import NONE, STAND_INS, ItemData, ItemTables
from mpno.paper.style import TEXT_WIDTH, colour, line, look
from mpno.specs.sets import errors_of, title_of

EQUAL_EPOCHS, EQUAL_TIME, STRETCHED = "equal epochs", "equal time", "equal time, decay stretched"
BUDGETS: dict[str, dict[str, Any]] = {
    EQUAL_EPOCHS: {},
    EQUAL_TIME: {"marker": "o", "markerfacecolor": "white"},
    STRETCHED: {"marker": "D"},
}
"""How the end of a curve is marked, by what its arm was given."""
ROWS = (("l2", "epoch"), ("h1", "epoch"), ("l2", "seconds"))
"""Metric and abscissa of each row of panels."""


def budget(data: ItemData, arm: dict[str, Any]) -> str:
    """What an arm was given beside the one it is paired with: as many epochs, or as many as in its time.

    Of the arms with more epochs, stretched is the one whose rate at the end is that of the other arm's end.
    """
    other = next((entry for entry in data.context["arms"] if entry["name"] == arm["against"]), arm)
    if arm["epochs"] == other["epochs"]:
        return EQUAL_EPOCHS
    return STRETCHED if arm["last_rate"] == other["last_rate"] else EQUAL_TIME


def table(item: ItemTables) -> Table:
    """A row per data set and arm: epochs, decay, errors, both readings of their changes, and the paper's errors."""
    rows = []
    for part, data in item.parts.items():
        for arm in data.context["arms"]:
            given = {"part": part, "budget": budget(data, arm), "last_rate": arm["last_rate"]}
            rows.append(given | read_arm(data, arm) | _published(item, data, arm))
    numbers = pd.DataFrame(rows)
    context = item.context
    notes = [
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run"
    ]
    notes += [note for part, data in item.parts.items() for note in reading_notes(data, part)]
    notes += [
        *READINGS,
        "equal time: as many epochs as the paper's run had in the time of its full one (reference values), for a CPU "
        "has no time of these settings; the rate is halved after as many epochs as in full, and so further at the end; "
        "decay stretched: halved as often as in full",
        "last rate: that of the last epoch in parts of the first; one-cycle: risen and fallen within the epochs given",
        "the control has the epochs of full: what it says of power holds for equal epochs",
        *_sources(item),
        *filter(None, (_paper_readings(item, data) for data in item.parts.values())),
    ]
    return Table(numbers, pd.DataFrame([_cells(row) for row in rows]), notes, roles=list(numbers["part"]))


def _cells(row: dict[str, Any]) -> dict[str, str]:
    read = read_cells(row)
    shown = {"data": row["part"], "setting": read.pop("setting"), "budget": row["budget"]}
    shown["epochs"] = read.pop("epochs")
    shown["last rate"] = _rate(row["last_rate"])
    shown |= read
    return shown | {f"paper {name}": number_cell(row[f"paper_{metric}"], 6) for metric, name in NAMES.items()}


def _rate(share: float | None) -> str:
    return "one-cycle" if share is None else "1" if share == 1 else f"1/{1 / share:.0f}"


def _published(item: ItemTables, data: ItemData, arm: dict[str, Any]) -> dict[str, float]:
    """The paper's errors, which are those in equal time."""
    rows = published(item.reference, data, setting=arm["label"])
    fits = arm["against"] is None or budget(data, arm) == EQUAL_TIME
    found = dict(zip(rows["metric"], rows["value"].astype(float), strict=True)) if fits else {}
    return {f"paper_{metric}": found.get(metric, math.nan) for metric in NAMES}


def _paper_readings(item: ItemTables, data: ItemData) -> str:
    """The paper's own changes in both readings."""
    rows = published(item.reference, data)
    said = {(row["setting"], row["metric"]): float(row["value"]) for row in rows.to_dict("records")}
    changes = []
    for setting in dict.fromkeys(name for name, metric in said if name != "full" and metric in NAMES):
        for metric, name in NAMES.items():
            error, full = said[setting, metric], said["full", metric]
            changes.append(f"{setting} {name} {100 * (error / full - 1):+.1f} % or {100 * (error - full):+.3f} points")
    return f"paper, change in both readings on {lead(data)}: {', '.join(changes)}" if changes else ""


def _sources(item: ItemTables) -> list[str]:
    errors = item.reference.loc[item.reference["metric"].isin(list(NAMES))]
    rows = errors.drop_duplicates(["setting", "provenance", "conditions"]).to_dict("records")
    return [f"paper, {row['setting']}: {row['conditions']}; {row['place']}; {row['provenance']}" for row in rows]


def figure(item: ItemTables) -> Drawing:
    """A panel per data set (columns) and L2 and H1 against epochs, L2 against time (rows). Every seed is thin, their
    mean bold, and only settings that this processor runs natively have a time."""
    points: list[dict[str, Any]] = []
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 4.7), layout="constrained")
        panels = drawn.subplots(len(ROWS), len(item.parts), squeeze=False)
        for column, (part, data) in enumerate(item.parts.items()):
            for row, (metric, x) in enumerate(ROWS):
                found = _panel(panels[row][column], data, metric, x)
                points += [{"part": part, "metric": metric, "x": x} | point for point in found]
            panels[0][column].set_title(_heading(data))
        for (metric, _), axes in zip(ROWS, panels, strict=True):
            axes[0].set_ylabel(f"test {NAMES[metric]}")
        _legend(drawn, item)
    return Drawing(drawn, pd.DataFrame(points), _caption(item), _alt(item))


def _panel(axes: Any, data: ItemData, metric: str, x: str) -> list[dict[str, Any]]:
    """Draw one panel; its points."""
    if metric not in errors_of(data.context["data"]["name"]):
        axes.set_axis_off()
        axes.text(0.5, 0.5, "H1 needs\na grid", transform=axes.transAxes, ha="center", va="center", color="0.5")
        return []
    seconds = data.arms.set_index("arm")["seconds"].to_dict()
    home = (data.history["metric"] == metric) & (data.history["resolution"] == data.resolutions[0])
    rows = data.history.loc[home]
    points: list[dict[str, Any]] = []
    for arm in data.context["arms"]:
        factor = 1.0 if x == "epoch" else seconds[arm["name"]]
        each = rows.loc[rows["arm"] == arm["name"]].pivot(index="epoch", columns="seed", values="value").sort_index()
        if math.isnan(factor) or each.empty:
            continue
        points += _curve(axes, data, arm, each, factor)
    axes.set(yscale="log", xlabel="epoch" if x == "epoch" else "s of training")
    axes.xaxis.labelpad = 1
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.tick_params(labelsize=5, pad=1)
    axes.grid(axis="y", color="0.9")
    sns.despine(ax=axes)
    return points


def _curve(axes: Any, data: ItemData, arm: dict[str, Any], each: pd.DataFrame, factor: float) -> list[dict[str, Any]]:
    """The seeds of an arm, thin, and from two on their mean, bold, up to where the first of them diverges."""
    evidence = data.arms.set_index("arm").loc[arm["name"], "evidence"]
    given = budget(data, arm)
    points: list[dict[str, Any]] = []
    mean = {"mean": each.dropna().mean(axis=1)} if each.shape[1] > 1 else {}
    for seed, values in ({seed: each[seed].dropna() for seed in each} | mean).items():
        bold = seed == "mean" or not mean
        stroke = {"linestyle": line(evidence) if bold else "-", "alpha": 1.0 if bold else 0.4}
        width = 0.9 if seed == "mean" else 0.5 if bold else 0.3
        x = factor * values.index.to_numpy()
        axes.plot(x, values, color=colour(arm["label"]), linewidth=width, **stroke)
        if bold and BUDGETS[given] and len(values):
            axes.plot(x[-1:], values.iloc[-1:], color=colour(arm["label"]), linestyle="", **_mark(given))
        about = {"arm": arm["name"], "setting": arm["label"], "budget": given, "evidence": evidence, "seed": seed}
        points += [about | {"at": at, "value": value} for at, value in zip(x, values, strict=True)]
    return points


def _mark(given: str) -> dict[str, Any]:
    return {"markersize": 2.6, "markeredgewidth": 0.6} | BUDGETS[given]


def _heading(data: ItemData) -> str:
    name, source = data.context["data"]["name"], data.context["data"]["source"]
    stand_in = "\n(stand-in data)" if (name, source) in STAND_INS else ""
    return textwrap.fill(title_of(name), 15) + stand_in


def _legend(drawn: Figure, item: ItemTables) -> None:
    arms = [(data, arm) for data in item.parts.values() for arm in data.context["arms"]]
    evidence: dict[str, str] = {}
    for data, arm in arms:
        evidence.setdefault(arm["label"], data.arms.set_index("arm").loc[arm["name"], "evidence"])
    handles = [
        Line2D([], [], color=colour(label), linestyle=line(kind), linewidth=0.9, label=f"{label}: {kind}")
        for label, kind in evidence.items()
    ]
    used = {budget(data, arm) for data, arm in arms}
    handles += [
        Line2D([], [], color="0.3", linestyle="", label=given, **_mark(given))
        for given, mark in BUDGETS.items()
        if mark and given in used
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, handlelength=2.6)


def _caption(item: ItemTables) -> str:
    kinds = sorted({kind for data in item.parts.values() for kind in data.arms["evidence"]})
    simulated = "; simulated: rounded at the borders of operations, a lower estimate" if "simulated" in kinds else ""
    paper = [_epochs(item, data) for data in item.parts.values()]
    said = "; ".join(filter(None, paper))
    return (
        f"Relative test errors while training at scale {item.context['scale']} on {item.context['device']}: every seed "
        f"(thin), mean (bold), one seed alone in between. The line's style is the evidence ({', '.join(kinds)}"
        f"{simulated}); seconds of training: epochs times measured seconds per epoch, native settings only. Markers "
        f"end runs with as many epochs as the paper's had in equal time{f' ({said})' if said else ''}."
    )


def _epochs(item: ItemTables, data: ItemData) -> str:
    rows = published(item.reference, data, metric="epochs")
    counts = ", ".join(f"{row['setting']} {row['value']:.0f}" for row in rows.to_dict("records"))
    return f"{lead(data)}: {counts}, {rows['provenance'].iloc[0]}" if counts else ""


def _alt(item: ItemTables) -> str:
    sets = ", ".join(title_of(data.context["data"]["name"]) for data in item.parts.values())
    labels = dict.fromkeys(arm["label"] for data in item.parts.values() for arm in data.context["arms"])
    return (
        f"Curves of test L2 and H1 against epochs, and of L2 against time, for {sets}, in the settings "
        f"{', '.join(labels) or NONE}."
    )
