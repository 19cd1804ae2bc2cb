"""The rule of convergence and what range foretells, on frames made by hand."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pandas as pd
import pytest

from mpno.measurement.probes.ranges import ranges
from mpno.paper.items import fp8
from mpno.paper.records import NONE, REFERENCE_COLUMNS, ItemData, ItemTables

LOSSES: dict[str, dict[str, list[list[float]]]] = {
    "darcy": {"mixed": [[1.0, 0.6, 0.4], [1.0, 0.5, 0.5]], "e4m3": [[1.1, 0.9, 0.7]]},
    "finer": {
        "mixed": [[1.0, 0.6, 0.40], [1.0, 0.5, 0.5]],
        # Twice FP16's and a tenth below the first epoch's, both exactly, which is enough; then a little more of either.
        "e5m2-clipped": [[1.0, 0.9, 0.80], [1.0, 0.9, 0.9]],
        "e4m3-clipped": [[1.2, 1.0, 0.81], [0.8, 0.8, 0.73]],
        "e4m3": [[]],
        "block": [[1.0, 0.8, 0.5]],
        "scaled": [[1.0, 0.8, 0.6]],
    },
}
LABELS = {
    "e4m3": "mixed-fp8_e4m3",
    "e5m2-clipped": "mixed-fp8_e5m2_sat",
    "e4m3-clipped": "mixed-fp8_e4m3_sat",
    "block": "half-fp8_e4m3_sat",
    "scaled": "mixed-fp8_e4m3_sat",
}


def part(name: str, resolution: int) -> ItemData:
    arms, errors, history = [], [], []
    for arm, seeds in LOSSES[name].items():
        label = LABELS.get(arm, arm)
        recipe = "Adam, StepLR, H1 loss" + (", loss scaling by 1024" if arm == "scaled" else "")
        runs = {str(seed): f"{name}_{arm}_{seed}" for seed in range(len(seeds))}
        about = {"model": "FNO", "transform": "fft", "recipe": recipe, "role": "setting", "epochs": 3}
        arms.append({"name": arm, "label": label, "against": "mixed", "runs": runs, **about})
        for seed, losses in enumerate(seeds):
            gone = {"status": "finished", "diverged_epoch": math.nan, "diverged_step": math.nan, "diverged_where": None}
            if not losses:
                gone = {"status": "diverged", "diverged_epoch": 1, "diverged_step": 2, "diverged_where": "block 0"}
            errors.append({"arm": arm, "seed": seed, "metric": "l2", "resolution": resolution, "value": 0.1, **gone})
            for epoch, loss in enumerate(losses, 1):
                for metric in ("l2", "h1"):
                    where = {"arm": arm, "seed": seed, "metric": metric, "resolution": resolution}
                    history.append({"epoch": epoch, "train_loss": loss, "value": 0.1, **where})
    data = {"name": "darcy", "source": "generate", "resolution": resolution, "test_resolutions": [resolution]}
    frames = {
        "context": {
            "data": {**data, "n_train": 4, "n_test": 2},
            "model": {"modes": [12, 12]},
            "arms": arms,
            "epochs": 3,
        },
        "errors": pd.DataFrame(errors),
        "history": pd.DataFrame(history),
        "arms": pd.DataFrame([{"arm": arm["name"], "evidence": "simulated"} for arm in arms]),
        "reference": pd.DataFrame(columns=list(REFERENCE_COLUMNS)),
    }
    return ItemData(**{field.name: frames[field.name] for field in dataclasses.fields(ItemData)})


@pytest.fixture(scope="module")
def item() -> ItemTables:
    foretold = ranges([], {"formats": ["fp16", "fp8_e5m2", "fp8_e4m3"], "grids": [[16, 16], [64, 64], [32, 32, 32]]})
    step = [
        {"precision": precision, "resolution": n, "points": n * n, "share": share * n * n / 448, "finite": finite}
        | {"zero": 0.9 if finite else None, "evidence": "simulated"}
        for precision, share, finite in (("mixed", 0.01, True), ("mixed-fp8_e4m3", 0.9, False))
        for n in (16, 64)
    ]
    context: dict[str, Any] = {"item": "fp8", "title": "FP8", "scale": "desk", "changes": [], "device": "cpu"}
    return ItemTables(
        context={**context, "processor": "A processor", "threads": 1},
        parts={"darcy": part("darcy", 16), "finer": part("finer", 64)},
        probes={"ranges": pd.DataFrame(foretold), "first-step": pd.DataFrame(step)},
        reference=pd.DataFrame(columns=list(REFERENCE_COLUMNS)),
    )


def test_both_parts_of_the_rule(item: ItemTables) -> None:
    frame = fp8.numbers(item).set_index(["part", "arm", "seed"]).sort_index()
    assert frame["converges"].loc["finer"].to_dict() == {
        ("mixed", 0): True,
        ("mixed", 1): True,
        ("e5m2-clipped", 0): True,
        ("e5m2-clipped", 1): True,
        ("e4m3-clipped", 0): False,
        ("e4m3-clipped", 1): False,
        ("e4m3", 0): False,
        ("block", 0): True,
        ("scaled", 0): True,
    }
    # The first of these is too far above FP16's, the second too little below its own beginning.
    row = frame.loc["finer", "e4m3-clipped"]
    assert row["of_fp16"].tolist() == pytest.approx([0.81 / 0.4, 0.73 / 0.5])
    assert row["of_first"].tolist() == pytest.approx([0.81 / 1.2, 0.73 / 0.8])
    assert math.isnan(frame.loc[("finer", "e4m3", 0), "last_loss"])
    assert frame.loc[("finer", "e4m3", 0), "diverged_step"] == 2


def test_a_row_says_what_is_quantised_and_what_range_foretells(item: ItemTables) -> None:
    frame = fp8.numbers(item).drop_duplicates(["part", "arm"]).set_index(["part", "arm"])
    assert frame.loc[("finer", "block"), "quantised"] == "block"
    assert frame.loc[("finer", "e4m3"), "quantised"] == "every activation"
    assert frame.loc[("finer", "e4m3"), "beyond_maximum"] == "not finite"
    assert frame.loc[("finer", "e4m3-clipped"), "beyond_maximum"] == "clipped"
    # 4096 points against 448, of a format whose clipped sister has no row of its own.
    assert frame.loc[("finer", "e4m3-clipped"), "foretold_mean_limit"] == 0.109375
    assert not frame.loc[("darcy", "e4m3"), "foretold_overflow"]
    assert frame.loc[("finer", "scaled"), "setting"] == "mixed-fp8_e4m3_sat, loss scaled"


def test_what_a_reader_sees(item: ItemTables) -> None:
    drawn = fp8.table(item)
    assert len(drawn.shown) == 8 == len(drawn.roles or ())
    cells = drawn.shown.set_index(["grid", "setting", "quantised"])
    clipped = cells.loc[("64x64", "mixed-fp8_e4m3_sat", "every activation")]
    assert clipped["converges"] == "0 of 2" and clipped["of FP16's"] == "2.02 1.46"
    assert clipped["range foretells"] == "sums to 9.1 of the maximum: clipped from a mean of 0.11; gradients vanish"
    gone = cells.loc[("64x64", "mixed-fp8_e4m3", "every activation")]
    assert gone["converges"] == "0 of 1 (one seed)" and gone["stopped"] == "1 of 1: epoch 1, step 2, in block 0"
    assert gone["last"] == NONE and "overflows from a mean of 0.11" in gone["range foretells"]
    coarse = cells.loc[("16x16", "mixed-fp8_e4m3", "every activation")]
    assert coarse["range foretells"] == "sums fit (0.57 of the maximum)"
    assert not drawn.shown.map(lambda cell: "nan" in cell or "None" in cell).any().any()
    notes = "\n".join(drawn.notes)
    assert "at most 2 times FP16's" in notes and "at least 10 % below" in notes
    assert "mixed-fp8_e4m3 not finite at 16x16, 64x64" in notes and "mixed finite" in notes


def test_the_figure_shows_every_loss_once_and_each_prediction(item: ItemTables) -> None:
    drawn = fp8.figure(item)
    points = drawn.points
    for panel, name in (("a", "darcy"), ("b", "finer")):
        wanted = sorted(loss for seeds in LOSSES[name].values() for losses in seeds for loss in losses)
        assert sorted(points.loc[points["panel"] == panel, "y"]) == wanted
    foretold = points[points["panel"] == "c"]
    assert len(foretold) == 3 * 2  # not the grid of three axes
    assert foretold.set_index(["series", "x"]).loc[("fp8_e4m3", 64.0), "y"] == 4096 / 448
    assert len(points[points["panel"] == "c, measured"]) == 4
    assert points.loc[points["panel"] == "d", "series"].tolist() == ["mixed", "mixed"]
    assert points.loc[points["panel"] == "d", "y"].tolist() == pytest.approx([0.1, 0.1])
    assert "simulated" in drawn.caption and drawn.alt


def test_without_the_finer_grid_and_without_the_step(item: ItemTables) -> None:
    """As a smaller scale may have it."""
    less = dataclasses.replace(item, parts={"darcy": item.parts["darcy"]}, probes={"ranges": item.probes["ranges"]})
    assert len(fp8.table(less).shown) == 2
    assert set(fp8.figure(less).points["panel"]) == {"a", "c"}
