"""Seconds of training on cards that are not here, by a model of bytes and operations, beside what was measured."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

import pandas as pd

from mpno.paper.drawing import Table
from mpno.paper.records import NONE, ItemTables

SAMPLES = 10_000
"""Training samples of an epoch, of which the published seconds are."""
LARGE = 5.0
"""Percent of deviation from which on a row says why."""


def table(item: ItemTables) -> Table:
    """A row per case and card: seconds per epoch and speed-up, modelled and measured."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, frame), roles=list(frame["card"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """Card by card. Speed-ups are against full of the same implementation and batch."""
    found_rows = item.reference.query("metric == 'seconds_per_epoch'").to_dict("records")
    measured = {(row["setting"], row["conditions"]): row for row in found_rows}
    probed = item.probes["cases"].to_dict("records")
    cards = list(dict.fromkeys(row["card"] for row in probed))
    epochs: dict[tuple[str, str, int, str], float] = {}
    rows = []
    for row in sorted(probed, key=lambda row: cards.index(row["card"])):
        group = (row["card"], row["implementation"], row["batch"])
        seconds = row["seconds"] * math.ceil(SAMPLES / row["batch"])
        epochs[(*group, row["setting"])] = seconds
        theirs = row["implementation"] == "authors"
        found = measured.get((row["setting"], row["card"])) if theirs else None
        base = measured.get(("full", row["card"])) if found else None
        modelled = epochs.get((*group, "full"), math.nan) / seconds
        out = {
            **{key: row[key] for key in ("card", "implementation", "setting", "transform", "batch", "operations")},
            **{key: row[key] for key in ("products_ms", "transforms_ms", "elementwise_ms")},
            "step_seconds": row["seconds"],
            "epoch_seconds": seconds,
            "speed_up": modelled,
            "measured_seconds": found["value"] if found else math.nan,
            "measured_speed_up": base["value"] / found["value"] if found and base else math.nan,
            "provenance": f"{found['provenance']} ({found['place']})" if found else "",
            "evidence": "predicted",
        }
        out["deviation"] = 100 * (seconds / out["measured_seconds"] - 1)
        rows.append({**out, "reason": _reason(out)})
    return pd.DataFrame(rows)


def _reason(row: dict[str, Any]) -> str:
    """Why the model is off by more than :data:`LARGE`, in one line."""
    if not abs(row["deviation"]) > LARGE:
        return ""
    if row["batch"] == 16:
        return "at the batch that the memory readings agree with; the times agree better with 32 on one card of the two"
    if row["deviation"] > 0:
        return "most of it is elementwise, and the card's memory may reach more than 80 % of its data sheet"
    if row["setting"] in ("half", "mixed"):
        return "half products of these shapes (inner size 1092, no multiple of 8) are taken for as fast as any"
    return "fp32 convolutions are taken for as fast as their bytes: amp saves more than the model gives them in all"


def _cells(row: dict[str, Any]) -> dict[str, str]:
    known = not math.isnan(row["measured_seconds"])
    whose = "authors' way" if row["implementation"] == "authors" else f"ours, {row['transform']}"
    return {
        "card": row["card"],
        "implementation": whose,
        "setting": row["setting"],
        "batch": f"{row['batch']}",
        "ms per step": f"{1000 * row['step_seconds']:,.0f}",
        "products": f"{row['products_ms']:,.0f}",
        "transforms": f"{row['transforms_ms']:,.0f}",
        "elementwise": f"{row['elementwise_ms']:,.0f}",
        "s/epoch": f"{row['epoch_seconds']:.1f}",
        "speed-up": NONE if math.isnan(row["speed_up"]) else f"{row['speed_up']:.2f}",
        "measured s/epoch": f"{row['measured_seconds']:.1f}" if known else NONE,
        "measured speed-up": f"{row['measured_speed_up']:.2f}" if known else NONE,
        "deviation": f"{row['deviation']:+.0f} %" if known else NONE,
        "reason": row["reason"] or NONE,
    }


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    known = frame.dropna(subset=["measured_seconds"])
    notes = [
        f"scale {item.context['scale']}; a model, not a measurement: no GPU was used and nothing was trained",
        "each operation of a step takes the slower of its bytes over 80 % of the data sheet's bandwidth and its "
        "operations over 70 % of its rate, and 5 microseconds a launch; a step takes the sum, or 10 microseconds of "
        "the host a launch if that is more. These four numbers were fixed before the comparison; none is fitted",
        "products, transforms, elementwise: milliseconds of the device in a step, without waiting for the host; tf32: "
        "full with products of fp32 rounded to TF32, which the RTX 3090 Ti's sheet makes no faster",
        f"s/epoch: {SAMPLES:,} training samples, without tests; measured: authors' notebook, August 2023",
        "speed-up: against full of the same implementation and batch; ours makes cheap activations again in the "
        "backward pass and works through large batches in parts, which costs time for the memory it saves",
    ]
    for batch, group in known.groupby("batch"):
        rows = group.to_dict("records")
        errors = [abs(row["deviation"]) for row in rows]
        ratios = [abs(row["speed_up"] / row["measured_speed_up"] - 1) for row in rows if row["setting"] != "full"]
        notes.append(
            f"error of the model at batch {batch}: seconds {median(errors):.0f} % in the median, {max(errors):.0f} % "
            f"at most over {len(rows)} readings; speed-ups {100 * median(ratios):.0f} % and {100 * max(ratios):.0f} %"
        )
    return notes
