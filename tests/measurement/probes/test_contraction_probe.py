"""What the choices of a contraction keep, by counting, and that every ablation is answered."""

from __future__ import annotations

import pytest

from mpno.measurement.probes import contraction as probe
from mpno.measurement.probes.contraction import LAYERS, Layer, contraction


def test_a_dense_layer_keeps_its_inputs_alone() -> None:
    """The backward pass of a dense contraction needs spectrum and weight, both apart; the half weight is made again."""
    layer = Layer(4, (8, 8), "dense", None, 2, "joint")  # type: ignore[arg-type]
    weight, spectrum = 4 * 4 * 8 * 5 * 2 * 2, 2 * 8 * 5 * 4 * 2 * 2
    found = {name: value * 2**20 for name, value in layer.predicted().items()}
    assert found["kept"] == 0
    assert weight + spectrum <= found["peak"] <= 4 * (weight + spectrum)


def test_options_and_operands_differ_as_the_paper_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    small = Layer(8, (8, 8), "cp", 0.5, 2, "corners")
    monkeypatch.setattr(probe, "LAYERS", dict.fromkeys(LAYERS, small))
    monkeypatch.setattr(probe, "TIMED", ("fp32", 4, (8, 8), 2))
    rows = contraction([], {"rounds": 2})
    assert {row["ablation"] for row in rows} == {"options", "caching", "path", "operands"}
    value = {(row["ablation"], row["layer"], row["choice"], row["quantity"]): row["value"] for row in rows}
    peak = {name: value["options", "Navier-Stokes", f"option {name}", "peak"] for name in "ABC"}
    assert peak["A"] > peak["B"] >= peak["C"]
    for layer in ("Darcy", "Navier-Stokes"):
        kinds = {kind: value["operands", layer, kind, "kept"] for kind in ("weights only", "inputs and weights")}
        assert kinds["weights only"] > kinds["inputs and weights"]
    times = [row for row in rows if row["evidence"] == "native"]
    assert all(0 < row["low"] <= row["value"] <= row["high"] for row in times) and len(times) == 3 * 2 + 2 * 2 + 1
