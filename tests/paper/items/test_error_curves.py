"""Error curves: budgets, both readings, what is drawn where, and what diverged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from curves_toy import FULL, SPREAD, error, toy
from scipy import stats
from tests.repo.paths import ROOT

from mpno.paper.drawing import Drawing
from mpno.paper.items import error_curves
from mpno.paper.readings import read_arm, read_cells
from mpno.paper.records import ItemTables
from mpno.paper.style import COLOURS


@pytest.fixture(scope="module")
def item() -> ItemTables:
    return toy(ROOT / "workflow" / "reference" / "error-curves.csv")


@pytest.fixture(scope="module")
def drawn(item: ItemTables) -> Drawing:
    return error_curves.figure(item)


def row_of(item: ItemTables, part: str, arm: str) -> dict:
    frame = error_curves.table(item).numbers
    return frame.loc[(frame["part"] == part) & (frame["arm"] == arm)].to_dict("records")[0]


def test_budgets_are_told_by_epochs_and_decay(item: ItemTables) -> None:
    frame = error_curves.table(item).numbers.query("part == 'navier-stokes'").set_index("arm")
    assert frame["budget"].to_dict() == {
        "full": "equal epochs",
        "full-tanh": "equal epochs",
        "mixed": "equal epochs",
        "control": "equal epochs",
        "mixed-time": "equal time",
        "mixed-stretched": "equal time, decay stretched",
    }


def test_both_readings_agree_with_a_one_sample_t_interval(item: ItemTables) -> None:
    row = row_of(item, "navier-stokes", "mixed")
    relative = [0.10 + spread for spread in SPREAD]
    points = [100 * full * change for full, change in zip(FULL, relative, strict=True)]
    for kind, each in (("change", relative), ("points", points)):
        low, high = stats.t.interval(0.95, 2, loc=np.mean(each), scale=stats.sem(each))
        got = [row[f"l2_{kind}{tail}"] for tail in ("", "_low", "_high")]
        assert got == pytest.approx([np.mean(each), low, high])
    assert row["h1_points"] == pytest.approx(1.5 * np.mean(points))
    last = [error("mixed", seed) for seed in range(3)]
    assert (row["l2_mean"], row["l2_std"]) == pytest.approx((np.mean(last), np.std(last, ddof=1)))


def test_verdicts_and_the_paper_beside_equal_time(item: ItemTables) -> None:
    assert row_of(item, "navier-stokes", "full-tanh")["verdict"] == "equivalent within 5 %"
    assert row_of(item, "navier-stokes", "mixed")["verdict"] == "worse by more than 5 %"
    assert row_of(item, "navier-stokes", "mixed-stretched")["verdict"] == "illustration: one seed"
    assert row_of(item, "navier-stokes", "mixed-time")["paper_h1"] == 0.00645
    assert np.isnan(row_of(item, "navier-stokes", "mixed")["paper_h1"])
    assert np.isnan(row_of(item, "car", "full")["paper_l2"])


def test_no_cell_is_nan_and_the_diverged_seed_is_named(item: ItemTables) -> None:
    made = error_curves.table(item)
    assert not made.shown.isna().to_numpy().any()
    assert not made.shown.map(lambda cell: "nan" in cell).to_numpy().any()
    mixed = made.shown[(made.shown["data"] == "car") & (made.shown["setting"] == "mixed")].iloc[0]
    assert (mixed["seeds"], mixed["verdict"], mixed["H1"]) == ("2 of 3", "diverged in 1", "\N{EN DASH}")
    assert any("car: mixed, seed 1, diverged at epoch 4" in note for note in made.notes)
    assert made.shown.iloc[5]["last rate"] == "1/32"


def test_an_arm_without_a_finished_seed_says_when_it_ended(item: ItemTables) -> None:
    data = item.parts["car"]
    gone = {"value": np.nan, "status": "diverged", "diverged_epoch": 4.0}
    errors = data.errors.assign(
        **{key: data.errors[key].where(data.errors["arm"] != "mixed", gone[key]) for key in gone}
    )
    ended = dataclasses.replace(data, errors=errors)
    cells = read_cells(read_arm(ended, ended.context["arms"][2]))
    assert (cells["L2"], cells["L2 change"], cells["seeds"]) == ("diverged at epoch 4", "\N{EN DASH}", "0 of 3")


def test_a_panel_shows_every_seed_and_the_mean(drawn: Drawing) -> None:
    panels = np.array(drawn.figure.axes).reshape(3, 2)
    colour = COLOURS["mixed"]
    lines = [line for line in panels[0, 0].lines if line.get_color() == colour and len(line.get_xdata()) > 1]
    assert len(lines) == (3 + 1) + (3 + 1) + 1  # equal epochs, equal time, one seed stretched
    mean = np.asarray(lines[3].get_ydata(), dtype=float)
    assert mean[-1] == pytest.approx(np.mean([error("mixed", seed) for seed in range(3)]))
    marked = [line.get_marker() for line in panels[0, 0].lines if len(line.get_xdata()) == 1]
    assert marked == ["o", "D"]
    assert not panels[1, 1].axison  # bodies have no H1


def test_only_native_settings_have_a_time(drawn: Drawing) -> None:
    panels = np.array(drawn.figure.axes).reshape(3, 2)
    assert {line.get_color() for line in panels[2, 0].lines} == {COLOURS["full"], COLOURS["full+tanh"]}
    assert list(panels[2, 0].lines[0].get_xdata()) == [2.0 * epoch for epoch in range(1, 12)]


def test_the_points_are_what_is_drawn(item: ItemTables, drawn: Drawing) -> None:
    panels = np.array(drawn.figure.axes).reshape(3, 2)
    for row, (metric, x) in enumerate(error_curves.ROWS):
        for column, part in enumerate(item.parts):
            count = sum(len(line.get_xdata()) for line in panels[row, column].lines if len(line.get_xdata()) > 1)
            points = drawn.points.set_index(["part", "metric", "x"]).index
            assert count == list(points).count((part, metric, x)) > 0 or (part, metric) == ("car", "h1")


def test_the_mean_stops_where_a_seed_diverges(drawn: Drawing) -> None:
    points = drawn.points.query("part == 'car' and arm == 'mixed' and x == 'epoch'")
    assert {seed: own["at"].max() for seed, own in points.groupby("seed")} == {0: 11, 1: 3, 2: 11, "mean": 3}


def test_the_caption_says_the_paper_s_epochs(drawn: Drawing) -> None:
    assert "full 500, mixed 770, schedule 691, read off a plot" in drawn.caption


def test_the_paper_s_changes_are_given_in_both_readings(item: ItemTables) -> None:
    """As in the published table of 128 x 128 points: H1 .00645 against .00536."""
    note = next(note for note in error_curves.table(item).notes if "both readings on Navier" in note)
    assert "mixed L2 -0.6 % or -0.001 points, mixed H1 +20.4 % or +0.109 points" in note
