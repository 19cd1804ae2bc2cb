"""The table of super-resolution on hand-made rows: intervals by hand, the room there is, what is said where."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mpno.paper.items.super_resolution import figure, table
from mpno.paper.records import NONE, ItemData

EVIDENCE = {"full": "native", "mixed": "simulated", "half": "simulated", "mixed-e5m2": "simulated"}


def arm(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "label": name, "role": "setting", "against": "full", "runs": {}} | more


def rows(name: str, l2: dict[int, list[float | None]], method: str = "model", **more: Any) -> list[dict[str, Any]]:
    """Of errors by grid, one for each seed; H1 is twice L2."""
    found = []
    for grid, values in l2.items():
        for seed, value in enumerate(values):
            row = {"part": "navier-stokes", "arm": name, "seed": seed, "resolution": grid, "factor": grid // 32}
            row |= {
                "same": True,
                "method": method,
                "l2": value,
                "h1": None if value is None else 2 * value,
                "samples": 8,
            }
            row |= {"finite": value is not None, "trained": "finished", "evidence": EVIDENCE.get(name, "native")}
            found.append(row | {"range": 0.1 * grid / 32 if name == "half" else None, "advice": None} | more)
    return found


def item(found: list[dict[str, Any]], *arms: str) -> Any:
    frame = pd.DataFrame(found)
    frame.loc[frame["arm"] == "truth", "seed"] = math.nan
    named = [arm(name, role="control" if name == "mixed-e5m2" else "setting") for name in arms]
    power = {"control": "mixed-e5m2", "told_from": ["full"]}
    data = {"name": "navier-stokes", "source": "generate", "resolution": 32, "test_resolutions": [32], "n_train": 9}
    compare = {"metric": "l2", "margin": 0.05, "confidence": 0.95, "power": power}
    context = {"data": data, "model": {}, "compare": compare, "arms": named}
    part = ItemData(context, *(pd.DataFrame() for _ in range(4)))
    columns = {"unit": None, "provenance": "authors' notebook", "conditions": "", "place": ""}
    published = [{"setting": "full", "metric": "l2", "value": value} | columns for value in (0.001, 0.002, 0.003)]
    return SimpleNamespace(
        context={"scale": "desk"},
        parts={"navier-stokes": part},
        probes={"finer": frame},
        reference=pd.DataFrame(published),
    )


def toy(truth: float = 0.09, mixed: float = 1.0) -> Any:
    """Full is 1, 2 and 3 % better than its interpolation on 64 points; the control is 20 % worse than full."""
    found = rows("full", {32: [0.10, 0.10, 0.10], 64: [0.099, 0.098, 0.097]})
    found += rows("full", {64: [0.10, 0.10, 0.10]}, "fourier") + rows("full", {64: [0.11, 0.11, 0.11]}, "linear")
    found += rows("mixed", {32: [0.10, 0.1001, 0.0999], 64: [0.099 * mixed, 0.0981 * mixed, 0.0969 * mixed]})
    found += rows("mixed-e5m2", {32: [0.12, 0.121, 0.119], 64: [0.12, 0.121, 0.119]})
    found += rows("half", {32: [0.10], 64: [None]})
    found += rows("truth", {64: [truth]}, "fourier")
    return item(found, "full", "mixed", "mixed-e5m2", "half")


def cell(numbers: pd.DataFrame, **where: Any) -> dict[str, Any]:
    query = " and ".join(f"{key} == {value!r}" for key, value in where.items())
    found = numbers.query(query).to_dict("records")
    assert len(found) == 1, where
    return {str(key): value for key, value in found[0].items()}


def test_change_from_interpolation_and_its_interval() -> None:
    numbers = table(toy()).numbers
    change = cell(numbers, block="against interpolated full", method="full", metric="l2", factor=2)
    # -1, -2 and -3 %: mean -2 %, standard error 1 % / sqrt(3), t(0.975, 2) = 4.302653
    half = 0.01 / math.sqrt(3) * 4.302653
    assert (change["mean"], change["low"], change["high"]) == pytest.approx((-0.02, -0.02 - half, -0.02 + half))
    # with t/e = 0.9, what is left without the unseen part is sqrt(0.19) of the error
    assert change["most_to_gain"] == pytest.approx(1 - math.sqrt(0.19))
    assert change["verdict"] == "not told apart"
    assert numbers.query("block == 'against interpolated full' and factor == 1").empty


@pytest.mark.parametrize(
    ("truth", "mixed", "said"),
    [
        (0.01, 1.0, "no room"),  # 1 - sqrt(0.99) is 0.5 %, the margin 5 %
        (0.01, 1.2, "worse by more than 5 %"),  # no room to gain, but to lose
        (0.09, 0.8, "better than interpolation"),
        (0.09, 1.05, "worse than interpolation"),
        (0.09, 1.02, "not told apart"),
        (0.032, 0.8, "better than interpolation"),  # 1 - sqrt(1 - 0.1024) is 5.3 %
    ],
)
def test_verdict_against_interpolation(truth: float, mixed: float, said: str) -> None:
    numbers = table(toy(truth, mixed)).numbers
    assert cell(numbers, block="against interpolated full", method="mixed", metric="l2", factor=2)["verdict"] == said


def test_equivalent_to_full_only_where_the_control_is_told_apart() -> None:
    numbers = table(toy()).numbers
    against = {"block": "against full", "metric": "h1"}
    assert cell(numbers, method="mixed", factor=1, **against)["verdict"] == "equivalent within 5 %"
    assert cell(numbers, method="mixed-e5m2", factor=1, **against)["verdict"] == "control: told apart"
    assert cell(numbers, method="half", factor=1, **against)["verdict"] == "illustration: one seed"
    assert cell(numbers, method="half", factor=2, **against)["verdict"] == "diverged in 1"
    weak = toy()
    frame = weak.probes["finer"]
    weak.probes["finer"] = pd.concat(
        [frame.query("arm != 'mixed-e5m2'"), pd.DataFrame(rows("mixed-e5m2", {32: [0.1, 0.11, 0.09], 64: [0.1] * 3}))]
    )
    numbers = table(weak).numbers
    assert cell(numbers, method="mixed", factor=1, **against)["verdict"] == "no power at this scale"
    assert cell(numbers, method="mixed-e5m2", factor=1, **against)["verdict"] == "control: not told apart"


def test_what_a_reader_sees() -> None:
    made = table(toy())
    shown = made.shown
    assert made.roles is not None and len(made.roles) == len(shown)
    half = shown.query("method == 'half' and what == 'error' and of == 'L2'").iloc[0]
    assert (half["1x"], half["2x"], half["finite"]) == ("0.1000", NONE, "not at 2x (1)")
    assert half["share of fp16's range"] == "0.2 at 2x"
    mixed = shown.query("method == 'mixed' and what == 'change against full' and of == 'L2'").iloc[0]
    assert mixed["verdict"] == "equivalent within 5 %"
    published = shown.query("what == 'published error'").iloc[0]
    # of 1, 2, 3 thousandths: the population deviation is sqrt(2/3) thousandths, the sample deviation would be 1
    assert (published["1x"], published["2x"], published["seeds"]) == ("0.00200 ± 0.00082", NONE, "3")
    assert not shown.isna().any().any() and "nan" not in shown.to_csv().lower()
    truth = shown[shown["method"].str.startswith("true field")]
    assert set(truth["2x"]) == {"0.0900", "0.1800"} and set(truth["1x"]) == {NONE}


def test_a_run_that_diverged_in_training_is_counted_apart() -> None:
    broken = toy()
    extra = rows("mixed", {32: [None], 64: [None]}, seed=3, trained="diverged", evidence=None)
    broken.probes["finer"] = pd.concat([broken.probes["finer"], pd.DataFrame(extra)], ignore_index=True)
    shown = table(broken).shown
    row = shown.query("method == 'mixed' and what == 'error' and of == 'L2'").iloc[0]
    assert (row["seeds"], row["finite"]) == ("3 of 4", "yes")
    assert shown.query("method == 'mixed' and what == 'change against full'")["verdict"].iloc[0] == "diverged in 1"


def test_figure_shows_every_seed_and_its_numbers() -> None:
    drawn = figure(toy())
    seeds = drawn.points.query("panel == 'seed' and metric == 'l2' and method == 'full'")
    assert list(seeds["change"]) == pytest.approx([-0.01, -0.02, -0.03])
    assert len(drawn.figure.axes) == 4 and "native" in drawn.caption
