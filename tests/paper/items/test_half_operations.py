"""The eight triples: pairs against FFF, their joint intervals, what each operation does, and the published row."""

from __future__ import annotations

import itertools
import math
import statistics

import pandas as pd
import pytest
from desk_toy import Toy, item_context, part, reference
from scipy import stats

from mpno.paper.items import half_operations
from mpno.paper.records import ItemTables

TRIPLES = ["".join(letters) for letters in itertools.product("FH", repeat=3)]
PUBLISHED = {"FFF": (8870, 9.0), "HFF": (7824, 9.13), "HHH": (7550, 7.49)}
BYTES = {"FFF": 100, "FFH": 100, "FHF": 98, "FHH": 98, "HFF": 90, "HFH": 90, "HHF": 85, "HHH": 85}


def loss(triple: str, seed: int) -> float:
    """Each seed its own level; the inverse transform in half takes 10 % off, the contraction adds 1 % of noise."""
    noise = (0.0, 0.01, -0.01)[seed] if triple[1] == "H" else 0.0
    return (1 + 0.1 * seed) * (0.9 if triple[2] == "H" else 1.0) * (1 + noise)


@pytest.fixture(scope="module")
def item() -> ItemTables:
    labels = {"FFF": "amp+tanh", "HHH": "mixed"} | {t: f"mixed {t}" for t in TRIPLES[1:-1]}
    arms = {
        ("mixed" if triple == "HHH" else triple.lower()): Toy(
            labels[triple],
            [0.1, 0.2, 0.3],
            against=None if triple == "FFF" else "fff",
            loss=[loss(triple, seed) for seed in range(3)],
            mib=BYTES[triple],
        )
        for triple in TRIPLES
    }
    arms["mixed-e5m2"] = Toy("mixed-e5m2", [0.2, 0.4, 0.61], against="fff", role="control", loss=[2, 2.1, 2.3])
    said = [
        (t.lower(), name, v, "B.7")
        for t, pair in PUBLISHED.items()
        for name, v in zip(("memory", "train_l2"), pair, strict=True)
    ]
    data = part(arms, control=("mixed-e5m2", ["fff"]))
    return ItemTables(item_context("half-operations"), {"darcy": data}, {}, reference(*said))


def row(item: ItemTables, triple: str) -> dict:
    frame = half_operations.numbers(item)
    return frame[frame["triple"] == triple].iloc[0].to_dict()


def test_every_triple_has_its_arm_and_the_control_none(item: ItemTables) -> None:
    frame = half_operations.numbers(item)
    assert list(frame["triple"]) == [*TRIPLES, ""]
    assert row(item, "HFH")["transform"] == "H" and row(item, "HFH")["contraction"] == "F"


def test_the_joint_interval_is_bonferroni_s(item: ItemTables) -> None:
    each = [loss("FHF", seed) / loss("FFF", seed) - 1 for seed in range(3)]
    half = stats.t.ppf(1 - 0.05 / 7 / 2, 2) * statistics.stdev(each) / math.sqrt(3)
    found = row(item, "FHF")
    assert found["train_change"] == pytest.approx(statistics.mean(each), abs=1e-12)
    assert found["train_joint_high"] == pytest.approx(statistics.mean(each) + half)
    assert not found["differs"]
    assert row(item, "FFH")["differs"]


def test_a_step_s_effect_is_the_mean_of_its_four_pairs(item: ItemTables) -> None:
    table = half_operations.table(item)
    note = next(note for note in table.notes if note.startswith("each step in half"))
    # Levels and the other steps cancel within a pair, so the inverse transform's effect is exact.
    assert "inverse transform -10.0 % [-10.0, -10.0]" in note
    assert "; contraction " in note and "transform +0.0 %" in note


def test_the_published_row_stands_beside_and_only_where_there_is_one(item: ItemTables) -> None:
    shown = half_operations.table(item).shown.set_index("triple")
    assert shown.loc["HHH", "published MB"] == "7550 (85 %)"
    assert shown.loc["HHH", "published train L2"] == "7.49"
    assert shown.loc["FFH", "published MB"] == "\N{EN DASH}"
    assert shown.loc["HHH", "predicted MiB"] == "85.0 (85 %)"
    assert shown.loc["FFF", "change"] == "\N{EN DASH}" and shown.loc["FFF", "differs"] == "\N{EN DASH}"


def test_the_order_of_memory_is_compared_by_rank(item: ItemTables) -> None:
    frame = half_operations.numbers(item)
    assert "too few" not in half_operations._agreement(frame.assign(published_size_bytes=frame["predicted_bytes"]))
    order = frame.assign(published_size_bytes=frame["published_memory"])
    assert "1.00 over 3" in half_operations._agreement(order)
    assert "-1.00 over 3" in half_operations._agreement(order.assign(published_size_bytes=-frame["published_memory"]))
    assert "too few" in half_operations._agreement(pd.DataFrame(frame.iloc[:1]))


def test_every_number_of_the_figure_is_among_its_points(item: ItemTables) -> None:
    drawing = half_operations.figure(item)
    points = drawing.points
    assert len(points.query("panel == 'training loss'")) == 8 * 3
    rows = points.query("panel == 'published: memory'").to_dict("records")
    published = {row["triple"]: row["change"] for row in rows}
    assert published["HHH"] == pytest.approx(7550 / 8870 - 1)
    labels = [text.get_text() for text in drawing.figure.axes[0].get_yticklabels()]
    assert labels == TRIPLES


def test_a_seed_that_diverged_leaves_the_others(item: ItemTables) -> None:
    data = item.parts["darcy"]
    gone = data.errors.assign(
        status=data.errors["status"].where((data.errors["arm"] != "hff") | (data.errors["seed"] != 1), "diverged")
    )
    broken = ItemTables(
        item.context,
        {"darcy": type(data)(data.context, gone, data.history, data.arms, data.reference)},
        {},
        item.reference,
    )
    found = half_operations.table(broken)
    assert found.shown.set_index("triple").loc["HFF", "seeds"] == "2 of 3"
    assert found.shown.set_index("triple").loc["HFF", "verdict"] == "diverged in 1"


def test_the_published_effects_are_means_over_four_pairs() -> None:
    errors = dict(zip(TRIPLES, [9.00, 8.71, 8.76, 8.15, 9.13, 7.51, 8.75, 7.49], strict=True))
    told = half_operations.published_effects(reference(*((t.lower(), "train_l2", v, "B.7") for t, v in errors.items())))
    ratios = [errors[f"{pair}H"] / errors[f"{pair}F"] for pair in ("FF", "FH", "HF", "HH")]
    assert told.endswith(f"inverse transform {100 * (math.prod(ratios) ** 0.25 - 1):+.1f} %")
    assert half_operations.published_effects(reference(("fff", "train_l2", 9.0, "B.7"))) == ""
