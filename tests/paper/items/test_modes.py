"""Rows by number of modes, each beside the published values of as many modes."""

# pandas' own types do not follow selections.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
# pyright: reportGeneralTypeIssues=false, reportReturnType=false, reportIndexIssue=false

from __future__ import annotations

import math

import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import modes
from mpno.paper.records import ItemTables

DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def item() -> ItemTables:
    arms = {}
    for count in (16, 4):
        arms[f"full-{count}"] = Toy("full", [1 / count], mib=count)
        arms[f"mixed-{count}"] = Toy("mixed", [1.02 / count], against=f"full-{count}", mib=count / 2)
    cp, dense = modes.PLACES.values()
    said = [("full-16", "l2", 0.0143, cp), ("mixed-16", "l2", 0.0148, cp), ("full-128", "l2", 0.0089, cp)]
    said += [("full-16", "h1", 0.05613, dense)]
    return ItemTables(item_context("modes"), {"darcy": part(arms)}, {}, reference(*said))


def test_few_modes_come_before_many(item: ItemTables) -> None:
    assert list(modes.numbers(item)["arm"]) == ["full-4", "mixed-4", "full-16", "mixed-16"]
    assert modes.numbers(item)["l2_change"].dropna().tolist() == pytest.approx([0.02, 0.02])


def test_one_seed_is_an_illustration(item: ItemTables) -> None:
    shown = modes.table(item).shown
    assert shown["verdict"].tolist() == [DASH, "illustration: one seed"] * 2
    assert all("[" not in cell for cell in shown["change"])
    assert "One seed per point, an illustration." in modes.figure(item).caption


def test_published_values_stand_beside_as_many_modes(item: ItemTables) -> None:
    frame = modes.numbers(item).set_index("arm")
    assert frame.loc["full-16", "published_ablation_l2"] == 0.0143
    assert frame.loc["full-16", "published_first_h1"] == 0.05613
    assert math.isnan(frame.loc["full-4", "published_ablation_l2"])
    shown = modes.table(item).shown
    assert shown["published, CP: L2, H1, s"].tolist() == [
        DASH,
        DASH,
        f"0.0143, {DASH}, {DASH}",
        f"0.0148, {DASH}, {DASH}",
    ]
    assert shown["published, dense: L2, H1, s"].tolist()[2] == f"{DASH}, 0.05613, {DASH}"


def test_the_figure_holds_its_numbers_and_published_ones_apart(item: ItemTables) -> None:
    drawing = modes.figure(item)
    here = [row["value"] for row in drawing.points.to_dict("records") if row["panel"] == "(a) test L2"]
    assert here == pytest.approx([1 / 16, 1.02 / 16, 1 / 4, 1.02 / 4])
    assert {row["modes"] for row in drawing.points.to_dict("records") if row["evidence"] == "published"} == {16, 128}
    here_x = {float(x) for line in drawing.figure.axes[0].get_lines() for x in line.get_xdata()}
    assert here_x == {4.0, 16.0}
