"""Memory by setting: savings by hand, published readings in a block of their own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from item_toy import context, part
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from mpno.paper.items.memory import bars, figure, table
from mpno.paper.records import read_reference
from mpno.paper.style import colour

MIB = 2**20
PEAKS = {"full": 40 * MIB, "amp": 30 * MIB, "half": 44 * MIB, "mixed": 10 * MIB}
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def item() -> Any:
    sizes = [
        {"part": "flow", "data": "navier-stokes", "setting": setting, "model": "TFNO (CP)", "batch": 32}
        | {"grid": "128x128", "parameters": MIB, "activations": peak / 2, "peak": peak, "evidence": "predicted"}
        for setting, peak in (("full", 1000.0 * MIB), ("mixed", 600.0 * MIB))
    ]
    return SimpleNamespace(
        context=context("memory"),
        parts={"darcy": part("darcy", peaks=PEAKS), "car": part("car", peaks=PEAKS)},
        probes={"sizes": pd.DataFrame(sizes)},
        reference=read_reference(ROOT / "workflow" / "reference" / "memory.csv"),
    )


def columns(item: Any, where: str, data: str) -> dict[str, dict[str, Any]]:
    """The rows of a block and data set by setting."""
    rows = [row for row in bars(item).to_dict("records") if (row["where"], row["data"]) == (where, data)]
    return {row["setting"]: row for row in rows}


def of(rows: dict[str, dict[str, Any]], column: str) -> dict[str, Any]:
    return {setting: row[column] for setting, row in rows.items()}


def test_savings_are_against_full_in_percent(item: Any) -> None:
    here = columns(item, "this scale", "Darcy flow")
    assert of(here, "memory") == {"full": 40, "amp": 30, "half": 44, "mixed": 10}
    assert of(here, "saving") == pytest.approx({"full": 0, "amp": 25, "half": -10, "mixed": 75})
    sized = columns(item, "published size", "Navier-Stokes vorticity")["mixed"]
    assert sized["saving"] == pytest.approx(40) and sized["activations"] == 300


def test_published_readings_keep_their_card_unit_and_provenance(item: Any) -> None:
    v100 = columns(item, "as published", "Navier-Stokes, V100")
    # 12.9, 28.9 and 45.0 percent, as the authors' plots have them.
    assert of(v100, "saving") == pytest.approx({"full": 0, "amp": 12.9, "half": 28.9, "mixed": 45.0}, abs=0.05)
    assert all("authors' notebook" in text for text in of(v100, "provenance").values())
    assert set(of(v100, "evidence").values()) == {"published"}
    ahmed = columns(item, "as published", "Ahmed body, card unknown")["mixed"]
    assert ahmed["saving"] == 38.4 and pd.isna(ahmed["memory"])


def test_a_reader_sees_every_row_under_its_block(item: Any) -> None:
    found = table(item)
    assert (
        found.roles is not None
        and found.roles == list(found.numbers["where"])
        and len(found.shown) == len(found.numbers)
    )
    assert list(dict.fromkeys(found.roles)) == ["this scale", "published size", "as published"]
    cars = found.shown[found.shown["data set"].str.contains("Car")]
    assert all("stand-in" in name for name in cars["data set"])
    assert not {"nan", "nan %"} & set(found.shown.to_numpy().ravel())
    assert any("nvidia-smi" in note for note in found.notes) and any(
        "not the published" in note for note in found.notes
    )


def test_no_predicted_bar_shares_axes_with_a_published_one(item: Any) -> None:
    drawing = figure(item)
    kinds = []
    for axes in drawing.figure.axes:
        kinds.append({bool(bar.get_hatch()) for bar in axes.patches})
        assert kinds[-1] in ({True}, {False})
    assert kinds.count({False}) == 1
    found = [bar for axes in drawing.figure.axes for bar in axes.patches if isinstance(bar, Rectangle)]
    heights = {round(bar.get_height()) for bar in found}
    # The Ahmed body's reading stands alone: nothing to compare it with.
    assert {40, 30, 44, 10, 1000, 600, 11781, 6483} <= heights and 20000 not in heights


def test_settings_have_their_colours(item: Any) -> None:
    bars_of = figure(item).figure.axes[0].patches
    assert [bar.get_edgecolor()[:3] for bar in bars_of] == [
        pytest.approx(to_rgb(colour(name))) for name in ("full", "amp", "half", "mixed")
    ]
