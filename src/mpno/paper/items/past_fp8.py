"""Eight bits with block scales beside plain FP8 and FP16: which element, for which operands, rounded how."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from mpno.paper.comparison import percent_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.readings import READINGS, read_arm, read_cells, reading_notes
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.paper.statistics import paired_change
from mpno.paper.style import SHORT, TEXT_WIDTH, look
from mpno.specs import Format, PrecisionSetting, get_format

_PLAIN = ("e4m3", "e5m2")
PLAIN = {"mx-int8": _PLAIN, "mx-up": _PLAIN}
"""For arms with blocks, what plain clipped FP8 does in the same places: there is no credit where any of it does
as well as FP16."""
_PARTS = ("transform", "contraction", "inverse")


def table(item: ItemTables) -> Table:
    """A row per data set and arm: what values and gradients are held in, the bound of it, the error and its change."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item), roles=list(frame["part"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per part and arm; where probes have them, the first step's errors and its models' error in FP16."""
    steps = {row["precision"]: row for row in item.probes["step"].to_dict("records")}
    rows = []
    for part, data in item.parts.items():
        asked = part == item.probes["step"]["part"].iloc[0]
        for arm in data.context["arms"]:
            step = steps.get(arm["label"], {}) if asked else {}
            row = {"part": part} | read_arm(data, arm) | _about(arm["label"])
            row |= {f"step_{key}": step.get(key, math.nan) for key in ("output", "gradient", "zero")}
            rows.append(row | _tested(item.probes["tested"], part, data, arm))
    return pd.DataFrame(rows)


def _tested(probe: pd.DataFrame, part: str, data: ItemData, arm: Mapping[str, Any]) -> dict[str, float]:
    """The change of L2 of an arm's models once they are tested in FP16, as what they are held against was."""
    found = probe[(probe["part"] == part) & (probe["arm"] == arm["name"]) & (probe["role"] == "setting")]
    mine = dict(zip(found["seed"], found["l2"], strict=True)) if arm["against"] else {}
    against = data.values(arm["against"], "l2", data.resolutions[0]) if mine else {}
    change = paired_change(mine, against, confidence=data.context["compare"]["confidence"])
    return {"tested_change": change.mean, "tested_change_low": change.low, "tested_change_high": change.high}


def _about(label: str) -> dict[str, Any]:
    """What is held in what, and the relative part of Theorem 4's bound for each."""
    precision = PrecisionSetting.model_validate(label)
    values = get_format(precision.format)
    gradients = values.gradient or values
    half = [name for name, letter in zip(_PARTS, precision.triple, strict=True) if letter == "H"]
    where = "block" if len(half) == len(_PARTS) else ", ".join(half) or "nothing"
    return {
        "in_format": where + (", real layers" if precision.real != "fp32" else ""),
        "values": values.name.partition("_back_")[0],
        "gradients": gradients.name.removesuffix("_stochastic"),
        "gradients_rounded": "by chance" if gradients.stochastic else "to nearest",
        "bound_values": _bound(values),
        "bound_gradients": _bound(gradients),
    }


def _bound(fmt: Format) -> float:
    return (1 + fmt.unit_roundoff) ** 2 - 1


def findings(data: ItemData) -> list[str]:
    """What the rule, fixed beforehand, allows one to say of the arms with blocks in a part."""
    read = {arm["name"]: read_arm(data, arm) for arm in data.context["arms"]}
    said = []
    for blocks, plain in PLAIN.items():
        found = {name: read[name]["verdict"] for name in plain if name in read}
        if blocks not in read or not found:
            continue
        if read[blocks]["seeds"] < 2:
            said.append(f"{blocks}: one seed, no verdict")
        elif all(verdict.startswith(("worse", "diverged")) for verdict in found.values()):
            said.append(f"{blocks}: {read[blocks]['verdict']}, where plain {' and '.join(found)} fail")
        else:
            said.append(f"{blocks}: no credit, plain FP8 is not known to be worse than FP16 by more than the margin")
    return said


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = read_cells(row)
    return {
        "data": SHORT[row["part"]],
        "values in": row["values"],
        "gradients in": row["gradients"] + (", by chance" if row["gradients_rounded"] == "by chance" else ""),
        "where": row["in_format"],
        **{key: cells[key] for key in ("evidence", "seeds", "L2", "L2 change", "verdict")},
        "L2 change, tested in fp16": percent_cell(*(row[f"tested_change{tail}"] for tail in ("", "_low", "_high"))),
        "stabiliser": PrecisionSetting.model_validate(row["setting"]).stabiliser,
        "bound": _percent(row["bound_values"]),
        "first step: output": _percent(row["step_output"]),
        "gradient": _percent(row["step_gradient"]),
        "zero": _percent(row["step_zero"]),
    }


def _percent(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.3g} %"


def _notes(item: ItemTables) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    where = f"on {context['device']} ({context['processor']}), {context['threads']} thread(s) per run"
    notes.append(f"scale {context['scale']}, {where}; every number of trainings is simulated by rounding what is held")
    for part, data in item.parts.items():
        notes += [*reading_notes(data, part), *(f"{part}, {finding}" for finding in findings(data))]
    return [
        *notes,
        *READINGS,
        "mxfp8: blocks of up to 32 neighbours along the last axis in memory share a power of two; elements are e4m3, "
        "e5m2 in mxfp8_e5m2, integers in mxint8. The last axis is the channels, of which a row of fewer than 32 is a "
        "block of its own; real and imaginary parts of the channels' coefficients count together under fft. Master "
        "weights, their gradients and the optimiser are fp32",
        "bound: (1 + u)^2 - 1, the relative part of Theorem 4 (docs/theory.md), the worst case of a product of two "
        "rounded numbers; in mxfp8 u is 1/8, for what lies between the largest element and the next power of two is "
        "clamped; in mxint8 it holds for the upper half of a block's range, below which errors do not fall with values",
        "first step: relative errors of output and gradient in one step of the untrained model against full precision "
        "with the same stabiliser, first seed; zero: the share of gradients that are zero",
        "tested in fp16: the same trained models, used in FP16 for the test; what is left of the change was done to "
        "the weights",
    ]


def figure(item: ItemTables) -> Drawing:
    """What each arm changes in L2, and what mantissa and range do to the first step's gradient."""
    frame = numbers(item)
    first = frame[frame["part"] == frame["part"].iloc[0]]
    changes = first.dropna(subset=["l2_change"])
    probe = item.probes["step"].to_dict("records")
    margin = 100 * next(iter(item.parts.values())).context["compare"]["margin"]
    with look():
        drawn = Figure(figsize=(TEXT_WIDTH, 0.9 + 0.15 * max(len(changes), len(probe))), layout="constrained")
        left, right = drawn.subplots(1, 2)
        left.set_xscale("symlog", linthresh=10)
        left.margins(x=0.08)
        left.axvspan(-margin, margin, color="0.92", linewidth=0)
        _dots(left, [(_name(row), row) for row in changes.to_dict("records")])
        left.set(title="(a) change of test L2", xlabel="% of FP16's error")
        left.set_xticks([-10, 0, 10, 100], ["-10", "0", "10", "100"])
        for place, row in enumerate(probe):
            for key, marker in (("gradient", "o"), ("output", "|")):
                right.plot(100 * row[key], place, marker, color="black", markersize=4, markerfacecolor="white")
        right.set_yticks(range(len(probe)), [str(row["precision"]).removeprefix("mixed-") for row in probe])
        right.set(title="(b) gradient (o), output (|)", xlabel="% off full precision, first step", xscale="log")
        for axes in (left, right):
            axes.invert_yaxis()
            axes.tick_params(axis="y", labelsize=5)
            axes.grid(axis="x", color="0.9")
            sns.despine(ax=axes)
    caption = (
        f"{SHORT[str(first['part'].iloc[0])]} flow, scale {item.context['scale']}: what each setting changes in the "
        "test error beside FP16 (a; bars are t intervals over seeds, without one it is one seed, grey is the margin "
        "fixed beforehand) and how far the first step's gradient and output are from full precision (b). Hollow: "
        "simulated, as every number here."
    )
    points = pd.concat([changes.assign(panel="a"), pd.DataFrame(probe).assign(panel="b")], ignore_index=True)
    alt = "Changes of the test error by setting with intervals, and errors of the first gradient by number format"
    return Drawing(drawn, points, caption, alt)


def _name(row: Mapping[str, Any]) -> str:
    return str(row["setting"]).removeprefix("mixed-")


def _dots(axes: Any, rows: list[tuple[str, Mapping[str, Any]]]) -> None:
    for place, (_, row) in enumerate(rows):
        mean, low, high = (100 * row[f"l2_change{tail}"] for tail in ("", "_low", "_high"))
        reach = None if math.isnan(low) else [[mean - low], [high - mean]]
        axes.errorbar(mean, place, xerr=reach, fmt="o", color="black", markersize=3.5, mfc="white", linewidth=0.9)
    axes.set_yticks(range(len(rows)), [name for name, _ in rows])
