"""What the tanh before the transforms costs by itself, in full precision: the error and the time."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mpno.paper.comparison import number_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.readings import NAMES, READINGS, published, read_arm, read_cells, reading_notes
from mpno.paper.records import STAND_INS, ItemData, ItemTables
from mpno.paper.style import TEXT_WIDTH, colour, look
from mpno.specs.sets import errors_of, title_of

PUBLISHED = ("l2", "h1", "seconds_per_epoch")


def table(item: ItemTables) -> Table:
    """A row per data set and arm: both readings of what tanh changes, its time, and the paper's values."""
    rows = []
    for part, data in item.parts.items():
        seconds = data.arms.set_index("arm")["seconds"].to_dict()
        for arm in data.context["arms"]:
            row = {"part": part} | read_arm(data, arm) | {"seconds_per_epoch": seconds[arm["name"]]}
            row["seconds_change"] = seconds[arm["name"]] / seconds.get(arm["against"], math.nan) - 1
            rows.append(row | _published(item, data, arm["label"]))
    numbers = pd.DataFrame(rows)
    context = item.context
    notes = [
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run"
    ]
    notes += [note for part, data in item.parts.items() for note in reading_notes(data, part)]
    notes += [
        *READINGS,
        "s/epoch: median of exclusive, interleaved timings, only where asked for and where this processor runs the "
        "setting natively",
        *_sources(item),
    ]
    return Table(numbers, pd.DataFrame([_cells(row) for row in rows]), notes, roles=list(numbers["part"]))


def _cells(row: dict[str, Any]) -> dict[str, str]:
    shown = {"data": row["part"], **read_cells(row), "s/epoch": number_cell(row["seconds_per_epoch"], 2)}
    shown["time"] = percent_cell(row["seconds_change"], math.nan, math.nan)
    for metric, name in NAMES.items():
        shown[f"paper {name}"] = number_cell(row[f"paper_{metric}"], 6)
        shown[f"paper {name} change"] = percent_cell(row[f"paper_{metric}_change"], math.nan, math.nan)
    return shown | {"paper s/epoch": number_cell(row["paper_seconds_per_epoch"], 2)}


def _published(item: ItemTables, data: ItemData, label: str) -> dict[str, float]:
    """The paper's values of a setting, and what they change by from full's."""
    rows = published(item.reference, data)
    said = {(row["setting"], row["metric"]): float(row["value"]) for row in rows.to_dict("records")}
    values = {f"paper_{metric}": said.get((label, metric), math.nan) for metric in PUBLISHED}
    changes = {
        f"paper_{metric}_change": values[f"paper_{metric}"] / said.get(("full", metric), math.nan) - 1
        if label != "full"
        else math.nan
        for metric in PUBLISHED
    }
    return values | changes


def _sources(item: ItemTables) -> list[str]:
    rows = item.reference.drop_duplicates(["setting", "conditions"]).to_dict("records")
    return [f"paper, {row['setting']}: {row['conditions']}; {row['place']}; {row['provenance']}" for row in rows]


def figure(item: ItemTables) -> Drawing:
    """Per data set, the change that tanh makes to L2 and H1: every seed, their mean, its interval, the margin."""
    points: list[dict[str, Any]] = []
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 0.9 + 0.28 * len(item.parts)), layout="constrained")
        panels = drawn.subplots(1, len(NAMES), sharey=True, sharex=True)
        for axes, (metric, name) in zip(panels, NAMES.items(), strict=True):
            for place, (part, data) in enumerate(item.parts.items()):
                points += [{"part": part, "metric": metric} | point for point in _row(axes, data, metric, place)]
            axes.axvline(0, color="0.4", linewidth=0.6)
            axes.set(title=f"change of test {name}", xlabel="% of full's error")
            sns.despine(ax=axes)
        panels[0].set_yticks(range(len(item.parts)), [_title(data) for data in item.parts.values()])
        panels[0].set_ylim(len(item.parts) - 0.5, -0.5)
    kinds = sorted({point["evidence"] for point in points})
    caption = (
        "What tanh before the transforms changes in full precision: every seed (small), their mean and its t interval, "
        f"and the margin fixed beforehand (grey). {', '.join(kinds).capitalize()}, scale {item.context['scale']} on "
        f"{item.context['device']}. Beside: what the control, which has 2 mantissa bits, changes."
    )
    alt = "Intervals of the relative change of test errors that tanh makes, per data set, beside the margin."
    return Drawing(drawn, pd.DataFrame(points), caption, alt)


def _row(axes: Any, data: ItemData, metric: str, place: int) -> list[dict[str, Any]]:
    """Draw one data set's row; its points."""
    if metric not in errors_of(data.context["data"]["name"]):
        axes.text(
            0.98, place, "H1 needs a grid", transform=axes.get_yaxis_transform(), va="center", ha="right", color="0.5"
        )
        return []
    margin = 100 * data.context["compare"]["margin"]
    axes.fill_betweenx((place - 0.4, place + 0.4), -margin, margin, color="0.92", linewidth=0)
    points = []
    for arm in data.context["arms"]:
        if arm["against"] is None:
            continue
        read = read_arm(data, arm)
        mean, low, high = (100 * read[f"{metric}_change{tail}"] for tail in ("", "_low", "_high"))
        each = [100 * float(value) for value in read[f"{metric}_change_each"].split()]
        about = {"arm": arm["name"], "setting": arm["label"], "evidence": read["evidence"]}
        seeds = sorted(data.values(arm["name"], metric, data.resolutions[0]))
        points += [about | {"seed": seed, "percent": value} for seed, value in zip(seeds, each, strict=True)]
        points.append(about | {"seed": "mean", "percent": mean, "low": low, "high": high})
        if arm["role"] == "control":
            text = f"control\n{mean:+.0f} %"
            axes.text(1.01, place, text, transform=axes.get_yaxis_transform(), va="center", fontsize=5.5)
            continue
        shade = colour(arm["label"])
        axes.plot(each, [place + 0.15] * len(each), ".", color=shade, markersize=3, alpha=0.6, markeredgewidth=0)
        axes.errorbar(
            mean, place - 0.1, xerr=None if math.isnan(low) else [[mean - low], [high - mean]],
            fmt="o", color=shade, markersize=3, capsize=2, linewidth=0.9,
        )  # fmt: skip
    return points


def _title(data: ItemData) -> str:
    name, source = data.context["data"]["name"], data.context["data"]["source"]
    return title_of(name) + ("\n(stand-in data)" if (name, source) in STAND_INS else "")
