"""Mixed precision on grids that a GPU's half FFT refuses: errors beside full's on each, and single steps on larger."""

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

from mpno.paper.arm_rows import arm_notes, arm_row
from mpno.paper.comparison import change_of, error_cell, number_cell, percent_cell, seeds_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import Change, paired_change, verdict
from mpno.paper.style import OKABE, TEXT_WIDTH, look, mean_dot, seed_dot

ALL = "all refused"
"""Stands for the grid in the rows of the mean over all grids that a half FFT refuses."""
REFERENCE = "grid-64"
"""The part on the grid that a half FFT takes."""
SHADES = {"mixed": OKABE[0], "mixed-e5m2": OKABE[3]}


def table(item: ItemTables) -> Table:
    """A row per grid and arm that was trained, the mean over the grids, and a row per single step."""
    frame = pd.DataFrame([*_trained(item), *_pooled(item), *_steps(item)])
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=[f"{row['what']} {row['grid']}" for row in frame.to_dict("records")])


def trained_parts(item: ItemTables) -> dict[str, ItemData]:
    """The parts with runs at this scale."""
    return {name: part for name, part in item.parts.items() if any(arm["runs"] for arm in part.context["arms"])}


def grid_parts(item: ItemTables) -> tuple[ItemData, list[ItemData]]:
    """The part of the grid that a half FFT takes, and those of the ones it refuses."""
    parts = {name: part for name, part in trained_parts(item).items() if name.startswith("grid-")}
    return parts.pop(REFERENCE), list(parts.values())


def _trained(item: ItemTables) -> list[dict[str, Any]]:
    rows = []
    reference, refused = grid_parts(item)
    for name, part in trained_parts(item).items():
        for arm in part.context["arms"]:
            row = arm_row(part, arm["name"])
            row |= {"part": name, "grid": part.grid(part.resolutions[0]), "what": "training"}
            row |= {"transform": arm["transform"], "half_fft": half_fft(part)}
            held = arm["name"] == "mixed" and part in refused
            rows.append(row | (_beside(reference, [part]) if held else {}))
    return rows


def _pooled(item: ItemTables) -> list[dict[str, Any]]:
    """The mean change over the refused grids, with the interval over seeds."""
    reference, parts = grid_parts(item)
    controlled = [part for part in parts if part.context["compare"]["power"]]
    rule = controlled[0].context["compare"]["power"]
    rows = []
    for name in ("mixed", rule["control"]):
        own = [part for part in parts if name in part.arm_names]
        if not own:
            continue
        change = pooled(own, name, "full")
        arm = next(arm for arm in own[0].context["arms"] if arm["name"] == name)
        row = {"part": ALL, "grid": ALL, "what": "training", "arm": name, "setting": arm["label"]}
        row |= {"transform": arm["transform"], "role": arm["role"], "seeds": len(change.each)}
        row["evidence"] = own[0].arms.set_index("arm").loc[name, "evidence"]
        row |= {"diverged": sum(part.diverged(name) for part in own), "half_fft": "refused"}
        metric = own[0].context["compare"]["metric"]
        row |= {"compared": metric, f"{metric}_change": change.mean}
        row |= {f"{metric}_change_low": change.low, f"{metric}_change_high": change.high}
        if name == "mixed":
            told = [pooled(controlled, rule["control"], other) for other in rule["told_from"]]
            known = all(one.told_apart for one in told) if any(one.each for one in told) else None
            margin = own[0].context["compare"]["margin"]
            row |= {"verdict": verdict(change, margin=margin, power=known, diverged=row["diverged"])}
            row |= _beside(reference, parts)
        else:
            row["verdict"] = f"control: {'' if change.told_apart else 'not '}told apart"
        rows.append(row)
    return rows


def pooled(parts: list[ItemData], arm: str, against: str) -> Change:
    """The paired change of an arm, its mean over the grids for each seed that all of them have.

    Grids that share a seed share initial weights and fields, so only seeds count as repetitions.
    """
    return _as_change([_by_seed(part, arm, against) for part in parts], parts[0])


def beyond(reference: ItemData, parts: list[ItemData]) -> Change:
    """The mean of mixed's change on the grids less its change on the reference's, paired by seed."""
    base = _by_seed(reference, "mixed", "full")
    each = [{s: v - base[s] for s, v in _by_seed(p, "mixed", "full").items() if s in base} for p in parts]
    return _as_change(each, reference)


def _as_change(each: list[dict[int, float]], part: ItemData) -> Change:
    """The mean of each seed over the grids, with the interval over seeds."""
    seeds = set.intersection(*(set(found) for found in each))
    # Against one, a relative change is an absolute one.
    means = {seed: 1 + float(np.mean([found[seed] for found in each])) for seed in seeds}
    return paired_change(means, dict.fromkeys(means, 1.0), confidence=part.context["compare"]["confidence"])


def _by_seed(part: ItemData, arm: str, against: str) -> dict[int, float]:
    metric, home = part.context["compare"]["metric"], part.resolutions[0]
    values, reference = (part.values(name, metric, home) for name in (arm, against))
    return {seed: value / reference[seed] - 1 for seed, value in values.items() if seed in reference}


def _beside(reference: ItemData, parts: list[ItemData]) -> dict[str, Any]:
    """The change beyond that on the grid which is taken, and what may be said of it."""
    change, margin = beyond(reference, parts), reference.context["compare"]["margin"]
    said = "inconclusive"
    if len(change.each) < 2:
        said = "illustration: one seed"
    elif -margin < change.low and change.high < margin:
        said = "the same"
    elif change.low > margin or change.high < -margin:
        said = "differs"
    return {"beyond": change.mean, "beyond_low": change.low, "beyond_high": change.high, "beside_64": said}


def _steps(item: ItemTables) -> list[dict[str, Any]]:
    rows = []
    for row in item.probes["steps"].to_dict("records"):
        part = item.parts[row["part"]]
        about = {"part": row["part"], "grid": _padded(part), "what": "one step", "half_fft": half_fft(part)}
        kept = ("arm", "transform", "evidence", "finite", "where", "operation", "gradient_change")
        rows.append(about | {"setting": row["precision"], "role": "step", **{key: row[key] for key in kept}})
    return rows


def _points(part: ItemData) -> tuple[int, ...]:
    """Points along each axis that the transforms see, zeros around the field included."""
    model = part.context["model"]
    axes = [int(n) for n in part.grid(part.resolutions[0]).split("x")]
    return tuple(n + 2 * round((model.get("padding") or 0) * n) for n in axes)


def _padded(part: ItemData) -> str:
    grid = part.grid(part.resolutions[0])
    inner = "x".join(map(str, _points(part)))
    return grid if inner == grid else f"{grid}, padded to {inner}"


def half_fft(part: ItemData) -> str:
    """Whether a GPU's half FFT takes the grid, as its documentation has it."""
    return "refused" if any(n & (n - 1) for n in _points(part)) else "taken"


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    step, metric = row["what"] == "one step", str(row.get("compared"))
    change = [row.get(f"{metric}_change{tail}", math.nan) for tail in ("", "_low", "_high")]
    said = NONE if pd.isna(row.get("verdict")) else row["verdict"] or NONE
    if step:
        said = "finite" if row["finite"] else f"not finite: {row['where']}"
    return {
        "grid": row["grid"],
        "what": row["what"],
        "setting": row["setting"],
        "transform": row["transform"],
        "evidence": NONE if pd.isna(row.get("evidence")) else row["evidence"],
        "half FFT": row["half_fft"] or NONE,
        "seeds": NONE if step else seeds_cell({key: int(row[key]) for key in ("seeds", "diverged")}),
        "L2": error_cell(row.get("l2_mean", math.nan), row.get("l2_std", math.nan)),
        "change": percent_cell(*change),
        "less 64x64": percent_cell(*(row.get(f"beyond{tail}", math.nan) for tail in ("", "_low", "_high"))),
        "beside 64x64": NONE if pd.isna(row.get("beside_64")) else row["beside_64"],
        "gradient": number_cell(100 * row.get("gradient_change", math.nan), 2) if step else NONE,
        "verdict": said,
    }


def _notes(item: ItemTables) -> list[str]:
    return [
        *arm_notes(item.context, trained_parts(item)),
        f"{ALL}: each seed's mean change over grids, for grids that share a seed share weights and fields; interval "
        "and verdict over seeds, fixed beforehand; the control's on the grids that have it",
        "less 64x64: the change less the one on 64 x 64, which a half FFT takes, paired by seed; the same: its whole "
        "interval lies within the margin, fixed beforehand; differs: it lies beyond",
        "half FFT: what a GPU's library does with the grid, as torch's documentation of torch.fft says and nobody "
        "measured here: in half it takes powers of two along every transformed axis alone, so that the public library, "
        "which transforms by it, ends with an error on any other grid",
        "fft: simulated, on a processor, at sizes at which no GPU offers it",
        "one step: forward and backward of untrained weights on two training samples (of a body one at desk); verdict: "
        "whether loss and all gradients are finite. gradient: percent, the norm of the difference from the gradient in "
        "full precision after the same stabiliser, over the norm of the latter",
    ]


def figure(item: ItemTables) -> Drawing:
    """The change from full on each grid, and what of it 64 x 64 does not have; every seed, and means with intervals."""
    reference, refused = grid_parts(item)
    parts = [reference, *refused]
    points: list[dict[str, Any]] = []
    for place, part in enumerate(parts):
        grid = part.grid(part.resolutions[0])
        for arm in SHADES:
            if arm in part.arm_names:
                points += _marks("a", place, grid, arm, change_of(part, arm, "full"))
        if part in refused:
            points += _marks("b", place, grid, "mixed", beyond(reference, [part]))
    points += _marks("a", len(parts), "all\nrefused", "mixed", pooled(refused, "mixed", "full"))
    points += _marks("b", len(parts), "all\nrefused", "mixed", beyond(reference, refused))
    frame = pd.DataFrame(points)
    margin = 100 * reference.context["compare"]["margin"]
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 2.4), layout="constrained")
        panels = drawn.subplots(1, 2)
        titles = ("(a) change from full, %", "(b) less that on 64x64, points")
        for name, panel, title in zip("ab", panels, titles, strict=True):
            _draw(panel, frame[frame["panel"] == name], margin)
            labels = frame[frame["panel"] == name].drop_duplicates("place")
            panel.set_xticks(labels["place"], [str(grid).partition("x")[0] for grid in labels["grid"]])
            panel.set(title=title, xlabel="points an axis", xlim=(-0.5, len(parts) + 0.5))
            sns.despine(ax=panel)
        panels[0].set_yscale("symlog", linthresh=10)
        panels[0].yaxis.set_major_formatter("{x:g}")
        drawn.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    level = f"{100 * reference.context['compare']['confidence']:g} %"
    caption = (
        "Darcy flow trained on a grid that a GPU's half FFT takes, 64 x 64, and on grids that it refuses. (a) Relative "
        "change of the L2 test error from full precision on the same grid, paired by seed. (b) mixed's change less the "
        f"one on 64 x 64. Dots are seeds, rings means, bars {level} t intervals; grey: the margin of {margin:g} %, "
        "fixed beforehand. mixed and the control, 2 mantissa bits, transform by matrix products (emulated)."
    )
    return Drawing(drawn, frame.drop(columns="place"), caption, ALT)


ALT = "Changes of the test error from full precision on each grid, and how much of them 64 x 64 does not have"


def _marks(panel: str, place: int, grid: str, arm: str, change: Change) -> list[dict[str, Any]]:
    about = {"panel": panel, "place": place, "grid": grid, "arm": arm}
    seeds = [about | {"kind": "seed", "percent": 100 * each} for each in change.each]
    mean = {"kind": "mean", "percent": 100 * change.mean, "low": 100 * change.low, "high": 100 * change.high}
    return [*seeds, about | mean] if change.each else []


def _draw(axes: Any, frame: pd.DataFrame, margin: float) -> None:
    axes.axhspan(-margin, margin, color="0.93", zorder=0)
    axes.axhline(0, color="0.6", linewidth=0.6)
    for number, (arm, shade) in enumerate(SHADES.items()):
        own = frame[frame["arm"] == arm]
        seeds, means = own[own["kind"] == "seed"], own[own["kind"] == "mean"]
        if own.empty:
            continue
        shift = 0.2 * (number - 1)
        axes.vlines(means["place"] + shift, means["low"], means["high"], color=shade, linewidth=1)
        axes.plot(means["place"] + shift, means["percent"], "o", **mean_dot(shade, "emulated"), label=arm)
        axes.plot(seeds["place"] + shift, seeds["percent"], "o", **seed_dot(shade))
