"""What tanh costs: the change, the paper's own beside it, and the margin that is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from curves_toy import SPREAD, toy
from tests.repo.paths import ROOT

from mpno.paper.items import tanh
from mpno.paper.records import ItemTables


@pytest.fixture(scope="module")
def item() -> ItemTables:
    return toy(ROOT / "workflow" / "reference" / "tanh.csv")


def test_the_paper_s_change_stands_beside_ours(item: ItemTables) -> None:
    frame = tanh.table(item).numbers.set_index(["part", "arm"])
    ours = frame.loc[("navier-stokes", "full-tanh")]
    assert ours["l2_change"] == pytest.approx(0.02)
    assert ours["paper_h1_change"] == pytest.approx(0.01224 / 0.01214 - 1)
    assert ours["paper_seconds_per_epoch_change"] == pytest.approx(0.016, abs=5e-4)
    assert np.isnan(frame.loc[("navier-stokes", "full")]["paper_h1_change"])
    assert np.isnan(frame.loc[("car", "full-tanh")]["paper_l2"])


def test_time_is_beside_the_native_settings_alone(item: ItemTables) -> None:
    shown = {row["setting"]: row for row in tanh.table(item).shown.to_dict("records") if row["data"] == "navier-stokes"}
    assert shown["full+tanh"]["s/epoch"] == "2.00"
    assert shown["full+tanh"]["time"] == "+0.0 %"
    assert shown["mixed-e5m2"]["s/epoch"] == "\N{EN DASH}"


def test_every_seed_and_the_margin_are_drawn(item: ItemTables) -> None:
    drawn = tanh.figure(item)
    points = drawn.points.query("part == 'navier-stokes' and metric == 'l2' and setting == 'full+tanh'")
    each = points[points["seed"] != "mean"].set_index("seed")["percent"]
    assert each.to_dict() == pytest.approx({seed: 100 * (0.02 + spread) for seed, spread in enumerate(SPREAD)})
    band = drawn.figure.axes[0].collections[0].get_paths()[0].get_extents()
    assert (band.x0, band.x1) == pytest.approx((-5, 5))
    assert any("control\n+50 %" in text.get_text() for text in drawn.figure.axes[0].texts)
