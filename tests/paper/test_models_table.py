"""What each model has learned, beside the mean predictor and its own first epoch."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from paper_toy import BASELINE, EPOCHS, context
from paper_toy import collect as collected

from mpno.paper import ItemData, format_models, load_item, models_table, save_table, table_notes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ItemData:
    item = context(draws=["table"], drawn_by="models")
    item["parts"][0]["compare"] |= {"learned": 0.72}
    return load_item(collected(tmp_path_factory.mktemp("models"), item)).only


def row(data: ItemData, arm: str) -> dict:
    names = [entry["name"] for entry in data.context["arms"]]
    return models_table(data).to_dict("records")[names.index(arm)]


def test_the_last_error_stands_beside_the_mean_predictor_s_and_the_first_epoch_s(data: ItemData) -> None:
    full = row(data, "full")
    assert full["l2@16_mean"] == pytest.approx(0.1)
    assert full["baseline"] == pytest.approx(BASELINE)
    assert full["first"] == pytest.approx(0.1 * (1 + 0.1 * (EPOCHS - 1)))
    assert full["parameters"] == 100 and full["model"] == "FNO"


def test_learned_counts_the_seeds_that_beat_both_by_the_margin(data: ItemData) -> None:
    # 0.72 of the mean predictor's 0.14 is 0.1008; the last errors of full are 0.10, 0.11 and 0.09, each 1 / 1.9 of
    # its first epoch's. Of the control's 0.120, 0.133, 0.107 none passes.
    assert row(data, "full")["learned"] == 2
    assert row(data, "control")["learned"] == 0


def test_a_training_that_stood_still_has_not_learned(data: ItemData) -> None:
    errors = data.errors.copy()
    errors["first"] = errors["value"] * 1.1
    still = ItemData(data.context, errors, data.history, data.arms, data.reference)
    assert row(still, "full")["learned"] == 0


def test_a_diverged_seed_has_not_learned(data: ItemData) -> None:
    half = row(data, "half")
    assert (half["diverged"], half["learned"], half["verdict"]) == (1, 2, "diverged in 1")


def test_a_reader_sees_models_and_counts(data: ItemData) -> None:
    shown = format_models(models_table(data)).to_dict("records")
    assert shown[0]["learned"] == "2 of 3" and shown[0]["parameters"] == "100"
    assert shown[0]["mean predictor"] == "0.1400" and shown[0]["change"] == "\N{EN DASH}"
    assert shown[3]["seeds"] == "2 of 3"


def test_files_carry_the_threshold_and_the_evidence(data: ItemData, tmp_path: Path) -> None:
    notes = table_notes(data, models=True)
    numbers = models_table(data)
    save_table("toy", "A toy", numbers, format_models(numbers), notes, tmp_path)
    for ending in ("csv", "md", "tex"):
        text = (tmp_path / f"toy.{ending}").read_text()
        assert "72" in text and "mean predictor" in text and "simulated: FNO mixed (fft)" in text
    assert any(note.startswith("learned: the last error is at most 72 %") for note in notes)


def test_errors_on_another_metric_only(data: ItemData) -> None:
    errors = data.errors.copy()
    errors.loc[errors["metric"] == "h1", ["value", "first", "baseline"]] = math.nan
    bodies = ItemData(data.context, errors, data.history, data.arms, data.reference)
    assert not any(math.isnan(mean) for mean in models_table(bodies)["l2@16_mean"])


def test_generated_bodies_are_called_stand_in_data(data: ItemData) -> None:
    bodies = {**data.context["data"], "name": "car", "source": "generate"}
    made = ItemData({**data.context, "data": bodies}, data.errors, data.history, data.arms, data.reference)
    assert "stand-in data (car-like bodies" in table_notes(made)[0]
    assert "stand-in" not in table_notes(data)[0]
