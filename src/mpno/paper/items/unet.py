"""FNO against U-Net on Navier-Stokes: what mixed precision saves the one and AMP the other, at what error."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.patches import Patch

from mpno.paper.arm_rows import arm_cells, arm_notes, arm_row, said
from mpno.paper.comparison import NONE, number_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import ItemData, ItemTables
from mpno.paper.style import colour, look, mean_dot, new_figure, seed_dot

MARKERS = {"FNO": "o", "U-Net": "s"}


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per arm; savings are of predicted peak memory against the same model in full.

    The published sizes are another pair of models, larger, with weights of the FNO factorised.
    """
    large = item.probes.get("published-size")
    rows = []
    for part, data in item.parts.items():
        made: dict[str, dict[str, Any]] = {name: {"part": part} | arm_row(data, name) for name in data.arm_names}
        for row in made.values():
            row["saving"] = (
                _saving(row["predicted_bytes"], made[row["against"]]["predicted_bytes"]) if row["against"] else math.nan
            )
            row |= _large(large, row["model"], row["setting"])
            named = f"{row['model'].lower()} {row['setting']}"
            stated = [each["value"] for each in said(item.reference, metric="memory_saving", setting=named)]
            row["published_saving_low"] = min(stated, default=math.nan)
            row["published_saving_high"] = max(stated, default=math.nan)
            rows.append(row)
    return pd.DataFrame(rows)


def _large(frame: pd.DataFrame | None, model: str, setting: str) -> dict[str, float]:
    """Predicted at the published size: bytes of the peak, and what is saved against full."""
    found: dict[str, float] = {}
    if frame is not None:
        rows = frame.query("part == @model")
        found = dict(zip(rows["setting"], rows["peak"].astype(float), strict=True))
    peak = found.get(setting, math.nan)
    saving = _saving(peak, found.get("full", math.nan)) if setting != "full" else math.nan
    return {"published_size_bytes": peak, "published_size_saving": saving}


def _saving(value: float, full: float) -> float:
    return 1 - value / full


def table(item: ItemTables) -> Table:
    """A row per model and setting: error, its change against full, memory and what is saved of it."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=list(frame["model"]))


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    low, high = row["published_saving_low"], row["published_saving_high"]
    stated = NONE if math.isnan(low) else f"{low:g} %" if low == high else f"{low:g} to {high:g} %"
    return {
        **arm_cells(row),
        "saved": _percent(row["saving"]),
        "predicted GiB, published size": number_cell(row["published_size_bytes"] / 2**30, 2),
        "saved, published size": _percent(row["published_size_saving"]),
        "saved, published": stated,
    }


def _percent(share: float) -> str:
    return NONE if math.isnan(share) else f"{100 * share:.1f} %"


def _notes(item: ItemTables) -> list[str]:
    stated = said(item.reference, metric="memory_saving")
    return [
        *arm_notes(item.context, item.parts),
        "the U-Net has no spectral block, so AMP is all the mixed precision it has; it has other parameters and "
        "epochs than the FNO, so errors of the two models stand beside each other for their size, not as a contest",
        "saved: of predicted peak memory, against the same model in full",
        f"published size: {_sizes(item)}",
        *(
            f"saved, published, {row['setting']}: {row['value']:g} % ({row['provenance']}; {row['conditions']})"
            for row in stated
        ),
        "no published value of the comparison with the U-Net could be sourced: its cells are empty",
    ]


def _sizes(item: ItemTables) -> str:
    frame = item.probes.get("published-size")
    if frame is None:
        return "not asked at this scale"
    each = frame.drop_duplicates("part").to_dict("records")
    return "; ".join(f"{row['part']}: {row['model']}, {row['grid']}, batch {row['batch']}" for row in each)


def figure(item: ItemTables) -> Drawing:
    """Error against predicted memory here, and what each setting saves, here and at the published sizes."""
    frame = numbers(item)
    points: list[dict[str, Any]] = []
    with look():
        drawn, (left, right) = new_figure(2.3, 2)
        for part, data in item.parts.items():
            rows = [row for row in frame.to_dict("records") if row["part"] == part and row["role"] == "setting"]
            points += _errors(left, rows, data)
        left.set(title="(a) error and memory, here", xlabel="predicted peak MiB", ylabel="test L2", xlim=(0, None))
        points += _savings(right, frame.query("role == 'setting'"))
        right.set(title="(b) saved against full, predicted", ylabel="% of the peak")
        for axes in (left, right):
            axes.spines[["top", "right"]].set_visible(False)
        handles = [left.plot([], [], m, color="0.5", markersize=4, label=name)[0] for name, m in MARKERS.items()]
        settings = dict.fromkeys(frame.query("role == 'setting'")["setting"])
        handles += [left.plot([], [], "o", color=colour(s), markersize=4, label=s)[0] for s in settings]
        for name, hatch in (("(b) here", ""), ("(b) published size", "////")):
            face = "white" if hatch else "0.5"
            handles.append(Patch(facecolor=face, edgecolor="0.5", hatch=hatch, label=name))
        drawn.legend(handles=handles, loc="outside lower center", ncols=7, frameon=False)
    caption = (
        "FNO and U-Net on Navier-Stokes. (a) Test error of each seed (small) and their mean (large) against predicted "
        "memory, hollow where fp16 is simulated or emulated; lines join the settings of a model. (b) Memory saved "
        "against full, predicted from traced shapes and dtypes, here (plain) and at the published sizes (hatched)."
    )
    alt = "Left: error against memory, two models in full and in low precision. Right: bars of memory saved."
    return Drawing(drawn, pd.DataFrame(points), caption, alt)


def _errors(axes: Any, rows: Sequence[Mapping[str, Any]], data: ItemData) -> list[dict[str, Any]]:
    points = []
    line = [(row["predicted_bytes"] / 2**20, row["l2_mean"]) for row in rows]
    axes.plot(*zip(*line, strict=True), "-", color="0.8", linewidth=0.8, zorder=0)
    for row in rows:
        shade, marker, x = colour(row["setting"]), MARKERS[row["model"]], row["predicted_bytes"] / 2**20
        for seed, value in data.values(row["arm"], "l2", data.resolutions[0]).items():
            axes.plot(x, value, marker, **seed_dot(shade))
            keys = {"panel": "a", "model": row["model"], "setting": row["setting"], "evidence": row["evidence"]}
            points.append({**keys, "seed": seed, "predicted_mib": x, "l2": value})
        axes.plot(x, row["l2_mean"], marker, **mean_dot(shade, row["evidence"]))
    return points


def _savings(axes: Any, frame: pd.DataFrame) -> list[dict[str, Any]]:
    rows = frame.dropna(subset=["saving"]).to_dict("records")
    points = []
    for place, row in enumerate(rows):
        for shift, column, hatch in ((-0.2, "saving", None), (0.2, "published_size_saving", "////")):
            value = 100 * row[column]
            if math.isnan(value):
                continue
            shade = colour(row["setting"])
            axes.bar(place + shift, value, 0.36, color="white" if hatch else shade, edgecolor=shade, hatch=hatch)
            axes.annotate(f"{value:.0f}", (place + shift, max(value, 0)), ha="center", va="bottom", fontsize=6)
            where = "here" if column == "saving" else "published size"
            keys = {"panel": "b", "model": row["model"], "setting": row["setting"], "evidence": "predicted"}
            points.append({**keys, "where": where, "saved_percent": value})
    axes.set_xticks(range(len(rows)), [f"{row['model']}\n{row['setting']}" for row in rows])
    axes.axhline(0, color="0.7", linewidth=0.6)
    return points
