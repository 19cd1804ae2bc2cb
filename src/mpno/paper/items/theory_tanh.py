"""What tanh does to the constants of the bounds in trained models, layer by layer."""

# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

from typing import Any

import pandas as pd

from mpno.paper.drawing import Table
from mpno.paper.records import ItemTables

KEYS = ["part", "arm", "seed", "layer", "evidence"]
MEASURED = ["norm", "norm_high", "lipschitz", "lipschitz_high", "disc_upper", "prec_upper"]


def table(item: ItemTables) -> Table:
    """A row per data set, arm, seed and layer: both constants before tanh and after it, and both bounds' change."""
    frame = numbers(item.probes["constants"])
    shown = pd.DataFrame([_cells(row) for row in frame.to_dict("records")])
    return Table(frame, shown, _notes(item, frame), roles=list(frame["part"] + frame["arm"]))


def numbers(probe: pd.DataFrame) -> pd.DataFrame:
    """Both stages side by side."""
    stages = {stage: probe[probe["stage"] == stage].set_index(KEYS)[MEASURED] for stage in ("before", "after")}
    joined = stages["before"].add_suffix("_before").join(stages["after"].add_suffix("_after"))
    for name in ("norm", "lipschitz", "disc_upper", "prec_upper"):
        joined[f"{name}_ratio"] = joined[f"{name}_after"] / joined[f"{name}_before"]
    return joined.reset_index()


def _cells(row: dict[str, Any]) -> dict[str, str]:
    return {
        "data": row["part"],
        "trained in": row["arm"],
        "layer": str(row["layer"]),
        "norm": f"{row['norm_before']:.2f} ({row['norm_high_before']:.2f})",
        "after tanh": f"{row['norm_after']:.2f} ({row['norm_high_after']:.2f})",
        "Lipschitz": f"{row['lipschitz_before']:.1f} ({row['lipschitz_high_before']:.1f})",
        "Lipschitz after": f"{row['lipschitz_after']:.1f} ({row['lipschitz_high_after']:.1f})",
        "grid's bound": f"x {row['disc_upper_ratio']:.2f}",
        "rounding's bound": f"x {row['prec_upper_ratio']:.2f}",
        "evidence": row["evidence"],
    }


def _notes(item: ItemTables, frame: pd.DataFrame) -> list[str]:
    context = item.context
    seeds = ", ".join(str(seed) for seed in sorted(set(frame["seed"])))
    return [
        f"scale {context['scale']}, seed {seeds}; on {context['device']} ({context['processor']}); trained runs of "
        f"the item tanh",
        "norm, Lipschitz: sup-norm and Lipschitz constant of what the spectral layer is given, channel by channel, "
        "taken as "
        "multilinear between grid points: median over channels and samples (and the largest)",
        "after tanh: of its tanh; models trained in full have no tanh of their own, it is applied to what they hold",
        "bounds: what Theorem 1's and Theorem 4's upper bounds (docs/theory.md) become, for frequency (1, 0) and "
        "fp16; they "
        "are bounds of one coefficient's absolute error, and what the coefficient is compared with shrinks too",
    ]
