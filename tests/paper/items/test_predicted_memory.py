"""Predicted beside measured: deviations by hand, a reason for each large one, every published reading used."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import yaml
from item_toy import context

from mpno.paper.items.predicted_memory import KINDS, LARGE, PAIRS, figure, numbers, table
from mpno.paper.records import read_reference

ROOT = Path(__file__).parents[3]
READINGS = ROOT / "workflow" / "reference" / "predicted-memory.csv"
PEAKS = {
    "ns full": 11_000, "ns mixed": 8_000, "ns full, batch 16": 9_800, "ns mixed, batch 16": 5_000,
    "darcy FFF, 8 layers": 8_870, "ours mixed": 3_000,
}  # fmt: skip


def case(name: str, shown: float) -> dict[str, Any]:
    batch = 16 if "16" in name else 32
    amounts = {"allocated": shown - 900, "reserved": shown - 400, "activations": 1.0, "temporaries": 1.0}
    implementation = "ours" if name.startswith("ours") else "authors"
    return {"case": name, "implementation": implementation, "batch": batch, "shown": shown} | amounts | {
        "spectral_share": 0.25
    }  # fmt: skip


@pytest.fixture(scope="module")
def item() -> Any:
    rows = [
        {"case": name, "at": at / 4, "phase": "forward" if at < 2 else "backward", **dict.fromkeys(KINDS, 10.0 * at)}
        for name in ("full", "mixed", "ours mixed")
        for at in range(4)
    ]
    return SimpleNamespace(
        context=context("predicted-memory"),
        parts={},
        probes={"cases": pd.DataFrame([case(*pair) for pair in PEAKS.items()]), "timeline": pd.DataFrame(rows)},
        reference=read_reference(READINGS),
    )


def test_deviations_by_hand(item: Any) -> None:
    frame = numbers(item)
    rows = frame.query("case == 'full' and variant == 'batch 32' and role == 'memory'").set_index("card")
    assert rows.loc["V100", "deviation"] == pytest.approx(100 * (11_000 / 11_781 - 1))
    assert rows.loc["RTX 3090 Ti", "deviation"] == pytest.approx(100 * (11_000 / 10_686 - 1))
    saving = frame.query("case == 'mixed against full' and variant == 'batch 16'").set_index("card")
    predicted, measured = 100 * (1 - 5_000 / 9_800), 100 * (1 - 5350 / 10686)
    assert saving.loc["RTX 3090 Ti", "predicted"] == pytest.approx(predicted)
    assert saving.loc["RTX 3090 Ti", "deviation"] == pytest.approx(predicted - measured)


def test_a_reason_stands_where_a_deviation_is_large_and_nowhere_else(item: Any) -> None:
    for row in numbers(item).to_dict("records"):
        assert bool(row["reason"]) == (abs(row["deviation"]) > LARGE), row
    shown = table(item).shown
    assert set(shown.columns) >= {"predicted", "measured", "deviation", "provenance", "reason"}


def test_ours_has_no_reading(item: Any) -> None:
    (row,) = numbers(item).query("implementation == 'ours'").to_dict("records")
    assert pd.isna(row["measured"]) and row["reason"] == ""


def test_the_figure_shows_three_steps_and_every_reading(item: Any) -> None:
    drawing = figure(item)
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert titles[:3] == ["(a) full, the authors' way", "(b) mixed, the authors' way", "(c) mixed, ours"]
    assert len(drawing.figure.axes[3].lines) == 1 + numbers(item).query("role == 'memory'")["measured"].count()


def test_every_published_reading_has_a_case_and_every_pair_its_cases() -> None:
    experiment = yaml.safe_load((ROOT / "workflow" / "experiments" / "predicted-memory.yaml").read_text("utf-8"))
    groups = experiment["probes"][0]["settings"]["cases"]
    names = {entry["name"].partition(", ")[0] for group in groups for entry in group["each"]}
    reference = read_reference(READINGS)
    assert set(reference.query("metric == 'memory'")["setting"]) <= names
    assert {name for _, low, base in PAIRS for name in (low, base)} <= names
    assert set(reference.query("metric == 'memory_saving'")["setting"]) <= {label for label, *_ in PAIRS}
