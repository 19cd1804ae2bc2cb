"""Both errors and their bounds in other bases: a panel for each, with random Lipschitz functions."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mpno.paper.drawing import Drawing
from mpno.paper.records import ItemTables
from mpno.paper.style import OKABE, TEXT_WIDTH, look

SHADES = {"": "black", "fp16": OKABE[0], "fp8_e4m3": OKABE[2]}


def figure(item: ItemTables) -> Drawing:
    """Six panels: the largest error over functions and the largest bound, of the grid and of rounding."""
    frame = item.probes["bases"]
    frame = frame.assign(format=frame["format"].fillna(""))
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 3.6), layout="constrained")
        panels = drawn.subplots(2, 3).ravel()
        for place, (panel, (name, rows)) in enumerate(zip(panels, frame.groupby("basis", sort=False), strict=True)):
            _panel(panel, rows, f"({'abcdef'[place]}) {_title(name, rows)}")
            panel.set_ylabel("error" if place % 3 == 0 else "")
        handles = [Line2D([], [], color=shade, label=name or "grid") for name, shade in SHADES.items()]
        handles.append(Line2D([], [], color="0.3", marker="o", markersize=2.5, linestyle="", label="largest error"))
        handles.append(Line2D([], [], color="0.3", label="largest bound"))
        drawn.legend(handles=handles, loc="outside lower center", ncols=5, frameon=False)
    return Drawing(drawn, frame, _caption(frame), ALT)


ALT = "Six panels of errors against grid points; in each the grid's error falls and bounds of rounding lie flat."


def _title(name: str, rows: pd.DataFrame) -> str:
    function = str(rows["function"].iloc[0])
    return function if function.startswith(name) else f"{name}: {function}"


def _panel(panel: Any, rows: pd.DataFrame, title: str) -> None:
    for name, shade in SHADES.items():
        kind = "prec" if name else "disc"
        own = rows[rows["format"] == name].sort_values("n")
        error, upper = own[own["what"] == kind], own[own["what"] == f"{kind} upper"]
        panel.plot(error["n"], error["high"].clip(lower=1e-12), "o", color=shade, markersize=2.2)
        panel.plot(upper["n"], upper["high"], color=shade, linewidth=0.9)
    panel.set(xscale="log", yscale="log", title=title, xlabel="n, grid points")
    panel.grid(axis="y", color="0.92")
    panel.minorticks_off()
    sns.despine(ax=panel)


def _caption(frame: pd.DataFrame) -> str:
    share = {kind: frame[frame["what"] == kind].groupby("basis")["ratio"].max().max() for kind in ("disc", "prec")}
    return (
        "Largest errors and largest bounds over random functions of Lipschitz constant at most 3 and sup-norm at "
        "most 1, by basis. "
        "Haar's bound counts the cells in which the wavelet jumps, none where they divide evenly; the sphere's "
        "functions live on "
        "longitude and colatitude; on the graph n counts nodes, each with the mass nearest to it. No error exceeds "
        "its own bound: "
        f"the largest share is {share['disc']:.2f} for the grid and {share['prec']:.2f} for rounding. Evidence: the "
        f"grid's errors "
        "are native (float64), rounding is emulated."
    )
