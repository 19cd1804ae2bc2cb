"""Dense against CP weights, in full and in mixed precision: error, parameters, memory and time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpno.paper.arm_rows import arm_cells, arm_notes, arm_row, said
from mpno.paper.comparison import change_of, number_cell, percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import paired_change
from mpno.paper.style import colour, look, mean_dot, new_figure, seed_dot
from mpno.specs.sets import title_of

SHOWN = {"dense": "o", "CP": "s"}
"""The marker of each kind of weights."""
PLACES = ("dense against CP weights", "results of the first version")
"""What the places of published values begin with: a plot, and a list in a notebook."""


def weights_of(arm: str) -> str:
    return "CP" if arm.startswith("cp-") else "dense"


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per data set and arm; `cp_change` is that of CP against dense weights in the same setting."""
    rows = []
    for part, data in item.parts.items():
        for name in data.arm_names:
            row = {"part": part, "weights": weights_of(name)} | arm_row(data, name)
            dense = name.removeprefix("cp-")
            change = change_of(data, name, dense if dense != name else None)
            row |= {"cp_change": change.mean, "cp_change_low": change.low, "cp_change_high": change.high}
            for index, place in enumerate(PLACES):
                row |= {f"published_{index}_{key}": v for key, v in _said(item, place, part, name).items()}
            rows.append(row)
    return pd.DataFrame(rows)


def _said(item: ItemTables, place: str, part: str, arm: str) -> dict[str, float]:
    found = {row["metric"]: row["value"] for row in _rows(item, place, part) if row["setting"] == arm}
    return {key: found.get(key, math.nan) for key in ("seconds_per_epoch", "l2", "h1")}


def _rows(item: ItemTables, place: str, part: str) -> list[dict[str, Any]]:
    """The published values of a data set in one of the two places."""
    return said(item.reference, place=f"{place}, {title_of(part).split()[0]}")


def table(item: ItemTables) -> Table:
    """A row per data set, kind of weights and setting, with the published row beside it."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    notes = arm_notes(item.context, item.parts)
    for part, data in item.parts.items():
        notes += _reduction(data, part)
    notes += [
        "full's: that of the same weights; the control has dense weights, so changes of CP weights carry no verdict of "
        "equivalence",
        "CP against dense: change of the same error in the same setting, paired by seed, though weights of another "
        "kind start from other values",
        *(f"published, {words}: {_source(item, place)}" for words, place in zip(("plot", "list"), PLACES, strict=True)),
        "seconds here and published are of other models on other machines",
    ]
    return Table(frame, shown, notes, roles=list(frame["part"]))


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = arm_cells(row)
    cells.pop("model")
    shown = {"data": row["part"], "weights": row["weights"], **cells}
    shown["CP against dense"] = percent_cell(row["cp_change"], row["cp_change_low"], row["cp_change_high"])
    for index, words in enumerate(("plot", "list")):
        texts = [
            number_cell(row[f"published_{index}_{key}"], digits)
            for key, digits in (("l2", 4), ("h1", 5 if index else 4), ("seconds_per_epoch", 1 if not index else 2))
        ]
        shown[f"published {words}: L2, H1, s"] = NONE if set(texts) == {NONE} else ", ".join(texts)
    return shown


def _reduction(data: ItemData, part: str) -> list[str]:
    """Whether mixed precision costs CP weights more than dense ones, seed by seed."""
    metric, grid = data.context["compare"]["metric"], data.resolutions[0]
    if not {"full", "mixed", "cp-full", "cp-mixed"} <= set(data.arm_names):
        return []
    values = {name: data.values(name, metric, grid) for name in ("full", "mixed", "cp-full", "cp-mixed")}
    seeds = set.intersection(*map(set, values.values()))
    dense = {seed: values["mixed"][seed] / values["full"][seed] for seed in seeds}
    factors = {seed: values["cp-mixed"][seed] / values["cp-full"][seed] for seed in seeds}
    change = paired_change(factors, dense, confidence=data.context["compare"]["confidence"])
    if not change.each:
        return []
    text = percent_cell(change.mean, change.low, change.high)
    return [f"{part}: ratio of mixed to full with CP weights against that with dense weights: {text}"]


def _source(item: ItemTables, place: str) -> str:
    rows = [row for row in said(item.reference) if row["place"].startswith(place)]
    if not rows:
        return "no value could be sourced"
    return f"{rows[0]['provenance']}; " + " / ".join(dict.fromkeys(row["conditions"] for row in rows))


def figure(item: ItemTables) -> Drawing:
    """Test H1 against seconds per epoch: the native arms here, a panel per data set, and the published points apart."""
    frame = numbers(item)
    points: list[dict[str, Any]] = []
    with look():
        drawn, panels = new_figure(2.1, 2 * len(item.parts))
        for index, (part, data) in enumerate(item.parts.items()):
            points += _here(panels[index], frame.query("part == @part"), data)
            name = title_of(data.context["data"]["name"]).split()[0]
            panels[index].set(title=f"({'abcd'[index]}) {name},\nhere", ylabel="test H1" if not index else "")
            points += _published(panels[len(item.parts) + index], item, part)
            letter = "abcd"[len(item.parts) + index]
            panels[len(item.parts) + index].set(title=f"({letter}) {name},\npublished")
        for axes in panels:
            axes.set(xlabel="s per epoch")
            axes.margins(0.18)
            axes.spines[["top", "right"]].set_visible(False)
        _legend(drawn, panels[-1])
    caption = (
        "Test H1 error against seconds per epoch with dense and CP weights. (a, b) Settings that run natively here, "
        f"seeds (small) and mean{_untimed(frame)}. (c, d) Published: read off the authors' plot (128x128 points, GPU, "
        "means of 3 seeds), on axes of its own."
    )
    alt = "Scatter plots of error against time per epoch, dense and CP weights, full and mixed precision."
    return Drawing(drawn, pd.DataFrame(points), caption, alt)


def _untimed(frame: pd.DataFrame) -> str:
    """The settings that have no time here."""
    rows = frame.to_dict("records")
    names = list(dict.fromkeys(row["setting"] for row in rows if math.isnan(row["seconds_per_epoch"])))
    return f"; {' and '.join(names)} have no native time" if names else ""


def _here(axes: Any, frame: pd.DataFrame, data: ItemData) -> list[dict[str, Any]]:
    points = []
    timed = frame.dropna(subset=["seconds_per_epoch"])
    for row in timed.to_dict("records"):
        shade, marker = colour(row["setting"]), SHOWN[row["weights"]]
        for seed, value in data.values(row["arm"], "h1", data.resolutions[0]).items():
            axes.plot(row["seconds_per_epoch"], value, marker, **seed_dot(shade))
            points.append(_point(row, f"{row['part']}, here", value) | {"seed": seed})
        axes.plot(row["seconds_per_epoch"], row["h1_mean"], marker, **mean_dot(shade, row["evidence"]))
    return points


def _point(row: Mapping[str, Any], panel: str, value: float) -> dict[str, Any]:
    keys = {"panel": panel, "setting": row["setting"], "weights": row["weights"], "evidence": row["evidence"]}
    return keys | {"seconds_per_epoch": row["seconds_per_epoch"], "h1": value}


def _published(axes: Any, item: ItemTables, part: str) -> list[dict[str, Any]]:
    points = []
    for arm in dict.fromkeys(row["setting"] for row in _rows(item, PLACES[0], part)):
        row = _said(item, PLACES[0], part, arm)
        kind, setting = weights_of(arm), arm.removeprefix("cp-")
        axes.plot(row["seconds_per_epoch"], row["h1"], SHOWN[kind], color=colour(setting), markersize=4.5)
        keys = {
            "setting": setting,
            "weights": kind,
            "evidence": "published",
            "seconds_per_epoch": row["seconds_per_epoch"],
        }
        points.append(_point(keys, f"{part}, published", row["h1"]))
    return points


def _legend(drawn: Any, axes: Any) -> None:
    handles = [axes.plot([], [], "o", color=colour(name), markersize=4, label=name)[0] for name in ("full", "mixed")]
    handles += [
        axes.plot([], [], marker, color="0.5", linestyle="none", markersize=4, label=f"{kind} weights")[0]
        for kind, marker in SHOWN.items()
    ]
    drawn.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
