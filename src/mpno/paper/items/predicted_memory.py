"""What nvidia-smi showed on the paper's GPUs, predicted from shapes and dtypes, with the deviation and its reason."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator

from mpno.paper.drawing import Drawing, Table
from mpno.paper.records import NONE, ItemTables
from mpno.paper.style import OKABE, TEXT_WIDTH, look

AGREED = ("batch 16", "8 layers")
"""What the readings agree with, where the authors' files say otherwise."""
LARGE = 5.0
"""Percent of deviation from which on a row must say why."""
PARTS = {"ns": "Navier-Stokes", "darcy": "Darcy", "car": "Car", "ahmed": "Ahmed body", "ours": "Navier-Stokes, ours"}
PAIRS = (
    ("ns amp against full", "ns amp", "ns full"),
    ("ns half against full", "ns half", "ns full"),
    ("ns mixed against full", "ns mixed", "ns full"),
    ("ns C against A", "ns mixed", "ns option A"),
    ("ns C against B", "ns mixed", "ns option B"),
    ("ns inputs and weights against weights only", "ns mixed", "ns weights only"),
    ("ns norm before the transform against none", "ns norm", "ns unstabilised"),
    ("darcy HHH against FFF", "darcy HHH", "darcy FFF"),
    ("darcy inputs and weights against weights only", "darcy HHH", "darcy weights only"),
    ("car least memory against least flops", "car least memory", "car least flops"),
    ("ahmed least memory against least flops", "ahmed least memory", "ahmed least flops"),
    ("ahmed mixed against full", "ahmed least memory", "ahmed full"),
)
"""Savings: of the first case against the second, each in every variant that both have."""
KINDS = {
    "parameters": "0.25", "optimiser": "0.45", "gradients": "0.65", "data": "0.85", "activations": OKABE[0],
    "temporaries": OKABE[1], "workspaces": OKABE[3],
}  # fmt: skip
TITLES = {
    "full": "(a) full, the authors' way",
    "mixed": "(b) mixed, the authors' way",
    "ours mixed": "(c) mixed, ours",
}


def table(item: ItemTables) -> Table:
    """A row per case and reading, then the savings: predicted, measured, deviation, provenance, reason."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, frame), roles=list(frame["role"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """Every comparison. Cases without a reading stand with an empty one."""
    cases = item.probes["cases"]
    readings = item.reference.query("metric == 'memory'")
    rows = [row for case in cases.to_dict("records") for row in _compared(case, readings)]
    rows += _savings(cases, item.reference)
    return pd.DataFrame(rows)


def _compared(case: dict[str, Any], readings: pd.DataFrame) -> Iterable[dict[str, Any]]:
    name, _, variant = case["case"].partition(", ")
    ours = name.startswith("ours")
    found = [] if ours else readings.query("setting == @name").to_dict("records")
    parts = {part: case[part] for part in ("allocated", "reserved", "activations", "temporaries", "spectral_share")}
    for reading in found or [{}]:
        measured = reading.get("value", math.nan)
        row = {
            "role": "memory",
            "part": PARTS[name.split()[0]],
            "case": name.partition(" ")[2] or name,
            "variant": variant or f"batch {case['batch']}",
            "implementation": case["implementation"],
            "predicted": case["shown"],
            "unit": "MiB",
            **parts,
            "measured": measured,
            "deviation": 100 * (case["shown"] / measured - 1),
            "card": reading.get("conditions", ""),
            "provenance": f"{reading['provenance']} ({reading['place']})" if reading else "",
            "evidence": "predicted",
        }
        yield {**row, "reason": _reason(name, variant, row)}


def _savings(cases: pd.DataFrame, reference: pd.DataFrame) -> Iterable[dict[str, Any]]:
    shown = dict(zip(cases["case"], cases["shown"], strict=True))
    variants = list(dict.fromkeys(case.partition(", ")[2] for case in shown))
    for label, low, base in PAIRS:
        for variant in variants:
            one, other = (f"{name}, {variant}" if variant else name for name in (low, base))
            if one not in shown or other not in shown:
                continue
            for measured, card, source in _measured_saving(label, low, base, reference):
                predicted = 100 * (1 - shown[one] / shown[other])
                row = {
                    "role": "saving",
                    "part": PARTS[label.split()[0]],
                    "case": label.partition(" ")[2],
                    "variant": variant or "as configured",
                    "predicted": predicted,
                    "unit": "%",
                    "measured": measured,
                    "deviation": predicted - measured,
                    "card": card,
                    "provenance": source,
                    "evidence": "predicted",
                }
                yield {**row, "reason": _reason(label, variant, row)}


def _measured_saving(label: str, low: str, base: str, reference: pd.DataFrame) -> list[tuple[float, str, str]]:
    """Of the readings on the same card, else as printed."""
    both = [reference.query("metric == 'memory' and setting == @name") for name in (low, base)]
    one, other = ({row["conditions"]: row for row in frame.to_dict("records")} for frame in both)
    found = [
        (100 * (1 - row["value"] / other[card]["value"]), card, f"{row['provenance']} ({row['place']}), of readings")
        for card, row in one.items()
        if card in other
    ]
    if found:
        return found
    printed = reference.query("metric == 'memory_saving' and setting == @label").to_dict("records")
    return [(row["value"], row["conditions"], f"{row['provenance']} ({row['place']})") for row in printed]


def _reason(name: str, variant: str, row: dict[str, Any]) -> str:
    """Why a prediction is off by more than :data:`LARGE`, in one line; empty where it is not."""
    if not abs(row["deviation"]) > LARGE:
        return ""
    saving = row["role"] == "saving"
    if name.startswith("ns norm"):
        return "which data set and model is not said; here the norm alone is counted, on Navier-Stokes"
    if name.startswith("ns") and not variant:
        return "the authors' files say batch 32; the readings agree with batch 16: see those rows"
    if name.startswith("ns") and row["card"] == "V100":
        return "the V100 read 1.0 to 1.6 GiB more than the RTX 3090 Ti in every setting; its libraries are not known"
    if name.startswith("ns") and not saving and not any(word in name for word in ("amp", "mixed", "option", "weights")):
        return "only settings without autocast read more: perhaps fp32 convolutions' workspaces, not predicted"
    if name.startswith("ns") and saving and "full" in name:
        return "what full is short of, see its row"
    if name.startswith("ns") and row["card"] == "RTX 3090 Ti":
        return "whether that run cast a layer's input at its entry is not known: see the row without"
    if name.startswith("ns"):
        return "the card of this ablation is not named"
    if name.startswith("darcy") and not variant:
        return "the authors' file says four layers; the readings agree with eight: see those rows"
    if name.startswith("car"):
        return "configuration not published; ours works through the graph's edges in parts"
    return "configuration not published: a range over stated ones, without a verdict"


def _cells(row: dict[str, Any]) -> dict[str, str]:
    known = not math.isnan(row["measured"])
    saving = row["role"] == "saving"
    digits = 1 if saving else 0
    unit = " %" if saving else ""
    return {
        "what": f"{row['part']}: {row['case']}",
        "variant": row["variant"],
        "predicted": f"{row['predicted']:,.{digits}f}{unit}",
        "measured": f"{row['measured']:,.{digits}f}{unit}" if known else NONE,
        "deviation": f"{row['deviation']:+.1f} {'points' if saving else '%'}" if known else NONE,
        "card": row["card"] or NONE,
        "provenance": row["provenance"] or NONE,
        "reason": row["reason"] or NONE,
    }


def figure(item: ItemTables) -> Drawing:
    """Above, live bytes through a step, stacked by kind; below, predicted against measured."""
    timeline, frame = item.probes["timeline"], numbers(item)
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 4.4), layout="constrained")
        upper, lower = drawn.subfigures(2, 1, squeeze=False, height_ratios=[1, 1.1])[:, 0]
        _timelines(upper, timeline)
        _scatter(lower, frame)
    points = pd.concat([timeline.assign(panel="timeline"), frame.assign(panel="readings")], ignore_index=True)
    caption = (
        "Predicted from shapes and dtypes, on no GPU. Above: live MiB through one training step of the published "
        "Navier-Stokes model (128 x 128, batch 32), stacked by kind; a dotted line ends the forward pass. Below: what "
        "nvidia-smi would show against what it showed, hollow where the authors' files are taken at their word, filled "
        "with the batch or the number of layers that the readings agree with."
    )
    alt = "Three stacked areas of memory through a step; below, a scatter of predicted against measured memory."
    return Drawing(drawn, points, caption, alt)


def _timelines(figure: Any, timeline: pd.DataFrame) -> None:
    cases = [name for name in TITLES if name in set(timeline["case"])]
    panels = figure.subplots(1, len(cases), sharey=True, squeeze=False)[0]
    for axes, case in zip(panels, cases, strict=True):
        rows: list[dict[str, Any]] = timeline.query("case == @case").to_dict("records")
        lines = [[row[kind] for row in rows] for kind in KINDS]
        axes.stackplot([row["at"] for row in rows], lines, colors=list(KINDS.values()), linewidth=0, step="post")
        forward = min(row["at"] for row in rows if row["phase"] != "forward")
        axes.axvline(forward, color="black", linestyle=":", linewidth=0.7)
        peak = max(map(sum, zip(*lines, strict=True)))
        axes.text(0.98, 0.97, f"peak {peak:,.0f}", transform=axes.transAxes, ha="right", va="top", fontsize=6)
        axes.set(title=TITLES[case], xlabel="share of the step's events", xlim=(0, 1))
        axes.margins(y=0.1)
        sns.despine(ax=axes)
    panels[0].set_ylabel("live MiB")
    handles = [Patch(color=shade, label=kind) for kind, shade in KINDS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=1.2)


def _scatter(figure: Any, frame: pd.DataFrame) -> None:
    found: list[dict[str, Any]] = frame.query("role == 'memory' and measured == measured").to_dict("records")
    axes = figure.subplots()
    if found:
        spans = [[row[name] for row in found] for name in ("measured", "predicted")]
        (left, right), (bottom, top) = ((0.85 * min(values), 1.15 * max(values)) for values in spans)
        limits = [min(left, bottom), max(right, top)]
        axes.plot(limits, limits, color="0.6", linewidth=0.8, zorder=0)
        axes.fill_between(limits, [0.95 * v for v in limits], [1.05 * v for v in limits], color="0.92", zorder=-1)
        axes.set(xlim=(left, right), ylim=(bottom, top))
    shades = dict(zip(PARTS.values(), OKABE, strict=False))
    for row in found:
        shade = shades[row["part"]]
        face = shade if row["variant"] in AGREED else "white"
        axes.plot(row["measured"], row["predicted"], "o", color=shade, markersize=4, markerfacecolor=face)
    axes.set(xlabel="measured, MiB (nvidia-smi)", ylabel="predicted, MiB", xscale="log", yscale="log")
    ticks = [1000, 2000, 5000, 10000, 20000]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(FixedLocator(ticks))
        axis.set_major_formatter("{x:,.0f}")
        axis.set_minor_formatter("")
    handles: list[Any] = [
        Line2D([], [], marker="o", linewidth=0, color=shades[part], label=part, markersize=4)
        for part in dict.fromkeys(row["part"] for row in found)
    ]
    handles.append(Patch(color="0.92", label="within 5 %"))
    figure.legend(handles=handles, frameon=False, loc="outside lower center", ncols=len(handles))
    sns.despine(ax=axes)


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    agreed = [
        abs(row["deviation"])
        for row in frame.to_dict("records")
        if row["variant"] in AGREED and row["role"] == "memory" and row["card"] not in ("", "V100")
    ]
    notes = [
        f"scale {item.context['scale']}; nothing was trained and no GPU was used: every number is predicted, from the "
        "shapes and dtypes of one training step on tensors without values",
        "predicted: what torch's allocator would reserve for the step, replayed, with cuBLAS's workspace and 400 MiB "
        "for the CUDA context, both fixed before any comparison; transforms borrow a workspace of the size of their "
        "spectrum; workspaces of convolutions are not in it",
        "the authors' rows: their implementation as its last public files have it, run on the same weights",
        "readings are nvidia-smi's; what is printed as MB is taken for MiB, as nvidia-smi counts",
        "deviation: of memory in percent of the reading, of savings in points; a reason stands where it is above 5",
    ]
    if agreed:
        middle, largest = median(agreed), max(agreed)
        notes.append(
            f"the authors' files say batch 32 (Navier-Stokes) and four layers (Darcy). With batch 16 and eight layers "
            f"{len(agreed)} readings off the V100 deviate by {middle:.1f} % in the median, {largest:.1f} % at most. "
            "These two numbers were chosen after the readings were seen, so they explain and do not confirm"
        )
    shares = [
        f"{100 * row['spectral_share']:.0f} % ({row['variant']})"
        for row in frame.drop_duplicates(["part", "case", "variant"]).to_dict("records")
        if (row["part"], row["case"], row["role"]) == ("Navier-Stokes", "full", "memory")
    ]
    if shares:
        notes.append(f"of the peak in full, the spectral convolutions made {', '.join(shares)}")
    return notes
