"""Four panels: training loss on two grids, and how a grid's points meet the two ends of a format's range."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator

from mpno.paper.records import ItemData, ItemTables
from mpno.paper.style import COLOURS, TEXT_WIDTH, colour, line, look

FORMATS = {"fp16": "mixed", "fp8_e5m2": "mixed-fp8_e5m2", "fp8_e4m3": "mixed-fp8_e4m3"}
"""The formats whose range is drawn, each in the colour of a setting."""
NAMES = {"fp16": "FP16", "fp8_e5m2": "FP8 e5m2", "fp8_e4m3": "FP8 e4m3"}


def draw_curves_and_ranges(item: ItemTables) -> tuple[Figure, pd.DataFrame]:
    """The figure, and every number that it shows: panel, series, seed, x, y, evidence."""
    points: list[dict[str, Any]] = []
    parts = list(item.parts.items())[:2]
    with look():
        figure = Figure(figsize=(TEXT_WIDTH, 4.4), layout="constrained")
        panels = figure.subplots(2, 2).flatten()
        for letter, axes, (name, data) in zip("ab", panels, parts, strict=False):
            points += _curves(axes, data, letter)
            _frame(axes, f"({letter}) {name}: {data.grid(data.resolutions[0])}", "epoch", "training loss, relative H1")
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            _log(axes)
        for axes in panels[len(parts) : 2]:
            axes.set_visible(False)
        points += _range(panels[2], item)
        points += _zero(panels[3], item)
        _legend(figure, [data for _, data in parts])
    return figure, pd.DataFrame(points)


def _curves(axes: Any, data: ItemData, panel: str) -> list[dict[str, Any]]:
    points = []
    evidence = data.arms.set_index("arm")["evidence"]
    for arm in data.context["arms"]:
        rows = data.history[data.history["arm"] == arm["name"]].drop_duplicates(["seed", "epoch"])
        each = rows.pivot(index="epoch", columns="seed", values="train_loss").sort_index()
        stroke = _stroke(arm, str(evidence[arm["name"]]))
        for seed in each:
            thin = {"linewidth": 0.5, "alpha": 0.6, "marker": ""} if each.shape[1] > 1 else {}
            axes.plot(each.index, each[seed], **(stroke | thin))
            points += [_point(panel, arm["name"], seed, x, y, evidence[arm["name"]]) for x, y in each[seed].items()]
        if each.shape[1] > 1:
            mean = np.exp(np.log(each.dropna()).mean(axis=1))
            axes.plot(mean.index, mean, **(stroke | {"linewidth": 1.3}))
    return points


def _range(axes: Any, item: ItemTables) -> list[dict[str, Any]]:
    points = []
    foretold = item.probes["ranges"].query("axes == 2")
    measured = item.probes.get("first-step")
    for name, setting in FORMATS.items():
        rows = foretold[foretold["format"] == name].sort_values("points")
        axes.plot(rows["points"] ** 0.5, rows["share"], color=colour(setting), linewidth=1.0)
        points += [
            _point("c", name, None, n**0.5, y, "predicted") for n, y in zip(rows["points"], rows["share"], strict=True)
        ]
        if measured is None:
            continue
        seen = measured[measured["precision"] == ("mixed" if name == "fp16" else f"mixed-{name}")]
        for row in seen.to_dict("records"):
            mark = {"marker": "o", "markersize": 3} if row["finite"] else {"marker": "x", "markersize": 4.5}
            axes.plot(row["points"] ** 0.5, row["share"], color=colour(setting), linestyle="", **mark)
            points.append(_point("c, measured", name, None, row["points"] ** 0.5, row["share"], row["evidence"]))
    axes.axhline(1.0, color="0.4", linewidth=0.6)
    last = foretold[foretold["format"].isin(FORMATS)].sort_values("points").groupby("format").last()
    for name, row in last.iterrows():
        below = name == "fp16"
        place = {"ha": "left" if below else "right", "va": "center", "textcoords": "offset points", "fontsize": 5}
        where, shift = (row["points"] ** 0.5, row["share"]), (-12, -16) if below else (-12, 2)
        axes.annotate(NAMES[str(name)], where, xytext=shift, color=colour(FORMATS[str(name)]), **place)
    axes.annotate("maximum", (0.01, 1.0), xycoords=("axes fraction", "data"), va="bottom", fontsize=5)
    _frame(axes, "(c) largest sum of a transform after tanh", "points along each of two axes", "share of the maximum")
    axes.set_yscale("log")
    _by_grid(axes, sorted({round(n**0.5) for n in foretold["points"]}))
    return points


def _zero(axes: Any, item: ItemTables) -> list[dict[str, Any]]:
    points: list[dict[str, Any]] = []
    frame = item.probes.get("first-step")
    if frame is None:
        axes.set_visible(False)
        return points
    shown = frame[frame["precision"].isin(COLOURS)].dropna(subset=["zero"])
    for precision, rows in shown.groupby("precision", sort=False):
        rows = rows.sort_values("points")
        stroke = _stroke({"label": precision, "recipe": ""}, rows["evidence"].iloc[0])
        axes.plot(rows["points"] ** 0.5, 1 - rows["zero"], **(stroke | {"linewidth": 1.0, "markevery": 1}))
        for row in rows.to_dict("records"):
            points.append(_point("d", precision, None, row["points"] ** 0.5, 1 - row["zero"], row["evidence"]))
    _frame(axes, "(d) first step, no loss scaling", "points along each of two axes", "share of gradients not zero")
    # Where no gradient is zero anywhere the axis has nothing to scale itself by.
    least = min((point["y"] for point in points if point["y"] > 0), default=0.1)
    axes.set_ylim(least / 2, 1.5)
    axes.set_yscale("log")
    _by_grid(axes, sorted({round(n**0.5) for n in frame["points"]}))
    return points


def _stroke(arm: dict[str, Any], evidence: str) -> dict[str, Any]:
    """Colour by setting, dashes by evidence, circles where the block alone is quantised, triangles if scaled."""
    scaled, block = "loss scaling" in arm["recipe"], arm["label"].startswith("half")
    return {
        "color": colour(arm["label"]),
        "linestyle": line(evidence),
        "linewidth": 0.8,
        "marker": "^" if scaled else "o" if block else "",
        "markersize": 2.6,
        "markevery": 2,
        "markeredgewidth": 0.0,
    }


def _point(panel: str, series: str, seed: Any, x: Any, y: Any, evidence: Any) -> dict[str, Any]:
    return {"panel": panel, "series": series, "seed": seed, "x": x, "y": y, "evidence": evidence}


def _frame(axes: Any, title: str, xlabel: str, ylabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.grid(axis="y", color="0.9")
    sns.despine(ax=axes)


def _by_grid(axes: Any, sizes: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(sizes))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _log(axes: Any) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())


def _legend(figure: Figure, parts: list[ItemData]) -> None:
    """One entry for what clips and what does not: where both have a curve it is the same."""
    handles: dict[str, Line2D] = {}
    for data in parts:
        evidence = data.arms.set_index("arm")["evidence"]
        for arm in data.context["arms"]:
            name = arm["label"].removesuffix("_sat").replace("mixed-e5m2", "mixed-fp8_e5m2")
            name += ", loss scaled" if "loss scaling" in arm["recipe"] else ""
            stroke = _stroke(arm, str(evidence[arm["name"]]))
            handles.setdefault(name, Line2D([], [], label=name, **stroke))
    figure.legend(handles=list(handles.values()), loc="outside lower center", ncols=4, frameon=False, handlelength=2.6)
