"""FP8 against FP16, clipped and unclipped: which trainings converge, and what range arithmetic says beforehand."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mpno.paper.drawing import Drawing, Table
from mpno.paper.items.fp8_figure import draw_curves_and_ranges
from mpno.paper.records import NONE, ItemData, ItemTables
from mpno.specs import PrecisionSetting, get_format

AGAINST = "mixed"
"""The arm of FP16 in every part."""
WORSE, DROP = 2.0, 0.1
"""A training does not converge if its last training loss is above WORSE times FP16's, or not at least the share DROP
below its own after the first epoch."""


def table(item: ItemTables) -> Table:
    """A row per grid and arm: both parts of the rule for each seed, what range foretells, and where a run stopped."""
    frame = numbers(item)
    shown = []
    for (part, arm), rows in frame.groupby(["part", "arm"], sort=False):
        shown.append(_cells(item.parts[str(part)], str(arm), rows))
    return Table(frame, pd.DataFrame(shown), _notes(item, frame), roles=[row["grid"] for row in shown])


def figure(item: ItemTables) -> Drawing:
    """Training curves on each grid, and what range foretells of overflow and underflow beside one measured step."""
    drawn, points = draw_curves_and_ranges(item)
    scale = item.context["scale"]
    caption = (
        f"Darcy flow at scale {scale}. Training loss in FP8 and FP16 on two grids (a, b; thin lines are seeds, bold "
        "ones their geometric mean; FP8 is clipped, and what is not has the same curve or none), the share of a "
        "format's maximum that a forward transform after tanh needs (c; lines are foretold for the largest field that "
        "tanh allows, marks measured, a cross where the first step was not finite), and the share of gradients that "
        "are not zero in the first step of an untrained model (d). Dotted: simulated; solid: predicted."
    )
    alt = "Training loss against epochs on two grids, and shares of range and of zero gradients against grid points"
    return Drawing(drawn, points, caption, alt)


def numbers(item: ItemTables) -> pd.DataFrame:
    """One row per part, arm and seed; no loss where a training diverged in its first epoch."""
    rows = [
        {
            "part": name,
            "grid": data.grid(data.resolutions[0]),
            "arm": arm["name"],
            **_about(arm),
            **_foretold(item, data, arm),
        }
        | outcome
        for name, data in item.parts.items()
        for arm in data.context["arms"]
        for outcome in outcomes(data, arm["name"])
    ]
    return pd.DataFrame(rows)


def outcomes(data: ItemData, arm: str) -> list[dict[str, Any]]:
    """Of each seed: first and last training loss, both ratios of the rule, and whether it converges by it."""
    runs = {entry["name"]: entry["runs"] for entry in data.context["arms"]}
    found = []
    for seed in map(int, runs[arm]):
        losses, reference = training_loss(data, arm, seed), training_loss(data, AGAINST, seed)
        gone = data.errors.query("arm == @arm and seed == @seed and status == 'diverged'").head(1).to_dict("records")
        first = losses[0] if losses else math.nan
        last = math.nan if gone or not losses else losses[-1]
        of_first = last / first
        of_fp16 = last / reference[-1] if reference else math.nan
        found.append(
            {
                "seed": seed,
                "first_loss": first,
                "last_loss": last,
                "of_first": of_first,
                "of_fp16": of_fp16,
                "converges": bool(of_first <= 1 - DROP and of_fp16 <= WORSE),
                "diverged_epoch": gone[0]["diverged_epoch"] if gone else math.nan,
                "diverged_step": gone[0]["diverged_step"] if gone else math.nan,
                "diverged_where": gone[0]["diverged_where"] if gone else "",
            }
        )
    return found


def training_loss(data: ItemData, arm: str, seed: int) -> list[float]:
    """Mean training loss of each epoch, in order."""
    rows = data.history.query("arm == @arm and seed == @seed").drop_duplicates("epoch").sort_values("epoch")
    return [float(value) for value in rows["train_loss"]]


def _about(arm: Mapping[str, Any]) -> dict[str, Any]:
    """What is quantised, and to what."""
    precision = PrecisionSetting.model_validate(arm["label"])
    fmt = get_format(precision.format)
    return {
        "setting": arm["label"] + (", loss scaled" if "loss scaling" in arm["recipe"] else ""),
        "quantised": "block" if precision.real == "fp32" else "every activation",
        "format": fmt.name,
        "beyond_maximum": "clipped" if fmt.saturates else "not finite",
        "exponent_bits": fmt.exponent_bits,
        "mantissa_bits": fmt.mantissa_bits,
        "maximum": fmt.max,
        "smallest": fmt.smallest_subnormal,
    }


def _foretold(item: ItemTables, data: ItemData, arm: Mapping[str, Any]) -> dict[str, Any]:
    """The row of range arithmetic for the arm's format, clipped or not, and the part's grid."""
    frame = item.probes["ranges"]
    name = PrecisionSetting.model_validate(arm["label"]).format.removesuffix("_sat")
    rows = frame[(frame["format"] == name) & (frame["grid"] == data.grid(data.resolutions[0]))]
    columns = {"share": "foretold_share", "overflow": "foretold_overflow", "mean_limit": "foretold_mean_limit"}
    columns |= {"flushed": "foretold_flushed"}
    return {new: rows[old].iloc[0] if len(rows) else None for old, new in columns.items()}


def _cells(data: ItemData, arm: str, rows: pd.DataFrame) -> dict[str, str]:
    one = rows.iloc[0]
    alone = " (one seed)" if len(rows) == 1 else ""
    evidence = data.arms.set_index("arm").loc[arm, "evidence"]
    return {
        "grid": one["grid"],
        "setting": one["setting"],
        "quantised": one["quantised"],
        "beyond the maximum": one["beyond_maximum"],
        "evidence": str(evidence),
        "range foretells": _fate(one),
        "loss, epoch 1": _each(rows["first_loss"], 3),
        "last": _each(rows["last_loss"], 3),
        "of epoch 1's": _each(rows["of_first"], 2),
        "of FP16's": _each(rows["of_fp16"], 2) if arm != AGAINST else NONE,
        "converges": f"{rows['converges'].sum()} of {len(rows)}{alone}",
        "stopped": _stopped(rows),
    }


def _fate(row: Mapping[str, Any]) -> str:
    if row["foretold_overflow"] is None:
        return NONE
    share = f"{row['foretold_share']:.2g}"
    if row["foretold_overflow"]:
        verb = "clipped" if row["beyond_maximum"] == "clipped" else "overflows"
        text = f"sums to {share} of the maximum: {verb} from a mean of {row['foretold_mean_limit']:.2g}"
    else:
        text = f"sums fit ({share} of the maximum)"
    return text + ("; gradients vanish" if row["foretold_flushed"] else "")


def _each(values: pd.Series, digits: int) -> str:
    return " ".join(NONE if math.isnan(value) else f"{value:.{digits}f}" for value in values)


def _stopped(rows: pd.DataFrame) -> str:
    gone = rows.dropna(subset=["diverged_epoch"])
    if gone.empty:
        return NONE
    row = gone.iloc[0]
    when = f"epoch {row['diverged_epoch']:.0f}, step {row['diverged_step']:.0f}"
    return f"{len(gone)} of {len(rows)}: {when}, in {row['diverged_where']}"


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    context = item.context
    notes = [f"changed: {' '.join(context['changes'])}"] if context["changes"] else []
    for name, data in item.parts.items():
        about = data.context["data"]
        epochs = " or ".join(str(n) for n in sorted({arm["epochs"] for arm in data.context["arms"]}))
        notes.append(
            f"scale {context['scale']}, {name}: {data.title}, at {data.grid(data.resolutions[0])}, {about['n_train']} "
            f"training samples, {epochs} epochs; on {context['device']} ({context['processor']}), "
            f"{context['threads']} thread(s) per run"
        )
    return [
        *notes,
        "evidence: simulated: operands, the unscaled result of each one-dimensional pass and what is stored after it "
        "are rounded to the format, and clipped there where the format is one that clips; gradients alike. Rounding "
        "inside a transform and FP8 hardware's own scaling are not modelled",
        f"converges, fixed beforehand: the last training loss is at most {WORSE:g} times FP16's of the same seed, and "
        f"at least {100 * DROP:g} % below the first epoch's; numbers of several seeds stand in the order of the seeds; "
        "one seed is an illustration. A run ends where a loss or a test error is not finite, on finer test grids too",
        "quantised: block: forward transform, contraction and inverse transform alone; every activation: the real "
        "layers' inputs, results and gradients too. The paper does not say which it means. Weights are kept in fp32 "
        "and rounded where they are used",
        "range foretells: before any run, from the format and the grid alone, of a forward transform after tanh: the "
        "largest sum that can come up over the maximum, and the mean of the field from which it exceeds it; gradients "
        "vanish: those of a relative L2 error, 1/n of n points, round to zero",
        "mixed-e5m2 and mixed-fp8_e5m2 are one format by two names; e5m3 has e4m3's mantissa and FP16's exponents, "
        "e4m10_max448 FP16's mantissa and e4m3's exponents and maximum; e4m10's smallest number is 2^-16, e4m3's 2^-9",
        "the paper: FP8, clipped, does not converge on Darcy flow at 128x128 (Appendix B.11, review discussion); no "
        "curve or value of it could be had. The discussion reports that both formats fail in the first iteration "
        "without clipping",
        *_first_step_notes(item),
    ]


def _first_step_notes(item: ItemTables) -> list[str]:
    """What one measured step says of the claim, grid by grid."""
    frame = item.probes.get("first-step")
    if frame is None:
        return []
    notes = []
    for precision, rows in frame.groupby("precision", sort=False):
        bad = rows.loc[~rows["finite"].astype(bool), "resolution"]
        grids = ", ".join(f"{grid}x{grid}" for grid in bad)
        notes.append(f"{precision} {'not finite at ' + grids if grids else 'finite'}")
    tried = ", ".join(f"{grid}x{grid}" for grid in dict.fromkeys(frame["resolution"]))
    return [f"first step of an untrained model at {tried}: {'; '.join(notes)}"]
