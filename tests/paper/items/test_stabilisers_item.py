"""What may be said of a stabiliser: nothing where none is needed, nothing of one seed, and what the counts are."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mpno.paper import save_table
from mpno.paper.items import stabilisers
from mpno.paper.records import REFERENCE_COLUMNS, ItemData, ItemTables

OVERFLOW = {"where": "blocks.7.conv", "operation": "to_copy in fft_forward"}
LABELS = {
    "full": "full",
    "none": "mixed, stabiliser none",
    "clip": "mixed, stabiliser none",
    "norm": "mixed, stabiliser norm",
    "sigma": "mixed, stabiliser sigma_clip",
    "mixed": "mixed",
}
NANS: dict[str, list[int | None]] = {
    "full": [None, None, None],
    "none": [2, 7, 1],
    "clip": [2, 7, 1],
    "norm": [8, 7, None],
    "sigma": [None],
    "mixed": [None, None, None],
}
"""The batch of the first NaN of each seed, twelve an epoch."""
PEAK = {"none": 100.0, "norm": 108.0, "mixed": 104.0, "full": 110.0, "clip": 100.0, "sigma": 100.0}


def ends(nans: dict[str, list[int | None]]) -> pd.DataFrame:
    rows = []
    for arm, batches in nans.items():
        for seed, batch in enumerate(batches):
            gone = {"status": "diverged", "batch": batch, "updates": (batch or 0) - 1, **OVERFLOW}
            done = {"status": "finished", "batch": 36, "updates": 36, "where": math.nan, "operation": math.nan}
            row: dict[str, Any] = {"part": "darcy", "arm": arm, "seed": seed, **(gone if batch else done)}
            row |= {"evidence": "native" if arm == "full" else "simulated", "epochs": row["batch"] / 12}
            row |= {"technique": "gradients clipped at 5" if arm == "clip" else math.nan}
            rows.append(row | {"train_loss": math.nan if batch else 0.5 + 0.1 * seed})
    return pd.DataFrame(rows)


def make(nans: dict[str, list[int | None]] = NANS, **changes: Any) -> ItemTables:
    arms = [
        {"name": name, "label": LABELS[name], "role": "setting", "against": None, "transform": "fft", "epochs": 3}
        | {"model": "FNO", "recipe": "Adam", "timed_as": name, "runs": {str(s): name for s in range(len(nans[name]))}}
        for name in nans
    ]
    data = {"name": "darcy", "source": "generate", "resolution": 128, "test_resolutions": [128]}
    context = {"data": data | {"n_train": 12, "n_test": 4}, "model": {"modes": [16, 16], "layers": 8}, "epochs": 3}
    context |= {"arms": arms, "compare": {"metric": "h1", "margin": 0.05, "confidence": 0.95, "power": None}}
    errors = [
        {"arm": row["arm"], "seed": row["seed"], "resolution": 128, "metric": metric, "status": row["status"]}
        | {"value": math.nan if row["status"] == "diverged" else 0.7 + 0.1 * row["seed"], "baseline": 0.706}
        for row in ends(nans).to_dict("records")
        for metric in ("h1", "l2")
    ]
    costs = pd.DataFrame([{"arm": arm, "predicted_peak": PEAK[arm] * 2**20} for arm in nans])
    said = [("norm", "finite", 0.0), ("norm", "delay", 2.0), ("norm", "memory_change", 30.0), ("clip", "finite", 0.0)]
    reference = pd.DataFrame(
        [(*row, "", "review discussion", "", "Appendix B.5") for row in said], columns=list(REFERENCE_COLUMNS)
    )
    part = ItemData(context, pd.DataFrame(errors), pd.DataFrame(), costs, reference)
    headroom = [
        {"part": "darcy", "arm": arm, "seed": seed, "evidence": "simulated", "epoch": epoch, "layer": layer}
        | {"points": points, "ratio": math.inf if arm == "none" and layer == 2 else ratio * points / 128**2}
        for arm, ratio in (("full", 1.1), ("none", 0.9), ("mixed", 0.25))
        for seed in range(3)
        for epoch in range(1, 2 if arm == "none" else 4)
        for layer in (1, 2)
        for points in (128**2, 256**2)
    ]
    activations = [
        {"part": "darcy", "arm": arm, "seed": seed, "evidence": "simulated", "stabiliser": "", "layer": layer}
        | {"stage": stage, "quantile": q, "value": value}
        for arm, stage in (("full", "before"), ("full", "after"), ("mixed", "before"), ("mixed", "after"))
        for seed in range(3)
        for layer in (1, 2)
        for q, value in ((0.0, -1.0), (0.01, -0.5), (0.25, 0.0), (0.5, 0.1), (0.75, 0.2), (0.99, 0.5), (1.0, 1.0))
    ]
    large = [{"setting": LABELS[arm], "peak": PEAK[arm]} for arm in ("none", "norm", "mixed")]
    probes = {"overflow": ends(nans), "headroom": pd.DataFrame(headroom)}
    probes |= {"activations": pd.DataFrame(activations), "published-size": pd.DataFrame(large)}
    about = {"item": "stabilisers", "title": "Stabilisers", "paper": "B.5", "scale": "desk", "changes": []}
    about |= {"device": "cpu", "processor": "A processor", "threads": 1, "versions": {}}
    return ItemTables(context=about, parts={"darcy": part}, probes=probes, reference=reference, **changes)


def verdicts(item: ItemTables) -> dict[str, str]:
    frame = stabilisers.table(item).numbers
    return dict(zip(frame["arm"], frame["verdict"], strict=True))


def test_where_none_overflows_the_others_are_judged() -> None:
    assert verdicts(make()) == {
        "full": "",
        "none": "gate: overflows in 3 of 3",
        "clip": "overflows too",
        "norm": "overflows in 2 of 3 seeds",
        "sigma": "illustration: one seed",
        "mixed": "stays finite",
    }


def test_one_seed_of_none_that_stays_finite_shuts_the_gate() -> None:
    found = verdicts(make(NANS | {"none": [2, None, 1]}))
    assert found["none"] == "gate: overflows in 2 of 3" and found["full"] == ""
    assert {found[arm] for arm in ("clip", "norm", "mixed", "sigma")} == {"not testable at this scale"}
    notes = stabilisers.table(make(NANS | {"none": [None]})).notes
    assert any("nothing can be said of the other arms at this scale" in note for note in notes)


def test_fewer_updates_than_none_made_say_nothing() -> None:
    item = make()
    rows = item.probes["overflow"]
    rows.loc[rows["arm"] == "mixed", "updates"] = 5
    assert verdicts(item)["mixed"] == "too few updates to say"
    rows.loc[rows["arm"] == "mixed", "updates"] = 6
    assert verdicts(item)["mixed"] == "stays finite"


def test_counts_are_seed_by_seed_and_against_none() -> None:
    frame = stabilisers.table(make()).numbers.set_index("arm")
    assert (
        frame.loc["norm", "nan_batch"] == "8, 7, finite" and frame.loc["none", "nan_epochs"] == "0.167, 0.583, 0.0833"
    )
    assert frame.loc["norm", "nan_after_none"] == "+0.5, +0, finite"
    assert frame.loc["norm", "nan_after_none_mean"] == pytest.approx((8 - 2 + 7 - 7) / 12 / 2)
    assert frame.loc["norm", "first"] == "forward transform of layer 8, 8"
    assert frame.loc["norm", "train_loss"] == pytest.approx(0.7) and math.isnan(frame.loc["norm", "train_loss_std"])
    assert frame.loc["mixed", "h1"] == pytest.approx(0.8) and frame.loc["mixed", "h1_std"] == pytest.approx(0.1)
    assert frame.loc["norm", "predicted_bytes_of_none"] == pytest.approx(1.08)


def test_a_reader_sees_no_nan_and_the_papers_values_apart(tmp_path: Path) -> None:
    table = stabilisers.table(make())
    shown = table.shown
    assert not shown.apply(lambda column: column.str.contains("nan|None", regex=True)).any(axis=None)
    save_table("stabilisers", "Stabilisers", table.numbers, shown, [], tmp_path)  # which refuses a NaN in words too
    row = shown[shown["before the transform"] == "normalisation layer"].iloc[0]
    assert (row["predicted memory"], row["paper, memory"]) == ("+8.0 %", "+30 %")
    assert (row["paper"], row["finite"]) == ("not finite 2 epochs later", "1 of 3")
    clip = shown[shown["technique"] == "gradients clipped at 5"].iloc[0]
    assert clip["paper"] == "not finite either" and clip["train H1"] == "\N{EN DASH}"


def test_a_test_that_overflows_and_other_places_are_said_in_words() -> None:
    bad = pd.DataFrame(
        [
            {"where": "evaluation on 128 points along an axis: blocks.0.conv", "operation": "to_copy in fft_forward"},
            {"where": "blocks.3.conv", "operation": "fft_r2c in fft_inverse"},
            {"where": "gradient, in 20 updates in a row", "operation": math.nan},
        ]
    )
    assert stabilisers._places(bad) == (
        "forward transform of layer 1 (test); inverse transform of layer 4; gradient, in 20 updates in a row"
    )


def test_the_figure_shows_the_training_grid_and_every_seed() -> None:
    drawn = stabilisers.figure(make())
    panels = dict(list(drawn.points.groupby("panel")))
    assert set(panels["headroom"]["ratio"]) == {1.1, 0.9, 0.25, math.inf}, "the finer test grid is left out"
    assert panels["headroom"].groupby("arm")["seed"].nunique().to_dict() == {"full": 3, "none": 3, "mixed": 3}
    top, bottom = drawn.figure.axes
    triangles = [line for line in top.lines if line.get_marker() == "^" and len(line.get_xdata())]
    assert len(triangles) == 3, "one overflow per seed of none"
    curves = [line for line in top.lines if line.get_marker() == "o"]
    assert len(curves) == 3 * 3 * 2
    bars = [line for line in bottom.lines if line.get_linewidth() == 2.0]
    assert len(bars) == 3 * 3 * 2, "full, and mixed before and after tanh, by seed and layer"
    assert all(list(line.get_ydata()) == [-0.5, 0.5] for line in bars)
    assert "overflow in none" in drawn.alt and "simulated" in drawn.caption
