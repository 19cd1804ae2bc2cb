"""Discretization and precision error of one coefficient: worst cases and averages by dimension, data sets, aliasing."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mpno.paper.drawing import Drawing
from mpno.paper.records import SOURCES, ItemTables
from mpno.paper.style import OKABE, SHORT, TEXT_WIDTH, look
from mpno.specs import FORMATS
from mpno.theory.bounds import crossing

SHADES = {"fp16": OKABE[0], "bf16": OKABE[1], "fp8_e4m3": OKABE[2]}
"""By format; discretization is black."""
LINES: dict[str, dict[str, Any]] = {
    "disc upper": {"color": "black", "linestyle": "-"},
    "disc lower": {"color": "black", "linestyle": (0, (4, 1.5))},
    "searched": {"color": "black", "linestyle": "", "marker": "o", "markersize": 2.5},
    "kink": {"color": "0.45", "linestyle": "", "marker": "v", "markersize": 2.2},
    "kink lower": {"color": "0.45", "linestyle": (0, (1, 1))},
}
ROUNDED: dict[str, dict[str, Any]] = {
    "prec upper": {"linestyle": "-"},
    "prec lower": {"linestyle": (0, (4, 1.5))},
    "biased": {"linestyle": "", "marker": "s", "markersize": 2},
    "average": {"linestyle": "", "marker": "x", "markersize": 2.5},
}
NAMES = {
    "disc upper": "grid: upper bound",
    "disc lower": "grid: lower bound over the class",
    "searched": "grid: searched worst case",
    "kink": "grid: a kink",
    "kink lower": "grid: lower bound of the kink",
    "prec upper": "rounding: upper bound",
    "prec lower": "rounding: lower bound over the class",
    "biased": "rounding: errors that add up",
    "average": "rounding: mean of random",
}
DATA = {"input": "^", "target": "o"}
ALIASED = {
    "rough": (OKABE[3], "|v_k| = k^-1.6"),
    "smooth": (OKABE[4], "|v_k| = k^-3.1"),
    "analytic": (OKABE[7], "analytic"),
}


def figure(item: ItemTables) -> Drawing:
    """Seven panels: three numbers of axes, three data sets, the aliasing view."""
    worst = _tidy(item.probes["worst"])
    data = pd.concat([_tidy(frame) for name, frame in item.probes.items() if name != "worst"], ignore_index=True)
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 5.6), layout="constrained")
        grid = drawn.add_gridspec(3, 3, height_ratios=[1, 1, 0.9])
        for place, axes in enumerate(sorted(set(worst["axes"]))):
            _worst(drawn.add_subplot(grid[0, place]), worst[worst["axes"] == axes], f"({'abc'[place]}) d = {axes}")
        for place, part in enumerate(dict.fromkeys(data["part"])):
            title = f"({'def'[place]}) {SHORT.get(part, part)}"
            _data(drawn.add_subplot(grid[1, place]), data[data["part"] == part], title)
        _aliasing(drawn.add_subplot(grid[2, 0]), worst[worst["axes"] == 1])
        _legend(drawn.add_subplot(grid[2, 1:]))
    points = pd.concat([worst.assign(panel="worst cases"), data.assign(panel="data")], ignore_index=True)
    return Drawing(drawn, points, _caption(item, worst, data), ALT)


ALT = (
    "Errors against the number of grid points on logarithmic axes: lines of the grid's error fall, bounds of the "
    "rounding "
    "error lie flat, one for each format."
)


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(format=frame["format"].fillna(""))


def _logarithmic(panel: Any, title: str) -> None:
    panel.set(xscale="log", yscale="log", title=title, xlabel="n, grid points")
    panel.grid(axis="y", color="0.92")
    panel.minorticks_off()
    sns.despine(ax=panel)


def _worst(panel: Any, frame: pd.DataFrame, title: str) -> None:
    for what, how in LINES.items():
        rows = frame[frame["what"] == what].sort_values("n")
        panel.plot(rows["n"], rows["value"], linewidth=0.9, **how)
    for name, shade in SHADES.items():
        for what, how in ROUNDED.items():
            rows = frame[(frame["what"] == what) & (frame["format"] == name)].sort_values("n")
            panel.plot(rows["n"], rows["value"], color=shade, linewidth=0.9, **how)
    _logarithmic(panel, title)
    panel.set_ylim(1e-8, 10)
    panel.set_ylabel("error" if title.startswith("(a)") else "")


def _data(panel: Any, frame: pd.DataFrame, title: str) -> None:
    for view, marker in DATA.items():
        own = frame[frame["view"] == view]
        for name, shade in {"": "black", **SHADES}.items():
            kind = "prec" if name else "disc"
            rows = own[(own["what"] == kind) & (own["format"] == name)].sort_values("n")
            panel.fill_between(
                rows["n"], rows["low"].clip(lower=1e-12), rows["high"], color=shade, alpha=0.12, linewidth=0
            )
            panel.plot(rows["n"], rows["median"], marker=marker, markersize=2.2, linestyle="", color=shade)
            upper = own[(own["what"] == f"{kind} upper") & (own["format"] == name)].sort_values("n")
            style = "-" if view == "target" else (0, (4, 1.5))
            panel.plot(upper["n"], upper["median"], color=shade, linewidth=0.9, linestyle=style)
    _logarithmic(panel, title)
    panel.set_ylim(1e-8, 10)
    panel.set_ylabel("error" if title.startswith("(d)") else "")


def _aliasing(panel: Any, frame: pd.DataFrame) -> None:
    for what, (shade, label) in ALIASED.items():
        rows = frame[frame["what"] == what].sort_values("n")
        panel.plot(rows["n"], rows["value"], "o-", color=shade, markersize=2, linewidth=0.6, label=label)
        upper = frame[frame["what"] == f"{what} upper"].sort_values("n")
        panel.plot(upper["n"], upper["value"], color=shade, linewidth=0.9, linestyle=(0, (4, 1.5)))
    _logarithmic(panel, "(g) d = 1, aliasing view")
    panel.set_ylim(1e-16, 10)
    panel.set_ylabel("error of the grid")
    panel.legend(frameon=False, fontsize=5, loc="lower left")


def _legend(panel: Any) -> None:
    panel.axis("off")
    handles = [Line2D([], [], label=NAMES[what], linewidth=0.9, **how) for what, how in LINES.items()]
    handles += [Line2D([], [], label=NAMES[what], color="0.3", linewidth=0.9, **how) for what, how in ROUNDED.items()]
    handles += [Line2D([], [], label=name, color=shade, linewidth=2) for name, shade in SHADES.items()]
    for view, marker in DATA.items():
        style = "-" if view == "target" else (0, (4, 1.5))
        label = f"data: {view}, its bound"
        handles.append(
            Line2D([], [], label=label, color="0.3", marker=marker, markersize=2.5, linestyle=style, linewidth=0.9)
        )
    panel.legend(handles=handles, loc="center", ncols=2, frameon=False, fontsize=5.5).set_in_layout(False)


def _caption(item: ItemTables, worst: pd.DataFrame, data: pd.DataFrame) -> str:
    sources = {part: SOURCES.get(found.context["data"]["source"], "") for part, found in item.parts.items()}
    told = ", ".join(f"{SHORT.get(part, part)}: {source}" for part, source in sources.items())
    grids = {part: int(rows["m"].max()) for part, rows in data.groupby("part")}
    half = 1 / (1 + 2 / FORMATS["fp16"].eps)
    return (
        "Errors of one coefficient, frequency (1, 0, ...), against grid points. (a-c) The class of Lipschitz "
        "constant 4 and "
        "sup-norm 1: the grid's error, black, falls as n^(-1/d) in the worst case and n^(-2/d) for a kink; "
        "rounding's bound is "
        "flat, followed, 6.5 times lower, by functions whose rounding errors add up, while its mean over random "
        "functions falls. "
        f"(d-f) Test samples of sup-norm 1 up to "
        f"{', '.join(f'{m} points an axis' for m in sorted(set(grids.values())))}, taken "
        "as multilinear between the points of their finest grid: median and range over samples, lines their median "
        "bounds. (g) The "
        "grid's error of periodic functions by aliasing, dashed its bound: smoother functions fall faster than any "
        "Lipschitz rate. "
        f"Upper bounds stand beside upper bounds, of one coefficient of one layer; with fp16's unit roundoff "
        f"{half:.2g} the bare "
        f"rate n^(-1/d) falls to it at {crossing(half, 3):.1e} points for d = 3. Data: {told}. Evidence: the grid's "
        f"errors are "
        "native (float64, mpmath), rounding is emulated, operands alone."
    )
