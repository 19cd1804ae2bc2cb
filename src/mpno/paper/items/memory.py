"""Memory by setting, data set and model: predicted from shapes, beside what was published."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, STAND_INS, ItemData
from mpno.paper.style import COLOURS, SHORT, TEXT_WIDTH, colour, look
from mpno.specs.sets import title_of

MIB = 2**20
HERE, SIZED, PUBLISHED = "this scale", "published size", "as published"
"""The blocks of the table: where a number comes from."""
LOWER = {
    SIZED: ("predicted at the published sizes", "predicted MiB"),
    PUBLISHED: ("published: nvidia-smi, with context", "MiB, as read"),
}
HATCH = {"predicted": "////", "published": ""}
WORDS = {
    "predicted": "predicted from shapes and dtypes",
    "published": "nvidia-smi, with the context and the libraries' workspaces",
}


def table(item: Any) -> Table:
    """One row per size, model and setting, with the saving against the same in full."""
    frame = bars(item)
    rows = [
        {
            "where": row["where"],
            "data set": row["data"],
            "model": row["model"] or NONE,
            "setting": row["setting"],
            "grid": row["grid"] or NONE,
            "batch": NONE if math.isnan(row["batch"]) else f"{row['batch']:.0f}",
            "memory": NONE if math.isnan(row["memory"]) else f"{row['memory']:,.{1 if row['memory'] < 1000 else 0}f}",
            "unit": row["unit"],
            "saving": NONE if math.isnan(row["saving"]) else f"{row['saving']:.1f} %",
            "evidence": row["evidence"],
            "provenance": row["provenance"] or NONE,
        }
        for row in frame.to_dict("records")
    ]
    return Table(frame, pd.DataFrame(rows), _notes(item), roles=list(frame["where"]))


def figure(item: Any) -> Drawing:
    """Bars per data set at this scale; below, predicted at the published sizes, and published, on axes of their own."""
    frame = bars(item)
    here = frame.query("where == @HERE")
    with look(), rc_context({"hatch.linewidth": 0.5}):
        drawn = Figure(figsize=(TEXT_WIDTH, 3.6), layout="constrained")
        upper, lower = drawn.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.05])[:, 0]
        panels = list(dict.fromkeys(here["panel"]))
        for axes, panel in zip(upper.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _bars(axes, here, [panel])
        for axes, where in zip(lower.subplots(1, 2), (SIZED, PUBLISHED), strict=True):
            part = frame.query("where == @where and memory == memory")
            groups = [panel for panel, rows in part.groupby("panel", sort=False) if len(rows) > 1]
            _bars(axes, part, groups)
            title, unit = LOWER[where]
            axes.set(title=title, ylabel=unit)
        upper.supylabel("predicted MiB", fontsize=7)
        upper.suptitle(f"predicted at scale {item.context['scale']}; above bars: percent against full", fontsize=7)
        _legend(drawn, list(dict.fromkeys(frame["setting"])))
    context = item.context
    caption = (
        f"Device memory of a training step by precision setting, with the saving against full in percent. Hatched: "
        f"predicted from shapes and dtypes, above at scale {context['scale']}, below at the published sizes. Plain: "
        "published readings of nvidia-smi, which count the context and the libraries' workspaces too."
    )
    alt = "Bars of memory by precision setting: a panel per data set above, the published sizes and readings below."
    return Drawing(drawn, frame, caption, alt)


def bars(item: Any) -> pd.DataFrame:
    """Every number of the item: where, panel, data, model, setting, grid, batch, memory, unit, saving in percent."""
    rows = [row for data in item.parts.values() for row in _of_part(data)]
    rows += _of_sizes(item.probes["sizes"])
    rows += _of_reference(item.reference)
    return pd.DataFrame(rows)


def saving(memory: float, full: float | None) -> float:
    """Percent less than in full."""
    return math.nan if full is None else 100 * (1 - memory / full)


def _of_part(data: ItemData) -> Iterable[dict[str, Any]]:
    facts = data.context["data"]
    stand_in = (facts["name"], facts["source"]) in STAND_INS
    peaks = {row["setting"]: row["predicted_peak"] for row in data.arms.to_dict("records")}
    batch = data.context["training"]["batch_size"]
    for row in data.arms.to_dict("records"):
        yield {
            "where": HERE,
            "panel": _panel(facts["name"], "U-Net" if row["model"] == "U-Net" else "stand-in" if stand_in else ""),
            "data": title_of(facts["name"]) + (" (stand-in)" if stand_in else ""),
            "model": row["model"],
            "setting": row["setting"],
            "grid": data.grid(data.resolutions[0]),
            "batch": batch,
            **{part: row[f"predicted_{part}"] / MIB for part in ("parameters", "activations")},
            "memory": row["predicted_peak"] / MIB,
            "unit": "MiB",
            "saving": saving(row["predicted_peak"], peaks.get("full")),
            "evidence": "predicted",
            "provenance": "",
        }


def _of_sizes(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    full = frame[frame["setting"] == "full"].set_index("part")["peak"].to_dict()
    for row in frame.to_dict("records"):
        yield {
            "where": SIZED,
            "panel": _panel(row["data"], row["model"]),
            "data": title_of(row["data"]),
            **{key: row[key] for key in ("model", "setting", "grid", "batch")},
            **{part: row[part] / MIB for part in ("parameters", "activations")},
            "memory": row["peak"] / MIB,
            "unit": "MiB",
            "saving": saving(row["peak"], full.get(row["part"])),
            "evidence": "predicted",
            "provenance": "",
        }


def _of_reference(frame: pd.DataFrame) -> Iterable[dict[str, Any]]:
    """A published saving without a memory keeps its cell of the memory empty."""
    full = frame.query("metric == 'memory' and setting == 'full'")
    full = {row["conditions"].partition(";")[0]: row["value"] for row in full.to_dict("records")}
    for row in frame.to_dict("records"):
        key = row["conditions"].partition(";")[0]
        data, _, card = key.partition(", ")
        known = row["metric"] == "memory"
        yield {
            "where": PUBLISHED,
            "panel": f"{data}\n{card}",
            "data": f"{data}, {card}",
            "model": "",
            "setting": row["setting"],
            "grid": "",
            "batch": math.nan,
            "parameters": math.nan,
            "activations": math.nan,
            "memory": row["value"] if known else math.nan,
            "unit": row["unit"] if known else NONE,
            "saving": saving(row["value"], full.get(key)) if known else row["value"],
            "evidence": "published",
            "provenance": f"{row['provenance']} ({row['place']})",
        }


def _panel(name: str, more: str) -> str:
    """The name under a group of bars, in two lines."""
    return f"{SHORT.get(name, name)}\n{more}"


def _bars(axes: Any, frame: pd.DataFrame, panels: Sequence[Any]) -> None:
    """Groups of bars, one per panel's name, each with its saving above it."""
    ticks = []
    left = 0.0
    for panel in panels:
        rows = [row for row in frame.to_dict("records") if row["panel"] == panel]
        for number, row in enumerate(rows):
            axes.bar(
                left + number, row["memory"], 0.86, edgecolor=colour(row["setting"]), linewidth=0.9,
                hatch=HATCH[row["evidence"]], facecolor=_face(row),
            )  # fmt: skip
            if row["setting"] != "full" and not math.isnan(row["saving"]):
                label = f"{-row['saving']:+.0f}".replace("-", "\N{MINUS SIGN}")
                axes.text(left + number, row["memory"], label, ha="center", va="bottom", fontsize=5)
        ticks.append(left + (len(rows) - 1) / 2)
        left += len(rows) + 0.8
    axes.set_xticks(ticks, panels, fontsize=5.5)
    axes.tick_params(axis="x", length=0)
    axes.margins(y=0.14)
    sns.despine(ax=axes)


def _face(row: Mapping[str, Any]) -> Any:
    return "white" if HATCH[row["evidence"]] else colour(row["setting"])


def _legend(figure: Any, settings: list[str]) -> None:
    settings = [name for name in COLOURS if name in settings]
    handles = [Patch(facecolor=COLOURS[name], label=name) for name in settings]
    handles.append(Patch(facecolor="white", edgecolor="0.3", hatch=HATCH["predicted"], label="predicted"))
    handles.append(Patch(facecolor="0.6", label="published"))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=1.6)


def _notes(item: Any) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    return [
        *notes,
        f"{HERE}: scale {context['scale']}; nothing was trained for it",
        "predicted: peak of one training step with Adam, from the shapes and true dtypes of what is alive; without the "
        "context, the workspaces of FFT and matrix products and the allocator's rounding, so it is less than a reading "
        "of nvidia-smi; no simulation's memory is in it",
        f"{SIZED}: the authors' sizes in this implementation, which keeps less for the backward pass than theirs: "
        "norms, activations and stabilisers are computed again in it",
        f"{PUBLISHED}: {WORDS['published']}; MB as printed where the unit is MB; savings computed from the readings, "
        "but for Ahmed bodies, where the saving itself was published",
        "saving: against the same in full",
        "(stand-in): bodies in potential flow, not the published simulations",
    ]
