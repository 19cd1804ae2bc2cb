"""What keeps a half transform finite: standard techniques and pre-activations, with none of them as the gate."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpno.paper.comparison import error_cell
from mpno.paper.drawing import Drawing, Table
from mpno.paper.range_figure import range_figure
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.specs import PrecisionSetting

GATE = "none"
BEFORE = {
    "none": "nothing",
    "tanh": "tanh",
    "hard_clip": "clip to [-1, 1]",
    "sigma_clip": "clip to mean ± 2 deviations",
    "pre_scale": "divide by the points",
    "norm": "normalisation layer",
}
"""What is done before the transform, by stabiliser."""
STEPS = {
    "fft_forward": "forward transform",
    "sht_forward": "forward transform",
    "fft_inverse": "inverse transform",
    "sht_inverse": "inverse transform",
}


def table(item: ItemTables) -> Table:
    """A row per arm: whether and where it left the finite numbers, its errors and memory, what may be said."""
    frame = numbers(item)
    return Table(frame, pd.DataFrame([_cells(row) for row in frame.to_dict("records")]), _notes(item, frame))


def figure(item: ItemTables) -> Drawing:
    """What each layer uses of fp16's range, and what it transforms with and without tanh."""
    return range_figure(item)


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per arm. What differs by seed is a text of one number per seed, in the order of the seeds."""
    data = item.only
    ends = item.probes["overflow"]
    gate = ends[ends["arm"] == GATE].set_index("seed")
    large = item.probes.get("published-size", pd.DataFrame(columns=["setting", "peak"])).set_index("setting")["peak"]
    rows = [_row(data, arm, ends[ends["arm"] == arm["name"]], gate) for arm in data.context["arms"]]
    frame = pd.DataFrame(rows)
    frame["published_size_bytes"] = [large.get(setting, math.nan) for setting in frame["setting"]]
    for column in ("predicted_bytes", "published_size_bytes"):
        base = frame.loc[frame["arm"] == GATE, column]
        frame[f"{column}_of_none"] = frame[column] / (base.iloc[0] if len(base) else math.nan)
    said = item.reference.pivot_table(index="setting", columns="metric", values="value", aggfunc="first")
    for metric in ("finite", "effective", "delay", "memory_change"):
        values = said[metric] if metric in said else pd.Series(dtype=float)
        frame[f"published_{metric}"] = [values.get(arm, math.nan) for arm in frame["arm"]]
    return frame


def _row(data: ItemData, arm: Mapping[str, Any], ends: pd.DataFrame, gate: pd.DataFrame) -> dict[str, Any]:
    name, setting = arm["name"], PrecisionSetting.model_validate(arm["label"])
    resolution = data.resolutions[0]
    ends = ends.sort_values("seed").set_index("seed")
    bad = ends[ends["status"] == "diverged"]
    finished = ends[ends["status"] != "diverged"]
    later = {seed: row["epochs"] - gate["epochs"][seed] for seed, row in bad.iterrows() if _gone(gate, seed)}
    row = {
        "arm": name,
        "setting": arm["label"],
        "role": arm["role"],
        "stabiliser": setting.stabiliser,
        "technique": _text(ends["technique"].iloc[0]) if len(ends) else "",
        "half_transform": "H" in setting.triple,
        "evidence": "/".join(sorted(set(ends["evidence"]))),
        "seeds": len(ends),
        "diverged": len(bad),
        "nan_epochs": _each(ends, lambda seed, one: f"{one['epochs']:.3g}" if seed in bad.index else "finite"),
        "nan_batch": _each(ends, lambda seed, one: str(one["batch"]) if seed in bad.index else "finite"),
        "nan_after_none": _each(ends, lambda seed, _: _later(seed, later, bad)),
        "nan_after_none_mean": float(pd.Series(later, dtype=float).mean()),
        "updates": _each(ends, lambda _, one: str(one["updates"])),
        "first": _places(bad),
        "first_operation": "; ".join(f"{one['where']}, {one['operation']}" for _, one in bad.iterrows()),
        "train_loss": float(finished["train_loss"].mean()),
        "train_loss_std": float(finished["train_loss"].std(ddof=1)),
    }
    for metric in ("h1", "l2"):
        values = pd.Series(data.values(name, metric, resolution), dtype=float)
        row |= {metric: float(values.mean()), f"{metric}_std": float(values.std(ddof=1))}
    costs = data.arms.set_index("arm")["predicted_peak"]
    row["predicted_bytes"] = float(costs.get(name, math.nan))
    return row | {"verdict": verdict(row, ends, gate)}


def verdict(row: Mapping[str, Any], ends: pd.DataFrame, gate: pd.DataFrame) -> str:
    """What may be said of an arm, by rules fixed before the runs.

    Nothing at all unless every seed without a stabiliser overflowed; nothing of one seed; and that an arm stays finite
    only where it made at least as many updates as none did before its overflow.

    Args:
        row: arm, role and half_transform of the arm.
        ends: its runs by seed, as the probe of overflow has them; gate: those of the arm without a stabiliser.
    """
    gone = int((ends["status"] == "diverged").sum())
    overflows = int((gate["status"] == "diverged").sum())
    if row["role"] == "control":
        return "illustration: range matched to the grid"
    if not row["half_transform"] or not len(ends):
        return ""
    if row["arm"] == GATE:
        return f"gate: overflows in {overflows} of {len(gate)}"
    if not len(gate) or overflows < len(gate):
        return "not testable at this scale"
    if len(ends) == 1:
        return "illustration: one seed"
    if gone == 0:
        enough = ends["updates"].min() >= gate["updates"].max()
        return "stays finite" if enough else "too few updates to say"
    return "overflows too" if gone == len(ends) else f"overflows in {gone} of {len(ends)} seeds"


def _gone(gate: pd.DataFrame, seed: Any) -> bool:
    return seed in gate.index and gate["status"][seed] == "diverged"


def _each(ends: pd.DataFrame, text: Any) -> str:
    return ", ".join(text(seed, one) for seed, one in ends.iterrows())


def _later(seed: Any, later: Mapping[Any, float], bad: pd.DataFrame) -> str:
    if seed not in bad.index:
        return "finite"
    return f"{later[seed]:+.3g}" if seed in later else NONE


def _text(value: Any) -> str:
    """A cell of text; pandas reads an empty one as NaN."""
    return value if isinstance(value, str) else ""


def _places(bad: pd.DataFrame) -> str:
    """The first operations that were not finite, in words: ``forward transform of layer 8, 7, 8 (test)``."""
    found: dict[str, list[str]] = {}
    for _, one in bad.iterrows():
        where, operation = _text(one["where"]), _text(one["operation"])
        layer = re.search(r"blocks\.(\d+)\.conv$", where)
        step = STEPS.get(operation.rpartition(" in ")[2])
        if layer is None or step is None:
            found.setdefault(", ".join(filter(None, (where, operation))), [])
            continue
        test = " (test)" if where.startswith("evaluation") else ""
        found.setdefault(f"{step} of layer", []).append(f"{int(layer[1]) + 1}{test}")
    return "; ".join(f"{step} {', '.join(layers)}".strip() for step, layers in found.items())


def _cells(row: Mapping[str, Any]) -> dict[str, str]:
    before = BEFORE[row["stabiliser"]] if row["half_transform"] else f"in full, {BEFORE[row['stabiliser']]}"
    matched = " (range matched)" if row["role"] == "control" else ""
    finite = f"{row['seeds'] - row['diverged']} of {row['seeds']}"
    return {
        "before the transform": before + matched,
        "technique": row["technique"] or NONE,
        "evidence": row["evidence"],
        "finite": finite,
        "first NaN, epochs": row["nan_epochs"] if row["diverged"] else NONE,
        "after none, epochs": row["nan_after_none"] if row["diverged"] and row["arm"] != GATE else NONE,
        "updates tried": row["updates"],
        "first not finite": row["first"] or NONE,
        "train H1": error_cell(row["train_loss"], row["train_loss_std"]),
        "test H1": error_cell(row["h1"], row["h1_std"]),
        "predicted memory": _share(row["predicted_bytes_of_none"]),
        "at published size": _share(row["published_size_bytes_of_none"]),
        "verdict": row["verdict"] or NONE,
        "paper": _said(row),
        "paper, memory": f"{row['published_memory_change']:+.0f} %" if row["published_memory_change"] > 0 else NONE,
    }


def _share(of_none: float) -> str:
    return NONE if math.isnan(of_none) else f"{100 * (of_none - 1):+.1f} %"


def _said(row: Mapping[str, Any]) -> str:
    """What the paper says of an arm, in few words; an en dash where nothing could be sourced."""
    if row["published_effective"] == 0:
        return "ineffective"
    if row["published_delay"] > 0:
        return f"not finite {row['published_delay']:g} epochs later"
    return "not finite either" if row["published_finite"] == 0 else NONE


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    data = item.only
    context = data.context
    gate = frame[frame["arm"] == GATE]
    opened = len(gate) and gate["diverged"].iloc[0] == gate["seeds"].iloc[0]
    learnt = data.errors.query("metric == 'h1'")["baseline"].mean()
    return [
        f"scale {item.context['scale']}, on {item.context['device']} ({item.context['processor']}), "
        f"{item.context['threads']} thread(s) per run",
        f"{data.title}, at {data.grid(data.resolutions[0])}, {context['data']['n_train']} training and "
        f"{context['data']['n_test']} test samples, {context['epochs']} epochs, {context['model']['layers']} layers, "
        f"group normalisation; all arms mixed but those in full",
        "gate: without a stabiliser "
        + ("every seed overflows" if opened else "not every seed overflows")
        + ("" if opened else ", so that nothing can be said of the other arms at this scale"),
        "first NaN: batches up to the first number that is not finite, over the batches of an epoch, seed by seed. "
        "Loss scaling skips such an update and goes on, until 20 in a row or a test (test) is not finite",
        "updates tried before that, or in all: an arm is said to stay finite only where it made as many as none did "
        "before its overflow. Delayed updates make a third of the updates in the same epochs",
        "errors: relative H1, mean ± sample standard deviation over the seeds that stayed finite. So short a training "
        f"says little by them: the mean of the training targets has {learnt:.3f} on the test",
        "memory: peak of a training step against that without a stabiliser, predicted from traced shapes and dtypes; "
        "published size: the eight-layer Navier-Stokes model, batch 32. Techniques keep no tensors of size",
        "one seed: an illustration, without a verdict",
        *_matched(frame),
        "paper: from the review discussion, where data set and model of these trials are not named. Its memory is that "
        "of an added normalisation layer; its scaling came right before each transform, how is not said",
    ]


def _matched(frame: pd.DataFrame) -> list[str]:
    names = frame.loc[frame["role"] == "control", "setting"]
    if names.empty:
        return []
    return [
        f"range matched: fp16 with its maximum scaled by the points of this grid over 128 x 128 ({', '.join(names)}), "
        "fixed beforehand; an illustration"
    ]
