"""Zero-shot super-resolution: runs on finer grids than their own, against interpolation of what they give on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from mpno.paper.comparison import error_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.items.super_resolution_numbers import METRICS, Numbers, all_numbers
from mpno.paper.records import NONE, ItemTables
from mpno.paper.style import TEXT_WIDTH, colour, line, look


def table(item: ItemTables) -> Table:
    """Errors by method and grid; then each method against interpolation, and against full, paired by seed."""
    parts = all_numbers(item)
    numbers = pd.concat([block for found in parts for block in found.blocks()], ignore_index=True)
    shown, roles = _shown(numbers, {found.name: found.title for found in parts})
    return Table(numbers, shown, _notes(item, parts), roles)


def figure(item: ItemTables) -> Drawing:
    """Errors by grid, and the change from interpolation with every seed; a row of panels for each part."""
    parts = all_numbers(item)
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 0.6 + 1.5 * len(parts)), layout="constrained")
        rows = drawn.subplots(len(parts), 2 * len(METRICS), squeeze=False)
        points = [_panels(axes, found) for axes, found in zip(rows, parts, strict=True)]
        drawn.supxlabel("points per axis, against the training grid's", fontsize=7)
        drawn.legend(*rows[0][0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False)
    grids = " and ".join(found.title for found in parts)
    return Drawing(
        drawn,
        pd.concat(points, ignore_index=True).dropna(axis=1, how="all"),
        f"Trained on {grids}, tested on the same functions on finer grids ({parts[0].part.title}). Left: error, mean "
        "over seeds, of models and of interpolations of full's prediction. Right: change from the Fourier-interpolated "
        f"prediction, each seed a dot, the mean with its {100 * parts[0].compare['confidence']:g} % t interval. Solid "
        "native, dashed emulated, dotted simulated; grey: interpolations, in float64. Below zero a model gains from "
        "the finer grid; the dashed line is the most that it could.",
        "Relative error by refinement of the grid: of models, of their coarse prediction interpolated, and of the true "
        "coarse field interpolated; and the paired change of each model from interpolation.",
    )


def _panels(axes: Any, found: Numbers) -> pd.DataFrame:
    """Draw a part's row of panels; return its numbers."""
    errors, changes, seeds = found.errors(), found.against_interpolation(), found.each()
    for (metric, name), left, right in zip(METRICS.items(), axes[:2], axes[2:], strict=True):
        _draw_errors(left, _by(errors, "metric")[metric])
        left.set(ylabel=f"{name} error, from {found.title}", yscale="log")
        _draw_changes(right, _by(changes, "metric")[metric], _by(seeds, "metric").get(metric, seeds))
        right.set(ylabel=f"{name} from interpolation, %")
    for axis in axes:
        grids = found.grids if axis in axes[:2] else found.grids_beyond
        factors = [grid / found.home for grid in grids]
        axis.set(xscale="log", xlim=(factors[0] / 1.4, factors[-1] * 1.4))
        axis.set_xticks(factors, [f"{factor:g}x" for factor in factors])
        axis.minorticks_off()
    panels = {"error": errors, "change": changes, "seed": seeds}
    return pd.concat([frame.assign(part=found.name, panel=name) for name, frame in panels.items()])


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
    least = changes.drop_duplicates("factor")
    axis.plot(least["factor"], -100 * least["most_to_gain"], color="0.5", ls=(0, (5, 2)), lw=0.8)
    methods, dots = _by(changes, "method"), _by(seeds, "method")
    for place, (method, rows) in enumerate(methods.items()):
        shift, tone = 1 + 0.09 * (place - (len(methods) - 1) / 2), colour(str(rows["setting"].iloc[0]))
        if method not in dots:
            continue
        each = dots[method]
        axis.plot(each["factor"] * shift, 100 * each["change"], ls="none", marker=".", ms=2, color=tone, alpha=0.6)
        length = 100 * np.array([rows["mean"] - rows["low"], rows["high"] - rows["mean"]])
        axis.errorbar(rows["factor"] * shift, 100 * rows["mean"], length, fmt="_", color=tone, lw=0.8, capsize=1.5)


def _shown(numbers: pd.DataFrame, titles: Mapping[str, str]) -> tuple[pd.DataFrame, list[str]]:
    factors = sorted(set(numbers["factor"]))
    cells, roles = [], []
    for _, rows in numbers.groupby(["part", "block", "method", "metric"], sort=False):
        by_factor = {float(row["factor"]): row for row in rows.to_dict("records")}
        part, block, method, metric = (rows[key].iloc[0] for key in ("part", "block", "method", "metric"))
        change = str(block).startswith("against")
        what = {"error": "error", "published": "published error"}.get(str(block), f"change {block}")
        home = titles[str(part)] if block != "published" else "128x128"
        cell = {"trained at": home, "method": method, "what": what, "of": METRICS[str(metric)]}
        cell |= {"evidence": rows["evidence"].iloc[0], "seeds": _seeds(by_factor)}
        for factor in factors:
            cell[f"{factor:g}x"] = _cell(by_factor.get(factor), change)
        cell["verdict"] = _joined({factor: row["verdict"] for factor, row in by_factor.items()}) if change else NONE
        cell["finite"] = _finite(by_factor) if block == "error" else NONE
        cell["share of fp16's range"] = _range(by_factor) if block == "error" else NONE
        cells.append(cell)
        roles.append(f"{part}, {block}")
    return pd.DataFrame(cells), roles


def _cell(row: Mapping[Any, Any] | None, change: bool) -> str:
    if row is None:
        return NONE
    return percent_cell(row["mean"], row["low"], row["high"]) if change else error_cell(row["mean"], row["std"])


def _seeds(rows: Mapping[float, Mapping[Any, Any]]) -> str:
    first = next(iter(rows.values()))
    seeds, gone = int(first["seeds"]), first["diverged"]
    return f"{seeds - int(gone)} of {seeds}" if gone > 0 else str(seeds or NONE)


def _finite(rows: Mapping[float, Mapping[Any, Any]]) -> str:
    if all(row["diverged"] == row["seeds"] for row in rows.values()) and next(iter(rows.values()))["seeds"]:
        return NONE
    broken = {factor: int(row["not_finite"]) for factor, row in rows.items() if row["not_finite"]}
    return "; ".join(f"not at {factor:g}x ({count})" for factor, count in broken.items()) or "yes"


def _range(rows: Mapping[float, Mapping[Any, Any]]) -> str:
    used = {factor: row["range"] for factor, row in rows.items() if not math.isnan(row["range"])}
    return f"{used[max(used)]:.2g} at {max(used):g}x" if used else NONE


def _joined(said: Mapping[float, str]) -> str:
    """One text where all grids have it, else each with its grids."""
    groups: dict[str, list[str]] = {}
    for factor, text in said.items():
        groups.setdefault(text, []).append(f"{factor:g}x")
    if len(groups) == 1:
        return next(iter(groups))
    return "; ".join(f"{', '.join(factors)}: {text}" for text, factors in groups.items())


def _notes(item: ItemTables, parts: list[Numbers]) -> list[str]:
    compare = parts[0].compare
    margin = f"{100 * compare['margin']:g} %"
    kinds: dict[str, list[str]] = {}
    for found in parts:
        for row in found.errors().to_dict("records"):
            if row["kind"] == "model":
                kinds.setdefault(row["evidence"], []).append(row["method"])
    notes = [
        f"scale {item.context['scale']}: {parts[0].part.title}; {'; '.join(map(_tested, parts))}",
        "evidence: " + "; ".join(f"{kind}: {', '.join(dict.fromkeys(names))}" for kind, names in kinds.items()),
        "errors: relative, mean ± sample standard deviation over seeds; H1 takes central differences on the grid at "
        "hand, which a coarse grid damps, so that H1 grows with the grid for one and the same field",
        f"change: relative, paired by seed, with the {100 * compare['confidence']:g} % t interval; one seed is "
        "an illustration, without interval or verdict",
        "interpolated full: the prediction of full on its own grid, Fourier-interpolated in float64, which takes no "
        "model on the finer one; super-resolution must beat it",
        "true field at 1x: the truth on the training grid, interpolated alike: what that grid loses",
        f"no room, fixed beforehand: a model that knew every wavenumber beyond the training grid without error would "
        f"gain no more than the margin, {margin}, on interpolation (1 - sqrt(1 - (t/e)²), t the error of the true "
        f"field, e of full, both interpolated); {'; '.join(map(_most, parts))}",
        f"equivalent to full, fixed beforehand: the interval lies within {margin} and the control is told apart",
        "finite: whether every output was; in brackets how many seeds were not. Share of fp16's range: largest of all "
        "layers and seeds, of the final coefficients of the half transform; above 1 it must overflow",
        "published: the authors' notebook, 128x128, trained for 19 hours, 3 seeds, mean ± population standard "
        "deviation; the values on finer grids could not be sourced",
    ]
    if any(arm["label"] == "schedule" for found in parts for arm in found.arms):
        notes.append("schedule: ends in full, and is tested as it ended")
    for found in parts:
        notes += _broken(found)
    return notes


def _tested(found: Numbers) -> str:
    data = found.part.context["data"]
    grids = ", ".join(found.part.grid(grid) for grid in found.grids)
    other = [found.part.grid(grid) for grid in found.grids if found.differ(grid)]
    text = f"trained at {found.title} on {data['n_train']} samples, tested at {grids} on "
    text += f"the same {found.samples} functions, of which intervals over seeds know nothing"
    return text + (f", but on others at {', '.join(other)}, where nothing can be interpolated" if other else "")


def _broken(found: Numbers) -> list[str]:
    """Why outputs were not finite, one line for each arm and grid."""
    broken = {(row["arm"], int(row["resolution"])): row for row in found.rows if not row["finite"]}
    return [
        f"{arm} from {found.title} at {found.part.grid(grid)}, seed {row['seed']:.0f}: {row['advice']}"
        for (arm, grid), row in broken.items()
        if not pd.isna(row["advice"])
    ]


def _most(found: Numbers) -> str:
    finest = found.grids[-1]
    rooms = {name: found.room(metric, finest) for metric, name in METRICS.items()}
    where = f"from {found.title} to {found.part.grid(finest)}"
    if any(map(math.isnan, rooms.values())):
        return f"{where} it cannot be told"
    return f"{where} that is {' and '.join(f'{100 * room:.2g} % ({name})' for name, room in rooms.items())}"
