"""What the probes answer: every error below its bound, the numbers of the crossing table, tanh on made fields."""

# pandas' own types do not follow selections.
# pyright: reportGeneralTypeIssues=false

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mpno.theory.probes.basis_errors import basis_errors
from mpno.theory.probes.crossing import crossing
from mpno.theory.probes.data_errors import as_functions
from mpno.theory.probes.tanh_effect import constants
from mpno.theory.probes.worst_errors import worst_errors


def test_no_worst_case_exceeds_its_bound_and_none_is_below_the_lower() -> None:
    grids = {"1": [8, 16], "2": [8], "3": [8]}
    searched = {"1": [8, 16], "2": [8], "3": [5]}
    rows = worst_errors([], {"grids": grids, "searched": searched, "formats": ["fp16"], "functions": 5})
    table = pd.DataFrame(rows).pivot_table(index=["axes", "m"], columns="what", values="value").dropna(subset=["ramp"])
    assert (table["ramp"] <= table["disc upper"]).all() and (table["ramp"] >= table["disc lower"] * (1 - 1e-9)).all()
    found = table.dropna(subset=["searched"])
    assert len(found) == 3 and (found["searched"].between(found["disc lower"], found["disc upper"])).all()
    assert (table["kink"] >= table["kink lower"]).all()
    assert (table["biased"] <= table["prec upper"]).all() and (table["average"] < table["biased"]).all()
    assert (table["biased"] >= table["prec lower"] * (1 - 1e-4)).all()


def test_every_basis_keeps_its_bounds() -> None:
    rows = pd.DataFrame(basis_errors([], {"functions": 10, "grids": [4, 7, 16], "formats": ["fp16", "fp8_e4m3"]}))
    assert set(rows["basis"]) == {"Fourier", "Haar", "Daubechies", "Legendre", "spherical", "graph"}
    assert rows["ratio"].min() > 0 and rows["ratio"].max() <= 1


def test_the_crossing_points_are_powers_of_the_roundoff() -> None:
    rows = {(r["system"], r["axes"]): r for r in crossing([], {"axes": [1, 2, 3], "formats": ["fp16", "fp8_e5m2"]})}
    assert rows["example", 3]["fast"] == pytest.approx(1e6) and rows["example", 3]["slow"] == pytest.approx(1e12)
    assert rows["fp16", 3]["fast"] == pytest.approx(2049**1.5, rel=1e-9)
    assert rows["fp8_e5m2", 1]["slow"] == pytest.approx(9)
    assert rows["fp16", 2]["bounds"] > rows["fp16", 2]["slow"]


def test_data_become_functions_of_sup_norm_one() -> None:
    fields = np.array([[[0.0, 2.0], [4.0, 0.0]]])
    closed = as_functions(fields, periodic=True)
    assert (
        closed.nodes.shape == (1, 3, 3) and closed.bound[0] == 1 and (closed.nodes[:, 0] == closed.nodes[:, -1]).all()
    )
    assert as_functions(fields, periodic=False).lipschitz[0] == pytest.approx(np.hypot(1, 1))


def test_tanh_lowers_every_constant() -> None:
    fields = np.random.default_rng(0).normal(0, 3, (5, 8, 8))
    before, after = (constants(f, periodic=False, format="fp16") for f in (fields, np.tanh(fields)))
    assert all(after[name] < before[name] for name in before)
    assert after["norm_high"] < 1
