"""Test error while training: against epochs, zero-shot, and against time."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from mpno.paper.records import ItemData
from mpno.paper.style import MARKERS, colour, line, look, new_figure

_CLOSE_FROM = 8  # epochs from which the last quarter is worth an inset


def draw_curves(data: ItemData) -> Figure:
    """Three panels: error at the training resolution and zero-shot against epochs, and against exclusive time.

    Every seed is a thin line, the mean over seeds a bold one. Only natively run settings have a time.
    """
    metric = data.context["compare"]["metric"]
    trained = data.resolutions[0]
    finer = data.resolutions[min(1, len(data.resolutions) - 1)]
    with look():
        figure, panels = new_figure(2.75, 3)
        for axes, resolution in zip(panels, (trained, finer), strict=False):
            _curves(axes, data, metric, resolution)
            _closer(axes, data, metric, resolution)
        seconds = data.arms.dropna(subset=["seconds"]).set_index("arm")["seconds"].to_dict()
        _curves(panels[2], data, metric, trained, seconds)
        name = metric.upper()
        _label(panels[0], f"(a) test at {data.grid(trained)}", f"relative {name} error", "epoch")
        _label(panels[1], f"(b) zero-shot at {data.grid(finer)}", "", "epoch")
        _label(panels[2], "(c) against time, native only", "", "seconds of training")
        _notes(figure, data, panels[2])
        _legend(figure, data)
    return figure


def _curves(
    axes: Any, data: ItemData, metric: str, resolution: int | str, seconds: dict[str, float] | None = None
) -> None:
    """Draw the curves of one panel; with `seconds` per epoch, against time, and only the arms that have one."""
    rows = data.history.query("metric == @metric and resolution == @resolution")
    for arm in data.arms.to_dict("records"):
        if seconds is not None and arm["arm"] not in seconds:
            continue
        each = rows[rows["arm"] == arm["arm"]].pivot(index="epoch", columns="seed", values="value").sort_index()
        x = each.index.to_numpy() * (1.0 if seconds is None else seconds[arm["arm"]])
        shade = colour(arm["setting"])
        if each.shape[1] == 1:
            # One seed is no mean: a bold line would set its luck beside the means of others.
            axes.plot(x, each, color=shade, **_stroke(arm, seeds=1))
            continue
        for seed in each:
            axes.plot(x, each[seed], color=shade, linewidth=0.35, alpha=0.45)
        mean = each.dropna().mean(axis=1)  # to where the first seed diverges
        axes.plot(x[: len(mean)], mean, color=shade, markevery=max(1, len(mean) // 6), **_stroke(arm, each.shape[1]))


def _stroke(arm: dict[str, Any], seeds: int) -> dict[str, Any]:
    """How the line of an arm is drawn, bold for a mean: evidence in the dashes, transform in the marker."""
    return {
        "linewidth": 1.0 if seeds > 1 else 0.5,
        "linestyle": line(arm["evidence"]),
        "marker": MARKERS[arm["transform"]],
        "markersize": 2.4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.3,
    }


def _closer(axes: Any, data: ItemData, metric: str, resolution: int | str) -> None:
    """The last quarter of the epochs again in the empty corner, where the settings part."""
    rows = data.history.query("metric == @metric and resolution == @resolution")
    last = max(rows["epoch"], default=0)
    if last < _CLOSE_FROM:
        return
    start = last - last // 4
    inset = axes.inset_axes((0.5, 0.52, 0.5, 0.46))
    _curves(inset, data, metric, resolution)
    part = rows[rows["epoch"] >= start]["value"]
    inset.set(xlim=(start, last + 0.5), ylim=(part.min() * 0.99, part.max() * 1.01))
    inset.xaxis.set_major_locator(MaxNLocator(2, integer=True))
    inset.yaxis.set_major_locator(MaxNLocator(3))
    inset.tick_params(labelsize=5, pad=1)


def _label(axes: Any, title: str, ylabel: str, xlabel: str) -> None:
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel, yscale="log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.grid(axis="y", color="0.9")
    sns.despine(ax=axes)


def _notes(figure: Figure, data: ItemData, axes: Any) -> None:
    context = data.context
    untimed = [arm for arm in data.arms.to_dict("records") if math.isnan(arm["seconds"])]
    names = ", ".join(f"{row['setting']}\N{NO-BREAK SPACE}({row['transform']})" for row in untimed)
    if names:
        text = f"no native time:\n{textwrap.fill(names, 26)}"
        axes.text(0.99, 0.98, text, transform=axes.transAxes, ha="right", va="top", fontsize=5)
    insets = "; insets: the last quarter" if context["epochs"] >= _CLOSE_FROM else ""
    changed = f"changed: {' '.join(context['changes'])}; " if context["changes"] else ""
    figure.suptitle(
        f"{changed}scale {context['scale']}, {context['device']}, {_seeds(context)} (thin), mean (bold){insets}",
        fontsize=6,
        x=0.01,
        ha="left",
    )


def _seeds(context: dict[str, Any]) -> str:
    counts = {len(arm["runs"]) for arm in context["arms"]}
    return " or ".join(map(str, sorted(counts))) + (" seed" if counts == {1} else " seeds")


def _legend(figure: Figure, data: ItemData) -> None:
    handles = []
    for arm in data.arms.to_dict("records"):
        transform = "" if arm["transform"] == "fft" else f" {arm['transform']}"
        seeds = len(set(data.history.loc[data.history["arm"] == arm["arm"], "seed"]))
        name = f"{arm['setting']}{transform}: {arm['evidence']}" + (", 1 seed" if seeds == 1 else "")
        handles.append(Line2D([], [], color=colour(arm["setting"]), label=name, **_stroke(arm, seeds)))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, handlelength=2.6)
