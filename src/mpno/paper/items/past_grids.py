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

ALL = "all"
"""Stands for the grid in the rows of the mean over all of them."""
SHADES = {"mixed": OKABE[0], "mixed-fft": OKABE[1], "mixed-e5m2": OKABE[3]}


def table(item: ItemTables) -> Table:
    """A row per grid and arm that was trained, the mean over the grids, and a row per single step."""
    frame = pd.DataFrame([*_trained(item), *_pooled(item), *_steps(item)])
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=[f"{row['what']} {row['grid']}" for row in frame.to_dict("records")])


def trained_parts(item: ItemTables) -> dict[str, ItemData]:
    """The parts with runs at this scale."""
    return {name: part for name, part in item.parts.items() if any(arm["runs"] for arm in part.context["arms"])}


def _trained(item: ItemTables) -> list[dict[str, Any]]:
    rows = []
    for name, part in trained_parts(item).items():
        for arm in part.context["arms"]:
            row = arm_row(part, arm["name"])
            row |= {"part": name, "grid": part.grid(part.resolutions[0]), "what": "training"}
            rows.append(row | {"transform": arm["transform"], "half_fft": half_fft(part)})
    return rows


def _pooled(item: ItemTables) -> list[dict[str, Any]]:
    """The mean change over all grids that share seeds, with the interval over seeds; none of a single grid."""
    parts = [part for name, part in trained_parts(item).items() if name.startswith("grid-")]
    if len(parts) < 2:
        return []
    rows = []
    compare = parts[0].context["compare"]
    for arm in parts[0].context["arms"]:
        change, gone = pooled(parts, arm["name"], arm["against"]), sum(p.diverged(arm["name"]) for p in parts)
        if not change.each or len(change.each) < 2:
            continue
        told = [pooled(parts, compare["power"]["control"], name) for name in compare["power"]["told_from"]]
        known = all(each.told_apart for each in told)
        said = verdict(change, margin=compare["margin"], power=known, diverged=gone)
        if arm["role"] == "control":
            said = f"control: {'' if change.told_apart else 'not '}told apart"
        row = {"part": ALL, "grid": ALL, "what": "training", "arm": arm["name"], "setting": arm["label"]}
        row |= {"transform": arm["transform"], "role": arm["role"], "seeds": len(change.each), "diverged": gone}
        row |= {"compared": compare["metric"], "verdict": said, "half_fft": ""}
        key = f"{compare['metric']}_change"
        rows.append(row | {key: change.mean, f"{key}_low": change.low, f"{key}_high": change.high})
    return rows


def pooled(parts: list[ItemData], arm: str, against: str | None) -> Change:
    """The paired change of an arm, its mean over the grids for each seed that all of them have.

    Grids that share a seed share initial weights and fields, so only seeds count as repetitions.
    """
    each = [_by_seed(part, arm, against) for part in parts]
    seeds = set.intersection(*(set(found) for found in each))
    means = {seed: 1 + float(np.mean([found[seed] for found in each])) for seed in seeds}
    return paired_change(means, dict.fromkeys(means, 1.0), confidence=parts[0].context["compare"]["confidence"])


def _by_seed(part: ItemData, arm: str, against: str | None) -> dict[int, float]:
    if against is None:
        return {}
    metric, home = part.context["compare"]["metric"], part.resolutions[0]
    values, reference = (part.values(name, metric, home) for name in (arm, against))
    return {seed: value / reference[seed] - 1 for seed, value in values.items() if seed in reference}


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
    said = row.get("verdict") or NONE
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
        "gradient": number_cell(100 * row.get("gradient_change", math.nan), 2) if step else NONE,
        "verdict": said,
    }


def _notes(item: ItemTables) -> list[str]:
    return [
        *arm_notes(item.context, trained_parts(item)),
        "all: each seed's mean change over the grids, for grids that share a seed share weights and fields; interval "
        "and verdict over seeds, fixed beforehand",
        "half FFT: what a GPU's library does with the grid, as torch's documentation of torch.fft says and nobody "
        "measured here: in half it takes powers of two along every transformed axis alone, so that the public library, "
        "which transforms by it, ends with an error on any other grid",
        "fft: simulated, on a processor, at sizes at which no GPU offers it",
        "one step: forward and backward of untrained weights on two training samples (of a body one at desk); verdict: "
        "whether loss and all gradients are finite. gradient: percent, the norm of the difference from the gradient in "
        "full precision after the same stabiliser, over the norm of the latter",
    ]


def figure(item: ItemTables) -> Drawing:
    """The change from full on each grid and over all, every seed and the mean with its interval."""
    parts = trained_parts(item)
    grids = {name: part for name, part in parts.items() if name.startswith("grid-")}
    points: list[dict[str, Any]] = []
    for place, part in enumerate(grids.values()):
        for arm in SHADES:
            if arm in part.arm_names:
                change = change_of(part, arm, "full")
                points += _marks(place, part.grid(part.resolutions[0]), arm, change)
    if len(grids) > 1:
        for arm in ("mixed", "mixed-e5m2"):
            points += _marks(len(grids), ALL, arm, pooled(list(grids.values()), arm, "full"))
    frame = pd.DataFrame(points)
    margin = 100 * next(iter(grids.values())).context["compare"]["margin"]
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 2.3), layout="constrained")
        axes = drawn.subplots()
        axes.axhspan(-margin, margin, color="0.93", zorder=0)
        axes.axhline(0, color="0.6", linewidth=0.6)
        _draw(axes, frame)
        labels = frame.drop_duplicates("place")
        axes.set_xticks(labels["place"], labels["grid"])
        axes.set(xlabel="grid", ylabel="change of L2 from full, %")
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False)
        sns.despine(ax=axes)
    caption = (
        "Darcy flow trained on grids that a GPU's half FFT refuses: relative change of the L2 test error from full "
        f"precision on the same grid, paired by seed. Dots are seeds, rings means, bars {_level(grids)} t intervals; "
        f"grey: the margin of {margin:g} %, fixed beforehand. On the right each seed's mean over the grids. mixed and "
        "the control, 2 mantissa bits, transform by matrix products (emulated); mixed-fft is simulated, one seed."
    )
    return Drawing(drawn, frame.drop(columns="place"), caption, ALT)


ALT = "Changes of the test error from full precision on each grid, for mixed precision and for a control of two bits"


def _level(grids: Mapping[str, ItemData]) -> str:
    return f"{100 * next(iter(grids.values())).context['compare']['confidence']:g} %"


def _marks(place: int, grid: str, arm: str, change: Change) -> list[dict[str, Any]]:
    about = {"place": place, "grid": grid, "arm": arm}
    seeds = [about | {"kind": "seed", "percent": 100 * each} for each in change.each]
    mean = {"kind": "mean", "percent": 100 * change.mean, "low": 100 * change.low, "high": 100 * change.high}
    return [*seeds, about | mean] if change.each else []


def _draw(axes: Any, frame: pd.DataFrame) -> None:
    for number, (arm, shade) in enumerate(SHADES.items()):
        own = frame[frame["arm"] == arm]
        seeds, means = own[own["kind"] == "seed"], own[own["kind"] == "mean"]
        if own.empty:
            continue
        shift = 0.2 * (number - 1)
        if "low" in means:
            axes.vlines(means["place"] + shift, means["low"], means["high"], color=shade, linewidth=1)
        axes.plot(means["place"] + shift, means["percent"], "o", **mean_dot(shade, "emulated"), label=arm)
        axes.plot(seeds["place"] + shift, seeds["percent"], "o", **seed_dot(shade))
