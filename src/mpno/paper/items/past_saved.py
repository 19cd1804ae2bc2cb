"""Saved activations in eight bits: the error it costs, the gradient's, and the bytes, measured and predicted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpno.paper.drawing import Table
from mpno.paper.readings import READINGS, read_arm, read_cells, reading_notes
from mpno.paper.records import NONE, ItemTables
from mpno.specs import PrecisionSetting

MIB = 2**20
TRAINED, MEASURED, PREDICTED = "trained", "kept, measured", "step, predicted"
_COLUMNS: tuple[str, ...] = ("kind", "data", "setting", "transform", "evidence", "seeds", "L2", "L2 change", "verdict")
_COLUMNS += ("gradient off", "activations MiB", "of unpacked", "peak MiB", "of its full")


def table(item: ItemTables) -> Table:
    """A row per training arm, then per case of measured bytes, then per published size."""
    frame = numbers(item)
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")], columns=list(_COLUMNS))
    return Table(frame, shown, _notes(item), roles=list(frame["kind"]))


def numbers(item: ItemTables) -> pd.DataFrame:
    """Errors relative, sizes in bytes; ``kept`` and ``peak`` beside those of the same setting with nothing packed."""
    return pd.DataFrame([*_trained(item), *_measured(item), *_predicted(item)])


def _trained(item: ItemTables) -> list[dict[str, Any]]:
    probe = item.probes["step"].to_dict("records")
    steps = {(row["part"], row["precision"]): row for row in probe}
    return [
        {"kind": TRAINED, "part": part, "transform": arm["transform"]}
        | read_arm(data, arm)
        | {key: steps.get((part, arm["label"]), {}).get(key, math.nan) for key in ("gradient", "output")}
        for part, data in item.parts.items()
        for arm in data.context["arms"]
    ]


def _measured(item: ItemTables) -> list[dict[str, Any]]:
    cases = item.probes["kept"].to_dict("records")
    plain = {(_unpacked(row["setting"]), row["transform"]): row["measured"] for row in reversed(cases)}
    return [
        {"kind": MEASURED, "part": f"{row['data']} {row['grid']}, batch {row['batch']}"}
        | {key: row[key] for key in ("setting", "transform", "evidence")}
        | {"kept": row["measured"], "kept_predicted": row["predicted"]}
        | {"of_unpacked": row["measured"] / plain[_unpacked(row["setting"]), row["transform"]]}
        for row in cases
    ]


def _predicted(item: ItemTables) -> list[dict[str, Any]]:
    sizes = item.probes["sizes"].to_dict("records")
    plain = {(row["part"], row["setting"]): row for row in sizes}
    rows = []
    for row in sizes:
        same, full = plain[row["part"], _unpacked(row["setting"])], plain[row["part"], "full"]
        about = {"kind": PREDICTED, "part": f"{row['part']} {row['grid']}, batch {row['batch']}"}
        about |= {key: row[key] for key in ("setting", "evidence")}
        about |= {"kept": row["activations"], "of_unpacked": row["activations"] / same["activations"]}
        rows.append(about | {"peak": row["peak"], "of_full": row["peak"] / full["peak"]})
    return rows


def _unpacked(label: str) -> str:
    return PrecisionSetting.model_validate(label).model_copy(update={"saved": None}).label


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    cells = dict.fromkeys(_COLUMNS, NONE)
    transform = row["transform"] if isinstance(row["transform"], str) else NONE
    cells |= {"kind": row["kind"], "data": row["part"], "setting": row["setting"]}
    cells |= {"transform": transform, "evidence": row["evidence"]}
    if row["kind"] == TRAINED:
        # Beside rows without them, a frame holds counts as floats.
        read = read_cells({**row, **{key: int(row[key]) for key in ("seeds", "diverged", "epochs")}})
        cells |= {key: read[key] for key in ("seeds", "L2", "L2 change", "verdict")}
        return cells | {"gradient off": _percent(row["gradient"])}
    cells |= {"activations MiB": f"{row['kept'] / MIB:,.1f}", "of unpacked": _percent(row["of_unpacked"])}
    if row["kind"] == PREDICTED:
        cells |= {"peak MiB": f"{row['peak'] / MIB:,.0f}", "of its full": _percent(row["of_full"])}
    return cells


def _percent(value: float) -> str:
    return NONE if math.isnan(value) else f"{100 * value:.3g} %"


def _notes(item: ItemTables) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    notes.append(
        f"scale {context['scale']}, on {context['device']} ({context['processor']}), {context['threads']} thread(s) "
        "per run"
    )
    notes += [note for part, data in item.parts.items() for note in reading_notes(data, part)]
    return [
        *notes,
        *READINGS,
        "saved: what the backward pass needs of activations is packed to one byte per number, in mxfp8 with one more "
        "for every 32 neighbours in memory, and unpacked when it is needed; the forward pass is the same bits; "
        "parameters and what is held of them stay as they are",
        "gradient off: the first step's gradient against full precision with the same stabiliser, relative",
        "kept, measured: what one forward pass leaves alive for the backward on this processor, parameters and batch "
        "apart, in settings whose format it has; step, predicted: a training step of the authors' models from traced "
        "shapes and dtypes, where cheap activations are made again",
    ]
