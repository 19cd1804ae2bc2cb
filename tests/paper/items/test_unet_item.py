"""Savings against the same model in full, here and at the published sizes."""

from __future__ import annotations

import math

import pandas as pd
import pytest
from desk_toy import Toy, item_context, part, reference

from mpno.paper.items import unet
from mpno.paper.records import ItemTables

DASH = "\N{EN DASH}"


@pytest.fixture(scope="module")
def item() -> ItemTables:
    fno = {
        "full": Toy("full", [0.2, 0.21, 0.22], mib=100),
        "mixed": Toy("mixed", [0.2, 0.212, 0.221], against="full", mib=75),
    }
    other = {
        "full": Toy("full", [0.4, None, 0.42], model="U-Net", mib=80),
        "amp": Toy("amp", [0.4, 0.41, 0.42], against="full", model="U-Net", mib=50),
    }
    parts = {"fno": part(fno, name="navier-stokes"), "unet": part(other, name="navier-stokes")}
    sizes = [("FNO", "full", 1000), ("FNO", "mixed", 900), ("U-Net", "full", 900), ("U-Net", "amp", 450)]
    rows = [{"part": p, "setting": s, "peak": v, "model": p, "grid": "128x128", "batch": 32} for p, s, v in sizes]
    said = [("fno mixed", "memory_saving", 45.0, "x"), ("fno mixed", "memory_saving", 49.9, "x")]
    return ItemTables(item_context("unet"), parts, {"published-size": pd.DataFrame(rows)}, reference(*said))


def row(item: ItemTables, part: str, arm: str) -> dict:
    frame = unet.numbers(item)
    return frame[(frame["part"] == part) & (frame["arm"] == arm)].iloc[0].to_dict()


def test_savings_are_against_the_same_model_in_full(item: ItemTables) -> None:
    assert row(item, "fno", "mixed")["saving"] == pytest.approx(0.25)
    assert row(item, "unet", "amp")["saving"] == pytest.approx(0.375)
    assert math.isnan(row(item, "unet", "full")["saving"])
    assert row(item, "fno", "mixed")["published_size_saving"] == pytest.approx(0.1)
    assert row(item, "unet", "amp")["published_size_saving"] == pytest.approx(0.5)


def test_only_the_fno_has_a_published_saving(item: ItemTables) -> None:
    shown = unet.table(item).shown
    assert shown["saved, published"].tolist() == [DASH, "45 to 49.9 %", DASH, DASH]
    assert any("no published value of the comparison with the U-Net" in note for note in unet.table(item).notes)


def test_a_training_that_diverged_is_said(item: ItemTables) -> None:
    assert unet.table(item).shown["seeds"].tolist() == ["3", "3", "2 of 3", "3"]
    assert any("diverged: full, seed 1, at epoch 1, step 7" in note for note in unet.table(item).notes)


def test_the_figure_shows_every_seed_and_both_sizes(item: ItemTables) -> None:
    points = unet.figure(item).points
    assert len(points.query("panel == 'a'")) == 3 + 3 + 2 + 3
    rows = points.query("panel == 'b'").to_dict("records")
    bars = {(row["model"], row["where"]): row["saved_percent"] for row in rows}
    assert bars["U-Net", "published size"] == pytest.approx(50) and bars["FNO", "here"] == pytest.approx(25)


def test_without_the_probe_the_published_size_is_left_open(item: ItemTables) -> None:
    bare = ItemTables(item.context, item.parts, {}, item.reference)
    assert unet.table(bare).shown["saved, published size"].tolist() == [DASH] * 4
    assert set(unet.figure(bare).points.query("panel == 'b'")["where"]) == {"here"}
