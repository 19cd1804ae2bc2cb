"""The table of other settings at inference on hand-made rows: points, changes, and the part that is rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mpno.paper.items.inference import figure, table
from mpno.paper.records import NONE as EMPTY
from mpno.paper.records import ItemData

CONTROL, NONE = "mixed-e5m2, stabiliser none", "half, stabiliser none"
ERRORS: dict[str, list[float | None]] = {
    "full": [0.100, 0.110, 0.090],
    "full+tanh": [0.150, 0.165, 0.135],
    "half": [0.1515, 0.16665, 0.13635],  # 1 % above full+tanh
    NONE: [0.101, 0.1111, 0.0909],
    "mixed-fp8_e4m3, stabiliser none": [None, None, None],
    CONTROL: [0.120, 0.133, 0.107],
}


def item(errors: Mapping[str, Sequence[float | None]] = ERRORS) -> Any:
    found = []
    for part in ("navier-stokes", "darcy"):
        for setting, values in errors.items():
            role = {"full": "trained", CONTROL: "control"}.get(setting, "setting")
            for seed, value in enumerate(values):
                row = {"part": part, "arm": "full", "seed": seed, "setting": setting, "role": role, "l2": value}
                row |= {"h1": value and 2 * value, "finite": value is not None, "trained": "finished", "range": None}
                row |= {"evidence": "native" if setting.startswith("full") else "simulated"}
                found.append(row | {"advice": None if value is not None else "not finite, first in blocks.0"})
    compare = {"metric": "l2", "margin": 0.05, "confidence": 0.95, "power": None}

    def made(name: str) -> ItemData:
        data = {"name": name, "source": "generate", "resolution": 16, "test_resolutions": [16], "n_test": 5}
        return ItemData({"data": data, "model": {}, "compare": compare}, *(pd.DataFrame() for _ in range(4)))

    reference = [
        {"setting": "full", "metric": "h1", "value": 0.0105, "provenance": "authors' notebook", "conditions": "128"}
    ]
    return SimpleNamespace(
        context={"scale": "desk"},
        parts={name: made(name) for name in ("navier-stokes", "darcy")},
        probes={"settings": pd.DataFrame(found)},
        reference=pd.DataFrame(reference),
    )


def row(numbers: pd.DataFrame, setting: str) -> dict[str, Any]:
    found = numbers.query("part == 'darcy' and setting == @setting").to_dict("records")
    assert len(found) == 1
    return {str(key): value for key, value in found[0].items()}


def test_both_readings_of_a_change() -> None:
    numbers = table(item()).numbers
    tanh = row(numbers, "full+tanh")
    assert tanh["l2_change"] == pytest.approx(0.5)
    assert tanh["l2_points"] == pytest.approx(100 * (0.05 + 0.055 + 0.045) / 3)  # of relative error
    assert row(numbers, NONE)["l2_points"] == pytest.approx(0.1)


def test_what_a_tanh_does_is_not_counted_as_rounding() -> None:
    numbers = table(item()).numbers
    half = row(numbers, "half")
    assert half["l2_change"] == pytest.approx(0.515)
    assert half["l2_rounding"] == pytest.approx(0.01)
    assert half["l2_verdict"] == "equivalent within 5 %"
    plain = row(numbers, NONE)
    assert plain["l2_change"] == plain["l2_rounding"] == pytest.approx(0.01)
    assert row(numbers, "full+tanh")["l2_verdict"] == EMPTY


def test_no_equivalence_without_a_control_that_is_told_apart() -> None:
    numbers = table(item(ERRORS | {CONTROL: [0.1, 0.12, 0.08]})).numbers
    assert row(numbers, CONTROL)["l2_verdict"] == "control: not told apart"
    assert row(numbers, NONE)["l2_verdict"] == "no power at this scale"
    assert row(table(item()).numbers, CONTROL)["l2_verdict"] == "control: told apart"


def test_what_a_reader_sees() -> None:
    made = table(item())
    shown = made.shown
    broken = shown.query("data == 'darcy' and setting == 'mixed-fp8_e4m3, stabiliser none'").iloc[0]
    assert (broken["finite"], broken["L2"], broken["L2 verdict"]) == ("not in 3", EMPTY, "not finite in 3")
    assert any("first in blocks.0" in note for note in made.notes)
    assert "nan" not in shown.to_csv().lower()
    assert dict(zip(shown["data"], shown["H1 published"], strict=True)) == {"navier-stokes": EMPTY, "darcy": EMPTY}
    first = shown.query("setting == 'full (as trained)'")
    assert dict(zip(first["data"], first["H1 published"], strict=True)) == {"navier-stokes": "0.0105", "darcy": EMPTY}
    assert made.roles is not None and len(made.roles) == len(shown)


def test_figure_has_a_mark_for_every_seed() -> None:
    drawn = figure(item())
    marks = drawn.points.query("part == 'darcy' and setting == 'half'")
    assert list(marks["change_percent"]) == pytest.approx([51.5, 51.5, 51.5])
    texts = [text.get_text() for axis in drawn.figure.axes for text in axis.texts]
    assert texts == ["not finite", "not finite"]
