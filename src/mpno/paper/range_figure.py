"""How much of fp16's range each layer uses, epoch by epoch, and what it transforms with and without tanh."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mpno.paper.drawing import Drawing
from mpno.paper.records import ItemData, ItemTables
from mpno.paper.style import TEXT_WIDTH, colour, look

SLOT = 0.8
"""Share of a layer's place on the axis that its epochs or bars take."""
ASIDE = 0.05
"""How far arms lie beside each other there."""
CURVES = {"full": "full", "none": "mixed, nothing", "norm": "mixed, norm", "mixed": "mixed, tanh"}
BARS = {
    ("full", "before"): "full",
    ("mixed", "before"): "mixed, before tanh",
    ("mixed", "after"): "mixed, after tanh",
}
AXES = {"headroom": "(a) range used by the forward transform", "activations": "(b) what is transformed after training"}


def range_figure(item: ItemTables) -> Drawing:
    """Two panels over the layers: the share of fp16's range, epoch by epoch; quantiles of the activations."""
    data = item.only
    shades = _shades(data)
    headroom = item.probes["headroom"].query("points == @_points", local_dict={"_points": _points(item)})
    activations = item.probes["activations"]
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 4.2), layout="constrained")
        top, bottom = drawn.subplots(2, 1)
        _headroom(top, headroom, shades)
        _activations(bottom, activations, shades)
        drawn.suptitle(_where(item), fontsize=6, x=0.01, ha="left")
    points = pd.concat([headroom.assign(panel="headroom"), activations.assign(panel="activations")], ignore_index=True)
    lead = [name for name in ("panel", "arm", "seed", "evidence", "layer", "epoch", "ratio") if name in points]
    points = points[[*lead, *[c for c in points if c not in (*lead, "part", "points")]]]
    return Drawing(drawn, points, _caption(item, headroom), _alt(headroom))


def _points(item: ItemTables) -> int:
    """Of the training grid: the fewest, as tests may be finer."""
    return int(item.probes["headroom"]["points"].min())


def _shades(data: ItemData) -> dict[str, Any]:
    return {arm["name"]: colour(arm["label"]) for arm in data.context["arms"]}


def _headroom(axes: Any, rows: pd.DataFrame, shades: dict[str, Any]) -> None:
    """In each layer's place the epochs from left to right, a line per arm and seed; overflow a triangle at the top."""
    finite = rows["ratio"].map(math.isfinite)
    ceiling = 1.1 * max(1.0, rows.loc[finite, "ratio"].max())
    epochs, arms = rows["epoch"].max(), list(dict.fromkeys(rows["arm"]))
    for (arm, _, layer), line in rows.groupby(["arm", "seed", "layer"], sort=False):
        aside = ASIDE * (arms.index(arm) - (len(arms) - 1) / 2)
        at = layer + SLOT * ((line["epoch"] - 0.5) / epochs - 0.5) + aside
        native = (line["evidence"] == "native").all()
        shade = shades[arm]
        fill = {"markerfacecolor": shade if native else "white", "markeredgewidth": 0.5, "color": shade}
        marker = "o" if epochs <= 10 else ""
        axes.plot(at, line["ratio"].where(line["ratio"].map(math.isfinite)), marker=marker, ms=2, lw=0.6, **fill)
        gone = ~line["ratio"].map(math.isfinite)
        axes.plot(at[gone], [ceiling] * gone.sum(), marker="^", ms=3, lw=0, **fill)
    axes.axhline(1.0, color="0.4", linewidth=0.6, linestyle=(0, (4, 2)))
    axes.text(0.52, 1.02, "overflow", fontsize=5.5, va="bottom", color="0.3")
    axes.set(ylabel="share of fp16's range", ylim=(0, ceiling * 1.06))
    axes.set_title(AXES["headroom"], loc="left")
    _layers(axes, rows, "layer; in each, epochs from left to right")
    _legend(axes, {arm: (CURVES.get(arm, arm), shades[arm], _native(rows, arm)) for arm in arms})


def _activations(axes: Any, rows: pd.DataFrame, shades: dict[str, Any]) -> None:
    """A bar per seed: thin from the smallest to the largest value, thick the middle 98 %, a dot at the median."""
    kinds = [kind for kind in BARS if ((rows["arm"] == kind[0]) & (rows["stage"] == kind[1])).any()]
    seeds = sorted(set(rows["seed"]))
    width = SLOT / max(1, len(kinds) * len(seeds))
    for place, (arm, stage) in enumerate(kinds):
        part = rows[(rows["arm"] == arm) & (rows["stage"] == stage)]
        shade, pale = shades[arm], 0.45 if stage == "before" and arm != "full" else 1.0
        for (layer, seed), bar in part.groupby(["layer", "seed"]):
            q = bar.set_index("quantile")["value"]
            at = layer - SLOT / 2 + width * (place * len(seeds) + seeds.index(seed) + 0.5)
            axes.plot([at, at], [q[0.0], q[1.0]], color=shade, alpha=pale, lw=0.4)
            axes.plot([at, at], [q[0.01], q[0.99]], color=shade, alpha=pale, lw=2.0, solid_capstyle="butt")
            axes.plot([at], [q[0.5]], marker="o", ms=1.6, color="white", markeredgecolor=shade, markeredgewidth=0.4)
    axes.axhspan(-1, 1, color="0.93", zorder=0)
    axes.set(ylabel="value")
    axes.set_title(AXES["activations"], loc="left")
    _layers(axes, rows, "layer")
    entries = {kind: (BARS[kind], shades[kind[0]], _native(rows, kind[0])) for kind in kinds}
    _legend(axes, entries, pale=[kind for kind in kinds if kind == ("mixed", "before")])


def _native(rows: pd.DataFrame, arm: str) -> bool:
    return bool((rows.loc[rows["arm"] == arm, "evidence"] == "native").all())


def _layers(axes: Any, rows: pd.DataFrame, name: str) -> None:
    layers = sorted(set(rows["layer"]))
    axes.set(xlabel=name, xticks=layers, xlim=(0.5, max(layers, default=1) + 0.5))
    for layer in layers[1:]:
        axes.axvline(layer - 0.5, color="0.9", linewidth=0.4, zorder=0)
    sns.despine(ax=axes)


def _legend(axes: Any, entries: dict[Any, tuple[str, Any, bool]], pale: list[Any] | None = None) -> None:
    handles = [
        Line2D(
            [], [], color=shade, marker="o", ms=3, lw=1, label=f"{name}: {'native' if native else 'simulated'}",
            alpha=0.45 if key in (pale or []) else 1.0, markerfacecolor=shade if native else "white",
        )
        for key, (name, shade, native) in entries.items()
    ]  # fmt: skip
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.2),
        ncols=len(handles),
        frameon=False,
        columnspacing=1.2,
    )


def _where(item: ItemTables) -> str:
    context = item.context
    changed = f"changed: {' '.join(context['changes'])}; " if context["changes"] else ""
    seeds = item.probes["headroom"].groupby("arm")["seed"].nunique()
    few, most = seeds.min(), seeds.max()
    count = f"{most} seeds, each drawn" if few == most and most > 1 else f"{few} to {most} seeds, each drawn"
    return f"{changed}scale {context['scale']}, {context['device']}; {count if most > 1 else '1 seed: an illustration'}"


def _caption(item: ItemTables, headroom: pd.DataFrame) -> str:
    data = item.only
    return (
        f"(a) Largest unscaled coefficient of each layer's forward transform over fp16's maximum in the epochs of a "
        f"training on {data.title} at {data.grid(data.resolutions[0])}, seed by seed; a triangle is an overflow. (b) "
        "Values before the transform on test samples after training: smallest to largest (thin), middle 98 % (thick), "
        "median (dot); grey is what tanh can give. Filled markers ran natively, hollow ones are simulated; runs that "
        "diverged have no part in (b)."
    )


def _alt(headroom: pd.DataFrame) -> str:
    over = headroom[~headroom["ratio"].map(math.isfinite)]["arm"].drop_duplicates()
    largest = headroom[headroom["ratio"].map(math.isfinite)].groupby("arm", sort=False)["ratio"].max()
    parts = [f"{arm} up to {value:.2f}" for arm, value in largest.items()]
    gone = f"; overflow in {', '.join(over)}" if len(over) else ""
    return (
        f"Share of fp16's range by layer and epoch: {', '.join(parts)}{gone}; below, quantiles of activations by layer."
    )
