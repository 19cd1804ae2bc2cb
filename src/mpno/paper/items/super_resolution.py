"""Zero-shot super-resolution: runs on finer grids than their own, against interpolation of what they give on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpno.paper.comparison import error_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.items.super_resolution_numbers import METRICS, Numbers
from mpno.paper.records import NONE
from mpno.paper.style import colour, line, look, new_figure


def table(item: Any) -> Table:
    """Errors by method and grid; then each method against interpolation, and against full, paired by seed."""
    found = Numbers(item)
    blocks = [found.errors(), found.against_interpolation(), found.against_full(), found.published()]
    numbers = pd.concat([block for block in blocks if len(block)], ignore_index=True)
    shown, roles = _shown(numbers)
    return Table(numbers, shown, _notes(item, found), roles)


def figure(item: Any) -> Drawing:
    """Errors by grid, and the change from interpolation with every seed."""
    found = Numbers(item)
    errors, changes, seeds = found.errors(), found.against_interpolation(), found.each()
    with look():
        drawn, axes = new_figure(2.3, 4)
        for (metric, name), left, right in zip(METRICS.items(), axes[:2], axes[2:], strict=True):
            _draw_errors(left, _by(errors, "metric")[metric])
            left.set(ylabel=f"relative {name} error", yscale="log")
            _draw_changes(right, _by(changes, "metric")[metric], _by(seeds, "metric")[metric])
            right.set(ylabel=f"{name} change from interpolation, %")
        for axis in axes:
            grids = found.grids if axis in axes[:2] else found.grids_beyond
            factors = [grid // found.home for grid in grids]
            axis.set(xscale="log", xlim=(factors[0] / 1.4, factors[-1] * 1.4))
            axis.set_xticks(factors, [f"{factor}x" for factor in factors])
            axis.minorticks_off()
        drawn.supxlabel("points per axis, against the training grid's", fontsize=7)
        drawn.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    panels = {"error": errors, "change": changes, "seed": seeds}
    points = pd.concat([frame.assign(panel=name) for name, frame in panels.items()], ignore_index=True)
    grid = found.part.grid(found.home)
    return Drawing(
        drawn,
        points.dropna(axis=1, how="all"),
        f"Trained on {grid}, tested on the same functions on finer grids ({found.part.title}). Left: error, mean over "
        "seeds, of models and of interpolations of full's prediction. Right: change from the Fourier-interpolated "
        f"prediction, each seed a dot, the mean with its {100 * found.compare['confidence']:g} % t interval. Solid "
        "native, dashed emulated, dotted simulated; grey: interpolations, in float64. Below zero a model gains from "
        "the finer grid.",
        "Relative error by refinement of the grid: of models, of their coarse prediction interpolated, and of the true "
        "coarse field interpolated; and the paired change of each model from interpolation.",
    )


def _by(frame: pd.DataFrame, column: str) -> dict[str, pd.DataFrame]:
    return {str(key): rows for key, rows in frame.groupby(column, sort=False)}


def _draw_errors(axis: Any, errors: pd.DataFrame) -> None:
    for method, rows in _by(errors, "method").items():
        kind, setting, evidence = (str(rows[key].iloc[0]) for key in ("kind", "setting", "evidence"))
        if kind == "model":
            style = {"color": colour(setting), "ls": line(evidence) if evidence != "none" else "", "marker": "o"}
        else:
            style = {"color": "0.5", "ls": "-" if kind == "truth" else (0, (5, 2)), "marker": {"linear": "x"}.get(kind)}
        axis.plot(rows["factor"], rows["mean"], lw=1, ms=2.2, label=method, **style)


def _draw_changes(axis: Any, changes: pd.DataFrame, seeds: pd.DataFrame) -> None:
    axis.axhline(0, color="0.5", lw=0.6)
    methods, dots = _by(changes, "method"), _by(seeds, "method")
    for place, (method, rows) in enumerate(methods.items()):
        shift, tone = 1 + 0.09 * (place - (len(methods) - 1) / 2), colour(str(rows["setting"].iloc[0]))
        if method not in dots:
            continue
        each = dots[method]
        axis.plot(each["factor"] * shift, 100 * each["change"], ls="none", marker=".", ms=2, color=tone, alpha=0.6)
        length = 100 * np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        axis.errorbar(rows["factor"] * shift, 100 * rows["mean"], length, fmt="_", color=tone, lw=0.8, capsize=1.5)


def _shown(numbers: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    factors = sorted({int(factor) for factor in numbers["factor"]})
    cells, roles = [], []
    for _, rows in numbers.groupby(["block", "method", "metric"], sort=False):
        by_factor = {int(row["factor"]): row for row in rows.to_dict("records")}
        block, method, metric = (rows[key].iloc[0] for key in ("block", "method", "metric"))
        change = str(block).startswith("against")
        what = {"error": "error", "published": "published error"}.get(str(block), f"change {block}")
        cell = {"method": method, "what": what, "of": METRICS[str(metric)]}
        cell |= {"evidence": rows["evidence"].iloc[0], "seeds": _seeds(by_factor)}
        for factor in factors:
            cell[f"{factor}x"] = _cell(by_factor.get(factor), change)
        cell["verdict"] = _joined({factor: row["verdict"] for factor, row in by_factor.items()}) if change else NONE
        cell["finite"] = _finite(by_factor) if block == "error" else NONE
        cell["share of fp16's range"] = _range(by_factor) if block == "error" else NONE
        cells.append(cell)
        roles.append(str(block))
    return pd.DataFrame(cells), roles


def _cell(row: Mapping[Any, Any] | None, change: bool) -> str:
    if row is None:
        return NONE
    return percent_cell(row["mean"], row["low"], row["high"]) if change else error_cell(row["mean"], row["std"])


def _seeds(rows: Mapping[int, Mapping[Any, Any]]) -> str:
    first = next(iter(rows.values()))
    seeds, gone = int(first["seeds"]), first["diverged"]
    return f"{seeds - int(gone)} of {seeds}" if gone > 0 else str(seeds or NONE)


def _finite(rows: Mapping[int, Mapping[Any, Any]]) -> str:
    if all(row["diverged"] == row["seeds"] for row in rows.values()) and next(iter(rows.values()))["seeds"]:
        return NONE
    broken = {factor: int(row["not_finite"]) for factor, row in rows.items() if row["not_finite"]}
    return "; ".join(f"not at {factor}x ({count})" for factor, count in broken.items()) or "yes"


def _range(rows: Mapping[int, Mapping[Any, Any]]) -> str:
    used = {factor: row["range"] for factor, row in rows.items() if not math.isnan(row["range"])}
    return f"{used[max(used)]:.2g} at {max(used)}x" if used else NONE


def _joined(said: Mapping[int, str]) -> str:
    """One text where all grids have it, else each with its grids."""
    groups: dict[str, list[str]] = {}
    for factor, text in said.items():
        groups.setdefault(text, []).append(f"{factor}x")
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(factors)}: {text}" for text, factors in groups.items())


def _notes(item: Any, found: Numbers) -> list[str]:
    part, data = found.part, found.part.context["data"]
    margin = f"{100 * found.compare['margin']:g} %"
    grids = ", ".join(part.grid(grid) for grid in found.grids)
    kinds: dict[str, list[str]] = {}
    for row in found.errors().to_dict("records"):
        if row["kind"] == "model":
            kinds.setdefault(row["evidence"], []).append(row["method"])
    notes = [
        f"scale {item.context['scale']}: {part.title}; trained at {part.grid(found.home)} on {data['n_train']} "
        f"samples, tested at {grids} on the same {int(found.rows[0]['samples'])} functions, of which intervals over "
        "seeds know nothing",
        "evidence: " + "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in kinds.items()),
        "errors: relative, mean ± sample standard deviation over seeds; H1 takes central differences on the grid at "
        "hand, which a coarse grid damps, so that H1 grows with the grid for one and the same field",
        f"change: relative, paired by seed, with the {100 * found.compare['confidence']:g} % t interval; one seed is "
        "an illustration, without interval or verdict",
        "interpolated full: the prediction of full on its own grid, Fourier-interpolated in float64, which takes no "
        "model on the finer one; super-resolution must beat it",
        "true field at 1x: the truth on the training grid, interpolated alike: what that grid loses",
        f"no room, fixed beforehand: a model that knew every wavenumber beyond the training grid without error would "
        f"gain no more than the margin, {margin}, on interpolation (1 - sqrt(1 - (t/e)²), t the error of the true "
        f"field, e of full, both interpolated); {_most(found)}",
        f"equivalent to full, fixed beforehand: the interval lies within {margin} and the control is told apart",
        "finite: whether every output was; in brackets how many seeds were not. Share of fp16's range: largest of all "
        "layers and seeds, of the final coefficients of the half transform; above 1 it must overflow",
        "published: the authors' notebook, 128x128, trained for 19 hours, 3 seeds, mean ± population standard "
        "deviation; the values on finer grids could not be sourced",
    ]
    if "schedule" in {arm["label"] for arm in found.arms}:
        notes.append("schedule: ends in full, and is tested as it ended")
    broken = {(row["arm"], int(row["resolution"])): row for row in found.rows if not row["finite"]}
    for (arm, grid), row in broken.items():
        if not pd.isna(row["advice"]):
            notes.append(f"{arm} at {part.grid(grid)}, seed {row['seed']:.0f}: {row['advice']}")
    return notes


def _most(found: Numbers) -> str:
    finest = found.grids[-1]
    rooms = {name: found.room(metric, finest) for metric, name in METRICS.items()}
    if any(map(math.isnan, rooms.values())):
        return "full has no error here"
    gains = " and ".join(f"{100 * room:.2g} % ({name})" for name, room in rooms.items())
    return f"at {found.part.grid(finest)} that is {gains}"
