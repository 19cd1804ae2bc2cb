"""Formats side by side, on frames made by hand: both readings of a change, what is in the format, published cells."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mpno.paper.items import formats
from mpno.paper.records import NONE, REFERENCE_COLUMNS, ItemData, ItemTables

ERRORS: dict[str, tuple[float, ...]] = {
    "full": (0.100, 0.110, 0.090),
    "mixed": (0.101, 0.1122, 0.0909),
    "mixed-bf16": (0.110, 0.118, 0.101),
    "tf32": (0.1002,),
    "full-matmul": (0.100,),
    "mixed-bf16-matmul": (0.108,),
    "mixed-e5m2": (0.150, 0.160, 0.140),
}
LABELS = {"tf32": "mixed-tf32 FHF, stabiliser none", "full-matmul": "full", "mixed-bf16-matmul": "mixed-bf16"}
NATIVE = ("full", "full-matmul", "mixed-bf16-matmul")
MIB = 2**20


def part() -> ItemData:
    arms, errors, costs = [], [], []
    for arm, values in ERRORS.items():
        transform = "matmul" if arm.endswith("matmul") else "fft"
        against = {"full": None, "full-matmul": None, "mixed-bf16-matmul": "full-matmul"}.get(arm, "full")
        about = {"transform": transform, "recipe": "Adam", "model": "FNO", "epochs": 3, "against": against}
        role = "control" if arm == "mixed-e5m2" else "setting"
        runs = {str(seed): f"{arm}_{seed}" for seed in range(len(values))}
        arms.append({"name": arm, "label": LABELS.get(arm, arm), "role": role, "runs": runs, **about})
        for seed, value in enumerate(values):
            where = {"arm": arm, "seed": seed, "metric": "l2", "resolution": 16}
            errors.append({**where, "value": value, "status": "finished", "baseline": 1.0, "first": 0.5})
        native = arm in NATIVE
        stored = math.nan if arm in ("tf32", "mixed-e5m2") else 3.0 * MIB
        costs.append(
            {"arm": arm, "evidence": "native" if native else "simulated", "seconds": 2.0 if native else math.nan}
            | {"predicted_peak": stored, "why_untimed": None if native else "simulated"}
        )
    data = {"name": "darcy", "source": "fetch", "resolution": 16, "test_resolutions": [16], "n_train": 4, "n_test": 2}
    rule = {"control": "mixed-e5m2", "told_from": ["full"]}
    compare = {"metric": "l2", "margin": 0.05, "confidence": 0.95, "power": rule}
    frames = {
        "context": {"data": data, "model": {"modes": [12, 12]}, "arms": arms, "epochs": 3, "compare": compare},
        "errors": pd.DataFrame(errors),
        "history": pd.DataFrame(columns=["arm", "seed", "epoch", "train_loss"]),
        "arms": pd.DataFrame(costs),
        "reference": pd.DataFrame(columns=list(REFERENCE_COLUMNS)),
    }
    return ItemData(**{field.name: frames[field.name] for field in dataclasses.fields(ItemData)})


@pytest.fixture(scope="module")
def item() -> ItemTables:
    about = ("authors' notebook", "a card", "memory and throughput")
    published = [("tf32", "memory", 10534.0, "MB", *about), ("tf32", "seconds_per_epoch", 72.52, "s", *about)]
    context: dict[str, Any] = {"item": "formats", "title": "Formats", "scale": "desk", "changes": [], "device": "cpu"}
    return ItemTables(
        context={**context, "processor": "A processor", "threads": 1},
        parts={"darcy": part(), "navier-stokes": part()},
        probes={},
        reference=pd.DataFrame(published, columns=list(REFERENCE_COLUMNS)),
    )


def test_a_change_in_both_readings(item: ItemTables) -> None:
    row = formats.numbers(item).set_index(["part", "arm"]).loc[("darcy", "mixed-bf16")]
    away = np.array(ERRORS["mixed-bf16"]) - np.array(ERRORS["full"])
    for values, mean, low, high in (
        (away, "points", "points_low", "points_high"),
        (away / np.array(ERRORS["full"]), "change", "change_low", "change_high"),
    ):
        interval = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
        assert row[mean] == pytest.approx(values.mean()) and row[low] == pytest.approx(interval[0])
        assert row[high] == pytest.approx(interval[1])


def test_what_each_format_is(item: ItemTables) -> None:
    frame = formats.numbers(item).set_index(["part", "arm"]).loc["darcy"]
    assert frame["unit_roundoff"].to_dict() == {
        "full": 2.0**-24,
        "mixed": 2.0**-11,
        "mixed-bf16": 2.0**-8,
        "tf32": 2.0**-11,
        "full-matmul": 2.0**-24,
        "mixed-bf16-matmul": 2.0**-8,
        "mixed-e5m2": 2.0**-3,
    }
    assert frame.loc["tf32", "in_format"] == "contraction, real layers"
    assert frame.loc["mixed-bf16", "in_format"] == "block, real layers"
    assert frame.loc["full", "in_format"] == "nothing"
    assert frame.loc["mixed-bf16", "maximum"] > 3e38 > frame.loc["mixed", "maximum"] == 65504


def test_what_a_reader_sees(item: ItemTables) -> None:
    drawn = formats.table(item)
    assert len(drawn.shown) == 2 * len(ERRORS) == len(drawn.roles or ())
    cells = drawn.shown.set_index(["data", "setting", "transform"])
    bf16 = cells.loc[("darcy", "mixed-bf16", "fft")]
    assert bf16["each seed"] == "0.1100 0.1180 0.1010" and bf16["points"].startswith("+0.97 [")
    assert bf16["s/epoch"] == NONE and bf16["predicted MiB"] == "3.0"
    native = cells.loc[("darcy", "mixed-bf16", "matmul")]
    assert native["s/epoch"] == "2.00" and native["verdict"] == "illustration: one seed"
    label = LABELS["tf32"]
    assert cells.loc[("darcy", label, "fft"), "published MB"] == ""
    assert cells.loc[("navier-stokes", label, "fft"), "published MB"] == "10534"
    assert cells.loc[("navier-stokes", label, "fft"), "published s/epoch"] == "72.52"
    assert cells.loc[("navier-stokes", "mixed-bf16", "fft"), "published MB"] == ""
    assert cells.loc[("darcy", "mixed", "fft"), "verdict"] == "equivalent within 5 %"
    assert not drawn.shown.map(lambda cell: "nan" in cell or "None" in cell).any().any()
    assert any("control mixed-e5m2 is told from full" in note for note in drawn.notes)
    assert any("memory and throughput (authors' notebook): a card" in note for note in drawn.notes)
