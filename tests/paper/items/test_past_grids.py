"""Any grid: what the change on a grid has beyond the one on 64 x 64, the mean over grids, and the single steps."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import past_grids
from mpno.paper.records import ItemData, ItemTables

FULL = (0.20, 0.22, 0.21, 0.19)


def made(resolution: int, changes: tuple[float, ...], *, control: float | None = None, padding: float = 0) -> ItemData:
    arms = {"full": Toy("full", FULL)}
    arms["mixed"] = Toy("mixed", [one * (1 + c) for one, c in zip(FULL, changes, strict=True)], against="full")
    told = None
    if control is not None:
        spread = (0.9, 1.0, 1.1, 1.0)
        errors = [one * (1 + control * s) for one, s in zip(FULL, spread, strict=True)]
        arms["mixed-e5m2"] = Toy("mixed-e5m2", errors, against="full", role="control")
        told = ("mixed-e5m2", ["full", "mixed"])
    found = part(arms, control=told)
    found.context["data"] |= {"resolution": resolution, "test_resolutions": [resolution]}
    found.context["model"]["padding"] = padding
    for frame in (found.errors, found.history):
        frame["resolution"] = resolution
    return found


def untrained(resolution: int, padding: float = 0) -> ItemData:
    found = made(resolution, (0, 0, 0, 0), padding=padding)
    for arm in found.context["arms"]:
        arm["runs"] = {}
    return found


@pytest.fixture
def item() -> ItemTables:
    base = (0.03, -0.03, 0.01, 0.05)
    parts = {
        "grid-64": made(64, base),
        "grid-85": made(85, tuple(c + 0.01 for c in base), control=0.3),
        "grid-96": made(96, tuple(c + d for c, d in zip(base, (0.1, 0.12, 0.11, 0.13), strict=True))),
        "fine": untrained(421),
        "latent": untrained(32, padding=0.125),
    }
    steps: list[dict[str, Any]] = [
        {"part": "fine", "arm": "mixed", "finite": True, "where": math.nan, "gradient_change": 0.004},
        {"part": "latent", "arm": "mixed", "finite": False, "where": "blocks.0.conv", "gradient_change": math.nan},
    ]
    about = {"precision": "mixed", "transform": "matmul", "evidence": "emulated", "operation": ""}
    probes = {"steps": pd.DataFrame([about | row for row in steps])}
    return ItemTables(item_context("past-grids"), parts, probes, reference())


def rows(item: ItemTables) -> dict[tuple[str, str, str], dict[str, Any]]:
    frame = past_grids.table(item).numbers
    return {(row["what"], row["grid"], row["arm"]): row for row in frame.to_dict("records")}


def test_the_change_is_held_against_that_on_a_power_of_two(item: ItemTables) -> None:
    found = rows(item)
    one, other = (found["training", grid, "mixed"] for grid in ("85x85", "96x96"))
    assert (one["beyond"], one["beside_64"]) == (pytest.approx(0.01), "the same")
    assert (other["beyond"], other["beside_64"]) == (pytest.approx(0.115), "differs")
    assert one["verdict"] == "inconclusive", "although the change itself is not narrow enough"
    assert math.isnan(found["training", "64x64", "mixed"]["beyond"])


def test_the_mean_over_grids_counts_seeds_not_grids(item: ItemTables) -> None:
    found = rows(item)
    mean = found["training", past_grids.ALL, "mixed"]
    assert mean["seeds"] == 4 and mean["l2_change"] == pytest.approx(0.015 + 0.0625)
    assert mean["beyond"] == pytest.approx(0.0625)
    alone = past_grids.pooled([item.parts["grid-85"]], "mixed", "full")
    twice = past_grids.pooled([item.parts["grid-85"]] * 2, "mixed", "full")
    assert (alone.low, alone.high) == pytest.approx((twice.low, twice.high))
    assert found["training", past_grids.ALL, "mixed-e5m2"]["verdict"] == "control: told apart"


def test_steps_say_what_was_finite_and_what_a_half_fft_refuses(item: ItemTables) -> None:
    shown = {row["grid"]: row for row in past_grids.table(item).shown.to_dict("records") if row["what"] == "one step"}
    assert shown["421x421"]["verdict"] == "finite" and shown["421x421"]["gradient"] == "0.40"
    padded = shown["32x32, padded to 40x40"]
    assert padded["verdict"] == "not finite: blocks.0.conv" and padded["half FFT"] == "refused"
    assert past_grids.half_fft(item.parts["grid-64"]) == "taken"
    assert past_grids.half_fft(untrained(32)) == "taken"


def test_the_figure_has_every_seed(item: ItemTables) -> None:
    drawn = past_grids.figure(item)
    points = drawn.points.to_dict("records")
    seeds = [row["panel"] for row in points if row["kind"] == "seed"]
    # Changes of mixed on three grids and their mean, of the control on one; the differences on two, and their mean.
    assert seeds.count("a") == 4 * 4 + 4 and seeds.count("b") == 3 * 4
    assert "64 x 64" in drawn.caption
