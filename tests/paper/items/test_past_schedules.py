"""Measured schedules: equal epochs, equal modelled time, and what stands for what."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import past_schedules
from mpno.paper.records import ItemTables

MEASURED = "mixed, full above 50"
EPOCHS = {"full": 4, "mixed": 4, "schedule": 4, "schedule-time": 6, "measured": 8, "mixed-e5m2": 4}
SECONDS = {"full": 2.0, "full+tanh": 2.2, "mixed": 1.0, "mixed FHH, stabiliser none": 1.2}


def setting(arm: str, epoch: int) -> str:
    if arm.startswith("schedule"):
        share = (epoch - 1) / EPOCHS[arm]
        return "mixed" if share < 0.25 else "mixed FHH, stabiliser none" if share < 0.75 else "full"
    if arm == "measured":
        return "full+tanh" if epoch in (2, 3) else "mixed"
    return arm


def value(arm: str, seed: int, epoch: int) -> float:
    factor = {"full": 1.0, "mixed": 1.1, "schedule": 1.2, "schedule-time": 1.2, "measured": 0.9, "mixed-e5m2": 2.0}[arm]
    return (factor + 0.001 * seed) * (1 + 0.01 * seed) / epoch


@pytest.fixture
def item() -> ItemTables:
    seeds = range(3)
    labels = {"measured": MEASURED, "schedule-time": "schedule"}
    arms = {
        name: Toy(
            labels.get(name, name),
            [value(name, seed, epochs) for seed in seeds],
            against=None if name == "full" else "full",
            role="control" if name == "mixed-e5m2" else "setting",
        )
        for name, epochs in EPOCHS.items()
    }
    made = part(arms, name="navier-stokes", control=("mixed-e5m2", ["full", "mixed"]))
    made.context["epochs"] = 4
    for arm in made.context["arms"]:
        arm["epochs"] = EPOCHS[arm["name"]]
    keys = [(arm, seed, epoch) for arm, count in EPOCHS.items() for seed in seeds for epoch in range(1, count + 1)]
    history = [
        {"arm": arm, "seed": seed, "epoch": epoch, "metric": "l2", "resolution": 16, "value": value(arm, seed, epoch)}
        for arm, seed, epoch in keys
    ]
    below = [0.8, 0.6, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3]
    epochs: list[dict[str, Any]] = [
        {"part": "navier-stokes", "arm": arm, "seed": seed, "epoch": epoch, "setting": setting(arm, epoch)}
        | {"below_normal": below[epoch - 1] if arm == "measured" else math.nan}
        for arm, seed, epoch in keys
    ]
    seconds = [{"setting": name, "card": past_schedules.CARD, "seconds": s} for name, s in SECONDS.items()]
    seconds += [{"setting": name, "card": "another", "seconds": 1.0} for name in SECONDS]
    probes = {"epochs": pd.DataFrame(epochs), "seconds": pd.DataFrame(seconds)}
    data = type(made)(made.context, made.errors, pd.DataFrame(history), made.arms, made.reference)
    return ItemTables(item_context("past-schedules"), {"navier-stokes": data}, probes, reference())


def rows(item: ItemTables) -> dict[tuple[str, str], dict[str, Any]]:
    return {(row["at_equal"], row["arm"]): row for row in past_schedules.numbers(item).to_dict("records")}


def test_time_is_added_up_by_the_setting_of_each_epoch(item: ItemTables) -> None:
    # mixed, twice full+tanh, mixed; then mixed alone.
    assert past_schedules.epochs_of_full(item, "measured", 0, 4) == pytest.approx(0.5 + 1.1 + 1.1 + 0.5)
    assert past_schedules.epochs_of_full(item, "schedule", 0, 4) == pytest.approx(0.5 + 0.6 + 0.6 + 1.0)
    assert math.isnan(past_schedules.epochs_of_full(item, "mixed-e5m2", 0, 1)), "no card has the control's format"


def test_at_equal_epochs_a_longer_training_is_cut(item: ItemTables) -> None:
    row = rows(item)["epochs", "measured"]
    assert row["epochs"] == 4 and row["l2_mean"] == pytest.approx(sum(value("measured", s, 4) for s in range(3)) / 3)
    assert row["full"] == pytest.approx(-0.1, abs=1e-3)
    assert row["full_verdict"] == row["schedule_verdict"] == "better by more than 5 %"
    assert ("epochs", "schedule-time") not in rows(item), "its phases are shares of more epochs"
    assert rows(item)["epochs", "mixed-e5m2"]["full_verdict"] == "control: told apart"


def test_in_equal_time_as_many_epochs_as_fit(item: ItemTables) -> None:
    found = rows(item)
    row = found["time", "measured"]
    assert row["epochs"] == 5 and row["time"] == pytest.approx(3.7) and row["time"] <= 4
    assert row["l2_mean"] == pytest.approx(sum(value("measured", s, 5) for s in range(3)) / 3)
    longer = found["time", "schedule-time"]
    assert longer["epochs"] == 6 and longer["time"] == pytest.approx(3.8), "all that there are"
    assert ("time", "schedule") not in found and ("time", "mixed-e5m2") not in found


def test_switches_are_those_of_the_first_seed(item: ItemTables) -> None:
    assert past_schedules.switches(item, "measured") == "mixed to 1; full+tanh to 3; mixed to 8"
    assert past_schedules.switches(item, "full") == ""


def test_table_and_figure_say_that_time_is_predicted(item: ItemTables) -> None:
    assert any("time: predicted" in note for note in past_schedules.table(item).notes)
    drawn = past_schedules.figure(item)
    assert "predicted time" in drawn.caption
    shares = [row["value"] for row in drawn.points.to_dict("records") if row["panel"] == "a"]
    assert len(shares) == 3 * 8 and max(shares) == 80
