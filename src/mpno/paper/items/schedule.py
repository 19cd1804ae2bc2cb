"""The precision schedule: how its split matters at equal epochs, and how large gradients are when it turns to full."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from mpno.paper.comparison import number_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.readings import NAMES, READINGS, read_arm, read_cells, reading_notes
from mpno.paper.records import ItemTables
from mpno.paper.style import TEXT_WIDTH, colour, look
from mpno.specs import PrecisionSetting, get_format

KINDS = {"weights": "spectral weights", "output": "entering the block backwards"}
MOMENTS = {"initial": "initial weights", "trained": "end of training"}


def table(item: ItemTables) -> Table:
    """A row per split: phases, both readings of the change from full at equal epochs, and the paper's values."""
    data = item.only
    rows = []
    for arm in data.context["arms"]:
        setting = PrecisionSetting.model_validate(arm["label"])
        row = {"phases": "; ".join(f"{phase.label} {share:g} %" for share, phase in setting.phases)}
        row |= read_arm(data, arm)
        published = item.reference[item.reference["setting"] == arm["label"]].set_index("metric")["value"]
        row |= {f"paper_{metric}": float(published.get(metric, math.nan)) for metric in NAMES}
        rows.append(row)
    numbers = pd.DataFrame(rows)
    shown = []
    for row in rows:
        cells = read_cells(row)
        cells |= {f"paper {name}": number_cell(row[f"paper_{metric}"], 5) for metric, name in NAMES.items()}
        shown.append({"setting": cells.pop("setting"), "phases": row["phases"], **cells})
    context = item.context
    notes = [
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run; every split has the same number of epochs, and a switch falls between two of them",
        *reading_notes(data, "navier-stokes"),
        *READINGS,
        "phases: as they are trained; the middle phase is that of the authors' code, or amp alone where it says so",
        "paper: means of 3 seeds after 19 hours each, so with more epochs for mixed and schedule (authors' notebook)",
        *_gradient_notes(item.probes["gradients"]),
    ]
    return Table(numbers, pd.DataFrame(shown), notes, roles=list(numbers["role"]))


def _gradient_notes(probe: pd.DataFrame) -> list[str]:
    notes = []
    for kind, what in KINDS.items():
        own = probe[(probe["kind"] == kind) & (probe["moment"] == "trained")]
        worst = own.groupby("layer")[["below_normal", "below_subnormal"]].mean().max()
        notes.append(
            f"gradients, {what}, at the end of training: in the layer with most of them "
            f"{100 * worst['below_normal']:.3g} % lie below fp16's smallest normal number and "
            f"{100 * worst['below_subnormal']:.3g} % below its smallest one"
        )
    return notes


def figure(item: ItemTables) -> Drawing:
    """Quantiles of gradient magnitudes by layer, early and late, against the format's smallest numbers."""
    probe = item.probes["gradients"]
    format = get_format(str(probe["format"].iloc[0]))
    labels = {arm["name"]: arm["label"] for arm in item.only.context["arms"]}
    with look():
        drawing = Figure(figsize=(TEXT_WIDTH, 3.6), layout="constrained")
        panels = drawing.subplots(2, 2, sharex=True, sharey="row")
        for row, (kind, what) in enumerate(KINDS.items()):
            for column, (moment, when) in enumerate(MOMENTS.items()):
                axes = panels[row][column]
                own = probe[(probe["kind"] == kind) & (probe["moment"] == moment)]
                _quantiles(axes, own, labels)
                for value, name in (
                    (format.smallest_normal, "smallest\nnormal"),
                    (format.smallest_subnormal, "smallest\nsubnormal"),
                ):
                    axes.axhline(value, color="0.4", linewidth=0.6, linestyle=(0, (3, 2)))
                    if column:  # beside the right panel, where no layer lies
                        axes.text(1.01, value, name, fontsize=5, va="center", transform=axes.get_yaxis_transform())
                axes.set(title=f"({'abcd'[2 * row + column]}) {what},\n{when}", yscale="log")
                axes.xaxis.set_major_locator(FixedLocator(sorted(set(probe["layer"]))))
                sns.despine(ax=axes)
            panels[row][0].set_ylabel("|gradient|")
        for axes in panels[1]:
            axes.set_xlabel("layer")
        drawing.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    caption = (
        "Magnitudes of gradients of the training loss, computed in full precision (native) on finished and on "
        "untrained models: marks are medians of seeds, bars reach from the 1st to the 99th percentile. Dashed: the "
        f"smallest numbers of {format.name}; what lies below the lower one would be lost in it. Master weights and "
        "their gradients are fp32."
    )
    return Drawing(drawing, probe, caption, ALT)


ALT = "Gradient magnitudes by layer for two settings, at the start and at the end of training, with fp16's limits"


def _quantiles(axes: Any, own: pd.DataFrame, labels: dict[str, str]) -> None:
    names = list(dict.fromkeys(own["arm"]))
    for index, name in enumerate(names):
        each = own[own["arm"] == name].groupby("layer")[["q0.01", "q0.5", "q0.99"]].median()
        x = each.index + 0.16 * (index - (len(names) - 1) / 2)
        shade = colour(labels[name])
        axes.vlines(x, each["q0.01"], each["q0.99"], color=shade, linewidth=1.0)
        axes.plot(x, each["q0.5"], "o", color=shade, markersize=3, label=f"{labels[name]} (trained so)")
