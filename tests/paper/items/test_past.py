"""Eight bits past the paper, on frames made by hand: what the rule says, and sizes beside those unpacked."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import past_fp8, past_saved
from mpno.paper.records import ItemData, ItemTables

FP16 = (0.200, 0.210, 0.190)
CONTROL = ("e5m2", ["fp16"])


def times(factor: float) -> list[float]:
    """Every seed's error, so many times larger, give or take a thousandth."""
    return [factor * value * (1 + 1e-3 * (-1) ** seed) for seed, value in enumerate(FP16)]


def arms(e4m3: float, e5m2: float, blocks: float) -> dict[str, Toy]:
    return {
        "fp16": Toy("mixed", FP16),
        "e4m3": Toy("mixed-fp8_e4m3_sat", times(e4m3), "fp16"),
        "e5m2": Toy("mixed-fp8_e5m2_sat", times(e5m2), "fp16"),
        "mx-up": Toy("mixed-mxfp8_up", times(blocks), "fp16"),
        "chance": Toy("half-mxfp8_back_mxfp8_e5m2_stochastic HHF, stabiliser none", times(blocks)[:1], "fp16"),
    }


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ((2.0, 1.2, 1.02), "mx-up: equivalent within 5 %, where plain e4m3 and e5m2 fail"),
        ((2.0, 1.2, 1.3), "mx-up: worse by more than 5 %, where plain e4m3 and e5m2 fail"),
        # One of the two does as well as FP16.
        ((2.0, 1.02, 1.01), "mx-up: no credit, plain FP8 is not known to be worse than FP16 by more than the margin"),
    ],
)
def test_the_rule_can_come_out_either_way(errors: tuple[float, float, float], said: str) -> None:
    assert past_fp8.findings(part(arms(*errors), control=CONTROL)) == [said]


def test_without_seeds_or_power_there_is_no_verdict() -> None:
    toys = {name: Toy(toy.label, toy.l2[:1], toy.against) for name, toy in arms(2.0, 2.0, 1.0).items()}
    assert past_fp8.findings(part(toys, control=CONTROL)) == ["mx-up: one seed, no verdict"]
    toys = arms(2.0, 1.2, 1.01) | {"weak": Toy("mixed-e5m2", FP16, "fp16")}
    found = past_fp8.findings(part(toys, control=("weak", ["fp16"])))
    assert found == ["mx-up: no power at this scale, where plain e4m3 and e5m2 fail"]


def item(data: ItemData, probes: dict[str, pd.DataFrame]) -> ItemTables:
    return ItemTables(item_context("past") | {"scale": "desk"}, {"darcy": data}, probes, reference())


@pytest.fixture(scope="module")
def fp8() -> ItemTables:
    step = [
        {"part": "darcy", "arm": "fp16", "precision": label, "output": 0.1, "gradient": gradient, "zero": 0.5}
        for label, gradient in (("mixed", 1e-3), ("mixed-fp8_e4m3_sat", 0.9), ("mixed-e5m4", 0.03))
    ]
    # Tested in FP16, half of what e5m2 lost is back.
    tested = [
        {"part": "darcy", "arm": "e5m2", "seed": seed, "role": role, "l2": factor * value}
        for seed, value in enumerate(FP16)
        for role, factor in (("trained", 1.2), ("setting", 1.1))
    ]
    probes = {"step": pd.DataFrame(step), "tested": pd.DataFrame(tested)}
    return item(part(arms(2.0, 1.2, 1.01), control=CONTROL), probes)


def test_a_row_says_what_is_held_in_what(fp8: ItemTables) -> None:
    rows = past_fp8.numbers(fp8).set_index("arm")
    assert rows.loc["chance", ["values", "gradients", "gradients_rounded", "in_format"]].tolist() == [
        "mxfp8", "mxfp8_e5m2", "by chance", "transform, contraction",
    ]  # fmt: skip
    # Theorem 4 with u = 1/16 and, where the largest of a block is clamped, 1/8.
    assert rows.loc["e4m3", "bound_values"] == pytest.approx(17**2 / 16**2 - 1)
    assert rows.loc["chance", "bound_values"] == pytest.approx(9**2 / 8**2 - 1)
    assert rows.loc["e4m3", "step_gradient"] == 0.9 and math.isnan(rows.loc["mx-up", "step_gradient"])
    assert rows["tested_change"].dropna().to_dict() == {"e5m2": pytest.approx(0.1)}
    drawn = past_fp8.table(fp8)
    assert drawn.shown["L2 change, tested in fp16"].iloc[2].startswith("+10.0 % [")
    assert "darcy, mx-up: equivalent within 5 %, where plain e4m3 and e5m2 fail" in drawn.notes
    assert not drawn.shown.map(lambda cell: "nan" in cell or "None" in cell).any().any()
    assert (
        drawn.shown.iloc[4]["gradients in"] == "mxfp8_e5m2, by chance" and drawn.shown.iloc[4]["stabiliser"] == "none"
    )


def test_the_figure_shows_every_change_and_every_format(fp8: ItemTables) -> None:
    drawn = past_fp8.figure(fp8)
    assert len(drawn.points.query("panel == 'a'")) == 4 and len(drawn.points.query("panel == 'b'")) == 3
    left, right = drawn.figure.axes
    assert [t.get_text() for t in left.get_yticklabels()][:2] == ["fp8_e4m3_sat", "fp8_e5m2_sat"]
    assert [t.get_text() for t in right.get_yticklabels()][-1] == "e5m4"


def test_sizes_stand_beside_those_with_nothing_packed() -> None:
    data = part({"mixed": Toy("mixed", FP16), "saved": Toy("mixed, saved mxfp8", times(1.0), "mixed")})
    kept: list[dict[str, Any]] = [
        {"data": "darcy", "grid": "8x8", "batch": 2, "transform": "fft", "setting": setting, "measured": measured}
        | {"predicted": measured, "evidence": "native"}
        for setting, measured in (("full", 4000), ("full, saved mxfp8", 1100))
    ]
    sizes = [
        {"part": "flow", "grid": "128x128", "batch": 32, "setting": setting, "activations": kept, "peak": peak}
        | {"evidence": "predicted"}
        for setting, kept, peak in (("full", 400, 800), ("mixed", 300, 600), ("mixed, saved mxfp8", 90, 400))
    ]
    step = [{"part": "darcy", "precision": "mixed, saved mxfp8", "output": 1e-4, "gradient": 0.02}]
    probes = {"step": pd.DataFrame(step), "kept": pd.DataFrame(kept), "sizes": pd.DataFrame(sizes)}
    frame = past_saved.numbers(item(data, probes))
    assert frame.query("kind == @past_saved.MEASURED")["of_unpacked"].tolist() == [1.0, 0.275]
    predicted = frame.query("kind == @past_saved.PREDICTED").set_index("setting")
    assert predicted["of_unpacked"].to_dict() == {"full": 1.0, "mixed": 1.0, "mixed, saved mxfp8": 0.3}
    assert predicted["of_full"].to_dict() == {"full": 1.0, "mixed": 0.75, "mixed, saved mxfp8": 0.5}
    drawn = past_saved.table(item(data, probes))
    assert not drawn.shown.map(lambda cell: "nan" in str(cell) or "None" in str(cell)).any().any()
    assert drawn.shown.iloc[1]["seeds"] == "3"
    assert drawn.shown.iloc[1]["gradient off"] == "2 %" and drawn.shown.iloc[1]["verdict"] == "within 5 %, no control"
