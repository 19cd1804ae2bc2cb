"""Predicted memory of sizes that are not trained, against parameters counted by hand."""

from __future__ import annotations

import pytest

from mpno.measurement.probes.memory import memory
from mpno.specs import MpnoError

WIDTH, MODES = 6, 4


def run(**more: object) -> dict[str, object]:
    data = {"name": "navier-stokes", "source": "generate", "resolution": 16, "test_resolutions": [16]}
    model = {"name": "fno", "modes": [MODES, MODES], "width": WIDTH, "layers": 1}
    return {"data": data, "model": model, "training": {"batch_size": 5}, **more}


def by_hand() -> int:
    """Real numbers of a one-layer FNO of one channel to one with two coordinates appended."""
    w, half = WIDTH, WIDTH // 2
    lifting = (3 * 2 * w + 2 * w) + (2 * w * w + w)
    spectral = 2 * MODES * (MODES // 2 + 1) * w * w + w
    block = spectral + w * w + (w * half + half) + (half * w + w) + w
    projection = (w * 2 * w + 2 * w) + (2 * w + 1)
    return lifting + block + projection


def test_one_row_per_size_and_setting() -> None:
    small = {"name": "small", "run": run(), "precisions": ["full", "mixed"]}
    unet = {"name": "unet", "run": run(model={"name": "unet", "features": 4}), "precisions": ["amp"]}
    rows = memory([], {"sizes": [small, unet]})
    assert [(row["part"], row["setting"]) for row in rows] == [("small", "full"), ("small", "mixed"), ("unet", "amp")]
    assert {row["evidence"] for row in rows} == {"predicted"}
    full, mixed, _ = rows
    assert full["parameters"] == mixed["parameters"] == 4 * by_hand()
    assert full["optimiser"] == 8 * by_hand()
    assert (full["batch"], full["grid"], full["model"]) == (5, "16x16", "FNO")
    assert mixed["peak"] < full["peak"]


def test_what_no_hardware_stores_stays_empty() -> None:
    (row,) = memory([], {"sizes": [{"name": "small", "run": run(), "precisions": ["mixed-e5m2"]}]})
    assert row["peak"] is None and row["parameters"] is None


def test_bodies_take_a_body() -> None:
    data = {"name": "car", "source": "generate", "resolution": 8, "test_resolutions": [8]}
    bodies = {"data": data, "model": {"name": "gino", "modes": [4, 4, 4]}, "training": {"batch_size": 1}}
    with pytest.raises(MpnoError, match="size cars, full: bodies of car differ in their points"):
        memory([], {"sizes": [{"name": "cars", "run": bodies, "precisions": ["full"]}]})


def test_a_wrong_size_is_named() -> None:
    with pytest.raises(MpnoError, match=r"probe memory, size small, full.*widht"):
        memory([], {"sizes": [{"name": "small", "run": run(model={"widht": 3}), "precisions": ["full"]}]})
