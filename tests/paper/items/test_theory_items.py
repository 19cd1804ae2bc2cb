"""The theory's items drawn from their probes, and what tanh's table sets side by side."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from item_toy import context

from mpno.paper.items import theory_bases, theory_crossing, theory_errors, theory_tanh
from mpno.paper.records import REFERENCE_COLUMNS, ItemTables
from mpno.theory.probes.basis_errors import basis_errors
from mpno.theory.probes.crossing import crossing
from mpno.theory.probes.worst_errors import worst_errors


def item(**probes: list[dict[str, Any]]) -> ItemTables:
    frames = {name: pd.DataFrame(rows).replace("", float("nan")) for name, rows in probes.items()}
    return ItemTables(context("theory"), {}, frames, pd.DataFrame(columns=list(REFERENCE_COLUMNS)))


def test_every_error_is_among_the_points_of_the_figure() -> None:
    few = {"1": [8, 16], "2": [8], "3": [8]}
    asked = {"grids": few, "searched": {"1": [8], "2": [4], "3": [3]}, "formats": ["fp16"], "functions": 3}
    about = {"part": "darcy", "view": "input", "m": 4, "n": 16, "median": 0.1, "low": 0.05, "high": 0.2}
    data = [about | {"format": "", "what": what} for what in ("disc", "disc upper")]
    drawn = theory_errors.figure(item(worst=worst_errors([], asked), darcy=data))
    assert set(theory_errors.NAMES) <= set(drawn.points["what"]) and len(drawn.points.query("panel == 'data'")) == 2
    assert "Upper bounds stand beside upper bounds" in drawn.caption and "8.6e+09" in drawn.caption


def test_a_panel_for_each_basis() -> None:
    rows = basis_errors([], {"functions": 3, "grids": [4, 8], "formats": ["fp16", "fp8_e4m3"]})
    drawn = theory_bases.figure(item(bases=rows))
    assert len(drawn.figure.axes) == 6 and len(drawn.points) == len(rows)


def test_the_example_is_marked_as_from_memory_and_band_limited_data_have_rows() -> None:
    table = theory_crossing.table(item(crossing=crossing([], {"axes": [1, 3], "formats": ["fp16"]})))
    shown = table.shown.set_index(["system", "d"])
    assert shown.loc[("example, from memory", "3"), "n^(-2/d) = u"] == "1.0e+06"
    assert shown.loc[("fp16", "3"), "n^(-2/d) = u"] == "9.3e+04"
    assert shown.loc[("band-limited, any format", "3"), "bounds cross"] == "grid error 0 from 27"
    assert any("could not be sourced" in note for note in table.notes)


def test_both_stages_of_a_layer_stand_side_by_side() -> None:
    about = {"part": "darcy", "arm": "full", "seed": 0, "layer": 1, "evidence": "native"}
    before = about | {"stage": "before"} | dict.fromkeys(theory_tanh.MEASURED, 4.0)
    after = about | {"stage": "after"} | dict.fromkeys(theory_tanh.MEASURED, 1.0)
    table = theory_tanh.table(item(constants=[before, after]))
    assert table.numbers.iloc[0]["lipschitz_ratio"] == pytest.approx(0.25)
    assert table.shown.iloc[0]["grid's bound"] == "x 0.25"
