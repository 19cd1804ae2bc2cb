"""Mixed precision in other transforms: errors of small operators beside full's, and rounding beside its bound."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mpno.paper.comparison import error_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemTables
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.style import COLOURS, OKABE, TEXT_WIDTH, look, mean_dot, seed_dot

MARGIN, CONFIDENCE = 0.05, 0.95
"""Fixed before the runs: equivalent is what lies within the margin with its whole interval."""
CONTROL = "mixed-e5m2"
"""Must be told from full and from full+tanh, or nothing is called equivalent."""
AGAINST = ("full", "full+tanh")
"""What a setting is compared with: its tanh counts against the first alone."""
SHADES = {"fp16": COLOURS["mixed"], "bf16": OKABE[9], "fp8_e5m2": COLOURS[CONTROL]}


def table(item: ItemTables) -> Table:
    """A row per basis and setting, with the rounding of the setting's format."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=list(frame["basis"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per basis and setting: errors over seeds, both changes with what may be said, rounding and its bound."""
    trained, errors = item.probes["trained"], item.probes["errors"].set_index(["basis", "format"])
    rows = []
    for (basis, setting), own in trained.groupby(["basis", "setting"], sort=False):
        finished = own["l2"].dropna()
        row: dict[str, Any] = {"basis": basis, "setting": setting, "evidence": own["evidence"].iloc[0]}
        row |= {"seeds": len(own), "diverged": len(own) - len(finished), "points": int(own["points"].iloc[0])}
        row |= {"functions": int(own["functions"].iloc[0]), "mean_l2": float(own["mean_l2"].iloc[0])}
        row |= {"l2_mean": float(finished.mean()), "l2_std": float(finished.std())}
        for other in AGAINST:
            change = change_of(trained, basis, setting, other)
            key = other.replace("+", "_")
            row |= {key: change.mean, f"{key}_low": change.low, f"{key}_high": change.high}
            row[f"{key}_verdict"] = said(trained, basis, setting, change)
        format = FORMATS.get(setting)
        for name in ("ratio", "layer"):
            row[name] = math.nan if format is None else float(errors.loc[(basis, format), name])
        rows.append(row)
    return pd.DataFrame(rows)


FORMATS = {"mixed": "fp16", "mixed, stabiliser none": "fp16", CONTROL: "fp8_e5m2"}
"""The format of a setting, by the name that the probe of errors has; e5m2 is that of fp8_e5m2."""


def change_of(trained: pd.DataFrame, basis: str, setting: str, against: str) -> Change:
    """The paired change of a setting's error; without values for full, and against itself or what was not trained."""
    if setting in ("full", against):
        return Change((), math.nan, math.nan, math.nan)
    values, reference = (_by_seed(trained, basis, name) for name in (setting, against))
    return paired_change(values, reference, confidence=CONFIDENCE)


def _by_seed(trained: pd.DataFrame, basis: str, setting: str) -> dict[int, float]:
    own = trained[(trained["basis"] == basis) & (trained["setting"] == setting)].dropna(subset=["l2"])
    return {int(row["seed"]): float(row["l2"]) for row in own.to_dict("records")}


def said(trained: pd.DataFrame, basis: str, setting: str, change: Change) -> str:
    """What the interval and the basis' control allow."""
    if not change.each:
        return ""
    told = [change_of(trained, basis, CONTROL, other) for other in AGAINST]
    if setting == CONTROL and len(change.each) > 1:
        return f"control: {'' if change.told_apart else 'not '}told apart"
    known = all(one.told_apart for one in told) if all(one.each for one in told) else None
    own = trained[(trained["basis"] == basis) & (trained["setting"] == setting)]
    return verdict(change, margin=MARGIN, power=known, diverged=int(own["l2"].isna().sum()))


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = {
        "basis": row["basis"],
        "points": str(row["points"]),
        "functions": str(row["functions"]),
        "setting": row["setting"],
        "evidence": row["evidence"],
        "seeds": f"{row['seeds'] - row['diverged']} of {row['seeds']}" if row["diverged"] else str(row["seeds"]),
        "mean": f"{row['mean_l2']:.3f}",
        "L2": error_cell(row["l2_mean"], row["l2_std"]),
    }
    for other in AGAINST:
        key = other.replace("+", "_")
        cells[f"change from {other}"] = percent_cell(*(row[f"{key}{tail}"] for tail in ("", "_low", "_high")))
        cells[f"verdict ({other})"] = row[f"{key}_verdict"] or NONE
    cells["share of the bound"] = NONE if math.isnan(row["ratio"]) else f"{row['ratio']:.3f}"
    cells["layer, %"] = NONE if math.isnan(row["layer"]) else f"{100 * row['layer']:.3g}"
    return cells


def _notes(item: ItemTables) -> list[str]:
    context, errors = item.context, item.probes["errors"]
    return [
        f"scale {context['scale']}, on {errors['processor'].iloc[0]}, one thread; evidence as the column says",
        "problem: from g on a basis' points to u with (stiffness + exp g) u = 1, solved in float64: a circle of 128 "
        "points in 32 Haar wavelets, a sphere of 17 x 32 in harmonics of 8 degrees, a graph of 200 nodes in its 32 "
        "smoothest eigenvectors; generated here, no data set of the paper",
        "L2: relative test error, mean ± sample standard deviation over seeds; mean: that of the mean of the training "
        "targets",
        f"change: relative, paired by seed, with the {100 * CONFIDENCE:g} % t interval; from full+tanh it is that of "
        f"the format alone; margin {100 * MARGIN:g} %, fixed beforehand, as is that the control, {CONTROL}, must be "
        "told from both",
        "share of the bound: the largest share of its bound that a coefficient's rounding error takes, of random "
        "fields after tanh: operands rounded as in the theorem, masses folded into the functions, the result stored; "
        "above 1 the bound would be broken",
        "layer: relative error of an untrained layer's output, all of it in the format, against float64",
    ]


def figure(item: ItemTables) -> Drawing:
    """Changes from full in each basis, and rounding errors of coefficients beside their bounds."""
    trained, errors = item.probes["trained"], item.probes["errors"]
    bases = list(dict.fromkeys(trained["basis"]))
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 2.5), layout="constrained")
        left, right = drawn.subplots(1, 2)
        points = _changes(left, trained, bases)
        _bounds(right, errors, bases)
        for panel in (left, right):
            sns.despine(ax=panel)
        drawn.legend(*left.get_legend_handles_labels(), loc="outside lower left", ncols=2, frameon=False)
        right.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    caption = (
        "One layer in three bases. (a) Relative change of the test error from full precision, paired by seed: dots are "
        f"seeds, rings means, bars {100 * CONFIDENCE:g} % t intervals; grey: the margin of {100 * MARGIN:g} %. (b) The "
        "largest rounding error of a coefficient over random fields (marks) and the largest bound of the theorem "
        "(bars above them). Rounding is emulated."
    )
    rounding = errors.assign(panel="b")[["panel", "basis", "format", "error", "bound"]]
    return Drawing(drawn, pd.concat([pd.DataFrame(points), rounding], ignore_index=True), caption, ALT)


ALT = "Left, changes of the test error by basis and setting; right, rounding errors far below their bounds"


def _changes(axes: Any, trained: pd.DataFrame, bases: list[str]) -> list[dict[str, Any]]:
    settings = [name for name in dict.fromkeys(trained["setting"]) if name != "full"]
    points: list[dict[str, Any]] = []
    axes.axhspan(-100 * MARGIN, 100 * MARGIN, color="0.93", zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.6)
    for number, setting in enumerate(settings):
        shade = COLOURS[setting]
        for place, basis in enumerate(bases):
            change = change_of(trained, basis, setting, "full")
            x = place + 0.17 * (number - (len(settings) - 1) / 2)
            axes.vlines(x, 100 * change.low, 100 * change.high, color=shade, linewidth=1)
            name = setting if place == 0 else None
            axes.plot(x, 100 * change.mean, "o", **mean_dot(shade, "emulated"), label=name)
            axes.plot(np.full(len(change.each), x), 100 * np.array(change.each), "o", **seed_dot(shade))
            about = {"panel": "a", "basis": basis, "setting": setting}
            points += [about | {"seed": seed, "percent": 100 * each} for seed, each in enumerate(change.each)]
    axes.set_xticks(range(len(bases)), bases)
    axes.set_yscale("symlog", linthresh=10)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set(title="(a) change of the error from full, %")
    return points


def _bounds(axes: Any, errors: pd.DataFrame, bases: list[str]) -> None:
    formats = list(dict.fromkeys(errors["format"]))
    for number, format in enumerate(formats):
        shade = SHADES[format]
        own = errors[errors["format"] == format].set_index("basis").loc[bases]
        x = np.arange(len(bases)) + 0.2 * (number - (len(formats) - 1) / 2)
        axes.vlines(x, own["error"], own["bound"], color=shade, linewidth=0.6, linestyle=(0, (2, 2)))
        axes.plot(x, own["bound"], "_", color=shade, markersize=7)
        axes.plot(x, own["error"], "o", color=shade, markersize=3, label=format)
    axes.set_xticks(range(len(bases)), bases)
    axes.set(yscale="log", title="(b) largest error of a coefficient")
