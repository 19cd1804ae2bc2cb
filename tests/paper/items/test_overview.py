"""The headline figure: what stands where, and both readings of a change by hand."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from item_toy import ERRORS, context, part

from mpno.paper.items.overview import figure, table
from mpno.paper.records import read_reference

ROOT = Path(__file__).parents[3]
T = 4.302652729911275
"""The 97.5 % point of Student's t with two degrees of freedom, from a table."""


def marks(line: Any) -> np.ndarray:
    """The places of a line's markers, (n, 2)."""
    return np.asarray(line.get_xydata())


def field(name: str, view: str) -> list[dict[str, Any]]:
    same = {"part": name, "view": view, "unit": "m", "evidence": "solved here"}
    return [{**same, "x": j / 4, "y": i / 4, "value": 10.0 * i + j} for i in range(4) for j in range(4)]


def points(name: str) -> list[dict[str, Any]]:
    worth = {"unit": "Pa", "evidence": "stand-in data, solved here"}
    return [
        {"part": name, "view": view, "x": float(k), "y": 0.1 * k, "value": float(k - 3), **worth}
        for view in ("side", "above")
        for k in range(6)
    ]


@pytest.fixture(scope="module")
def item() -> Any:
    samples = [*field("darcy", "input"), *field("darcy", "target"), *points("car")]
    parts = {"darcy": part("darcy"), "car": part("car", diverged={"mixed": 1})}
    reference = read_reference(ROOT / "workflow" / "reference" / "overview.csv")
    probes = {"samples": pd.DataFrame(samples)}
    return SimpleNamespace(context=context("overview"), parts=parts, probes=probes, reference=reference)


def row(item: Any, name: str, setting: str) -> dict[str, Any]:
    rows = table(item).numbers.to_dict("records")
    return next(row for row in rows if (row["part"], row["setting"]) == (name, setting))


def test_a_change_in_both_readings(item: Any) -> None:
    full, mixed = (np.array(ERRORS[name]) for name in ("full", "mixed"))
    found = row(item, "darcy", "mixed")
    points, relative = 100 * (mixed - full), (mixed - full) / full
    assert found["points"] == pytest.approx(points.mean()) and found["change"] == pytest.approx(relative.mean())
    half = T * points.std(ddof=1) / math.sqrt(3)
    assert found["points_high"] - found["points_low"] == pytest.approx(2 * half)
    assert found["saving"] == pytest.approx(37.5) and found["memory"] == 25


def test_one_seed_is_an_illustration(item: Any) -> None:
    found = row(item, "darcy", "amp")
    assert found["verdict"] == "illustration: one seed"
    assert [str(found[key]) for key in ("points_low", "std")] == ["nan", "nan"]
    shown = table(item).shown.query("setting == 'amp'")
    assert set(shown["in points"]) == {"+0.20"}


def test_a_diverged_seed_is_counted(item: Any) -> None:
    shown = table(item).shown.query("setting == 'mixed'").to_dict("records")
    assert [cells["seeds"] for cells in shown] == ["3", "3 of 4"]
    assert shown[1]["verdict"] == "diverged in 1"
    assert "nan" not in set(table(item).shown.to_numpy().ravel())


def test_published_values_stand_beside_their_set_alone(item: Any) -> None:
    found = table(item)
    rows = found.shown.query("setting == 'mixed'").to_dict("records")
    cells = {cell["data set"]: cell["published"] for cell in rows}
    assert cells == {
        "Darcy flow": "H1 0.033 (authors' notebook); saving 14.9 % (review discussion)",
        "Shape-Net Car (stand-in)": "\N{EN DASH}",
    }
    assert any("Appendix B.7" in note for note in found.notes)
    assert not any("ahmed" in note for note in found.notes)  # no part here


def test_each_seed_is_a_marker_and_one_seed_an_open_one(item: Any) -> None:
    drawing = figure(item)
    axes = drawing.figure.axes
    assert [a.get_title().split("\n")[-1] for a in axes[:2]] == ["solved here", "stand-in data"]
    trade = axes[4]  # three rows of two columns
    sizes = [len(marks(line)) for line in trade.lines]
    assert sorted(sizes) == [1, 1, 1, 3, 3]
    hollow = [line for line in trade.lines if line.get_markerfacecolor() == "white"]
    assert [marks(line).tolist() for line in hollow] == [[[30, 0.102]]]
    assert any(text.get_text() == "1 diverged" for text in axes[5].texts)
    assert "stand-in data" in drawing.caption and "car" in drawing.caption


def test_every_number_drawn_is_in_the_points(item: Any) -> None:
    drawing = figure(item)
    drawn = {round(float(y), 9) for a in drawing.figure.axes[4:6] for line in a.lines for _, y in marks(line)}
    assert drawn == {round(value, 9) for value in drawing.points["error"]}


def test_a_field_is_drawn_as_it_lies(item: Any) -> None:
    image = figure(item).figure.axes[0].images[0]
    assert image.origin == "lower"
    assert np.asarray(image.get_array()).tolist() == [[10.0 * i + j for j in range(4)] for i in range(4)]
