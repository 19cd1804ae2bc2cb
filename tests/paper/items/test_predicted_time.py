"""Modelled times beside measured ones, and what fits a card: numbers by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from item_toy import context

from mpno.paper.items import capacity, predicted_time
from mpno.paper.records import read_reference

ROOT = Path(__file__).parents[3]
SECONDS = {"full": 0.4, "amp": 0.36, "mixed": 0.25}


@pytest.fixture(scope="module")
def item() -> Any:
    rows = [
        {"case": setting, "card": card, "implementation": who, "setting": setting, "transform": "fft", "batch": 32}
        | {
            "operations": 9,
            "seconds": seconds * factor,
            "products_ms": 1.0,
            "transforms_ms": 1.0,
            "elementwise_ms": 1.0,
        }
        for who, factor in (("authors", 1.0), ("ours", 2.0))
        for setting, seconds in SECONDS.items()
        for card in ("V100", "H100")
    ]
    return SimpleNamespace(
        context=context("predicted-time"),
        probes={"cases": pd.DataFrame(rows)},
        reference=read_reference(ROOT / "workflow" / "reference" / "predicted-time.csv"),
    )


def test_times_and_speed_ups_by_hand(item: Any) -> None:
    frame = predicted_time.numbers(item)
    (row,) = frame.query("card == 'V100' and implementation == 'authors' and setting == 'mixed'").to_dict("records")
    assert row["epoch_seconds"] == pytest.approx(313 * 0.25)  # 10,000 samples in batches of 32
    assert row["speed_up"] == pytest.approx(0.4 / 0.25)
    assert (row["measured_seconds"], row["measured_speed_up"]) == (79.56, pytest.approx(125.83 / 79.56))
    assert row["deviation"] == pytest.approx(100 * (313 * 0.25 / 79.56 - 1))
    assert list(frame["card"]) == ["V100"] * 6 + ["H100"] * 6


def test_only_the_authors_way_is_set_beside_their_times_and_large_deviations_say_why(item: Any) -> None:
    for row in predicted_time.numbers(item).to_dict("records"):
        known = row["implementation"] == "authors" and row["card"] == "V100"
        assert pd.notna(row["measured_seconds"]) == known
        assert bool(row["reason"]) == (abs(row["deviation"]) > predicted_time.LARGE)
    notes = " ".join(predicted_time.table(item).notes)
    assert "a model, not a measurement" in notes and "error of the model at batch 32" in notes


def test_what_fits_by_hand() -> None:
    rows = [
        {
            "case": case,
            "card_gib": gib,
            "largest_batch": batch * gib,
            "largest_resolution": 256,
            "evidence": "predicted",
        }
        for case, batch in (("full", 2), ("ours mixed", 7))
        for gib in (80, 16)
    ]
    item = SimpleNamespace(context=context("capacity"), probes={"cards": pd.DataFrame(rows)})
    frame = capacity.numbers(item)  # type: ignore[arg-type]
    assert list(frame["card_gib"]) == [16, 16, 80, 80] and list(frame["batch_against_full"]) == [1, 3.5, 1, 3.5]
    shown = capacity.table(item).shown  # type: ignore[arg-type]
    assert list(shown["way"])[:2] == ["full, authors' way", "mixed, ours (matmul)"]
