"""How many frequency modes to keep: error, memory and time against their number, in full and in mixed precision."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from mpno.paper.arm_rows import COSTS, arm_cells, arm_notes, arm_row, item_notes, said
from mpno.paper.comparison import number_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemTables
from mpno.paper.style import colour, look, new_figure

PART = "darcy"
PLACES = {"ablation": "frequency modes on Darcy", "first": "results of the first version, Darcy"}
"""Where the published values stand: CP weights read off a plot, dense weights in a notebook."""


def modes_of(arm: str) -> int:
    """How many modes an arm keeps along each axis, which its name ends on."""
    return int(arm.rpartition("-")[2])


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per arm, by number of modes, with the published values of as many modes."""
    data = item.parts[PART]
    rows = []
    for name in sorted(data.arm_names, key=lambda arm: (modes_of(arm), data.arm_names.index(arm))):
        row = {"modes": modes_of(name)} | arm_row(data, name)
        for short, place in PLACES.items():
            row |= {
                f"published_{short}_{metric}": value for metric, value in _said(item.reference, place, name).items()
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _said(reference: pd.DataFrame, place: str, arm: str) -> dict[str, float]:
    found = {row["metric"]: row["value"] for row in said(reference, place=place, setting=arm)}
    return {metric: found.get(metric, math.nan) for metric in ("seconds_per_epoch", "l2", "h1")}


def table(item: ItemTables) -> Table:
    """A row per number of modes and setting, with the published values of as many modes beside it."""
    frame = numbers(item)
    seen = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    notes = [
        *item_notes(item.context),
        *arm_notes(item.parts[PART]),
        *_span(item, frame),
        *COSTS,
        f"published, CP: {_source(item, 'ablation')}",
        f"published, dense: {_source(item, 'first')}",
        "as many modes of a grid of 128 points are a smaller share of its frequencies than of the grid here, so rows "
        "of equal modes are not the same question",
    ]
    return Table(frame, seen, notes)


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = arm_cells(row)
    cells.pop("model")
    shown = {"modes": f"{row['modes']} x {row['modes']}", **cells}
    for short, words in (("ablation", "published, CP"), ("first", "published, dense")):
        values = [row[f"published_{short}_{key}"] for key in ("l2", "h1", "seconds_per_epoch")]
        digits = (4, 5 if short == "first" else 4, 2)
        texts = [number_cell(value, count) for value, count in zip(values, digits, strict=True)]
        shown[f"{words}: L2, H1, s"] = NONE if set(texts) == {NONE} else ", ".join(texts)
    return shown


def _source(item: ItemTables, short: str) -> str:
    rows = said(item.reference, place=PLACES[short])
    return f"{rows[0]['provenance']}; {rows[0]['conditions']}" if rows else "no value could be sourced"


def _span(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    """How much of the grid's frequencies the most and the fewest modes keep."""
    points = item.parts[PART].context["data"]["resolution"]
    low, high = frame["modes"].min(), frame["modes"].max()
    return [f"modes: along each axis, both signs together; {low} to {high} of the grid's {points}"]


def figure(item: ItemTables) -> Drawing:
    """Errors and predicted memory against modes here, and the published errors in a panel of their own."""
    data = item.parts[PART]
    frame = numbers(item)
    rows = {row["arm"]: row for row in frame.to_dict("records")}
    points: list[dict[str, Any]] = []
    with look():
        drawn, panels = new_figure(2.0, 4)
        for axes, metric, title in ((panels[0], "l2", "(a) test L2"), (panels[1], "h1", "(b) test H1")):
            for name in data.arm_names:
                row = rows[name]
                for seed, value in data.values(name, metric, data.resolutions[0]).items():
                    points.append(_point(title, row, value, seed=seed, evidence=row["evidence"]))
            _lines(axes, frame, f"{metric}_mean")
            axes.set(title=title, ylabel="relative error" if metric == "l2" else "")
        _lines(panels[2], frame.assign(mib=frame["predicted_bytes"] / 2**20), "mib")
        panels[2].set(title="(c) memory, predicted", ylabel="MiB")
        points += [
            _point("(c) MiB", row, row["predicted_bytes"] / 2**20, evidence="predicted") for row in rows.values()
        ]
        points += _published(panels[3], item)
        panels[3].set(title="(d) L2, published")
        for axes in panels:
            _axis(axes)
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    seeds = sorted({len(arm["runs"]) for arm in data.context["arms"]})
    how = "One seed per point, an illustration." if seeds == [1] else "Means over seeds."
    caption = (
        f"Error and memory against the number of modes kept along each axis, here on {data.grid(data.resolutions[0])} "
        f"points. {how} Hollow: fp16 is simulated; (c) is predicted from traced shapes; (d) is read off the authors' "
        "plot (128x128 points, CP weights, 3 seeds), on axes of its own."
    )
    alt = "Errors fall with the number of modes and flatten; mixed stands beside full at every number of modes."
    return Drawing(drawn, pd.DataFrame(points), caption, alt)


def _point(panel: str, row: Any, value: float, **more: Any) -> dict[str, Any]:
    return {"panel": panel, "setting": row["setting"], "modes": int(row["modes"]), "value": value, **more}


def _lines(axes: Any, frame: pd.DataFrame, column: str) -> None:
    for setting, rows in frame.groupby("setting", sort=False):
        shade = colour(str(setting))
        face = shade if set(rows["evidence"]) == {"native"} or column == "mib" else "white"
        axes.plot(
            rows["modes"],
            rows[column],
            "o-",
            color=shade,
            markerfacecolor=face,
            markersize=3.5,
            linewidth=0.8,
            label=f"{setting}",
        )


def _published(axes: Any, item: ItemTables) -> list[dict[str, Any]]:
    points = []
    for row in said(item.reference, place=PLACES["ablation"], metric="l2"):
        setting = row["setting"].rpartition("-")[0]
        keys = {"panel": "(d) published L2", "setting": setting, "modes": modes_of(row["setting"])}
        points.append({**keys, "value": row["value"], "evidence": "published"})
    for setting in dict.fromkeys(point["setting"] for point in points):
        line = [(point["modes"], point["value"]) for point in points if point["setting"] == setting]
        axes.plot(*zip(*line, strict=True), "D--", color=colour(setting), markersize=3, linewidth=0.6)
    return points


def _axis(axes: Any) -> None:
    """Modes double from tick to tick."""
    axes.set_xscale("log", base=2)
    found = sorted({float(x) for line in axes.get_lines() for x in line.get_xdata()})
    axes.xaxis.set_major_locator(FixedLocator(found))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="modes", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
