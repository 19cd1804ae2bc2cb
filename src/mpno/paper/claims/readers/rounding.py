"""What one step, the activations and the gradients of a model say of a format's range."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import pandas as pd

from mpno.paper.claims.measured import Absent, Measured
from mpno.paper.records import ItemTables


def first_step(item: ItemTables, precision: str, grid: int) -> Measured:
    """How many of an untrained model's first steps are not finite: 1 or 0 of the one that was taken on a grid."""
    frame = item.probes["first-step"].query("precision == @precision and resolution == @grid")
    if frame.empty:
        raise Absent(f"the plan of this scale takes no first step in {precision} at {grid}")
    row = frame.iloc[0]
    finite = str(row["finite"]) == "True"
    text = f"{'finite' if finite else 'not finite'} at {grid}x{grid}, sums at {row['share']:.2g} of the maximum"
    return Measured(float(not finite), "of 1 first step not finite", str(row["evidence"]), "first-step", text=text)


def activations(item: ItemTables, arm: str, low: float, high: float) -> Measured:
    """What tanh leaves of the span between two quantiles of what the layers are given, over layers and seeds."""
    frame = item.probes["activations"]
    frame = frame[(frame["stabiliser"] == "tanh") & (frame["arm"] == arm)]
    if frame.empty:
        raise Absent(f"the plan of this scale has no activations of {arm}")
    spans = frame.pivot_table(index=["seed", "layer", "stage"], columns="quantile", values="value")
    width = (spans[high] - spans[low]).unstack("stage")
    ratio = 100 * width["after"] / width["before"]
    evidence = "/".join(sorted(set(frame["evidence"])))
    ends = float(ratio.min()), float(ratio.max())
    return Measured(float(ratio.median()), f"% of the span left ({len(ratio)} layers)", evidence, "activations", *ends)


def gradients(item: ItemTables, arm: str, column: str, moment: str = "trained") -> Measured:
    """Percent of the spectral weights' gradients below a constant of fp16 at a moment, mean over layers, by seed."""
    frame = item.probes["gradients"].query("arm == @arm and moment == @moment and kind == 'weights'")
    if frame.empty:
        raise Absent(f"the plan of this scale has no gradients of {arm}")
    each = pd.Series({seed: 100 * float(rows[column].mean()) for seed, rows in frame.groupby("seed")})
    evidence = "/".join(sorted(set(frame["evidence"])))
    return Measured(
        float(each.mean()), "% of the gradients", evidence, "gradients", float(each.min()), float(each.max()), len(each)
    )
