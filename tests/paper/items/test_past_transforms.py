"""Other transforms: changes from both references, the control's say, rounding beside its bound."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from desk_toy import item_context, reference

from mpno.paper.items import past_transforms
from mpno.paper.records import ItemTables

FULL = (0.10, 0.11, 0.12)
FACTOR = {"full": 1.0, "full+tanh": 1.08, "mixed": 1.09, "mixed-e5m2": 2.0}
SPREAD = (-0.005, 0.0, 0.005)


@pytest.fixture
def item() -> ItemTables:
    trained = [
        {"basis": basis, "setting": setting, "seed": seed, "points": 8, "functions": 4, "mean_l2": 1.0}
        | {"evidence": "native" if setting.startswith("full") else "emulated"}
        | {"l2": math.nan if (basis, setting, seed) == ("graph", "mixed", 2) else FULL[seed] * (factor + spread)}
        for basis in ("wavelet", "graph")
        for setting, factor in FACTOR.items()
        for seed, spread in enumerate(SPREAD if setting != "full" else (0, 0, 0))
        if (basis, setting) != ("graph", "mixed-e5m2")
    ]
    errors = [
        {"basis": basis, "format": format, "error": 0.001, "bound": 0.01, "ratio": 0.1, "layer": 0.002}
        | {"processor": "A processor"}
        for basis in ("wavelet", "graph")
        for format in ("fp16", "fp8_e5m2")
    ]
    probes = {"trained": pd.DataFrame(trained), "errors": pd.DataFrame(errors)}
    return ItemTables(item_context("past-transforms"), {}, probes, reference())


def test_a_setting_is_held_against_full_and_against_its_tanh(item: ItemTables) -> None:
    rows = {(row["basis"], row["setting"]): row for row in past_transforms.numbers(item).to_dict("records")}
    mixed = rows["wavelet", "mixed"]
    assert mixed["full"] == pytest.approx(0.09) and mixed["full_verdict"] == "worse by more than 5 %"
    assert mixed["full_tanh"] == pytest.approx(0.01 / 1.08, rel=0.01)
    assert mixed["full_tanh_verdict"] == "equivalent within 5 %" and mixed["ratio"] == 0.1
    assert rows["wavelet", "mixed-e5m2"]["full_verdict"] == "control: told apart"
    assert math.isnan(rows["wavelet", "full"]["ratio"]) and rows["wavelet", "full"]["full_verdict"] == ""


def test_nothing_is_equivalent_without_a_control_and_what_diverged_is_said(item: ItemTables) -> None:
    rows = {(row["basis"], row["setting"]): row for row in past_transforms.numbers(item).to_dict("records")}
    assert rows["graph", "full+tanh"]["full_verdict"] == "worse by more than 5 %"
    assert rows["graph", "mixed"]["full_verdict"] == "diverged in 1"
    shown = past_transforms.table(item).shown
    assert list(shown[shown["setting"] == "mixed"]["seeds"]) == ["3", "2 of 3"]


def test_the_figure_holds_every_seed_and_both_numbers_of_rounding(item: ItemTables) -> None:
    points = past_transforms.figure(item).points
    assert len(points[points["panel"] == "a"]) == 3 * 3 + 3 + 2
    assert list(points[points["panel"] == "b"]["bound"]) == [0.01] * 4
