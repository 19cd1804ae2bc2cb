"""CP against dense weights, and whether mixed precision costs one of them more than the other."""

from __future__ import annotations

import statistics

import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import dense_cp
from mpno.paper.records import ItemData, ItemTables

FULL, MIXED = (0.10, 0.11, 0.09, 0.12, 0.10), (0.101, 0.112, 0.0909, 0.1212, 0.101)
CP, CP_MIXED = (0.20, 0.22, 0.18), (0.206, 0.231, 0.1908)


def arms() -> dict[str, Toy]:
    return {
        "full": Toy("full", FULL, seconds=2.0, mib=10),
        "mixed": Toy("mixed", MIXED, against="full", mib=8),
        "mixed-e5m2": Toy("mixed-e5m2", [1.3 * v for v in FULL[:4]] + [0.14], against="full", role="control"),
        "cp-full": Toy("full", CP, model="TFNO (CP)", seconds=3.0, mib=6),
        "cp-mixed": Toy("mixed", CP_MIXED, against="cp-full", model="TFNO (CP)", mib=5),
    }


@pytest.fixture(scope="module")
def item() -> ItemTables:
    control = ("mixed-e5m2", ["full"])
    parts = {
        "darcy": part(arms(), control=control),
        "navier-stokes": part(arms(), name="navier-stokes", control=control),
    }
    plot, listed = dense_cp.PLACES
    said = [("full", "h1", 0.0406, f"{plot}, Darcy"), ("full", "seconds_per_epoch", 13.9, f"{plot}, Darcy")]
    said += [
        ("full", "h1", 0.0171, f"{plot}, Navier-Stokes"),
        ("full", "seconds_per_epoch", 43.4, f"{plot}, Navier-Stokes"),
    ]
    said += [("cp-full", "h1", 0.01198, f"{listed}, Navier-Stokes")]
    return ItemTables(item_context("dense-cp"), parts, {}, reference(*said))


def row(item: ItemTables, part: str, arm: str) -> dict:
    frame = dense_cp.numbers(item)
    return frame[(frame["part"] == part) & (frame["arm"] == arm)].iloc[0].to_dict()


def test_cp_is_set_against_dense_of_the_same_setting_and_seed(item: ItemTables) -> None:
    found = row(item, "darcy", "cp-mixed")
    assert found["weights"] == "CP"
    assert found["cp_change"] == pytest.approx(
        statistics.mean(c / m - 1 for c, m in zip(CP_MIXED, MIXED, strict=False))
    )
    assert found["change"] == pytest.approx(statistics.mean(m / f - 1 for m, f in zip(CP_MIXED, CP, strict=True)))


def test_the_control_speaks_for_dense_weights_alone(item: ItemTables) -> None:
    assert row(item, "darcy", "mixed")["verdict"] == "equivalent within 5 %"
    assert "equivalent" not in row(item, "darcy", "cp-mixed")["verdict"]


def test_the_cost_of_mixed_is_compared_between_the_weights(item: ItemTables) -> None:
    ratios = [(c / f) / (m / d) - 1 for c, f, m, d in zip(CP_MIXED, CP, MIXED, FULL, strict=False)]
    notes = [note for note in dense_cp.table(item).notes if note.startswith("darcy: ratio of mixed to full")]
    assert len(notes) == 1 and f"{100 * statistics.mean(ratios):+.1f} % [" in notes[0]


def test_each_set_has_its_own_published_values(item: ItemTables) -> None:
    assert row(item, "darcy", "full")["published_0_h1"] == 0.0406
    assert row(item, "navier-stokes", "full")["published_0_h1"] == 0.0171
    assert row(item, "navier-stokes", "cp-full")["published_1_h1"] == 0.01198


def test_only_native_arms_have_a_time_and_published_ones_their_own_panel(item: ItemTables) -> None:
    points = dense_cp.figure(item).points
    here = points[points["panel"] == "darcy, here"]
    assert set(here["setting"]) == {"full"} and len(here) == len(FULL) + len(CP)
    assert points[points["panel"] == "navier-stokes, published"]["h1"].tolist() == [0.0171]


def test_without_the_cp_arms_there_is_no_comparison_of_them(item: ItemTables) -> None:
    data = part({"full": Toy("full", FULL, seconds=1.0), "mixed": Toy("mixed", MIXED, against="full")})
    assert isinstance(data, ItemData)
    table = dense_cp.table(ItemTables(item.context, {"darcy": data}, {}, item.reference))
    assert not any("ratio of mixed to full" in note for note in table.notes)
