"""What the theory items say: exponents, crossings, ratios of errors and bounds."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from mpno.paper.claims.measured import Absent, Measured
from mpno.paper.items.theory_tanh import numbers as tanh_numbers
from mpno.paper.records import ItemTables

ZERO = 1e-12
"""Errors below are rounding of float64, in which they were computed."""


def slope(
    item: ItemTables, probe: str, what: str, value: str, groups: list[str], format: str = "", skip: str = ""
) -> Measured:
    """Exponents of a quantity in the number of grid points n, fitted on logarithms; the ends over the groups.

    `groups` are columns whose values are fitted apart, as the number of axes; `skip` leaves out a group's first value.
    """
    frame = _tidy(item.probes[probe])
    frame = frame[(frame["what"] == what) & (frame["format"] == format) & (frame[value] > ZERO)]
    found = {}
    for key, rows in frame.groupby(groups):
        if rows["n"].nunique() > 2 and key[0] != skip:
            found[key[0]] = float(np.polyfit(np.log(rows["n"]), np.log(rows[value]), 1)[0])
    if not found:
        raise Absent(f"the plan of this scale has too few grids for a slope of {what}")
    evidence = "/".join(sorted(set(frame["evidence"])))
    text = "n to the power " + ", ".join(f"{power:.2f} ({key})" for key, power in found.items())
    low, high = min(found.values()), max(found.values())
    middle = float(np.median(list(found.values())))
    return Measured(middle, "exponent of n", evidence, probe, low, high, text=text.replace("-0.00", "0.00"))


def crossing(item: ItemTables, system: str, axes: int, grid: int) -> Measured:
    """Points where the bound of the grid's error falls to that of rounding, over the points of a grid."""
    rows = item.probes["crossing"].query("system == @system and axes == @axes")
    if rows.empty:
        raise Absent(f"the plan of this scale has no crossing of {system} in {axes} axes")
    points = float(rows["bounds"].iloc[0])
    text = f"bounds of {system} cross at {points:,.0f} points, {points / grid**axes:.2g} times {grid}^{axes}"
    return Measured(points / grid**axes, f"times {grid}^{axes}", str(rows["evidence"].iloc[0]), "crossing", text=text)


def crossing_order(item: ItemTables, system: str) -> Measured:
    """Order in 1/u of the points at which n^(-1/d) falls to the roundoff u, less d; the ends over numbers of axes."""
    rows = item.probes["crossing"].query("system == @system")
    if len(rows) < 2:
        raise Absent(f"the plan of this scale has no crossings of {system}")
    order = {int(row["axes"]): math.log(row["slow"]) / -math.log(row["roundoff"]) for row in rows.to_dict("records")}
    off = [value - axes for axes, value in order.items()]
    text = "points needed grow as 1/u to the power " + ", ".join(f"{v:.2f} (d = {d})" for d, v in order.items())
    evidence = str(rows["evidence"].iloc[0])
    return Measured(max(off, key=abs), "off the number of axes", evidence, "crossing", min(off), max(off), text=text)


def data_ratio(item: ItemTables, probe: str, format: str) -> Measured:
    """The grid's error over rounding's on samples of a data set: smallest ratio of medians over views and grids."""
    frame = _tidy(item.probes[probe])
    errors = {
        kind: frame[(frame["what"] == kind) & (frame["format"] == name)].set_index(["view", "m"])["median"]
        for kind, name in (("disc", ""), ("prec", format))
    }
    ratio = (errors["disc"] / errors["prec"]).replace([np.inf, -np.inf], np.nan).dropna()
    if ratio.empty:
        raise Absent(f"the plan of this scale has no {format} of {probe}")
    evidence = "/".join(sorted(set(frame[frame["what"].isin(["disc", "prec"])]["evidence"])))
    view, m = ratio.idxmin()
    text = f"{ratio.min():.3g} to {ratio.max():.3g} times as large, least in the {view} at {m} points an axis"
    return Measured(float(ratio.min()), "times as large at least", evidence, probe, text=text)


def bound_ratio(item: ItemTables, format: str, axes: int, grid: int) -> Measured:
    """The upper bound of rounding's error over that of the grid's, worst cases, on one grid."""
    frame = _tidy(item.probes["worst"]).query("axes == @axes and m == @grid")
    bounds = frame.set_index(["what", "format"])["value"]
    if ("prec upper", format) not in bounds or ("disc upper", "") not in bounds:
        raise Absent(f"the plan of this scale has no bounds of {format} at {grid} points an axis")
    ratio = float(bounds[("prec upper", format)] / bounds[("disc upper", "")])
    return Measured(ratio, "times the grid's bound", "native", "worst")


def inside_bounds(item: ItemTables, skip: str) -> Measured:
    """The largest share of its own bound that an error takes, over bases, functions and grids."""
    frame = _tidy(item.probes["bases"])
    errors, uppers = (
        frame[[str(what).endswith("upper") == upper for what in frame["what"]]] for upper in (False, True)
    )
    keys = ["basis", "n", "format"]
    both = errors.merge(uppers, on=keys, suffixes=("", "_upper"))
    both = both[(both["basis"] != skip) & (both["high"] > ZERO)]
    share = both.assign(share=both["high"] / both["high_upper"]).groupby("basis")["share"].max()
    evidence = "/".join(sorted(set(errors["evidence"])))
    text = "largest error over largest bound: " + ", ".join(f"{v:.2f} ({k})" for k, v in share.items())
    return Measured(float(share.max()), "of the bound", evidence, "bases", text=text)


def tanh_ratio(item: ItemTables, column: str) -> Measured:
    """What tanh makes of a constant of the layers' inputs: the largest ratio after over before, over layers."""
    frame = tanh_numbers(item.probes["constants"])
    ratio = frame[f"{column}_after"] / frame[f"{column}_before"]
    evidence = "/".join(sorted(set(frame["evidence"])))
    text = f"{ratio.min():.2f} to {ratio.max():.2f} of it left, over {len(ratio)} layers"
    return Measured(float(ratio.max()), "of it left at most", evidence, "constants", text=text)


def _tidy(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(format=frame["format"].fillna(""))
